package livehost

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever is installed on this machine, the private host had no hugeguard and no Nova before the tests brought them.
func TestNothingOfThisMachineIsSeen(t *testing.T) {
	for _, name := range live.found {
		t.Errorf("%s was seen", name)
	}
}

// installed returns what there is of hugeguard, Nova and hooks.
func installed() (found []string) {
	source, _ := filepath.Abs("../..")
	for _, dir := range []string{"/etc", "/var", "/opt", "/srv", "/tmp", "/usr/bin", "/usr/lib/hugeguard", "/usr/lib/systemd", "/usr/local"} {
		filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
			switch {
			case err != nil:
			case name == source:
				return fs.SkipDir
			case strings.Contains(filepath.Base(name), "hugeguard"), name == "/etc/nova", name == "/var/lib/nova", strings.HasPrefix(name, hookDir), name == mainHook:
				found = append(found, name)
			}
			return nil
		})
	}
	return found
}
