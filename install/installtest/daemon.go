package installtest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// A Daemon is a process that is called as a libvirt daemon is and says when it is hung up.
type Daemon struct {
	PID   int
	lines chan string
}

// Catches has a [Daemon] catch the signal.
const Catches = "trap 'echo hung up' HUP"

// StartDaemon starts a process called name with its pid file below root, where /proc is the real one. Asked by SIGUSR1
// it runs the commands asked, and says that it was. A shell runs what it traps in the order of the signals' numbers:
// what SIGHUP has it say comes first if that was sent first.
func StartDaemon(t testing.TB, root, name, first, asked string) *Daemon {
	t.Helper()
	if signal.Ignored(syscall.SIGHUP) { // by nohup(1): then a shell cannot catch it
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	program := filepath.Join(t.TempDir(), name)
	if err := os.Symlink("/bin/sh", program); err != nil { // the kernel names a process by the link
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-c", fmt.Sprintf(
		"trap \"%s; echo asked\" USR1\n%s\necho up\nsleep 86400 & while :; do wait; done", asked, first))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // to end with what it runs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d := &Daemon{PID: cmd.Process.Pid, lines: make(chan string, 100)}
	t.Cleanup(func() {
		syscall.Kill(-d.PID, syscall.SIGKILL)
		cmd.Wait()
	})
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			d.lines <- s.Text()
		}
		close(d.lines)
	}()
	d.Expect(t, "up")
	Write(t, root+"/run/"+name+".pid", strconv.Itoa(d.PID)+"\n")
	return d
}

// Expect waits for the next line that the daemon says.
func (d *Daemon) Expect(t testing.TB, want string) {
	t.Helper()
	select {
	case got, ok := <-d.lines:
		if !ok || got != want {
			t.Fatalf("the daemon says %q (running: %v), want %q", got, ok, want)
		}
	case <-time.After(5 * time.Minute):
		t.Fatalf("the daemon does not say %q", want)
	}
}

// Silent fails the test if the daemon has said anything, or has ended.
func (d *Daemon) Silent(t testing.TB) {
	t.Helper()
	if err := syscall.Kill(d.PID, syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	d.Expect(t, "asked")
}

// Write writes a file, and makes its directory.
func Write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
