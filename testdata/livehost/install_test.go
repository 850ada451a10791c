package livehost

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A daemon that runs has to be told of a first hook: install does that, without a restart, and uninstall
// tells it again.
func TestRunningDaemonNotices(t *testing.T) {
	for _, layout := range []struct{ name, file string }{
		{"main", mainHook},
		{"drop-in", dropIn},
	} {
		t.Run(layout.name, func(t *testing.T) {
			s := begin(t, 16)
			// This daemon has never seen a hook.
			s.must(s.libvirtd.stop())
			s.must(s.startLibvirtd())
			pid := s.libvirtd.pid()
			d := domain{name: "noticed", mib: 64, cells: 1}
			s.define(d)

			// Counter-proof: the program alone in its place is not enough.
			s.must(s.build())
			program, err := os.ReadFile(s.hook)
			s.must(err)
			s.must(os.MkdirAll(filepath.Dir(layout.file), 0o755))
			s.must(os.WriteFile(layout.file, program, 0o755))
			s.failsInQEMU(d)
			s.must(os.Remove(layout.file))
			os.Remove(hookDir)

			// Not once by luck: the signal is not waited for by libvirtd.
			for range 5 {
				s.installGuard("--layout", layout.name)
				s.refused(d)
				s.uninstallGuard()
				s.failsInQEMU(d)
			}
			if !s.libvirtd.running() || s.libvirtd.pid() != pid {
				t.Errorf("libvirtd is not the process that it was")
			}
		})
	}
}

// failsInQEMU starts the domain, which the guard must have no part in and QEMU cannot survive.
func (s *scene) failsInQEMU(d domain) {
	s.t.Helper()
	before := len(s.guardEntries())
	s.launches(d)
	_, _, err := s.start(d)
	if !s.died(d, err, qemuNoPages) {
		s.t.Errorf("start: %v; want QEMU's %q", err, qemuNoPages)
	}
	if n := s.launches(d); n != 1 {
		s.t.Errorf("QEMU was run %d times, want 1", n)
	}
	if n := len(s.guardEntries()) - before; n != 0 {
		s.t.Errorf("%d journal entries of a guard that is not there", n)
	}
}

// Install and uninstall leave running guests alone, and may be done again.
func TestInstallBesideRunningGuests(t *testing.T) {
	s := begin(t, 32)
	d := domain{name: "bystander", mib: 64, cells: 1}
	s.define(d)
	_, _, err := s.start(d)
	s.must(err)
	pid := s.qemuPID(d)
	s.installGuard()
	s.installGuard()
	s.uninstallGuard()
	s.uninstallGuard()
	if err := syscall.Kill(pid, 0); err != nil || s.qemuPID(d) != pid || hugePagesOf(pid) != 32 {
		t.Errorf("the guest was pid %d with 32 pages: %v, now %d with %d", pid, err, s.qemuPID(d), hugePagesOf(pid))
	}
	if state := strings.TrimSpace(s.virsh("domstate", d.name)); state != "paused" {
		t.Errorf("the guest is %q", state)
	}
}

// The configuration makes of a refusal a warning, or nothing.
func TestConfiguredModes(t *testing.T) {
	s := begin(t, 16)
	s.installGuard()
	d := domain{name: "warned", mib: 64, cells: 1}
	s.define(d)

	s.configure("mode = warn")
	if _, _, err := s.start(d); !s.died(d, err, qemuNoPages) {
		t.Errorf("mode warn: start: %v; want QEMU's %q", err, qemuNoPages)
	}
	entries := s.guardEntries()
	if len(entries) != 1 {
		t.Fatalf("mode warn: %d journal entries, want 1: %q", len(entries), entries)
	}
	entries[0].want(t, map[string]string{"PRIORITY": "4", "HUGEGUARD_CAUSE": "pool-too-small", "HUGEGUARD_DOMAIN": d.name})

	s.configure("mode = off")
	if _, _, err := s.start(d); !s.died(d, err, qemuNoPages) {
		t.Errorf("mode off: start: %v; want QEMU's %q", err, qemuNoPages)
	}
	if n := len(s.guardEntries()); n != 1 {
		t.Errorf("mode off: the guard made %d entries", n-1)
	}

	// What it cannot judge it refuses only if the admin wants it so.
	s.configure("fail = closed")
	r := s.callHook(strings.NewReader("rubbish"), d.name, "prepare", "begin", "-")
	if r.status != 1 || !strings.Contains(r.stderr, d.name) || r.stdout != "" {
		t.Errorf("fail closed: exit status %d, stdout %q, stderr %q", r.status, r.stdout, r.stderr)
	}
	s.configure("mode = enforce\nfail = open")
	s.callHook(strings.NewReader("rubbish"), d.name, "prepare", "begin", "-").lets(t)
	s.refused(d)
}
