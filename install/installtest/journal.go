package installtest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Journalctl makes a program that prints and ends like that, and notes its arguments and environment in the file seen.
func Journalctl(t testing.TB, stdout, stderr, end string) (program, seen string) {
	t.Helper()
	dir := t.TempDir()
	program, seen = filepath.Join(dir, "journalctl"), filepath.Join(dir, "seen")
	for name, text := range map[string]string{
		filepath.Join(dir, "out"): stdout,
		filepath.Join(dir, "err"): stderr,
		program: fmt.Sprintf("#!/bin/sh\n/usr/bin/env >%[1]s/seen\nprintf '%%s\\n' \"$@\" >>%[1]s/seen\n/bin/cat %[1]s/out\n/bin/cat %[1]s/err >&2\n%[2]s\n",
			dir, end),
	} {
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return program, seen
}

// Refusal is an entry of a refused start, as journalctl prints it.
const Refusal = `{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1795576382000001","PRIORITY":"3","MESSAGE":"node 0 is full\nand more","HUGEGUARD_DECISION":"refuse","HUGEGUARD_CAUSE":"guests","HUGEGUARD_DOMAIN":"a\\\\b","HUGEGUARD_UUID":"6d0f1a52-4a5e-4c5e-9b1d-70a5e000005e"}`
