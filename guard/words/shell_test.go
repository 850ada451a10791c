package words

import "testing"

// TestShellWord: a word is for a shell and a terminal, and other people's input.
func TestShellWord(t *testing.T) {
	for text, want := range map[string]string{
		"/dev/hugepages1G":     "/dev/hugepages1G",
		`/m/machine-a\x2db`:    `'/m/machine-a\x2db'`,
		"/it's here; rm -r /":  `'/it'\''s here; rm -r /'`,
		"/a\nb":                `"$(printf '/a\012b')"`,
		"/100%\x1b\\":          `"$(printf '/100%%\033\\')"`,
		"/\u202egepaguh":       `"$(printf '/\342\200\256gepaguh')"`,
		"/größe":               "'/größe'",
		"/m/prod.partition/$(": "'/m/prod.partition/$('",
		"/\xff":                `"$(printf '/\377')"`,
		"/ends\n":              "", // within $() it would lose its end
	} {
		if got := ShellWord(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
