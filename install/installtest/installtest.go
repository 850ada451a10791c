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
)

// Programs builds in dir two versions of a program that only its package path makes hugeguard's hook
// program, and one that is another. Each prints its version on stdout and ends with its standard input.
func Programs(dir string) (v1, v2, other string, err error) {
	const main = `package main

import (
	"io"
	"os"
)

var version string

func main() {
	os.Stdout.WriteString(version + "\n")
	io.Copy(io.Discard, os.Stdin)
}
`
	for name, text := range map[string]string{
		"go.mod":            "module hugeguard\n\ngo 1.23\n",
		"hook/qemu/main.go": main,
		"other/main.go":     main,
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return "", "", "", err
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return "", "", "", err
		}
	}
	build := func(version, pkg string) string {
		out := filepath.Join(dir, version)
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -X main.version="+version, "-o", out, pkg)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0")
		if text, failed := cmd.CombinedOutput(); failed != nil {
			err = fmt.Errorf("%v: %w\n%s", cmd, failed, text)
		}
		return out
	}
	return build("v1", "./hook/qemu"), build("v2", "./hook/qemu"), build("v0", "./other"), err
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
