package livehost

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What never answers: a file system whose server is stopped, a database that is stopped.

// soon has the guard wait for these no longer than it takes to judge on a machine that has other work.
const soon = "deadline = 5s"

// hang makes whoever opens name wait, as a file system does whose server is gone: until it is killed.
func (s *scene) hang(name string) {
	s.t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		s.must(unix.Mknod("/dev/fuse", unix.S_IFCHR|0o600, int(unix.Mkdev(10, 229))))
	}
	fuse, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	s.must(err)
	mode := unix.S_IFDIR
	if info, err := os.Stat(name); err == nil && !info.IsDir() {
		mode = unix.S_IFREG
	}
	// Nobody reads the requests.
	s.must(mount("hung", name, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=%o,user_id=0,group_id=0", fuse, mode)))
	s.t.Cleanup(func() {
		s.check(unix.Unmount(name, unix.MNT_DETACH))
		unix.Close(fuse)
	})
}

// A configuration that cannot be read in time hides its mode, so nothing is refused, and what there is to say is said
// in time.
func TestConfigurationHangs(t *testing.T) {
	s := begin(t, 32)
	s.configure("mode = off")
	s.hang(configuration)
	fits, lacks := domain{name: "fits", mib: 64, cells: 1}, domain{name: "lacks", mib: 128, cells: 1}
	r := s.callHook(strings.NewReader(fits.xml()), fits.name, "prepare", "begin", "-")
	r.lets(t)
	s.callHook(strings.NewReader(""), fits.name, "stopped", "end", "-").lets(t)
	r = s.callHook(strings.NewReader(lacks.xml()), lacks.name, "prepare", "begin", "-")
	r.lets(t)
	s.callHook(strings.NewReader(""), lacks.name, "stopped", "end", "-").lets(t)
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
			if m := entries[0].one(t, "MESSAGE"); !strings.Contains(m, "not followed") || !strings.Contains(m, name) {
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

// Nothing that is only asked for its word keeps the verdict from being given in time: Nova's configuration,
// what libvirt knows of releases, a database that is stopped.
func TestVerdictStandsWhereOthersHang(t *testing.T) {
	d := domain{name: "lacks", mib: 128, cells: 1}
	for _, name := range []string{"/etc/nova", "/etc/libvirt/qemu.conf", "/var/cache/libvirt/qemu/capabilities", "/run/openvswitch"} {
		t.Run(strings.TrimPrefix(name, "/"), func(t *testing.T) {
			s := begin(t, 32)
			s.configure(soon)
			if _, err := os.Stat(name); err != nil {
				s.must(os.MkdirAll(name, 0o755))
				s.t.Cleanup(func() { os.Remove(name) })
			}
			h := s.hold("packetmover", touched, 8)
			defer h.release()
			s.hang(name)
			r := s.callHook(strings.NewReader(d.xml()), d.name, "prepare", "begin", "-")
			t.Logf("exit status %d after %v: %s", r.status, r.took.Round(time.Millisecond), r.stderr)
			if entries := s.guardEntries(); len(entries) != 1 {
				t.Errorf("%d entries in the journal: %q", len(entries), entries)
			}
			if name == "/etc/libvirt/qemu.conf" {
				return // it decides what the mounts are
			}
			if r.status != 1 || !strings.Contains(r.stderr, "64 needed") {
				t.Errorf("exit status %d, %q; want the refusal", r.status, r.stderr)
			}
		})
	}
	t.Run("a process that does not show itself", func(t *testing.T) {
		s := begin(t, 64)
		s.configure(soon)
		h := s.hold("packetmover", touched, 40)
		s.hang(fmt.Sprintf("/proc/%d/numa_maps", h.pid()))
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
		if r.status != 1 || !strings.Contains(r.stderr, "Open vSwitch") {
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
	s.hang(fmt.Sprintf("/proc/%d/numa_maps", qemu.pid()))
	r := prepare(fits)
	r.lets(t)
	entries := s.guardEntries()
	if len(entries) != 1 || !strings.Contains(entries[0].one(t, "MESSAGE"), "could not be seen in time: first") {
		t.Errorf("journal: %q", entries)
	}
	ledger, err := os.ReadFile("/run/hugeguard/claims.json")
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
