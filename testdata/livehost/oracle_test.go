package livehost

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// The guard is asked about domains of many shapes beside holders of many kinds, and then each is started
// without it: what it would refuse must fail in QEMU, and what it would allow must start with the pages
// that it said.
func TestGuardAgainstQEMU(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2)) // the same cases each time
	pick := func(from ...string) string { return from[rnd.IntN(len(from))] }
	outcomes := map[string]int{}
	for i := range 30 {
		d := domain{
			name:   fmt.Sprintf("shape%d", i),
			mib:    48 + 2*rnd.IntN(24),
			cells:  rnd.IntN(4),
			source: pick("", "", "file", "memfd"),
			shared: rnd.IntN(2) == 0,
			mode:   pick("strict", "strict", "preferred", "interleave", "restrictive"),
			soft:   rnd.IntN(4) == 0,
		}
		if d.cells > 0 {
			d.mib -= d.mib % (2 * d.cells) // cells of whole pages
			d.dimm = 16 * rnd.IntN(2)
		} else if rnd.IntN(4) == 0 {
			d.mib++ // what is no multiple of a page is a case of its own
		}
		kind := pick("nobody", touched, reserved)
		need := (d.mib + d.dimm + 1) / 2
		// Around what it takes, often exactly there.
		left := need + []int{-need / 2, -1, 0, 0, 1, 8}[rnd.IntN(6)]
		held := 0
		if kind != "nobody" {
			held = 1 + rnd.IntN(16)
		}
		t.Run(fmt.Sprintf("%s %s %d %d", d.name, kind, held, left), func(t *testing.T) {
			s := begin(t, left+held)
			s.define(d)
			if held > 0 {
				s.hold("packetmover", kind, held)
			}
			report := s.askGuard(d)
			_, _, err := s.start(d)
			outcome := fmt.Sprintf("%s, starts: %v", report.Decision, err == nil)
			outcomes[outcome]++
			t.Logf("%s: %+v: %s %v", outcome, d, report.Summary, err)
			switch {
			case report.Decision == "refuse" && err == nil, report.Decision == "allow" && err != nil:
				t.Errorf("%s: %+v with %d pages left: %s: %v", outcome, d, left, report.Summary, err)
			case err == nil:
				if n := hugePagesOf(s.qemuPID(d)); n != report.pages() {
					t.Errorf("QEMU holds %d pages, check said %d: %+v", n, report.pages(), report.Demand)
				}
			case !strings.Contains(err.Error(), "memory") && !strings.Contains(err.Error(), "failed to resize memfd"):
				t.Errorf("it failed for another reason: %v", err)
			}
		})
	}
	t.Logf("%v", outcomes)
	// Cases that all go one way would show nothing.
	if outcomes["refuse, starts: false"] < 8 || outcomes["allow, starts: true"] < 8 {
		t.Errorf("too few of the kinds that matter: %v", outcomes)
	}
}
