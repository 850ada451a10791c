package main

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// TestInitramfs: cpio reads what the kernel is given.
func TestInitramfs(t *testing.T) {
	cpio, err := exec.LookPath("cpio")
	if err != nil {
		t.Fatal(err) // Debian: cpio
	}
	var root initramfs
	root.dir("dev")
	root.console()
	root.file("init", []byte("program"))
	cmd := exec.Command(cpio, "-tv")
	cmd.Stdin = bytes.NewReader(root.bytes())
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("cpio: %v", err)
	}
	for _, want := range []string{"drwxr-xr-x", "dev/console", "5,   1", "7 Jan  1  1970 init"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("cpio lists %q, without %q", out, want)
		}
	}
}
