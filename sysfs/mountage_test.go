package sysfs

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestMountAge: a directory of the daemon's says that it knows a mount, and the pid file that a mount without it came
// later.
func TestMountAge(t *testing.T) {
	for _, test := range []struct {
		name    string
		made    bool          // the daemon's directory is there
		daemon  time.Duration // the pid file is so much younger than the mount
		running bool
		want    MountAge
	}{
		{"the daemon has been there", true, -time.Hour, true, MountKnown},
		{"mounted after it started", false, -time.Hour, true, MountLater},
		{"mounted before, and no directory", false, time.Hour, true, MountUnknown},
		{"it does not run", false, 0, false, MountKnown},
	} {
		dir := t.TempDir()
		if test.made {
			if err := os.MkdirAll(filepath.Join(dir, "libvirt/qemu"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		pid := filepath.Join(t.TempDir(), "driver.pid")
		if test.running {
			if err := os.WriteFile(pid, []byte("7\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			at := time.Now().Add(test.daemon)
			if err := os.Chtimes(pid, at, at); err != nil {
				t.Fatal(err)
			}
		}
		root := t.TempDir()
		live := New("").Recorded(func(name string, e Entry) { keep(t, root, name, e) })
		got, err := live.MountAge(dir, "libvirt/qemu", pid[1:])
		if err != nil || got != test.want {
			t.Errorf("%s: %s, %v, want %s", test.name, got, err, test.want)
		}
		// The same comes of what is captured.
		if again, err := New(root).MountAge(dir, "libvirt/qemu", pid[1:]); err != nil || again != test.want {
			t.Errorf("%s: captured %s, %v, want %s", test.name, again, err, test.want)
		}
	}
	if age, err := New(t.TempDir()).MountAge("/dev/hugepages", "libvirt/qemu", "run/pid"); err != nil || age != MountUnknown {
		t.Errorf("of a host that does not say: %s, %v", age, err)
	}
}
