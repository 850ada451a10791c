package livehost

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// In a container that has the host's processes the settings are the host's, also after somebody replaces the file there.
// Without them they are the container's own.
func TestContainedSettings(t *testing.T) {
	s := begin(t, 16)
	s.must(s.build())
	root := t.TempDir()
	for _, dir := range []string{"proc", "sys", "dev", "run", "etc"} {
		s.must(os.Mkdir(filepath.Join(root, dir), 0o755))
	}
	program, err := os.ReadFile(s.hook)
	s.must(err)
	s.must(os.WriteFile(filepath.Join(root, "qemu"), program, 0o755))
	const (
		mounts  = `for dir in proc sys dev run; do mount --rbind /$dir "$0/$dir"; done; `
		own     = `mount -t proc proc "$0/proc"; `
		enter   = `exec chroot "$0" "$@"`
		allow   = 0
		refuse  = 1
		enforce = "mode = enforce\ndeadline = 1m\n"
	)
	d := domain{name: "contained", mib: 64, cells: 1}
	call := func(when string, want int, script string, unshare ...string) {
		t.Helper()
		argv := append(append([]string{"unshare", "--mount"}, unshare...), "/bin/sh", "-euc", script, root, "/qemu", d.name, "prepare", "begin", "-")
		if r := s.callProgram(strings.NewReader(d.xml()), argv...); r.status != want {
			t.Errorf("%s: exit status %d, want %d: %s", when, r.status, want, r.stderr)
		}
	}
	inside := func(text string) {
		t.Helper()
		s.must(os.WriteFile(filepath.Join(root, configuration), []byte(text), 0o644))
	}
	replace := func(text string) {
		t.Helper()
		s.must(os.WriteFile(configuration+".new", []byte(text), 0o644))
		s.must(os.Rename(configuration+".new", configuration))
		t.Cleanup(func() { os.Remove(configuration) })
	}
	inside("mode = off\n")
	replace(enforce)
	call("with the host's processes", refuse, mounts+enter)
	replace("mode = off\n")
	inside(enforce)
	call("after the host's file was replaced", allow, mounts+enter)
	call("without the host's processes", refuse, mounts+own+enter, "--pid", "--fork")
	s.must(os.Remove(configuration))
	call("without a file on the host", refuse, mounts+enter)
	inside("mode = off\n")
	call("without a file on the host, and off", allow, mounts+enter)
}
