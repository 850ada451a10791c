package libvirt

import (
	"crypto/sha256"
	"strings"
	"testing"
)

// The sum is that of the standard library.
func FuzzSHA256(f *testing.F) {
	for n := range 130 {
		f.Add(strings.Repeat("/usr/bin/qemu", 10)[:n])
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got, want := sha256Sum(text), sha256.Sum256([]byte(text)); got != want {
			t.Errorf("%q: %x, want %x", text, got, want)
		}
	})
}
