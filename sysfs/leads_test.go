package sysfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestLeads: links are followed as the kernel follows them, and none leads out of a captured tree, or on hugetlbfs.
func TestLeads(t *testing.T) {
	root := t.TempDir()
	for name, target := range map[string]string{
		"srv/absolute": "/dev/hugepages", "srv/relative": "../dev/./hugepages/", "srv/out": "../../../../../../dev/hugepages",
		"srv/chain": "relative/guests", "srv/loop": "loop2", "srv/loop2": "/srv/loop", "mnt": "srv", "dev/hugepages/link": "/srv",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	host, points := New(root), MountPoints{"/dev/hugepages/"}
	for name, want := range map[string]string{
		"/srv/absolute": "/dev/hugepages", "/mnt/relative/vm1": "/dev/hugepages/vm1", "/srv/out": "/dev/hugepages",
		"/srv/chain": "/dev/hugepages/guests", "/srv/none/../absolute/": "/dev/hugepages", "/srv//none": "/srv/none",
		"/dev/hugepages/link/x": "/dev/hugepages/link/x", "/": "/", "../..": "/",
	} {
		if got, err := host.Leads(name, points); err != nil || got != want {
			t.Errorf("%s leads to %q, %v, want %s", name, got, err, want)
		}
	}
	if got, err := host.Leads("/mnt/loop/x", points); !errors.Is(err, syscall.ELOOP) || !strings.Contains(err.Error(), "/mnt/loop/x") {
		t.Errorf("a circle leads to %q, %v", got, err)
	}
}

// TestLeadsKept: what a capture keeps of the running host gives the same answer.
func TestLeadsKept(t *testing.T) {
	dir := t.TempDir()
	for link, target := range map[string]string{"link": "there", "loop": "loop"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	kept := New(t.TempDir())
	live := New("").Recorded(func(name string, e Entry) { keep(t, kept.Root(), name, e) })
	for name, want := range map[string]string{dir + "/link/x": dir + "/there/x", dir + "/here": dir + "/here"} {
		for _, host := range []FS{live, kept} {
			if got, err := host.Leads(name, nil); err != nil || got != want {
				t.Errorf("%q: %s leads to %s, %v, want %s", host.Root(), name, got, err, want)
			}
		}
	}
	for _, host := range []FS{live, kept} {
		if got, err := host.Leads(dir+"/loop", nil); !errors.Is(err, syscall.ELOOP) {
			t.Errorf("%q: a circle leads to %s, %v", host.Root(), got, err)
		}
	}
}

// keep puts into a root what a capture keeps of an entry.
func keep(t *testing.T, root, name string, e Entry) {
	t.Helper()
	name = filepath.Join(root, name)
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	var text []byte
	if err == nil && e.Err == nil {
		text, err = NewReducer(nil).Reduce(name, e)
	}
	switch {
	case err != nil:
	case e.Err != nil:
		err = os.Symlink(filepath.Base(name), name)
	default:
		err = os.WriteFile(name, text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestLeadsNear: a tree that is near follows links as any other, or says that it would have to look further.
func TestLeadsNear(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("there", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"/usr/no such": "/usr/no such", "/proc": "/proc", dir + "/link": dir + "/there"} {
		host := New("").Near()
		got, err := host.Leads(name, nil)
		if far := name != "/proc" && name != "/usr/no such" && errors.Is(err, ErrFar) && host.Far(); !far && (err != nil || got != want) {
			t.Errorf("%s leads to %q, %v, want %s", name, got, err, want)
		}
	}
	if host := New("").Near(); !isFar(host.Leads("/proc/self", nil)) || !host.Far() {
		t.Error("what lies on another mount is near")
	}
	if at, err := New("").Near().Leads("/proc/self", MountPoints{"/proc/"}); err != nil || at != "/proc/self" {
		t.Errorf("on hugetlbfs a path leads to %s, %v", at, err)
	}
}

func isFar(_ string, err error) bool { return errors.Is(err, ErrFar) }
