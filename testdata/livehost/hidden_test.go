package livehost

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever is installed on this machine, the private host has no hugeguard and no Nova but what a test brings.
func TestNothingOfThisMachineIsSeen(t *testing.T) {
	begin(t, 0)
	source, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/etc", "/var", "/opt", "/srv", "/tmp", "/usr/bin", "/usr/lib/hugeguard", "/usr/lib/systemd", "/usr/local"} {
		filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
			switch base := filepath.Base(name); {
			case err != nil, name == configuration, name == live.dir, name == source:
			case strings.Contains(base, "hugeguard"), name == "/etc/nova", name == "/var/lib/nova", strings.HasPrefix(name, filepath.Dir(mainHook)+"/"):
				t.Errorf("%s is seen", name)
			}
			if name == live.dir || name == source {
				return fs.SkipDir
			}
			return nil
		})
	}
}
