package installtest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// field is one of an entry's own: journalctl prints those that begin with __ whatever --output-fields says.
var field = regexp.MustCompile(`"([A-Z][A-Z_]*)":`)

// Journalctl makes a program that prints and ends like that, and notes its arguments and environment in the file seen.
// Like journalctl, it shows only the fields that --output-fields names: any other has the name HIDDEN.
func Journalctl(t testing.TB, stdout, stderr, end string) (program, seen string) {
	t.Helper()
	dir := t.TempDir()
	program, seen = filepath.Join(dir, "journalctl"), filepath.Join(dir, "seen")
	var hide strings.Builder
	for _, found := range field.FindAllStringSubmatch(stdout, -1) {
		fmt.Fprintf(&hide, `case $fields in *,%[1]s,*) ;; *) set -- "$@" -e 's/"%[1]s":/"HIDDEN":/' ;; esac`+"\n", found[1])
	}
	for name, text := range map[string]string{
		filepath.Join(dir, "out"): stdout,
		filepath.Join(dir, "err"): stderr,
		program:                   fmt.Sprintf(script, dir, hide.String(), end),
	} {
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return program, seen
}

// script takes the directory, what hides fields, and how it ends.
const script = `#!/bin/sh
/usr/bin/env >%[1]s/seen
printf '%%s\n' "$@" >>%[1]s/seen
fields=
for argument; do case $argument in --output-fields=*) fields=,${argument#*=}, ;; esac; done
set -- -e ''
%[2]s/bin/sed "$@" %[1]s/out
/bin/cat %[1]s/err >&2
%[3]s
`

// Refusal is an entry of a refused start, as journalctl prints it.
const Refusal = `{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1795576382000001","PRIORITY":"3","MESSAGE":"node 0 is full\nand more","HUGEGUARD_DECISION":"refuse","HUGEGUARD_CAUSE":"guests","HUGEGUARD_DOMAIN":"a\\\\b","HUGEGUARD_UUID":"6d0f1a52-4a5e-4c5e-9b1d-70a5e000005e"}`
