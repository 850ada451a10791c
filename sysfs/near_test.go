package sysfs

import (
	"errors"
	"syscall"
	"testing"
)

// TestNear: a tree that is near opens the kernel's files and what lies in the root's
// folders, and nothing beyond a mount.
func TestNear(t *testing.T) {
	fs := New("").Near()
	var stat syscall.Stat_t
	if _, err := fs.Mounts(); err != nil || fs.Status("etc/passwd", &stat) != nil || fs.Exists("etc/no such file") || fs.Far() {
		t.Errorf("%v, far %v", err, fs.Far())
	}
	if text, err := fs.ReadFile("etc/passwd", 1<<20); err != nil || len(text) == 0 {
		t.Error(err)
	}
	for _, name := range []string{"dev/fd/0", "dev/null", "etc"} {
		fs := New("").Near()
		if _, err := fs.ReadFile(name, 10); !errors.Is(err, ErrFar) || !fs.Far() {
			t.Errorf("%s: %v, far %v", name, err, fs.Far())
		}
	}
	if host := New(t.TempDir()).Near(); host.Exists("etc") || host.Far() {
		t.Error("a captured host is far")
	}
}
