package main

import (
	"debug/elf"
	"os/exec"
	"strings"
	"testing"

	"hugeguard/hook/hooktest"
)

// TestNeeds: the program runs within what install/limits.go wants of a daemon's limits (in KiB, and descriptors), at
// reconnect above all, where its end would kill a running guest.
func TestNeeds(t *testing.T) {
	t.Parallel()
	program := hooktest.Program(t)
	for _, args := range []string{"x reconnect begin -", "x started begin -", "x stopped end -", "x release end -", "x prepare begin -"} {
		cmd := exec.Command("sh", "-c", "ulimit -v 1310720 && ulimit -d 65536 && ulimit -n 16 && exec "+program+" "+args)
		cmd.Stdin = strings.NewReader("<domain type='kvm'><name>x</name><memory>2048</memory></domain>")
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%.400s", args, err, out)
		}
	}
	// No package has memory that must be there before the first line runs: it would be all that tells the program from
	// one that does nothing.
	file, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var written uint64
	for _, p := range file.Progs {
		if p.Type == elf.PT_LOAD && p.Flags&elf.PF_W != 0 {
			written += p.Memsz
		}
	}
	if written == 0 || written > 1<<20 {
		t.Errorf("the program has %d bytes of data that it can write to; want some, and 1 MiB at the most", written)
	}
}
