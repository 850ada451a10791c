package guard_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	. "hugeguard/guard"
	"hugeguard/guard/fix"
	. "hugeguard/guard/guardtest"
	"hugeguard/guard/words"
	"hugeguard/testdata/cases"
)

// TestCauses: but for whom a guest of 64 pages, strictly on node 0, would fit.
func TestCauses(t *testing.T) {
	const grow = "echo"
	held := func(h Setup) Setup { return h.Looked(func(*Holders) {}) }
	for _, test := range []struct {
		name  string
		host  Setup
		cause Cause
		says  []string // in the text
		fix   []string // the lines of the fixes, without those for Nova
	}{
		{"files, and that would do", Pages(24, 0).LeftBehind(0, 40, "/dev/hugepages/rtemap_0"), CauseLeftoverFiles,
			[]string{"leftover files hold node 0's 2M pages: 24 of 64 free, 64 needed (128 MiB); leftover file /dev/hugepages/rtemap_0 has 40; fix: rm /dev/hugepages/rtemap_0\n"},
			[]string{"rm /dev/hugepages/rtemap_0"}},
		{"files, and a page less", Pages(23, 0).LeftBehind(0, 40, "/dev/hugepages/rtemap_0").Holding(HolderGuest, "a", 9, 0, 1), CauseGuests,
			[]string{"guest a has 1, leftover file /dev/hugepages/rtemap_0 has 40; fix: echo 105 > "}, nil},
		{"several files", Pages(24, 0).LeftBehind(0, 40, "/h/map_1", "/h/map_2"), CauseLeftoverFiles,
			[]string{"2 leftover files /h/map_1 /h/map_2 have 40;"}, []string{"rm /h/map_1 /h/map_2"}},
		{"files whose node nobody can tell", Pages(24, 0).LeftBehind(0, 40, "/h/x").Gone(1, 40), CauseUnaccounted,
			[]string{"unexplained use of node 0's 2M pages: 24 of 64 free, 64 needed (128 MiB); for 40 of the 64 no holder was found;", "2M pages: on unknown nodes: leftover /h/x 40 (80 MiB)"}, nil},
		{"files too many for the other node", Pages(24, 0).LeftBehind(0, 40, "/h/x").Gone(1, 0).Holding(HolderGuest, "a", 9, 1, 40), CauseLeftoverFiles,
			[]string{"leftover file /h/x has 40;"}, []string{"rm /h/x"}},
		{"files in part on the node for certain", Pages(30, 0).LeftBehind(0, 40, "/h/x").Gone(1, 5), CauseLeftoverFiles,
			[]string{"leftover file /h/x has at least 35;"}, []string{"rm /h/x"}},
		{"a file that an unreadable process may use", Pages(24, 0).LeftBehind(0, 40, "/h/x").Looked(func(h *Holders) { h.Unreadable = []Process{{Name: "vpp\x1b", PID: 4, HugetlbKiB: 2 << 20}} }), CauseLeftoverFiles,
			[]string{`has 40 (1 process could not be read: vpp\x1b, pid 4, with 2 GiB)`}, []string{"fuser -v /h/x"}},
		{"a file, and no time for all", Pages(24, 0).LeftBehind(0, 40, "/h/x").Looked(func(h *Holders) { h.Cut = true }), CauseLeftoverFiles,
			[]string{"(time ran out before every holder was examined)"}, []string{"fuser -v /h/x"}},
		{"a file with an odd name", Pages(24, 0).LeftBehind(0, 40, "/h/it's a \x1b[31m"), CauseLeftoverFiles,
			[]string{`leftover file /h/it's a \x1b[31m has`}, []string{`rm "$(printf '/h/it'\''s a \033[31m')"`}},
		{"a segment", Pages(24, 0).LeftBehind(0, 40).Looked(func(h *Holders) { h.List[0].Segment, h.List[0].Name = "5", "System V segment 5" }), CauseLeftoverFiles,
			[]string{"System V segment 5, which nobody has attached, has 40;"}, []string{"ipcrm -m 5"}},
		{"files and Open vSwitch, each of which would do", Pages(24, 0).LeftBehind(0, 40, "/h/x").Holding(HolderOVS, "ovs-vswitchd", 7, 0, 40), CauseLeftoverFiles,
			[]string{"leftover file /h/x has 40;", "this guest would also fit without ovs-vswitchd (pid 7)"}, []string{"rm /h/x"}},
		{"files and Open vSwitch, only both of which would do", Pages(4, 0).LeftBehind(0, 30, "/h/x").Holding(HolderOVS, "ovs-vswitchd", 7, 0, 30), CauseOtherHolder,
			[]string{"processes hold node 0's 2M pages: 4 of 64 free, 64 needed (128 MiB); leftover file /h/x has 30, ovs-vswitchd (pid 7) has 30;"}, []string{"rm /h/x"}},
		{"Open vSwitch and a process, each of which would do", Pages(24, 0).Holding(HolderProcess, "vpp_main", 8, 0, 40).Holding(HolderOVS, "ovs-vswitchd", 7, 0, 40), CauseOVS,
			[]string{"OVS-DPDK holds node 0's 2M pages: 24 of 104 free, 64 needed (128 MiB); ovs-vswitchd (pid 7) has 40;", "this guest would also fit without vpp_main (pid 8)"}, nil},
		{"a process of a unit", Pages(24, 0).Holding(HolderProcess, "vpp_main", 8, 0, 40).Looked(func(h *Holders) { h.List[0].Unit = "vpp.service" }), CauseOtherHolder,
			[]string{"vpp_main (pid 8, vpp.service) has 40;"}, nil},
		{"Open vSwitch in a container", Pages(24, 0).Holding(HolderOVS, "ovs-vswitchd", 8, 0, 40).Looked(func(h *Holders) { h.List[0].Unit = "container 0123456789ab" }), CauseOVS,
			[]string{"ovs-vswitchd (pid 8, container 0123456789ab) has 40;"}, nil},
		{"a memfd that is open and not mapped", held(Pages(24, 0).LeftBehind(0, 40).Looked(func(h *Holders) { h.List[0].Kind, h.List[0].Name, h.List[0].PID = HolderProcess, "parker", 3 })), CauseOtherHolder,
			[]string{"parker (pid 3) has 40;"}, nil},
		{"a dead guest's memory that Open vSwitch keeps", Pages(24, 0).Holding(HolderOVS, "ovs-vswitchd", 7, 0, 40).Holding(HolderOVS, "ovs-vswitchd", 7, 0, 40).Looked(func(h *Holders) { h.List[1].Guest = "7-a" }), CauseOVS,
			[]string{"a dead guest holds node 0's 2M pages: 24 of 104 free, 64 needed (128 MiB); ovs-vswitchd (pid 7) for dead guest a (id 7) has 40", "end ovs-vswitchd (pid 7), then start it"}, nil},
		{"a dead guest's memory and its keeper's own, only both of which would do", Pages(4, 0).Holding(HolderProcess, "vhost", 7, 0, 30).Holding(HolderProcess, "vhost", 7, 0, 30).Holding(HolderProcess, "vpp", 8, 0, 20).Looked(func(h *Holders) { h.List[1].Guest = "?" }), CauseOtherHolder,
			[]string{"vhost holds node 0's 2M pages: 4 of 84 free, 64 needed (128 MiB); vhost (pid 7) has 30, vhost (pid 7) for a dead guest has 30"}, nil},
		{"its own QEMU of before", Pages(24, 0).Holding(HolderGuest, "g", 7, 0, 40).Holding(HolderGuest, "b", 8, 0, 40).Looked(func(h *Holders) { h.List[0].Former = true }), CauseGuests,
			[]string{"its old QEMU holds node 0's 2M pages: 24 of 104 free, 64 needed (128 MiB); this guest's own earlier QEMU (pid 7) has 40"}, nil},
		{"promised to one", Pages(64, 0).PromisedTo("lazy", 5, 1), CauseKernelReserved,
			[]string{"promises hold this host's 2M pages: 64 of 64 free, 1 of them promised, 63 usable, 64 needed (128 MiB); lazy (pid 5) is promised 1, not touched yet;"}, nil},
		{"promised to several, some of them unseen", Pages(64, 0).PromisedTo("lazy", 5, 3).PromisedTo("idle", 6, 4).Change(func(p *SizePool) { p.Reserved += 2 }), CauseKernelReserved,
			[]string{"idle (pid 6) is promised 4, lazy (pid 5) is promised 3, others 2, not touched yet;"}, nil},
		{"promised to nobody that is seen", Pages(64, 0).Holding(HolderGuest, "a", 1, 1, 1).Change(func(p *SizePool) { p.Reserved = 6 }), CauseKernelReserved,
			[]string{"6 of them promised, 58 usable, 64 needed (128 MiB); no visible holder has been promised them;"}, nil},
		{"gone", Pages(24, 0).Holding(HolderGuest, "a", 1, 0, 3).Gone(0, 37), CauseUnaccounted,
			[]string{"for 37 of the 64 no holder was found;"}, nil},
		{"counters and holders that are not of one moment", Pages(24, 0).LeftBehind(0, 40, "/h/x").Change(func(p *SizePool) { p.Nodes[0].Free += 3 }), CauseUnaccounted,
			[]string{"for 37 of the 64 no holder was found;"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := fix.Judge(Guest(t, "strict:0", Cell(64, "strict:0")), test.host.Host)
			if v.Cause != test.cause {
				t.Errorf("the cause is %q, want %q: %s", v.Cause, test.cause, words.Text(v))
			}
			for _, says := range test.says {
				if !strings.Contains(words.Text(v), says) {
					t.Errorf("%q is not in\n%s", says, words.Text(v))
				}
			}
			var lines []string
			for _, r := range Fixes(v) {
				if r.For != "nova" && !strings.HasPrefix(r.Lines[0], grow) {
					lines = append(lines, r.Lines...)
				}
			}
			if test.fix != nil && !slices.Equal(lines, test.fix) {
				t.Errorf("the fix is %q, want %q", lines, test.fix)
			}
		})
	}
}

// TestCauseOfTheFirst: where a launch is short of several things, each with a cause of its own, the first is told, and
// one that nothing fixes before it.
func TestCauseOfTheFirst(t *testing.T) {
	both := Guest(t, "strict:0-1", Cell(10, "strict:0"), Cell(10, "strict:1"))
	wide := Guest(t, "strict:0-1", Cell(10, "strict:0"), Cell(20, "strict:0-1"))
	sizes := both
	sizes.Backends = slices.Clone(both.Backends)
	sizes.Backends[1].PageKiB, sizes.Backends[1].Bytes, sizes.Backends[1].ExactBytes = 1<<20, 2<<30, 2<<30
	vswitch := func(free uint64) Setup { return Pages(free, 0).Holding(HolderOVS, "ovs-vswitchd", 7, 0, 20) }
	for _, test := range []struct {
		name   string
		demand Demand
		host   Setup
		cause  Cause
		says   string
	}{
		{"guests on both nodes", both, Pages(0, 0).Holding(HolderGuest, "a", 1, 0, 20).Holding(HolderGuest, "b", 2, 1, 20), CauseGuests,
			"guests fill node 0's 2M pages: 0 of 20 free, 10 needed (20 MiB); guest a has 20"},
		{"Open vSwitch on one, a guest on the other", both, vswitch(0).Holding(HolderGuest, "b", 2, 1, 20), CauseOVS, "; ovs-vswitchd (pid 7) has 20"},
		{"Open vSwitch on both, and each in a process of its own", both, vswitch(0).Holding(HolderOVS, "ovs-vswitchd", 8, 1, 20), CauseOVS, "ovs-vswitchd (pid 7) has 20"},
		{"Open vSwitch on one, guests on both", wide, vswitch(0).Holding(HolderGuest, "b", 2, 1, 40), CauseOVS, "OVS-DPDK holds node 0's 2M pages: 0 of 20 free, 10 needed (20 MiB); ovs-vswitchd (pid 7) has 20"},
		{"Open vSwitch on one, too few on both", wide, vswitch(0).Holding(HolderGuest, "b", 2, 1, 5), CausePoolTooSmall, "this host has too few 2M pages: 0 of 25 free, 30 needed (60 MiB); the pool has only 25 pages (50 MiB) in all"},
		{"all surplus pages in use", Guest(t, "strict:0", Cell(30, "strict:0")), Pages(20, 0).Holding(HolderGuest, "b", 2, 1, 10).Change(func(p *SizePool) { p.Overcommit, p.Surplus, p.Nodes[1].Surplus = 10, 10, 10 }),
			CauseUnaccounted, "10 surplus pages are in use already, and no more than 10 may be made"},
		{"Open vSwitch has both sizes", sizes, vswitch(0).HoldingGiB(HolderOVS, "ovs-vswitchd", 7, 1, 2, 0, 0), CauseOVS, "ovs-vswitchd (pid 7) has 20; fix: echo 30 > "},
		{"Open vSwitch, and promises of the other size", sizes,
			vswitch(0).HoldingGiB(HolderGuest, "b", 2, 0, 1, 0, 4).Change(func(p *SizePool) {
				if p.PageKiB == 1<<20 {
					p.Reserved = 4
				}
			}), CauseOVS, "; ovs-vswitchd (pid 7) has 20"},
		{"Open vSwitch, and too few of the other size", sizes, vswitch(0).HoldingGiB(HolderGuest, "b", 2, 0, 1, 0, 1), CausePoolTooSmall,
			"node 1 has too few 1G pages: 1 of 1 free, 2 needed (2 GiB); the pool has only 1 page (1 GiB) in all"},
		{"Open vSwitch, and none of the other size", sizes, vswitch(0).HoldingGiB(HolderGuest, "b", 2, 0, 1, 0, 0), CausePoolMissing, "node 1 has no 1G pages at all: 2 needed (2 GiB)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := fix.Judge(test.demand, test.host.Host)
			if v.Decision != Refuse || v.Cause != test.cause || !strings.Contains(words.Summary(v), test.says) || strings.Contains(words.Text(v), "would also fit") {
				t.Errorf("%s: %s", v.Cause, words.Text(v))
			}
		})
	}
}

// TestNoCauseOfNothing: what a refusal says of the missing pages is true of some.
func TestNoCauseOfNothing(t *testing.T) {
	all := cases.AtLeast(t, 5000)
	found := map[Cause]int{}
	apart := Guest(t, "strict:0-1", Cell(1, "strict:0"), Cell(1, "strict:1"))
	wide := Guest(t, "strict:0-1", Cell(1, "strict:0"), Cell(1, "strict:0-1"))
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.Uint64Range(0, 9)
		some := func(label string) uint64 {
			if rapid.Bool().Draw(t, "no "+label) {
				return 0
			}
			return count.Draw(t, label)
		}
		node := rapid.IntRange(0, 1)
		host := Pages(count.Draw(t, "free"), count.Draw(t, "free"))
		host.Holders = &Holders{}
		for i, kind := range []HolderKind{HolderOVS, HolderGuest, HolderProcess, HolderOVS, HolderGuest} {
			host = host.Holding(kind, string(kind), i+1, node.Draw(t, "node"), some(string(kind)))
		}
		host = host.LeftBehind(node.Draw(t, "node"), some("files"), "/h/x").Gone(node.Draw(t, "node"), some("gone"))
		free := host.Pools[0].On(host.MemoryNodes()).Free
		if n := some("promised"); n <= free {
			host = host.PromisedTo("lazy", 9, n)
		}
		if n := some("claimed"); n > 0 {
			host = host.Started("a", rapid.SampledFrom([]string{"", "0", "1"}).Draw(t, "nodes"), n, 0)
		}
		kind := rapid.SampledFrom([]HolderKind{HolderOVS, HolderGuest, HolderProcess}).Draw(t, "kind")
		host = host.HoldingGiB(kind, string(kind), 8, node.Draw(t, "node"), some("gigantic"), some("free"), some("free"))
		d := rapid.SampledFrom([]Demand{apart, wide}).Draw(t, "demand")
		d.Backends = slices.Clone(d.Backends)
		if rapid.Bool().Draw(t, "two sizes") {
			d.Backends[1].PageKiB = 1 << 20
		}
		for i := range d.Backends {
			b := &d.Backends[i]
			b.Bytes = (some("needed") + 1) * b.PageKiB << 10
			b.ExactBytes = b.Bytes
		}
		v := fix.Judge(d, host.Host)
		if v.Decision != Refuse {
			return
		}
		found[v.Cause]++
		for _, nothing := range []string{" has 0 of the ", "; ; ", "; fix: ; ", " has 0;", " only 0 pages", "no visible holder has been promised"} {
			if strings.Contains(words.Summary(v), nothing) {
				t.Fatalf("%s", words.Text(v))
			}
		}
	})
	// Those that are no shortage of pages are not drawn here.
	other := []Cause{CausePageSizeUnsupported, CauseMountLimit, CauseCgroupLimit, CauseSizeMismatch, CauseBindingImpossible}
	for _, cause := range Causes() {
		if all && found[cause] < 10 && !slices.Contains(other, cause) {
			t.Errorf("%s: %d launches. This test is to draw some, or to have it among the others if it is no shortage", cause, found[cause])
		}
	}
}

// TestReportAddsUp: whatever was found, total is free, held and unaccounted on each node, and no holder is given more
// than it has.
func TestReportAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.Uint64Range(0, 9)
		host := Pages(count.Draw(t, "free"), count.Draw(t, "free"), count.Draw(t, "free"))
		host.Holders = &Holders{}
		for i := range rapid.IntRange(0, 5).Draw(t, "holders") {
			node, n := rapid.IntRange(0, 2).Draw(t, "node"), count.Draw(t, "pages")
			if rapid.Bool().Draw(t, "unplaced") {
				host = host.LeftBehind(node, n, fmt.Sprintf("/h/%d", i))
			} else {
				host = host.Holding(HolderProcess, "p", i+1, node, n)
			}
		}
		for node := range 3 {
			host = host.Gone(node, count.Draw(t, "gone"))
		}
		given := map[string]uint64{}
		for _, p := range host.Report() {
			held := *p.Unaccounted
			for _, h := range p.Holders {
				held += h.Pages
				given[fmt.Sprint(h.Name, h.PID)] += h.Pages
			}
			if p.Free+held != p.Total {
				t.Fatalf("%+v does not add up", p)
			}
		}
		for _, s := range host.SizeReport() {
			for _, h := range s.Unplaced {
				given[fmt.Sprint(h.Name, h.PID)] += h.Pages
			}
		}
		for _, h := range host.Holders.List {
			if want := h.On(host.AllNodes()) + h.Unplaced; given[fmt.Sprint(h.Name, h.PID)] != want {
				t.Fatalf("%s has %d pages and is given %d", h.Name, want, given[fmt.Sprint(h.Name, h.PID)])
			}
		}
	})
}
