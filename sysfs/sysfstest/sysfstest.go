// Package sysfstest makes hosts for tests: trees that [sysfs.FS] reads, from
// text archives and from captured hosts, to be changed at will.
package sysfstest

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"hugeguard/sysfs"
)

// Host is a tree in a folder of its own, gone when the test ends.
type Host struct {
	t   testing.TB
	dir string
}

// Archive unpacks the text archive in file (golang.org/x/tools/txtar). A file
// in it named *.base64 holds bytes that no text can, and loses that ending.
func Archive(t testing.TB, file string) Host {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	h := Host{t, t.TempDir()}
	for _, f := range archive.Files {
		name, data := f.Name, f.Data
		if plain, ok := strings.CutSuffix(name, ".base64"); ok {
			data, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(data)), ""))
			if err != nil {
				t.Fatalf("%s: %s: %v", file, name, err)
			}
			name = plain
		}
		h.Write(name, string(data))
	}
	return h
}

// New makes an empty tree.
func New(t testing.TB) Host { return Host{t, t.TempDir()} }

// Copy copies a captured host's folder, so that it can be changed.
func Copy(t testing.TB, dir string) Host {
	t.Helper()
	h := Host{t, t.TempDir()}
	if err := os.CopyFS(h.dir, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return h
}

// For is the same tree in the hands of another test, as a fuzz target makes one of each input.
func (h Host) For(t testing.TB) Host { return Host{t, h.dir} }

// FS returns the tree to read.
func (h Host) FS() sysfs.FS { return sysfs.New(h.dir) }

// Path returns where the tree keeps /name.
func (h Host) Path(name string) string { return filepath.Join(h.dir, name) }

// Write makes /name hold text.
func (h Host) Write(name, text string) {
	h.t.Helper()
	path := h.Path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// Remove takes /name away, with all that is below it.
func (h Host) Remove(name string) {
	h.t.Helper()
	if err := os.RemoveAll(h.Path(name)); err != nil {
		h.t.Fatal(err)
	}
}
