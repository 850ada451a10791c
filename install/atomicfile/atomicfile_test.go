package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A file is there as a whole or not at all, for all to read, with nothing beside it.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "hugeguard.prom")
	for _, text := range []string{"a\n", "b\n"} {
		if err := Write(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(name); err != nil || string(data) != text {
			t.Errorf("%q, %v", data, err)
		}
	}
	if info, err := os.Stat(name); err != nil || info.Mode() != 0o644 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := os.Mkdir(filepath.Join(dir, "directory"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Write(filepath.Join(dir, "directory"), nil, 0o644); err == nil {
		t.Error("a directory is written over")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("%v lie there, %v", entries, err)
	}
	if err := Write(filepath.Join(dir, "nowhere/x"), nil, 0o644); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v of a directory that is not there", err)
	}
}
