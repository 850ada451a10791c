package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hugeguard/hook"
	"hugeguard/hook/hooktest"
)

// TestMain hides the machine from the program.
func TestMain(m *testing.M) { os.Exit(hooktest.Main(m)) }

// TestOtherOperations: the program answers every call but prepare with 0 and without reading, whatever it is given.
func TestOtherOperations(t *testing.T) {
	t.Parallel()
	program := hooktest.Program(t)
	for _, args := range [][]string{
		{}, {"x"}, {"x", "start", "begin", "-"}, {"x", "started", "begin", "-"}, {"x", "stopped", "end", "-"},
		{"x", "release", "end", "failed"}, {"x", "reconnect", "begin", "-"}, {"x", "migrate", "begin", "-"},
		{"x", "restore", "begin", "-"}, {"x", "attach", "begin", "-"}, {"x", "prepare"}, {"x", "prepare", "end", "-"},
		{"\x1b\n%s", "no such thing", "begin", "-"},
	} {
		cmd := exec.Command(program, args...)
		reader, writer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdin = reader // held open: a program that reads it would hang
		out, err := cmd.CombinedOutput()
		writer.Close()
		reader.Close()
		if err != nil || len(out) > 0 {
			t.Errorf("%q: %v, output %q", args, err, out)
		}
	}
}

// TestSiteHook: a site's hook behind ours gets the same arguments, standard
// input and environment, and its output and exit status are what libvirt sees.
func TestSiteHook(t *testing.T) {
	t.Parallel()
	program := hooktest.Program(t)
	record := filepath.Join(t.TempDir(), "record")
	script := "#!/bin/sh\n{ echo \"$0\"; for a; do echo \"$a\"; done; echo \"$SITE\"; cat; } > " + record + "\necho out; echo err >&2; exit 7\n"
	site := program + hook.SiteSuffix
	write := func(mode os.FileMode, text string) {
		t.Helper()
		os.Remove(site)
		if err := os.WriteFile(site, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	run := func(stdin string, args ...string) (stdout, stderr string, status int) {
		t.Helper()
		var out, errs strings.Builder
		cmd := exec.Command(program, args...)
		cmd.Env = []string{"SITE=here", "PATH=" + os.Getenv("PATH")}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
		if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return out.String(), errs.String(), cmd.ProcessState.ExitCode()
	}
	// More than a pipe holds, and no XML at all: the site gets what libvirt sent.
	for _, stdin := range []string{"", "<domain><name>x</name></domain>", strings.Repeat("large ", 200_000)} {
		for _, operation := range []string{"prepare", "started", "reconnect"} {
			write(0o755, script)
			stdout, stderr, status := run(stdin, "a name\nof two lines", operation, "begin", "-")
			if stdout != "out\n" || stderr != "err\n" || status != 7 {
				t.Errorf("%s: stdout %q, stderr %q, status %d", operation, stdout, stderr, status)
			}
			got, err := os.ReadFile(record)
			want := site + "\na name\nof two lines\n" + operation + "\nbegin\n-\nhere\n" + stdin
			if err != nil || string(got) != want {
				t.Errorf("%s: the site's hook saw %.200q, want %.200q (%v)", operation, got, want, err)
			}
		}
	}
	// A missing interpreter is no missing hook.
	write(0o755, "#!/no/such/interpreter\n")
	if _, stderr, status := run("", "x", "started", "begin", "-"); status == 0 || stderr == "" {
		t.Errorf("no interpreter: %q, %d", stderr, status)
	}
	// One that a signal ends has failed, and libvirt is told how.
	write(0o755, "#!/bin/sh\nkill -9 $$\n")
	if _, stderr, status := run("", "x", "prepare", "begin", "-"); status != 128+9 || !strings.Contains(stderr, "ended by a signal: killed") {
		t.Errorf("killed: %q, %d", stderr, status)
	}
	// Nobody has to read its input.
	write(0o755, "#!/bin/sh\nexit 5\n")
	if _, _, status := run(strings.Repeat("large ", 2_000_000), "x", "prepare", "begin", "-"); status != 5 {
		t.Errorf("without reading: status %d", status)
	}
	// A link to ourselves is not run for ever.
	os.Remove(site)
	if err := os.Symlink(program, site); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, status := run("", "x", "started", "begin", "-"); stdout+stderr != "" || status != 0 {
		t.Errorf("a link to ourselves: %q, %q, %d", stdout, stderr, status)
	}
	// As with libvirt: not executable is not there, not runnable is a failure.
	write(0o644, script)
	if stdout, stderr, status := run("", "x", "started", "begin", "-"); stdout+stderr != "" || status != 0 {
		t.Errorf("not executable: %q, %q, %d", stdout, stderr, status)
	}
	write(0o755, "no program")
	if stdout, stderr, status := run("", "x", "reconnect", "begin", "-"); stdout+stderr != "" || status != 0 {
		t.Errorf("not runnable, and a running guest is at stake: %q, %q, %d", stdout, stderr, status)
	}
	if stdout, stderr, status := run("", "x", "started", "begin", "-"); stdout != "" || status == 0 || !strings.Contains(stderr, hook.SiteSuffix) {
		t.Errorf("not runnable: %q, %q, %d", stdout, stderr, status)
	}
}

// TestSiteHookWithFewDescriptors: where there are too few to wait for the site's hook, it
// takes our place with all of its input, and nothing is refused for it.
func TestSiteHookWithFewDescriptors(t *testing.T) {
	t.Parallel()
	program := hooktest.Program(t)
	// Seven are what Go itself wants.
	if err := os.WriteFile(program+hook.SiteSuffix, []byte("#!/bin/cat -\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{10, 1_000_000} {
		input := "<domain>" + strings.Repeat("x", size)
		for limit := 7; limit <= 16; limit++ {
			// Without those that the tests were started with.
			script := fmt.Sprintf(`exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; ulimit -n %d && exec "$0" x prepare begin -`, limit)
			cmd := exec.Command("sh", "-c", script, program)
			cmd.Stdin = strings.NewReader(input)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			if out, _ := cmd.Output(); string(out) != input+"#!/bin/cat -\n" || strings.Contains(stderr.String(), "too many open files") {
				t.Errorf("%d descriptors: %d bytes of %d, %.300s", limit, len(out), len(input), &stderr)
			}
		}
	}
}

// TestSiteHookWaits: XML that comes after our deadline reaches the site's hook in full.
func TestSiteHookWaits(t *testing.T) {
	t.Parallel()
	hurried := func(program string) (cmd *exec.Cmd, stdin *os.File, output *strings.Builder) {
		cmd = exec.Command("unshare", "-rm", "/bin/sh", "-c", `mount -t tmpfs none /etc && echo deadline = 10ms >/etc/hugeguard.conf && exec "$0" x prepare begin -`, program)
		read, stdin, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer read.Close()
		output = new(strings.Builder)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = read, output, output
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, stdin, output
	}
	program := hooktest.Program(t)
	if err := os.WriteFile(program+hook.SiteSuffix, []byte("#!/bin/sh\ncat\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd, stdin, output := hurried(program)
	if _, err := stdin.WriteString("<domain>"); err != nil {
		t.Fatal(err)
	}
	for left := 1; left > 0; time.Sleep(time.Millisecond) { // until it is read
		var err error
		if left, err = unix.IoctlGetInt(int(stdin.Fd()), unix.TIOCINQ); err != nil {
			t.Fatal(err)
		}
	}
	// A call that begins now, without a site's hook, ends after the deadline of that one.
	later, open, _ := hurried(hooktest.Program(t))
	if err := later.Wait(); err != nil {
		t.Error(err)
	}
	open.Close()
	if _, err := stdin.WriteString("</domain>"); err != nil {
		t.Error(err)
	}
	stdin.Close()
	if err := cmd.Wait(); err != nil || output.String() != "<domain></domain>" {
		t.Errorf("the site's hook saw %q, %v", output, err)
	}
}

// TestSiteHookWithoutProc: where there is no /proc the site's hook is found by what libvirt called.
func TestSiteHookWithoutProc(t *testing.T) {
	t.Parallel()
	program := hooktest.Program(t)
	if err := os.WriteFile(program+hook.SiteSuffix, []byte("#!/bin/sh\necho called $2\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, operation := range []string{"prepare", "started"} {
		cmd := exec.Command("unshare", "-rm", "/bin/sh", "-c", `mount -t tmpfs none /proc && exec "$0" "$@"`, program, "x", operation, "begin", "-")
		if out, err := cmd.Output(); err != nil || string(out) != "called "+operation+"\n" {
			t.Errorf("%s: %q, %v", operation, out, err)
		}
	}
}
