package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestDifferences(t *testing.T) {
	before := stock{"/etc/libvirt/hooks": "d", "/run/hugeguard": "d", "/run/hugeguard/claims": "-", "/sys/nr_hugepages": "0", "/etc/same": "-"}
	now := stock{"/etc/libvirt/hooks": "d", "/etc/libvirt/hooks/qemu": "-", "/sys/nr_hugepages": "46", "/etc/same": "-",
		"/tmp/hugeguard1": "d", "/tmp/hugeguard1/x": "-"}
	want := []string{
		"/run/hugeguard is gone: it was d", "/sys/nr_hugepages is 46: it was 0",
		"/etc/libvirt/hooks/qemu is new: -", "/tmp/hugeguard1 is new: d",
	}
	if got := before.differences(now); !slices.Equal(got, want) {
		t.Errorf("differences are %q, want %q", got, want)
	}
	if got := before.differences(before); len(got) > 0 {
		t.Errorf("nothing changed, and the differences are %q", got)
	}
}

// What a tier leaves is seen: a file among the temporary ones, and a process whose parent has ended, which is ended.
func TestLeftBehind(t *testing.T) {
	dir := t.TempDir()
	rules := "leave:\n\ttouch $$TMPDIR/forgotten\n\tsleep 600 >/dev/null 2>&1 & mkdir -p bin; echo $$! >bin/pid; date >forgotten-too\n"
	if err := os.WriteFile(filepath.Join(dir, "Makefile"), []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "tests")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	cmd := exec.Command(program, "-grace", "1s", "leave")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Errorf("it passed:\n%s", out)
	}
	for _, want := range []string{"/forgotten was left", "(sleep)", "forgotten-too is new"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	pid, err := os.ReadFile(filepath.Join(dir, "bin/pid"))
	if err != nil {
		t.Fatal(err)
	}
	if name, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/comm"); err == nil && string(name) == "sleep\n" {
		t.Errorf("process %s still runs", pid)
	}
}
