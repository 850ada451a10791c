package words

import "testing"

// TestPathsInCommands: a path is for a shell, and other people's input.
func TestPathsInCommands(t *testing.T) {
	for path, want := range map[string]string{
		"/dev/hugepages1G":     "x /dev/hugepages1G",
		`/m/machine-a\x2db`:    `x '/m/machine-a\x2db'`,
		"/it's here; rm -r /":  `x '/it'\''s here; rm -r /'`,
		"/a\nb":                "",
		"/\u202egepaguh":       "",
		"/größe":               "x '/größe'",
		"/m/prod.partition/$(": "x '/m/prod.partition/$('",
	} {
		if got := onPath("x %s", path); got != want {
			t.Errorf("%q: %s, want %s", path, got, want)
		}
	}
}
