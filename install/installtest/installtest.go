// Package installtest has what tests of install need: hook programs, and listings of trees.
package installtest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Programs builds, in a directory of its own, two versions of a program that only its package path makes
// hugeguard's hook program, and one that it does not. They take any arguments and print
// their version on stderr.
func Programs(t testing.TB) (v1, v2, other string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module hugeguard\n\ngo 1.23\n")
	const main = "package main\n\nvar version = `none`\n\nfunc main() { println(version) }\n"
	write("hook/qemu/main.go", main)
	write("other/main.go", main)

	build := func(out, pkg, version string) string {
		t.Helper()
		out = filepath.Join(dir, out)
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -X main.version="+version, "-o", out, pkg)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd, err, text)
		}
		return out
	}
	return build("v1", "./hook/qemu", "v1"), build("v2", "./hook/qemu", "v2"), build("v0", "./other", "v0")
}

// List describes all that lies below dir, one line a file: mode, owner, links, name, then the digest of
// the content or the target. Two trees with one listing differ in their times alone.
func List(dir string) (string, error) {
	var b bytes.Buffer
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		st := fi.Sys().(*syscall.Stat_t)
		rel := strings.TrimPrefix(name, dir)
		fmt.Fprintf(&b, "%v %d:%d ", fi.Mode(), st.Uid, st.Gid)
		switch {
		case fi.Mode().Type() == fs.ModeSymlink:
			target, err := os.Readlink(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "%d %s -> %s\n", st.Nlink, rel, target)
		case fi.Mode().IsRegular():
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "%d %s %x\n", st.Nlink, rel, sha256.Sum256(data))
		default:
			fmt.Fprintf(&b, "- %s\n", rel)
		}
		return nil
	})
	return b.String(), err
}
