package livehost

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hugeguard/hook/ledger"
)

// points is at how many system calls of its run, spread evenly from the first to the last, the hook is killed.
const points = 240

// A hook that is killed by SIGKILL at any step of its run leaves the ledger as it was or as it was to be,
// and no lock; when libvirt says that the start is over, as it does after a hook that failed, nothing is
// left of it.
func TestKilledAtEveryStep(t *testing.T) {
	s := begin(t, 64)
	s.installGuard()
	const hook = "/etc/libvirt/hooks/qemu"
	call := func(d domain, operation, sub string) hookRun {
		t.Helper()
		return s.callProgram(strings.NewReader(d.xml()), hook, d.name, operation, sub, "-")
	}
	claimed := func() string {
		t.Helper()
		text, err := os.ReadFile("/run/hugeguard/claims")
		if os.IsNotExist(err) {
			return ""
		}
		s.must(err)
		boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
		s.must(err)
		l, err := ledger.Parse(text, strings.TrimSpace(string(boot)))
		s.must(err)
		var names []string
		for _, c := range l.Claims {
			names = append(names, c.Name)
		}
		return strings.Join(names, " ")
	}
	settled := domain{name: "settled", mib: 32, cells: 1} // 16 pages, starting all the while
	killed := domain{name: "killed", mib: 64, cells: 1}   // 32
	next := domain{name: "next", mib: 64, cells: 1}       // 32: it fits beside one of them
	call(settled, "prepare", "begin").lets(t)

	prepare := []string{hook, killed.name, "prepare", "begin", "-"}
	all := 0 // of a whole run; they are not as many each time
	for range 5 {
		n, ended, err := s.killAt(1<<30, killed, prepare...)
		s.must(err)
		all = max(all, n)
		if got := claimed(); !ended || got != "settled killed" {
			t.Fatalf("after a whole run the ledger has %q", got)
		}
		call(killed, "stopped", "end").lets(t)
	}
	began := time.Now()
	states := map[string]int{}
	for i := range points {
		at := 1 + i*(all-1)/(points-1)
		_, ended, err := s.killAt(at, killed, prepare...)
		s.must(err)
		state := claimed()
		if ended {
			state += ", not killed"
		}
		states[state]++
		state, _, _ = strings.Cut(state, ",")
		if state != "settled" && state != "settled killed" {
			t.Errorf("killed at %d of %d: the ledger has %q", at, all, state)
		}
		dir, err := unix.Open("/run/hugeguard", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		s.must(err)
		if err := unix.Flock(dir, unix.LOCK_EX|unix.LOCK_NB); err != nil {
			t.Errorf("killed at %d of %d: the ledger is locked: %v", at, all, err)
		}
		unix.Close(dir)
		if state == "settled killed" {
			// To the guard it starts: that is what its word would have meant.
			if r := call(next, "prepare", "begin"); r.status != 1 || !strings.Contains(r.stderr, "killed") {
				t.Errorf("killed at %d of %d, claimed: exit status %d, %q", at, all, r.status, r.stderr)
			}
		}
		call(killed, "stopped", "end").lets(t)
		if got := claimed(); got != "settled" {
			t.Errorf("killed at %d of %d, and over: the ledger has %q", at, all, got)
		}
		call(next, "prepare", "begin").lets(t)
		call(next, "stopped", "end").lets(t)
		if t.Failed() {
			break
		}
	}
	t.Logf("%d system calls; killed at %d of them in %v: the ledger had %v", all, points, time.Since(began).Round(time.Millisecond), states)
	if states["settled"] < 50 || states["settled killed"] == 0 || states["settled, not killed"] > 0 {
		t.Errorf("what was seen is %v", states)
	}
	call(settled, "stopped", "end").lets(t)
	left, _ := filepath.Glob("/run/hugeguard/claims*")
	if len(left) > 0 {
		t.Errorf("%q are left", left)
	}
}

// killAt runs a program with a domain's XML on its standard input and kills it when its threads together have
// come to that many system calls, or have left them. It returns how many there were, and whether it had ended
// before.
func (s *scene) killAt(point int, d domain, argv ...string) (calls int, ended bool, err error) {
	file := s.path("killed.xml")
	if err := os.WriteFile(file, []byte(d.xml()), 0o600); err != nil {
		return 0, false, err
	}
	stdin, err := os.Open(file)
	if err != nil {
		return 0, false, err
	}
	defer stdin.Close()
	// A tracer is a thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdin = cleanEnv(), "/", stdin
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return 0, false, err
	}
	pid := cmd.Process.Pid
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, 0, nil); err != nil {
		return 0, false, err
	}
	if err := unix.PtraceSetOptions(pid, unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_EXITKILL); err != nil {
		return 0, false, err
	}
	for thread := pid; ; {
		signal := 0
		switch {
		case !status.Stopped():
		case status.StopSignal() == syscall.SIGTRAP|0x80:
			if calls++; calls == point {
				unix.Kill(pid, unix.SIGKILL)
			}
		case status.StopSignal() != syscall.SIGTRAP && status.StopSignal() != syscall.SIGSTOP:
			signal = int(status.StopSignal())
		}
		if status.Stopped() {
			// One that is killed meanwhile is no more.
			if err := unix.PtraceSyscall(thread, signal); err != nil && err != unix.ESRCH {
				return calls, false, err
			}
		}
		if thread, err = unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil); err != nil && err != unix.EINTR {
			return calls, false, err
		}
		if thread != pid || status.Stopped() {
			continue
		}
		if calls < point && (!status.Exited() || status.ExitStatus() != 0) {
			return calls, false, fmt.Errorf("it ended by itself: %#x", uint32(status))
		}
		cmd.Process.Release()
		return calls, status.Exited(), nil
	}
}
