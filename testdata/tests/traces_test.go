package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// beProgram is in the environment of a test program that is to be the program. It names the one directory in which that
// looks for files of tests: to look through the machine takes a while.
const beProgram = "TESTS_BE_THE_PROGRAM"

func TestMain(m *testing.M) {
	if dir := os.Getenv(beProgram); dir != "" {
		watched = map[string]*regexp.Regexp{dir: ownNames}
		main()
		return
	}
	os.Exit(m.Run())
}

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

// tiers runs tiers of a Makefile with these rules and returns what is said.
func tiers(t *testing.T, rules string, args ...string) (said, dir string, err error) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "Makefile"), []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], append([]string{"-grace", "1s"}, args...)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), beProgram+"="+t.TempDir())
	out, err := cmd.CombinedOutput()
	return string(out), dir, err
}

// What a tier leaves is seen: a file among the temporary ones, and a process whose parent has ended, which is ended.
func TestLeftBehind(t *testing.T) {
	said, dir, err := tiers(t, "leave:\n\ttouch $$TMPDIR/forgotten $$"+beProgram+"/of-a-numabox\n\tsleep 600 >/dev/null 2>&1 & mkdir -p bin; echo $$! >bin/pid; date >forgotten-too\n", "leave")
	if err == nil {
		t.Errorf("it passed:\n%s", said)
	}
	for _, want := range []string{"/forgotten was left", "(sleep)", "forgotten-too is new", "/of-a-numabox is new", "make leave: processes"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in:\n%s", want, said)
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

// Tiers that run at the same time wait here for each other. Each line is whole and says which of them it is from, and so
// does what one of them leaves.
func TestBeside(t *testing.T) {
	said, _, err := tiers(t, `first:
	@mkdir -p bin; mkfifo bin/a bin/b; printf 'a part'; echo >bin/a; read x <bin/b; echo ' and the rest'
second:
	@echo alone
box:
	@until test -p bin/b; do sleep .01; done; read x <bin/a; echo meanwhile; echo >bin/b; sleep 600 >/dev/null 2>&1 &
`, "-beside", "box", "first", "second")
	if err == nil || !strings.Contains(said, "the tests passed and left ") {
		t.Errorf("%v:\n%s", err, said)
	}
	for _, want := range []string{"first       | a part and the rest\n", "second      | alone\n", "box         | meanwhile\n",
		"box         | left behind: process ", "\n  make box: processes"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in:\n%s", want, said)
		}
	}
}

// One that fails ends the other.
func TestBesideFails(t *testing.T) {
	said, _, err := tiers(t, `fails:
	@until test -e bin/up; do sleep .01; done; exit 7
box:
	@mkdir -p bin; touch bin/up; exec sleep 600
`, "-beside", "box", "fails")
	if err == nil || !strings.Contains(said, "tests: make fails: exit status 1\n") ||
		!strings.Contains(said, "\nbox         | tests: context canceled\n") {
		t.Errorf("%v:\n%s", err, said)
	}
}
