package livehost

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What never answers: a file system whose server is stopped, a database that is stopped.

// soon has the guard wait for these no longer than it takes to judge on a machine that has other work.
const soon = "deadline = 5s"

// A configuration that cannot be read in time hides its mode, so nothing is refused, and what there is to say is said
// in time.
func TestConfigurationHangs(t *testing.T) {
	s := begin(t, 32)
	s.configure("mode = off")
	h := s.hang(configuration)
	fits, lacks := domain{name: "fits", mib: 64, cells: 1}, domain{name: "lacks", mib: 128, cells: 1}
	r := s.callHook(strings.NewReader(fits.xml()), fits.name, "prepare", "begin", "-")
	r.lets(t)
	s.callHook(strings.NewReader(""), fits.name, "stopped", "end", "-").lets(t)
	r = s.callHook(strings.NewReader(lacks.xml()), lacks.name, "prepare", "begin", "-")
	r.lets(t)
	s.callHook(strings.NewReader(""), lacks.name, "stopped", "end", "-").lets(t)
	if h.requests.Load() < 2 {
		t.Errorf("the file system was asked %d times", h.requests.Load())
	}
	entries := s.guardEntries()
	if len(entries) != 3 {
		t.Fatalf("%d entries in the journal: %q", len(entries), entries)
	}
	for _, e := range entries[:2] {
		if m := e.one(t, "MESSAGE"); !strings.Contains(m, "the configuration cannot be read, so hugeguard refuses nothing") {
			t.Errorf("MESSAGE=%q", m)
		}
	}
	if m := entries[2].one(t, "MESSAGE"); !strings.HasPrefix(m, "would refuse: ") || !strings.Contains(m, "64 needed") {
		t.Errorf("MESSAGE=%q", m)
	}
}

// Settings that others than root can have written are not followed.
func TestConfigurationOfOthers(t *testing.T) {
	const name = configuration
	d := domain{name: "lacks", mib: 128, cells: 1}
	for how, change := range map[string]func(elsewhere string) error{
		"writable by all":         func(string) error { return os.Chmod(name, 0o646) },
		"writable by a group":     func(string) error { return os.Chmod(name, 0o664) },
		"somebody's":              func(string) error { return os.Chown(name, 65534, 65534) },
		"a link to somebody's":    func(to string) error { return join(os.Rename(name, to), os.Chown(to, 65534, 0), os.Symlink(to, name)) },
		"a link to nowhere known": func(string) error { return join(os.Remove(name), os.Symlink("hugeguard.conf", name)) },
		"a FIFO":                  func(string) error { return join(os.Remove(name), unix.Mkfifo(name, 0o600)) },
		"a folder":                func(string) error { return join(os.Remove(name), os.Mkdir(name, 0o700)) },
	} {
		t.Run(how, func(t *testing.T) {
			s := begin(t, 32)
			s.configure("mode = off")
			t.Cleanup(func() { os.Remove("/etc/hugeguard.elsewhere") })
			s.must(change("/etc/hugeguard.elsewhere"))
			r := s.callHook(strings.NewReader(d.xml()), d.name, "prepare", "begin", "-")
			entries := s.guardEntries()
			if r.status != 1 || !strings.Contains(r.stderr, "64 needed") || len(entries) != 2 {
				t.Fatalf("exit status %d, %q, journal %q; want the refusal and a warning", r.status, r.stderr, entries)
			}
			if m := entries[0].one(t, "MESSAGE"); !strings.Contains(m, "ignores the configuration and uses mode = enforce") || !strings.Contains(m, name) {
				t.Errorf("MESSAGE=%q", m)
			}
			entries[0].want(t, map[string]string{"PRIORITY": "4"})
		})
	}
	t.Run("root's", func(t *testing.T) {
		s := begin(t, 32)
		s.configure("mode = off")
		s.callHook(strings.NewReader(d.xml()), d.name, "prepare", "begin", "-").lets(t)
		if entries := s.guardEntries(); len(entries) > 0 {
			t.Errorf("journal: %q", entries)
		}
	})
}

func join(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Nothing that is only asked for its word keeps the verdict from being given in time, nor the caller from seeing the
// end: Nova's configuration, libvirt's, what libvirt knows of releases, a process's own files, a database or a journal
// that is stopped.
func TestVerdictStandsWhereOthersHang(t *testing.T) {
	fits, d := domain{name: "fits", mib: 32, cells: 1}, domain{name: "lacks", mib: 128, cells: 1}
	stands := func(t *testing.T, s *scene, lets hookRun, h *hung, settled int64) {
		t.Helper()
		lets.lets(t)
		before := h.requests.Load()
		if before != settled {
			t.Errorf("%d requests for a start that there is room for, want %d", before, settled)
		}
		s.callHook(nil, fits.name, "stopped", "end", "-").lets(t)
		r := s.callHook(strings.NewReader(d.xml()), d.name, "prepare", "begin", "-")
		t.Logf("exit status %d after %v: %s", r.status, r.took.Round(time.Millisecond), r.stderr)
		if r.status != 1 || !strings.Contains(r.stderr, "64 needed") {
			t.Errorf("exit status %d after %v, %q; want the refusal", r.status, r.took, r.stderr)
		}
		if h.requests.Load() == 0 {
			t.Error("nobody asked the file system") // who asks the same as one before waits with it
		}
		if entries := s.guardEntries(); len(entries) != 1 {
			t.Errorf("%d entries in the journal: %q", len(entries), entries)
		}
	}
	fit := func(s *scene) hookRun {
		return s.callHook(strings.NewReader(fits.xml()), fits.name, "prepare", "begin", "-")
	}
	for name, settled := range map[string]int64{
		"/etc/nova": 0, "/var/cache/libvirt/qemu/capabilities": 0, "/run/openvswitch": 0,
		"/etc/libvirt/qemu.conf": 1, // whether it matters is not known without the child
	} {
		t.Run(strings.TrimPrefix(name, "/"), func(t *testing.T) {
			s := begin(t, 32)
			s.configure(soon)
			if _, err := os.Stat(name); err != nil {
				s.must(os.MkdirAll(name, 0o755))
				s.t.Cleanup(func() { os.Remove(name) })
			}
			s.hold("packetmover", touched, 8)
			h := s.hang(name)
			stands(t, s, fit(s), h, settled)
		})
	}
	t.Run("the root of a nova-compute", func(t *testing.T) {
		s := begin(t, 32)
		s.configure(soon)
		s.must(os.MkdirAll("/etc/nova", 0o755))
		t.Cleanup(func() { os.Remove("/etc/nova") })
		h := s.hang("/etc/nova")
		// Its mounts are a copy, from which ours is then gone.
		s.runs("nova-compute", process{unshare: syscall.CLONE_NEWNS}, "nova-compute", "--config-file", "/etc/nova/nova.conf")
		s.must(unix.Unmount("/etc/nova", unix.MNT_DETACH))
		s.must(mount("none", "/etc/nova", "tmpfs", 0, "")) // for the end of the test to unmount
		stands(t, s, fit(s), h, 0)
	})
	t.Run("FIFOs", func(t *testing.T) {
		s := begin(t, 32)
		s.configure(soon)
		for _, name := range []string{"/etc/nova/nova.conf", "/etc/libvirt/qemu.conf", "/run/openvswitch/db.sock", "/run/openvswitch/ovs-vswitchd.pid"} {
			s.must(os.MkdirAll(filepath.Dir(name), 0o755))
			saved := name + ".saved"
			had := os.Rename(name, saved) == nil
			s.must(unix.Mkfifo(name, 0o600))
			t.Cleanup(func() {
				if s.check(os.Remove(name)); had {
					s.check(os.Rename(saved, name))
				}
			})
		}
		fit(s).lets(t)
		s.callHook(nil, fits.name, "stopped", "end", "-").lets(t)
		r := s.callHook(strings.NewReader(d.xml()), d.name, "prepare", "begin", "-")
		if r.status != 1 || !strings.Contains(r.stderr, "64 needed") {
			t.Errorf("exit status %d after %v, %q; want the refusal", r.status, r.took, r.stderr)
		}
	})
	t.Run("a frozen process", func(t *testing.T) {
		s := begin(t, 64)
		s.configure(soon)
		h := s.hold("packetmover", touched, 40)
		s.freeze(h.pid())
		r := s.callHook(strings.NewReader(d.xml()), d.name, "prepare", "begin", "-")
		if r.status != 1 || !strings.Contains(r.stderr, "packetmover") {
			t.Errorf("exit status %d after %v, %q; want the refusal that names it", r.status, r.took, r.stderr)
		}
	})
	t.Run("a stopped journal", func(t *testing.T) {
		s := begin(t, 32)
		s.configure(soon)
		s.must(syscall.Kill(s.journald.pid(), syscall.SIGSTOP))
		defer syscall.Kill(s.journald.pid(), syscall.SIGCONT)
		full, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		s.must(err)
		defer unix.Close(full)
		for err = nil; err == nil; {
			err = unix.Sendto(full, []byte("MESSAGE=x\n"), 0, &unix.SockaddrUnix{Name: "/run/systemd/journal/socket"})
		}
		if err != unix.EAGAIN {
			t.Fatal(err)
		}
		r := s.callHook(strings.NewReader(d.xml()), d.name, "prepare", "begin", "-")
		if r.status != 1 || !strings.Contains(r.stderr, "64 needed") {
			t.Errorf("exit status %d after %v, %q; want the refusal", r.status, r.took, r.stderr)
		}
	})
	t.Run("as libvirt calls it", func(t *testing.T) {
		s := begin(t, 32)
		s.configure(soon)
		s.installGuard()
		s.define(d)
		s.must(os.MkdirAll("/etc/nova", 0o755))
		t.Cleanup(func() { os.Remove("/etc/nova") })
		h := s.hang("/etc/nova")
		// Each would keep a thread of libvirtd's.
		for range 3 {
			_, took, err := s.start(d)
			if err == nil || !strings.Contains(err.Error(), "64 needed") {
				t.Errorf("after %v: %v; want the refusal", took, err)
			}
		}
		if h.requests.Load() == 0 {
			t.Error("nobody asked the file system")
		}
	})
	t.Run("the command says what it does not know", func(t *testing.T) {
		s := begin(t, 32)
		s.installGuard()
		s.must(os.MkdirAll("/etc/nova", 0o755))
		t.Cleanup(func() { os.Remove("/etc/nova") })
		h := s.hang("/etc/nova")
		status := exec.Command(s.cli, "status")
		status.Env = cleanEnv()
		stdout, err := status.StdoutPipe()
		s.must(err)
		s.must(status.Start())
		// It has said all when it waits: the kernel ends no thread that waits for that file system.
		said := bufio.NewScanner(stdout)
		for said.Scan() && !strings.Contains(said.Text(), "not known in time") {
		}
		if !strings.Contains(said.Text(), "Nova") || h.requests.Load() == 0 {
			t.Errorf("it says %q (%v)", said.Text(), said.Err())
		}
		h.abort()
		io.Copy(io.Discard, stdout)
		s.check(status.Wait())
	})
	t.Run("a process that does not show itself", func(t *testing.T) {
		s := begin(t, 64)
		s.configure(soon)
		h := s.hold("packetmover", touched, 40)
		s.hangKillably(fmt.Sprintf("/proc/%d/numa_maps", h.pid()))
		r := s.callHook(strings.NewReader(d.xml()), d.name, "prepare", "begin", "-")
		if r.status != 1 || !strings.Contains(r.stderr, "64 needed") || r.took < time.Second {
			t.Errorf("exit status %d after %v, %q; want the refusal by the counters", r.status, r.took, r.stderr)
		}
	})
	t.Run("a stopped database", func(t *testing.T) {
		s := begin(t, 256)
		s.configure(soon)
		ovs := s.ovsHolds(ovsVswitchd, 24)
		for _, pid := range append(processes("/usr/sbin/ovsdb-server"), ovs.pid()) {
			s.must(syscall.Kill(pid, syscall.SIGSTOP))
			defer syscall.Kill(pid, syscall.SIGCONT)
		}
		r := s.callHook(strings.NewReader(d.xml()), d.name, "prepare", "begin", "-")
		if r.status != 1 || !strings.Contains(r.stderr, "OVS-DPDK") {
			t.Errorf("exit status %d after %v, %q; want the refusal that names Open vSwitch", r.status, r.took, r.stderr)
		}
	})
}

// A starting guest whose QEMU shows nothing costs the others neither their verdict nor their entry in the ledger.
func TestStartingGuestHangs(t *testing.T) {
	s := begin(t, 96)
	s.configure(soon)
	prepare := func(d domain) hookRun { return s.callHook(strings.NewReader(d.xml()), d.name, "prepare", "begin", "-") }
	first, fits, lacks := domain{name: "first", mib: 128, cells: 1}, domain{name: "fits", mib: 96, cells: 1}, domain{name: "lacks", mib: 256, cells: 1}
	prepare(first).lets(t)
	time.Sleep(100 * time.Millisecond) // QEMU is told by having begun later
	qemu := s.hold("qemu-of-first", touched, 8)
	pidFile := "/run/libvirt/qemu/first.pid"
	s.must(os.WriteFile(pidFile, []byte(itoa(qemu.pid())), 0o644))
	t.Cleanup(func() { os.Remove(pidFile) })
	s.hangKillably(fmt.Sprintf("/proc/%d/numa_maps", qemu.pid()))
	r := prepare(fits)
	r.lets(t)
	entries := s.guardEntries()
	if len(entries) != 1 || !strings.Contains(entries[0].one(t, "MESSAGE"), "there was no time to see what these have taken: first") {
		t.Errorf("journal: %q", entries)
	}
	ledger, err := os.ReadFile("/run/hugeguard/claims")
	s.must(err)
	if !strings.Contains(string(ledger), `"first"`) || !strings.Contains(string(ledger), `"fits"`) {
		t.Errorf("the ledger has %s", ledger)
	}
	if r := prepare(lacks); r.status != 1 || !strings.Contains(r.stderr, "128 needed") {
		t.Errorf("exit status %d, %q; want the refusal", r.status, r.stderr)
	}
	for _, d := range []domain{first, fits} {
		s.callHook(nil, d.name, "stopped", "end", "-").lets(t)
	}
}
