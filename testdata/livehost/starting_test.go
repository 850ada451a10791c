package livehost

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Starts in flight. Between the guard's word and QEMU's touching its pages nothing in the kernel shows
// that they are spoken for.

// startHeldBack begins the start of the domain, which waits between the guard's word and QEMU; letGo lets
// it go on and returns its end.
func (s *scene) startHeldBack(d domain) (letGo func() error) {
	s.t.Helper()
	gate := s.path("gate-" + d.name)
	s.must(os.WriteFile(gate, nil, 0o644))
	s.t.Cleanup(func() { os.Remove(gate) })
	s.launches(d)
	started := make(chan error, 1)
	go func() {
		_, _, err := s.start(d)
		started <- err
	}()
	before := s.pool()
	s.must(eventually(5*time.Second, func() error {
		if s.launches(d) == 0 {
			return fmt.Errorf("the emulator of %s was not run", d.name)
		}
		return nil
	}))
	if p := s.pool(); p != before {
		s.t.Fatalf("the pool went from %+v to %+v: QEMU was not held back", before, p)
	}
	return func() error {
		os.Remove(gate)
		return <-started
	}
}

// A domain whose QEMU does not run yet has a claim on the pages that it was told it would get.
func TestStartingGuestIsCounted(t *testing.T) {
	s := begin(t, 48)
	s.installGuard()
	first, second := domain{name: "first", mib: 64, cells: 1}, domain{name: "second", mib: 64, cells: 1}
	s.define(first)
	s.define(second)
	letGo := s.startHeldBack(first)
	line, e := s.refused(second)
	e.want(t, map[string]string{"HUGEGUARD_CAUSE": "starting-guests"})
	if !strings.Contains(line, first.name) {
		t.Errorf("the starting domain is not named:\n%s", line)
	}
	s.must(letGo())
	s.virsh("destroy", first.name)
	s.starts(second)
}

// What is left beside a claim may be had.
func TestStartingGuestIsCountedOnce(t *testing.T) {
	s := begin(t, 64)
	s.installGuard()
	first, second := domain{name: "first", mib: 64, cells: 1}, domain{name: "second", mib: 64, cells: 1}
	s.define(first)
	s.define(second)
	letGo := s.startHeldBack(first)
	s.starts(second)
	s.must(letGo())
}

// Once QEMU has its pages a claim must not be counted beside them, though libvirt has not told the guard
// yet that the domain is started: here a site's hook, which libvirt calls before the guard's, takes its
// time.
func TestTakenPagesAreCountedOnce(t *testing.T) {
	s := begin(t, 64)
	t.Cleanup(func() { os.RemoveAll(hookDir); os.Remove(mainHook) })
	site := s.newSiteHook(mainHook)
	s.installGuard("--layout", "drop-in")
	first, second := domain{name: "first", mib: 64, cells: 1}, domain{name: "second", mib: 64, cells: 1}
	s.define(first)
	s.define(second)
	letGo := s.holdAt(site, "started", first)
	started := make(chan error, 1)
	go func() {
		_, _, err := s.start(first)
		started <- err
	}()
	s.waitForCall(site, "started", first)
	if p := s.pool(); p.free != 32 {
		t.Fatalf("the pool is %+v, want 32 pages taken", p)
	}
	s.starts(second)
	letGo()
	s.must(<-started)
}

// A daemon that dies in the middle of a start leaves no claim that would keep others from the pages.
func TestDaemonDiesWhileStarting(t *testing.T) {
	for _, at := range []string{"start", "started"} { // before QEMU is run, and after
		t.Run(at, func(t *testing.T) {
			s := begin(t, 32)
			t.Cleanup(func() { os.RemoveAll(hookDir); os.Remove(mainHook) })
			site := s.newSiteHook(mainHook)
			s.installGuard("--layout", "drop-in")
			first, second := domain{name: "first", mib: 64, cells: 1}, domain{name: "second", mib: 64, cells: 1}
			s.define(first)
			s.define(second)
			letGo := s.holdAt(site, at, first)
			go s.start(first)
			s.waitForCall(site, at, first)
			s.libvirtd.cmd.Process.Kill()
			<-s.libvirtd.done
			letGo()
			s.must(s.startLibvirtd())
			// What libvirt makes of such a domain is its own affair.
			virsh("destroy", first.name)
			s.must(eventually(5*time.Second, func() error {
				if p, err := readPool(); err != nil || p.free != 32 {
					return fmt.Errorf("the pool is %+v (%v)", p, err)
				}
				return nil
			}))
			s.starts(second)
		})
	}
}

// Of four domains that start at the same time two fit: those two run, and no QEMU is run for the others.
func TestStartsAtTheSameTime(t *testing.T) {
	s := begin(t, 64)
	s.installGuard()
	var domains []domain
	for i := range 4 {
		d := domain{name: fmt.Sprintf("racer%d", i), mib: 64, cells: 1}
		s.define(d)
		domains = append(domains, d)
	}
	errs := make([]error, len(domains))
	var wg sync.WaitGroup
	for i, d := range domains {
		wg.Add(1)
		go func() {
			defer wg.Done()
			_, _, errs[i] = s.start(d)
		}()
	}
	wg.Wait()
	running := 0
	for i, d := range domains {
		switch {
		case errs[i] == nil:
			running++
		case !strings.Contains(errs[i].Error(), "Hook script execution failed"):
			t.Errorf("%s was not refused but failed: %v", d.name, errs[i])
		case s.launches(d) != 0:
			t.Errorf("QEMU was run for %s, which was refused", d.name)
		}
	}
	if running != 2 {
		t.Errorf("%d of the domains run, want 2: %q", running, errs)
	}
	for _, e := range s.guardEntries() {
		if cause := e.one(t, "HUGEGUARD_CAUSE"); cause != "guests" && cause != "starting-guests" {
			t.Errorf("%s was refused for %s", e.one(t, "HUGEGUARD_DOMAIN"), cause)
		}
	}
}

// Nothing of a domain's lies in the place of the claims while it runs: they are for starts in flight.
func TestRunningGuestHasNoClaim(t *testing.T) {
	s := begin(t, 64)
	s.installGuard()
	d := domain{name: "settled", mib: 64, cells: 1}
	s.define(d)
	s.starts(d)
	claims, _ := filepath.Glob("/run/hugeguard/*")
	for _, claim := range claims {
		if b, _ := os.ReadFile(claim); len(b) > 0 {
			t.Errorf("%s: %s", claim, b)
		}
	}
}
