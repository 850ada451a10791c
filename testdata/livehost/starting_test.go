package livehost

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Starting guests. Between the guard's word and QEMU's touching its pages nothing in the kernel shows
// that they are spoken for.

// startHeldBack begins the start of the domain, which waits between the guard's word and QEMU; letGo lets
// it run and returns its end.
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
	s.must(eventually(func() error {
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
			// How libvirt ends that domain is its own affair.
			virsh("destroy", first.name)
			s.must(eventually(func() error {
				if p, err := readPool(); err != nil || p.free != 32 {
					return fmt.Errorf("the pool is %+v (%v)", p, err)
				}
				return nil
			}))
			s.starts(second)
		})
	}
}

// rounds is how often the domains race.
const rounds = 50

// Of five domains that start at the same instant as many run as fit, and no QEMU is run for the others:
// again and again, while another domain is destroyed and one fails at its start.
func TestStartsAtTheSameTime(t *testing.T) {
	s := begin(t, 80) // two and a half
	s.installGuard()
	r := s.newRace(5)
	for round := range rounds {
		started, refused, died := r.run()
		if len(died) > 0 {
			t.Errorf("round %d: QEMU was run and ended: %q", round, died)
		}
		if started != 2 || refused != 3 {
			t.Errorf("round %d: %d were started and %d refused, want 2 and 3", round, started, refused)
		}
		if t.Failed() {
			break
		}
	}
	entries := s.guardEntries()
	causes := map[string]int{}
	for _, e := range entries {
		cause := e.one(t, "HUGEGUARD_CAUSE")
		causes[cause]++
		// Who starts, or who runs.
		if message := e.one(t, "MESSAGE"); (cause != "guests" && cause != "starting-guests") ||
			!strings.Contains(message, "for starting guests (racer") && !strings.Contains(message, "guest racer") {
			t.Errorf("%s was refused for %s: %s", e.one(t, "HUGEGUARD_DOMAIN"), cause, message)
		}
	}
	t.Logf("%d refusals: %v", len(entries), causes)
	if _, err := os.Stat("/run/hugeguard/claims"); !os.IsNotExist(err) {
		t.Errorf("the ledger is not empty at the end: %v", err)
	}
}

// The same without claims: were no QEMU to die then, the test above would prove nothing.
func TestStartsAtTheSameTimeWithoutClaims(t *testing.T) {
	s := begin(t, 80)
	s.installGuard()
	s.configure("claims = off")
	r := s.newRace(5)
	for range rounds {
		if _, _, died := r.run(); len(died) > 0 {
			t.Logf("QEMU died: %s", died[0])
			return
		}
	}
	t.Errorf("no QEMU died in %d rounds", rounds)
}

// race is domains of 32 pages that start all at once.
type race struct {
	*scene
	domains []domain
	broken  domain // its QEMU fails before it takes any page
}

func (s *scene) newRace(n int) race {
	r := race{scene: s, broken: domain{name: "racer-broken", mib: 16, cells: 1}}
	for i := range n {
		r.domains = append(r.domains, domain{name: fmt.Sprintf("racer%d", i), mib: 64, cells: 1})
	}
	for _, d := range append(r.domains, r.broken) {
		s.define(d)
	}
	s.must(os.WriteFile(s.path("broken-"+r.broken.name), nil, 0o644))
	s.t.Cleanup(func() { os.Remove(s.path("broken-" + r.broken.name)) })
	return r
}

// run starts all domains at one instant and destroys those that run. died are the errors of those whose
// QEMU was run in vain.
func (r race) run() (started, refused int, died []string) {
	r.t.Helper()
	errs := make([]error, len(r.domains))
	var ready, done sync.WaitGroup
	gun := make(chan struct{})
	for i, d := range r.domains {
		ready.Add(1)
		done.Add(1)
		go func() {
			defer done.Done()
			ready.Done()
			<-gun
			_, _, errs[i] = r.start(d)
		}()
	}
	ready.Wait()
	close(gun)
	// What it would take is less than is left over.
	if _, _, err := r.start(r.broken); err == nil {
		r.t.Error("the domain whose QEMU fails was started")
	}
	done.Wait()
	var destroyed sync.WaitGroup
	for i, d := range r.domains {
		switch {
		case errs[i] == nil:
			started++
			destroyed.Add(1)
			go func() {
				defer destroyed.Done()
				virsh("destroy", d.name)
			}()
		case strings.Contains(errs[i].Error(), "Hook script execution failed"):
			refused++
		default:
			died = append(died, errs[i].Error())
		}
	}
	destroyed.Wait()
	r.must(eventually(func() error {
		if p, err := readPool(); err != nil || p.free != p.total || p.reserved != 0 {
			return fmt.Errorf("the pool is %+v (%v)", p, err)
		}
		return nil
	}))
	return started, refused, died
}

// Nothing of a domain's lies in the place of the claims while it runs: they are for starting guests.
func TestRunningGuestHasNoClaim(t *testing.T) {
	s := begin(t, 64)
	s.installGuard()
	d := domain{name: "settled", mib: 64, cells: 1}
	s.define(d)
	s.starts(d)
	claims, _ := filepath.Glob("/run/hugeguard/claims*")
	for _, claim := range claims {
		if b, _ := os.ReadFile(claim); len(b) > 0 {
			t.Errorf("%s: %s", claim, b)
		}
	}
}
