package ledger

import (
	"os"
	"path/filepath"
	"testing"

	"hugeguard/guard"
	"hugeguard/sysfs"
)

// withRun returns a root that has /run.
func withRun(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	return root
}

// TestForeignDirectory: nothing is written through what somebody else put in the directory's place.
func TestForeignDirectory(t *testing.T) {
	for _, kept := range []struct {
		name string
		dir  string // of the file, below the root
		keep func(sysfs.FS) error
	}{
		{"told", Dir, func(root sysfs.FS) error { return KeepTold(root, []guard.Told{{Pages: 1, PageKiB: 2048}}) }},
		{"refused", RefusedDir, func(root sysfs.FS) error {
			return KeepRefused(root, guard.Instance{UUID: "a0000000-0000-4000-8000-000000000001"})
		}},
	} {
		t.Run(kept.name, func(t *testing.T) {
			root, elsewhere := t.TempDir(), t.TempDir()
			dir := filepath.Join(root, kept.dir)
			if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(elsewhere, dir); err != nil {
				t.Fatal(err)
			}
			if err := kept.keep(sysfs.New(root)); err == nil {
				t.Error("a symbolic link was followed")
			}
			if entries, err := os.ReadDir(elsewhere); err != nil || len(entries) > 0 {
				t.Errorf("there is %v, %v", entries, err)
			}
			if err := os.Remove(dir); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(dir, 0o777); err != nil {
				t.Fatal(err)
			}
			if err := kept.keep(sysfs.New(root)); err == nil {
				t.Error("a directory that others may write to was used")
			}
		})
	}
}
