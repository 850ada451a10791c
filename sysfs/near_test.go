package sysfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestReadOf: what is no regular file, or another's, is not opened.
func TestReadOf(t *testing.T) {
	dir := t.TempDir()
	live, captured := New(""), New(dir)
	name := func(n string) string { return strings.TrimPrefix(filepath.Join(dir, n), "/") }
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	end, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	if _, err := end.WriteString("for somebody else"); err != nil {
		t.Fatal(err)
	}
	for _, tree := range []struct {
		FS
		name func(string) string
	}{{live, name}, {captured, func(n string) string { return n }}} {
		if text, err := tree.ReadOf(tree.name("file"), 4, os.Getuid()); err != nil || string(text) != "text" {
			t.Errorf("%q, %v", text, err)
		}
		if _, err := tree.ReadOf(tree.name("file"), 3); !errors.Is(err, ErrTooLarge) {
			t.Error(err)
		}
		for _, n := range []string{"fifo", "."} {
			if text, err := tree.ReadOf(tree.name(n), 100); !errors.Is(err, errNotRegular) {
				t.Errorf("%s: %q, %v", n, text, err)
			}
		}
		if _, err := tree.ReadOf(tree.name("gone"), 100); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
	if _, err := live.ReadOf("dev/zero", 100); !errors.Is(err, errNotRegular) {
		t.Error(err)
	}
	left := make([]byte, 100)
	if n, err := end.Read(left); string(left[:n]) != "for somebody else" {
		t.Errorf("the FIFO has %q left, %v", left[:n], err)
	}
	if os.Getuid() != 0 {
		return // who else could own a file
	}
	if err := os.Chown(filepath.Join(dir, "file"), 65534, 0); err != nil {
		t.Fatal(err)
	}
	if text, err := live.ReadOf(name("file"), 4, 0, 7); !errors.Is(err, errForeign) {
		t.Errorf("%q, %v", text, err)
	}
	for _, owners := range [][]int{nil, {0, 65534}} {
		if text, err := live.ReadOf(name("file"), 4, owners...); err != nil || string(text) != "text" {
			t.Errorf("%v: %q, %v", owners, text, err)
		}
	}
}

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
	for _, name := range []string{"dev/fd/0", "etc"} {
		fs := New("").Near()
		if _, err := fs.ReadFile(name, 10); !errors.Is(err, ErrFar) || !fs.Far() {
			t.Errorf("%s: %v, far %v", name, err, fs.Far())
		}
	}
	if host := New(t.TempDir()).Near(); host.Exists("etc") || host.Far() {
		t.Error("a captured host is far")
	}
}
