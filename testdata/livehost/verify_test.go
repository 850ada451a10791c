package livehost

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// proofReport is what the tests read of verify --json.
type proofReport struct {
	Daemon  string
	PID     int
	Canary  struct{ Name, UUID string }
	Called  bool
	Refused bool
	Live    bool
	Told    string
	Summary string
	Libvirt string
	Why     []string
}

// verify runs hugeguard verify, which has to end with that exit status, and returns what it prints. Nothing of the
// canary may be left, and no page may be asked of the pool meanwhile.
func (s *scene) verify(status int) string {
	s.t.Helper()
	s.must(s.build())
	stop, least := make(chan bool), make(chan pool, 1)
	go func() {
		low := pool{free: s.size}
		for {
			if p, err := readPool(); err == nil && (p.free < low.free || p.reserved > low.reserved || p.surplus > low.surplus) {
				low = pool{free: min(p.free, low.free), reserved: max(p.reserved, low.reserved), surplus: max(p.surplus, low.surplus)}
			}
			select {
			case <-stop:
				least <- low
				return
			case <-time.After(200 * time.Microsecond):
			}
		}
	}()
	began := time.Now()
	out := s.command(s.cliLibvirt, status, "verify", "--hook", s.hook)
	s.t.Logf("in %v:\n%s", time.Since(began).Round(time.Millisecond), out)
	close(stop)
	if low := <-least; low != (pool{free: s.size}) {
		s.t.Errorf("the pool of %d pages went down to %+v", s.size, low)
	}
	s.noCanary()
	return out
}

// noCanary checks that nothing is left of any.
func (s *scene) noCanary() {
	s.t.Helper()
	const canary = "hugeguard-verify-"
	if list := s.virsh("list", "--all"); strings.Contains(list, canary) {
		s.t.Errorf("the canary is left:\n%s", list)
	}
	for _, dir := range []string{"/etc", "/var", "/run", "/dev", "/tmp"} {
		filepath.WalkDir(dir, func(name string, _ os.DirEntry, err error) error {
			if err == nil && strings.Contains(filepath.Base(name), canary) {
				s.t.Errorf("%s is left", name)
			}
			return nil
		})
	}
	s.check(s.noTraces())
}

func (s *scene) says(text string, want ...string) {
	s.t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			s.t.Errorf("%q is not in\n%s", w, text)
		}
	}
}

// With the hook in place libvirt's answer is our refusal, whatever the pool.
func TestVerifyLive(t *testing.T) {
	for _, pages := range []int{0, 16} {
		for _, layout := range []string{"main", "drop-in"} {
			t.Run(fmt.Sprint(layout, " ", pages), func(t *testing.T) {
				s := begin(t, pages)
				s.installGuard("--layout", layout)
				out := s.verify(0)
				s.says(out, fmt.Sprintf("hook: live: %s (pid %d) called it for hugeguard-verify-", daemonName, s.libvirtd.pid()), "which it refused\n  it says: hugeguard verify asked for more than there can be: node 0 has ", " needed (")
				if strings.Count(out, "\n") != 2 {
					t.Errorf("it says more:\n%s", out)
				}
				entries := s.guardEntries()
				if len(entries) != 1 {
					t.Fatalf("%d journal entries: %q", len(entries), entries)
				}
				entries[0].want(t, map[string]string{"HUGEGUARD_CANARY": "1", "HUGEGUARD_DECISION": "refuse", "PRIORITY": "3"})
				if text := s.command(s.cli, 0, "status", "--hook", s.hook); strings.Contains(text, "hugeguard-verify") {
					t.Errorf("status has the canary among the refusals:\n%s", text)
				}
				if name := entries[0].one(t, "HUGEGUARD_DOMAIN"); !strings.Contains(out, name+",") {
					t.Errorf("the journal has %s", name)
				}
			})
		}
	}
}

// By another way it says the same.
func TestVerifyJSON(t *testing.T) {
	s := begin(t, 16)
	s.installGuard()
	ask := func(status int) proofReport {
		t.Helper()
		var proofs []proofReport
		s.must(json.Unmarshal([]byte(s.command(s.cliLibvirt, status, "verify", "--json", "--hook", s.hook)), &proofs))
		if len(proofs) != 1 {
			t.Fatalf("%+v", proofs)
		}
		s.noCanary()
		return proofs[0]
	}
	if p := ask(0); !p.Live || !p.Called || !p.Refused || p.Daemon != daemonName || p.PID != s.libvirtd.pid() || len(p.Canary.UUID) != 36 || p.Told != "" || len(p.Why) > 0 {
		t.Errorf("%+v", p)
	}
	// The pool may be in use, and what is asked for is never the same domain.
	d := domain{name: "beside", mib: 16, cells: 1}
	s.define(d)
	s.starts(d)
	first, second := proofReport{}, proofReport{}
	for _, p := range []*proofReport{&first, &second} {
		s.must(json.Unmarshal([]byte(strings.Trim(strings.TrimSpace(s.command(s.cliLibvirt, 0, "verify", "--json", "--hook", s.hook)), "[]")), p))
	}
	if first.Canary == second.Canary || !first.Live || !second.Live || hugePagesOf(s.qemuPID(d)) != 8 {
		t.Errorf("%+v\n%+v", first, second)
	}
	s.virsh("destroy", d.name)
	s.must(os.Chmod(mainHook, 0o644))
	if p := ask(4); p.Live || p.Called || p.Refused || len(p.Why) < 2 || !strings.Contains(p.Libvirt, qemuNoPages) {
		t.Errorf("%+v", p)
	}
}

// Where the refusal does not come back it says why, and QEMU took no page and left nothing. Overcommit makes none.
func TestVerifyNotLive(t *testing.T) {
	s := begin(t, 16)
	s.must(s.build())
	before, err := readInt(overcommitFile)
	s.must(err)
	t.Cleanup(func() { s.check(writeInt(overcommitFile, before)) })
	s.must(writeInt(overcommitFile, 64))

	not := func(when string, want ...string) {
		t.Helper()
		t.Log(when)
		out := s.verify(4)
		s.says(out, append(want, fmt.Sprintf("hook: NOT LIVE: %s (pid %d) was asked to start hugeguard-verify-", daemonName, s.libvirtd.pid()),
			"\n  QEMU ran for a domain that cannot fit", "\n  libvirt says: ", qemuNoPages)...)
		if n := len(s.guardEntries()); n != 0 {
			t.Errorf("%s: the hook made %d journal entries", when, n)
		}
	}
	s.must(s.libvirtd.stop())
	s.must(s.startLibvirtd())
	not("without a hook", "\n  the hook is not installed: hugeguard install\n")

	program, err := os.ReadFile(s.hook)
	s.must(err)
	s.must(os.WriteFile(mainHook, program, 0o755))
	not("placed by hand beside a running daemon", fmt.Sprintf("\n  %s (pid %d) was started before the hook was installed, and was not told: hugeguard install\n", daemonName, s.libvirtd.pid()))
	s.must(os.Remove(mainHook))

	s.installGuard()
	s.must(os.Chmod(mainHook, 0o644))
	not("not executable", "\n  "+mainHook+" is not executable: hugeguard install\n")

	s.must(os.WriteFile(mainHook, []byte("#!/bin/sh\nexit 0\n"), 0o755))
	s.must(os.Chmod(mainHook, 0o755))
	not("replaced", "\n  another program is at "+mainHook+", in place of the hook (layout main): hugeguard install\n")

	s.must(os.Remove(mainHook))
	not("removed", "\n  the hook that was installed at "+mainHook+" (layout main) is gone: hugeguard install\n")

	s.installGuard()
	s.must(mount("/etc/libvirt/hooks", "/etc/libvirt/hooks", "", syscall.MS_BIND, ""))
	t.Cleanup(func() { syscall.Unmount("/etc/libvirt/hooks", syscall.MNT_DETACH) })
	s.must(mount("", "/etc/libvirt/hooks", "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_NOEXEC, ""))
	s.says(s.verify(4), "\n  a hook failed, but not with hugeguard's refusal: it may keep guests from starting\n", "cannot execute binary",
		"\n  "+mainHook+" is on a file system mounted noexec, so libvirt cannot run it: mount -o remount,exec, then run hugeguard install\n")
	if r := s.status(4); r.Hook.Live || len(r.Hook.Why) != 1 {
		t.Errorf("noexec: status says %+v", r.Hook)
	}
	s.must(syscall.Unmount("/etc/libvirt/hooks", 0))

	// What no file tells: the daemon was told of no hook meanwhile.
	s.must(os.Rename(mainHook, "/etc/libvirt/away"))
	looked := s.looked()
	s.must(syscall.Kill(s.libvirtd.pid(), syscall.SIGHUP))
	s.must(s.eventuallyLooked(looked))
	s.must(os.Rename("/etc/libvirt/away", mainHook))
	not("forgotten", "\n  the files are in place, but "+daemonName+" (pid ", ") may not have looked for hooks since then: kill -HUP ")
	s.must(syscall.Kill(s.libvirtd.pid(), syscall.SIGHUP))
	s.must(eventually(func() error { _, err := run(s.cliLibvirt, "verify", "--hook", s.hook); return err }))
	s.noCanary()
}

// A daemon with mounts of its own, as in a container, does not see the hook of the host.
func TestVerifyDaemonWithItsOwnMounts(t *testing.T) {
	s := begin(t, 16)
	s.must(s.libvirtd.stop())
	s.must(s.startLibvirtd("unshare", "--mount", "/bin/sh", "-c", `mount -t tmpfs own /etc/libvirt/hooks && exec "$0"`))
	t.Cleanup(func() {
		s.check(s.libvirtd.stop())
		s.check(s.startLibvirtd())
	})
	s.installGuard()
	want := fmt.Sprintf("  %s (pid %d) does not see this %s: it runs in a container or has its own mounts. Install the hook there too\n", daemonName, s.libvirtd.pid(), mainHook)
	s.says(s.command(s.cli, 4, "status", "--hook", s.hook), "hook: NOT LIVE\n"+want)
	s.says(s.verify(4), "\n"+want)
}

// A hook that others than root can change is said; libvirt calls it all the same.
func TestStatusOfAHookOfOthers(t *testing.T) {
	s := begin(t, 16)
	s.installGuard()
	for _, change := range []func() error{
		func() error { return os.Chmod(mainHook, 0o775) },
		func() error { s.installGuard(); return os.Chown(mainHook, 65534, 0) },
	} {
		s.must(change())
		if r := s.status(0); !r.Hook.Live || len(r.Hook.Why) != 1 || r.Hook.Why[0] != "root runs "+mainHook+", but others can change it: hugeguard install" {
			t.Errorf("%+v", r.Hook)
		}
	}
	s.installGuard() // puts it right
	if r := s.status(0); !r.Hook.Live || len(r.Hook.Why) != 0 {
		t.Errorf("%+v", r.Hook)
	}
}

// A hook of others that fails is not ours; one that fails beside ours hides nothing.
func TestVerifyBesideOthers(t *testing.T) {
	s := begin(t, 16)
	s.must(s.build())
	s.must(os.WriteFile(mainHook, []byte("#!/bin/sh\necho out of order >&2\nexit 3\n"), 0o755))
	t.Cleanup(func() { os.Remove(mainHook) })
	s.must(s.libvirtd.stop())
	s.must(s.startLibvirtd())
	out := s.verify(4)
	s.says(out, "\n  a hook failed, but not with hugeguard's refusal: it may keep guests from starting\n", "\n  the hook is not installed: hugeguard install\n", "out of order")
	s.installGuard("--layout", "drop-in")
	s.says(s.verify(0), "which it refused\n  it says: hugeguard verify asked for more than there can be: node 0 has ")
}

// A hook that is told to refuse nothing is live if it says what it would; one that does nothing proves nothing.
func TestVerifyConfigured(t *testing.T) {
	s := begin(t, 16)
	s.installGuard()
	for conf, want := range map[string][]string{
		"mode = warn":                   {"hook: live, but set to refuse nothing here (mode = warn): " + daemonName + " (pid ", "\n  it says: hugeguard verify asked for more than there can be: node 0 has ", qemuNoPages},
		"exempt = hugeguard-* [a-b]":    {"hook: live, but set to refuse nothing here (exempt by pattern hugeguard-*): " + daemonName + " (pid ", "; allowed: exempt by pattern hugeguard-*", qemuNoPages},
		"exempt = other\nfail = closed": {"hook: live: " + daemonName + " (pid ", "which it refused"},
	} {
		s.configure(conf)
		s.says(s.verify(0), want...)
	}
	before := len(s.guardEntries())
	s.configure("mode = off")
	s.says(s.verify(4), "hook: NOT LIVE\n  it is set to do nothing (mode = off in /etc/hugeguard.conf), so nothing shows whether libvirt calls it\n")
	if n := len(s.guardEntries()); n != before {
		t.Errorf("mode off: %d entries more", n-before)
	}
}

// A hook that is called and cannot judge proves nothing good.
func TestVerifyFault(t *testing.T) {
	s := begin(t, 16)
	s.installGuard()
	s.configure("deadline = 10ms")
	// Somebody who slows the program's reads keeps it from an answer in time.
	s.must(os.Remove(mainHook))
	s.must(os.WriteFile(mainHook, []byte("#!/bin/sh\nsleep 0.3 | "+s.hook+" \"$@\"\n"), 0o755))
	t.Cleanup(func() { os.Remove(mainHook) })
	s.must(os.Chmod(mainHook, 0o755))
	s.says(s.verify(4), "hook: NOT LIVE: "+daemonName+" (pid ", "\n  it says: hugeguard could not judge the start of hugeguard-verify-", "\n  libvirt calls the hook, but the hook could not judge the start: ")
}

// A daemon that takes the connection and never answers, and a start that takes long, are left when verify is told to
// end: with its own error, and with nothing left of the canary.
func TestVerifyStopped(t *testing.T) {
	s := begin(t, 16)
	s.installGuard()
	// stopped runs verify, tells it to end when it waits, and lets go of what it waits for.
	stopped := func(want string, waits func(pid int) error, letGo func()) {
		t.Helper()
		cmd := exec.Command(s.cliLibvirt, "verify", "--hook", s.hook)
		cmd.Env = cleanEnv()
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		s.must(cmd.Start())
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		s.must(eventually(func() error {
			select {
			case err := <-ended:
				return stop{fmt.Errorf("it did not wait: %v, %s%s", err, &out, &errs)}
			default:
				return waits(cmd.Process.Pid)
			}
		}))
		s.must(cmd.Process.Signal(syscall.SIGTERM))
		s.must(eventually(func() error { return heeded(cmd.Process.Pid) }))
		letGo()
		select {
		case <-ended:
		case <-time.After(patience):
			cmd.Process.Kill()
			<-ended
			t.Error("it did not end")
		}
		if status := cmd.ProcessState.ExitCode(); status != 1 || !strings.Contains(errs.String(), want) || out.Len() > 0 {
			t.Errorf("exit status %d, %s%s; want %q", status, &out, &errs, want)
		}
	}
	pid := s.libvirtd.pid()
	s.must(syscall.Kill(pid, syscall.SIGSTOP))
	t.Cleanup(func() { syscall.Kill(pid, syscall.SIGCONT) })
	stopped("hugeguard: libvirt did not answer qemu:///system within ", connected, func() {})
	s.must(syscall.Kill(pid, syscall.SIGCONT))
	s.noCanary()

	called, held := s.path("called"), s.path("held")
	s.must(os.WriteFile(held, nil, 0o644))
	s.must(os.WriteFile(mainHook, []byte("#!/bin/sh\necho \"$2\" >>"+called+"\nwhile [ \"$2\" = prepare ] && [ -e "+held+" ]; do sleep 0.02; done\n"), 0o755))
	t.Cleanup(func() { os.Remove(mainHook); os.Remove(held) })
	stopped("hugeguard: interrupted\n", func(int) error { _, err := os.Stat(called); return err }, func() { os.Remove(held) })
	s.noCanary()
	if text, err := os.ReadFile(called); err != nil || !strings.HasPrefix(string(text), "prepare\nstart\n") {
		t.Errorf("the hook was called for %q, %v: QEMU was not run", text, err)
	}
}

// connected reports, as an error, that a process has no connection yet.
func connected(pid int) error {
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range fds {
		if to, _ := os.Readlink(fd); strings.HasPrefix(to, "socket:") {
			return nil
		}
	}
	return fmt.Errorf("process %d has no socket among %d files", pid, len(fds))
}

// heeded reports, as an error, that a signal to a process has not been delivered yet.
func heeded(pid int) error {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if os.IsNotExist(err) {
		return nil
	}
	if err == nil && !strings.Contains(string(status), "\nShdPnd:\t0000000000000000\n") {
		err = fmt.Errorf("process %d has a signal pending", pid)
	}
	return err
}

// What keeps it from asking at all is its own error.
func TestVerifyCannotAsk(t *testing.T) {
	s := begin(t, 16)
	s.installGuard()
	expect := func(program, want string) {
		t.Helper()
		_, err := run(program, "verify", "--hook", s.hook)
		if exitStatus(err) != 1 || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	expect(s.cli, "built without libvirt's library")

	s.must(s.libvirtd.stop())
	expect(s.cliLibvirt, "no libvirt daemon runs: systemctl start libvirtd (or virtqemud)")
	s.must(s.startLibvirtd())

	// The program for a machine with libvirt, on one without.
	libraries, err := filepath.Glob("/usr/lib/*/libvirt.so.0*")
	s.must(err)
	for _, name := range libraries {
		s.must(os.Rename(name, filepath.Dir(name)+"/away-"+filepath.Base(name)))
	}
	expect(s.cliLibvirt, "libvirt's library is not on this machine (Debian: libvirt0; RPM: libvirt-libs): ")
	for _, name := range libraries {
		s.must(os.Rename(filepath.Dir(name)+"/away-"+filepath.Base(name), name))
	}

	s.must(syscall.Unmount(hugetlbfs, 0))
	t.Cleanup(func() { s.check(mount("hugetlbfs", hugetlbfs, "hugetlbfs", 0, "pagesize=2M")) })
	expect(s.cliLibvirt, "no hugetlbfs is mounted")
}
