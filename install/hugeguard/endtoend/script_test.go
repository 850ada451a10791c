package endtoend

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"hugeguard/install/installtest"
)

// raceDetector is whether these tests are built with the race detector.
var raceDetector bool

// Scripts have the hook program as $V1 and $V2, in two versions, and $OTHER, another program; $HOST, the captured host
// of the incident, and $DOMAINS, a folder of domains.
func TestScripts(t *testing.T) {
	hooks := hookPrograms()
	if hooks.err != nil {
		t.Fatal(hooks.err)
	}
	testdata, err := filepath.Abs("../../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("scripts: %q, %v", scripts, err)
	}
	if raceDetector {
		scripts = scripts[:1] // what they run is built without it
	}
	testscript.Run(t, testscript.Params{
		Files: scripts,
		Setup: func(e *testscript.Env) error {
			e.Setenv("V1", hooks.v1)
			e.Setenv("V2", hooks.v2)
			e.Setenv("OTHER", hooks.other)
			e.Setenv("HOST", filepath.Join(testdata, "hosts/plain/host"))
			e.Setenv("DOMAINS", filepath.Join(testdata, "domains"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"hugeguard": scriptHugeguard,
			"status":    scriptStatus,
			"tree":      scriptTree,
			"cptree":    scriptCopyTree,
			"cut":       scriptCut,
			"mkdomain":  scriptDomains,
		},
	})
}

// tree DIR FILE writes into FILE what lies below DIR: modes, owners, links, contents.
func scriptTree(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: tree DIR FILE")
	}
	list, err := installtest.List(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(list), 0o644))
}

// hugeguard ARG... runs the command, which must succeed, or fail after an exclamation mark.
func scriptHugeguard(ts *testscript.TestScript, neg bool, args []string) {
	if err := ts.Exec("hugeguard", args...); neg != (err != nil) {
		ts.Fatalf("hugeguard %q: %v", args, err)
	}
}

// status N ARG... runs hugeguard with the arguments, which must end with status N: with an error in one line that says
// who is speaking, or without one if the answer is on stdout (0, 3 and 4).
func scriptStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: status N ARG...")
	}
	err := ts.Exec("hugeguard", args[1:]...)
	got := 0
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if want := args[0]; want != strconv.Itoa(got) {
		ts.Fatalf("exit status %d, want %s", got, want)
	}
	lines := 0
	if got == exitError || got == exitUsage {
		lines = 1
	}
	if text := ts.ReadFile("stderr"); strings.Count(text, "\n") != lines || lines == 1 && !strings.HasPrefix(text, "hugeguard: ") {
		ts.Fatalf("on stderr, where %d lines should be: %q", lines, text)
	}
}

// cut TO FROM N copies the first N bytes of a file, or all but the last -N, and makes of them a program.
func scriptCut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: cut TO FROM N")
	}
	data, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	if n < 0 {
		n += len(data)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data[:n], 0o755))
}

// cptree FROM TO copies a directory.
func scriptCopyTree(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cptree FROM TO")
	}
	ts.Check(os.CopyFS(ts.MkAbs(args[1]), os.DirFS(ts.MkAbs(args[0]))))
}

// mkdomain DIR NAME... defines domains of 256 huge pages on node 1, each by a file in DIR.
func scriptDomains(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: mkdomain DIR NAME...")
	}
	for _, name := range args[1:] {
		ts.Check(os.WriteFile(ts.MkAbs(filepath.Join(args[0], name+".xml")), fmt.Appendf(nil, `<domain type='kvm'>
  <name>%s</name>
  <uuid>6a9c0000-0000-4000-8000-0000000000%02x</uuid>
  <memory unit='MiB'>512</memory>
  <memoryBacking><hugepages><page size='2048' unit='KiB'/></hugepages></memoryBacking>
  <numatune><memory mode='strict' nodeset='1'/></numatune>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
</domain>
`, name, name[0]), 0o600))
	}
}
