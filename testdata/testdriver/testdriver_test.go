//go:build libvirt_dlopen

package testdriver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"libvirt.org/go/libvirt"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/testdata/machine"
)

// Set by TestMain.
var (
	hook string // the hook program
	conn *libvirt.Connect
)

func TestMain(m *testing.M) {
	// The hook reads what is configured, and leaves entries in the journal and in its ledger.
	os.Exit(machine.Apart(func() int {
		status, err := setUp(m)
		if err != nil {
			fmt.Fprintln(os.Stderr, "testdriver:", err)
			return 1
		}
		return status
	}))
}

func setUp(m *testing.M) (status int, err error) {
	// The binding loads the library at its first call.
	if _, err := libvirt.GetVersion(); err != nil {
		return 0, fmt.Errorf("cannot load libvirt.so.0 (Debian: libvirt0): %v", err)
	}
	if conn, err = libvirt.NewConnect("test:///default"); err != nil {
		return 0, fmt.Errorf("libvirt has no test driver here: %w", err)
	}
	defer conn.Close()
	dir, err := os.MkdirTemp("", "hugeguard-testdriver")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	hook = filepath.Join(dir, "qemu")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", hook, "hugeguard/hook/qemu")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("building the hook: %w\n%s", err, out)
	}
	return m.Run(), nil
}

func TestDomains(t *testing.T) {
	files, err := filepath.Glob("../domains/*.xml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no domains: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".xml"), func(t *testing.T) {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			domain, err := conn.DomainDefineXML(string(source))
			if err != nil {
				t.Fatalf("libvirt does not take it: %v", err)
			}
			defer domain.Free()
			defer undefine(t, domain)
			name, err := domain.GetName()
			if err != nil {
				t.Fatal(err)
			}
			t.Run("inactive", func(t *testing.T) {
				formatted, err := domain.GetXMLDesc(libvirt.DOMAIN_XML_INACTIVE)
				if err != nil {
					t.Fatal(err)
				}
				try(t, name, string(source), formatted)
			})
			// What the hook really gets at prepare is the XML of a domain
			// that has its id already.
			t.Run("running", func(t *testing.T) {
				if err := domain.Create(); err != nil {
					t.Fatalf("the test driver does not start it: %v", err)
				}
				defer destroy(t, domain)
				formatted, err := domain.GetXMLDesc(0)
				if err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(formatted, " id='") {
					t.Errorf("no id in the XML of a running domain:\n%s", formatted)
				}
				try(t, name, string(source), formatted)
			})
		})
	}
}

func undefine(t *testing.T, domain *libvirt.Domain) {
	if err := domain.Undefine(); err != nil {
		t.Errorf("undefine: %v", err)
	}
}

func destroy(t *testing.T, domain *libvirt.Domain) {
	if err := domain.Destroy(); err != nil {
		t.Errorf("destroy: %v", err)
	}
}

// try gives the hook what libvirt formatted and compares what it means with
// what the source means.
func try(t *testing.T, name, source, formatted string) {
	want, err := domain.Parse([]byte(source))
	if err != nil {
		t.Fatalf("source: %v", err)
	}
	got, err := domain.Parse([]byte(formatted))
	if err != nil {
		t.Fatalf("libvirt's XML: %v\n%s", err, formatted)
	}
	for i := range want.Backends {
		// libvirt writes out the element that automatic CPUs imply.
		if b := &want.Backends[i]; b.From == "vcpu[@placement='auto']" {
			b.From = "numatune/memory"
		}
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(guard.Backend{})); diff != "" {
		t.Errorf("libvirt's XML means something else (-source +libvirt's):\n%s\n%s", diff, formatted)
	}
	checkPrepare(t, got, call(t, formatted, name, "prepare", "begin", "-"))
	for _, args := range [][]string{
		{"start", "begin", "-"},
		{"started", "begin", "-"},
		{"stopped", "end", "-"},
		{"release", "end", "-"},
		{"release", "end", "failed"}, // libvirt 10.5
		{"reconnect", "begin", "-"},
		{"attach", "begin", "-"},
		{"migrate", "begin", "-"},
		{"restore", "begin", "-"},
		{"prepare", "end", "-"},
		{"operation-to-come", "begin", "-"},
	} {
		o := call(t, formatted, append([]string{name}, args...)...)
		if o.exit != 0 || o.stderr != "" {
			t.Errorf("%v: exit status %d, standard error %q; want 0 and nothing", args, o.exit, o.stderr)
		}
	}
}

// checkPrepare checks a verdict as far as it does not depend on what this
// host has: its form, and that a guest without huge pages starts anywhere.
func checkPrepare(t *testing.T, demand guard.Demand, o outcome) {
	switch o.exit {
	case 0:
		if o.stderr != "" {
			t.Errorf("prepare: accepted, with %q on standard error", o.stderr)
		}
	case 1:
		if o.stderr == "" || strings.Contains(o.stderr, "\n") { // libvirt makes it a part of its own error
			t.Errorf("prepare: refused, with %q on standard error; want one line, not ended", o.stderr)
		}
		if len(demand.Backends) == 0 {
			t.Errorf("prepare: refused a guest without huge pages: %s", o.stderr)
		}
	default:
		t.Errorf("prepare: exit status %d, standard error %q", o.exit, o.stderr)
	}
}

// outcome is what libvirt sees of a call of the hook.
type outcome struct {
	exit   int
	stderr string
}

// call runs the hook as libvirt does: the XML through a pipe, in the root
// folder and with little in the environment. Whatever the call, it may not
// write to standard output.
func call(t *testing.T, xml string, args ...string) outcome {
	t.Helper()
	var stdout, stderr strings.Builder
	cmd := exec.Command(hook, args...)
	cmd.Dir = "/"
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(xml), &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%q: %v", args, err)
	}
	if stdout.Len() > 0 {
		t.Errorf("%q: standard output %q, which libvirt may take for XML", args, stdout.String())
	}
	return outcome{cmd.ProcessState.ExitCode(), stderr.String()}
}
