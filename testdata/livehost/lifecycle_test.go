package livehost

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// A restart of the daemon calls the hook with reconnect for each guest, and kills those for which it
// fails: the guard has to stay out of it, however few pages are free.
func TestGuestSurvivesDaemonRestart(t *testing.T) {
	s := begin(t, 256)
	s.installGuard()
	d := domain{name: "survivor", mib: 64, cells: 1}
	s.define(d)
	s.starts(d)
	pid := s.qemuPID(d)
	s.ovsHolds(ovsVswitchd, 48)
	for _, how := range []struct {
		name string
		end  func() error
	}{
		{"SIGTERM", s.libvirtd.stop},
		{"SIGKILL", func() error { s.libvirtd.cmd.Process.Kill(); <-s.libvirtd.done; return nil }},
	} {
		s.must(how.end())
		s.must(s.startLibvirtd())
		if state := strings.TrimSpace(s.virsh("domstate", d.name)); state != "paused" {
			t.Errorf("after %s and a new daemon the guest is %q", how.name, state)
		}
		if now := s.qemuPID(d); now != pid || hugePagesOf(pid) != 32 {
			t.Errorf("after %s the guest is pid %d with %d pages, was %d with 32", how.name, now, hugePagesOf(now), pid)
		}
	}
	if entries := s.guardEntries(); len(entries) > 0 {
		t.Errorf("the guard had something to say: %q", entries)
	}
	// The daemon that was started with the hook in place calls it.
	other := domain{name: "other", mib: 64, cells: 1}
	s.define(other)
	s.refused(other)
}

// Domains that a daemon starts by itself are asked about as well.
func TestAutostartIsRefused(t *testing.T) {
	s := begin(t, 256)
	s.installGuard()
	d := domain{name: "autostarted", mib: 64, cells: 1}
	s.define(d)
	s.virsh("autostart", d.name)
	ovs := s.ovsHolds(ovsVswitchd, 24)
	s.must(s.libvirtd.stop())
	s.restartAsAfterBoot()
	s.must(eventually(func() error {
		if n := len(s.guardEntries()); n != 1 {
			return fmt.Errorf("%d journal entries, want 1", n)
		}
		return nil
	}))
	s.guardEntries()[0].want(t, map[string]string{
		"HUGEGUARD_CAUSE":      "ovs-reservation",
		"HUGEGUARD_DOMAIN":     d.name,
		"HUGEGUARD_HOLDER_PID": itoa(ovs.pid()),
	})
	if n := s.launches(d); n != 0 {
		t.Errorf("QEMU was run %d times", n)
	}
}

// restartAsAfterBoot starts the daemon that was stopped as the first one since boot: only that starts domains
// by itself, and a file says that it has.
func (s *scene) restartAsAfterBoot() {
	s.t.Helper()
	s.must(os.Remove("/run/libvirt/qemu/autostarted"))
	s.must(s.startLibvirtd())
}

// A restore needs its pages like any start. One that is refused keeps the saved state.
func TestSaveAndRestore(t *testing.T) {
	image := live.path("saved")
	for _, how := range []struct {
		name          string
		save, restore []string
		kept          func(s *scene) error
	}{
		{"managedsave", []string{"managedsave", "sleeper"}, []string{"start", "--paused", "sleeper"}, func(s *scene) error {
			if info := s.virsh("dominfo", "sleeper"); !strings.Contains(info, "Managed save:   yes") {
				return fmt.Errorf("the managed save is gone:\n%s", info)
			}
			return nil
		}},
		{"save", []string{"save", "sleeper", image}, []string{"restore", "--paused", image}, func(*scene) error {
			_, err := os.Stat(image)
			return err
		}},
	} {
		t.Run(how.name, func(t *testing.T) {
			s := begin(t, 256)
			s.installGuard()
			t.Cleanup(func() { os.Remove(image) })
			d := domain{name: "sleeper", mib: 64, cells: 1}
			s.define(d)
			s.starts(d)
			s.virsh(how.save...)
			s.must(s.noTraces())

			s.ovsHolds(ovsVswitchd, 24)
			s.launches(d)
			_, err := virsh(how.restore...)
			if err == nil || !strings.Contains(err.Error(), "OVS-DPDK holds") {
				t.Errorf("restore: %v; want the refusal", err)
			}
			if n := s.launches(d); n != 0 {
				t.Errorf("QEMU was run %d times for the refused restore", n)
			}
			s.must(how.kept(s))

			s.must(s.stopOVS())
			s.virsh(how.restore...)
			if state := strings.TrimSpace(s.virsh("domstate", d.name)); state != "paused" {
				t.Errorf("after the restore the guest is %q", state)
			}
			if n := hugePagesOf(s.qemuPID(d)); n != 32 {
				t.Errorf("after the restore QEMU holds %d pages, want 32", n)
			}
			s.virsh("destroy", d.name)
			s.must(s.noTraces())
		})
	}
}

// Whatever way a start or a guest ends, nothing of it is left that would be counted against the next:
// here the pool has room for one guest.
func TestNothingIsLeftBehind(t *testing.T) {
	s := begin(t, 32)
	s.installGuard()
	d := domain{name: "passing", mib: 64, cells: 1}
	s.define(d)

	s.starts(d)
	s.virsh("destroy", d.name)
	s.must(s.noTraces())

	// QEMU fails after the guard has agreed.
	s.must(os.WriteFile(s.path("broken-"+d.name), nil, 0o644))
	if _, _, err := s.start(d); err == nil {
		t.Error("a start with a broken emulator succeeded")
	}
	s.must(os.Remove(s.path("broken-" + d.name)))
	s.must(s.noTraces())

	// QEMU is killed from outside.
	s.starts(d)
	p, err := os.FindProcess(s.qemuPID(d))
	s.must(err)
	s.must(p.Kill())
	s.must(eventually(func() error {
		if state := strings.TrimSpace(s.virsh("domstate", d.name)); state != "shut off" {
			return fmt.Errorf("the killed guest is %q", state)
		}
		return nil
	}))
	s.must(s.noTraces())

	// Another domain has the pages at once.
	other := domain{name: "next", mib: 64, cells: 1}
	s.define(other)
	s.starts(other)
}
