package guard

import "testing"

// TestGuestOfScope: a scope of systemd-machined's has the name of its guest.
func TestGuestOfScope(t *testing.T) {
	for unit, want := range map[string]string{
		`machine-qemu\x2d3\x2dfs1.scope`:       "3-fs1",
		`machine-qemu\x2d12\x2dweb\x2d1.scope`: "12-web-1",
		`machine-lxc\x2d3\x2dfs1.scope`:        "",
		`machine-qemu\x2d3\x2dfs1.service`:     "",
		"vpp.service":                          "",
		"":                                     "",
	} {
		if got := GuestOfScope(unit); got != want {
			t.Errorf("%s: %q, want %q", unit, got, want)
		}
	}
	for escaped, want := range map[string]string{`a\x2db`: "a-b", `\x`: `\x`, `\x2`: `\x2`, `\xzz`: `\xzz`, `a\x2e`: "a."} {
		if got := UnescapeUnit(escaped); got != want {
			t.Errorf("%s: %q, want %q", escaped, got, want)
		}
	}
}
