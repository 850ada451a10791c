package guard_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	. "hugeguard/guard"
	"hugeguard/guard/fix"
	. "hugeguard/guard/guardtest"
	"hugeguard/guard/words"
	"hugeguard/testdata/cases"
)

// TestJudgeBesideStarting: pages of those who are starting count as gone, as far as they must lie where this launch
// needs its own.
func TestJudgeBesideStarting(t *testing.T) {
	on0 := func(n uint64) Demand { return Guest(t, "strict:0", Cell(n, "strict:0")) }
	both := func(n, m uint64) Demand { return Guest(t, "strict:0-1", Cell(n, "strict:0"), Cell(m, "strict:1")) }
	anywhere := func(n int) Demand { return Plain(t, 2*n, "", TwoMiB) }
	for _, c := range []struct {
		name     string
		demand   Demand
		host     Setup
		decision Decision
		cause    Cause
		says     string
	}{
		{"room for both", on0(20), Pages(40, 0).Started("a", "0", 20, 0), Allow, "", "it fits"},
		{"a page too few", on0(21), Pages(40, 0).Started("a", "0", 20, 0), Refuse, CauseStartingGuests,
			"starting guests take node 0's 2M pages: 40 of 40 free, 20 of them for starting guests (a), 21 needed (42 MiB); without these it would fit; fix: echo 41 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages"},
		{"two of them", on0(20), Pages(40, 0).Started("a", "0", 15, 0).Started("b", "0", 15, 0), Refuse, CauseStartingGuests, "30 of them for starting guests (a, b)"},
		{"elsewhere", on0(40), Pages(40, 20).Started("a", "1", 20, 0), Allow, "", ""},
		{"one that can go elsewhere", on0(40), Pages(40, 20).Started("a", "", 20, 0), Warn, "", "may lack node 0's 2M pages: ram-node0 fits there only if other starting guests (a) take their pages elsewhere"},
		{"two that cannot all go elsewhere", on0(40), Pages(40, 20).Started("a", "", 20, 0).Started("b", "0-1", 1, 0), Refuse, CauseStartingGuests, "21 of them for starting guests (a, b)"},
		{"some mapped already", on0(20), Pages(40, 0).Started("a", "0", 20, 20), Allow, "", ""},
		{"and some not", on0(20), Pages(40, 0).Started("a", "0", 20, 7), Allow, "", ""},
		{"reserved, not promised yet", anywhere(21), Pages(20, 20).Started("a", "0", 20, 0), Refuse, CauseStartingGuests, "20 of them for starting guests (a), 21 needed"},
		{"a reservation of its own", anywhere(21), Pages(20, 20).Started("a", "0", 20, 20), Refuse, CauseStartingGuests, "21 needed (42 MiB); without these it would fit"},
		{"a reservation of others", anywhere(21), Pages(20, 20).PromisedTo("x", 7, 20), Refuse, CauseKernelReserved, ""},
		{"more than there is in any case", on0(41), Pages(40, 0).Started("a", "0", 20, 0), Refuse, CausePoolTooSmall, ""},
		{"guests that run, and one that starts", on0(20), Pages(20, 0).Holding(HolderGuest, "r", 9, 0, 20).Started("a", "0", 20, 0), Refuse, CauseStartingGuests, ""},
		{"Open vSwitch's pages would do, too", on0(20), Pages(20, 0).Holding(HolderOVS, "ovs-vswitchd", 9, 0, 20).Started("a", "0", 20, 0), Refuse, CauseOVS,
			"OVS-DPDK holds node 0's 2M pages: 20 of 40 free, 20 of them for starting guests (a), 20 needed (40 MiB); ovs-vswitchd (pid 9) has 20;"},
		{"guests that run and one that starts, only both of which would do", on0(40), Pages(20, 0).Holding(HolderGuest, "r", 9, 0, 20).Started("a", "0", 20, 0), Refuse, CauseGuests,
			"20 of them for starting guests (a), 40 needed (80 MiB); guest r has 20"},
		{"Open vSwitch and one that starts, only both of which would do", on0(40), Pages(20, 0).Holding(HolderOVS, "ovs-vswitchd", 9, 0, 20).Started("a", "0", 20, 0), Refuse, CauseOVS,
			"20 of them for starting guests (a), 40 needed (80 MiB); ovs-vswitchd (pid 9) has 20; fix: echo 80 > "},
		{"a process and one that starts, only both of which would do", on0(40), Pages(20, 0).Holding(HolderProcess, "vpp", 9, 0, 20).Started("a", "0", 20, 0), Refuse, CauseOtherHolder,
			"40 needed (80 MiB); vpp (pid 9) has 20;"},
		{"the same beside a guest", on0(40), Pages(20, 0).Holding(HolderOVS, "ovs-vswitchd", 9, 0, 20).Holding(HolderGuest, "r", 8, 0, 1).Started("a", "0", 20, 0), Refuse, CauseOVS,
			"20 of 41 free, 20 of them for starting guests (a), 40 needed (80 MiB); ovs-vswitchd (pid 9) has 20;"},
		{"files and one that starts, only both of which would do", on0(40), Pages(20, 0).LeftBehind(0, 20, "/h/x").Started("a", "0", 20, 0), Refuse, CauseLeftoverFiles, "leftover file /h/x has 20; fix: rm /h/x"},
		{"a start on one node, Open vSwitch on the other", both(10, 10), Pages(20, 0).Holding(HolderOVS, "ovs-vswitchd", 9, 1, 20).Started("a", "0", 20, 0), Refuse, CauseOVS,
			"OVS-DPDK holds node 1's 2M pages: 0 of 20 free, 10 needed (20 MiB); ovs-vswitchd (pid 9) has 20;"},
		{"Open vSwitch and a guest on one node, a start on the other", both(10, 10),
			Pages(0, 20).Holding(HolderOVS, "ovs-vswitchd", 9, 0, 20).Holding(HolderGuest, "r", 8, 0, 1).Started("a", "1", 20, 0), Refuse, CauseOVS, "OVS-DPDK holds node 0's 2M pages: 0 of 21 free, 10 needed (20 MiB); ovs-vswitchd (pid 9) has 20;"},
		{"Open vSwitch and a reservation, only both of which would do", on0(40), Pages(20, 0).Holding(HolderOVS, "ovs-vswitchd", 9, 0, 20).PromisedTo("x", 7, 20), Refuse, CauseOVS,
			"OVS-DPDK holds node 0's 2M pages: 20 of 40 free, 40 needed (80 MiB); ovs-vswitchd (pid 9) has 20;"},
		{"one that is too large itself", on0(20), Pages(20, 20).Started("a", "0", 21, 0), Warn, "", "starting guests lack 2M pages: a need more than there are"},
		{"one that is too large elsewhere", on0(20), Pages(20, 20).Started("a", "1", 21, 0), Allow, "", ""},
		{"it does not keep out the one before it", on0(1), Pages(20, 20).Started("a", "0", 20, 0).Started("b", "0", 20, 0), Refuse, CauseStartingGuests, "20 of them"},
		{"what overcommit may add", on0(21), Pages(40, 0).Started("a", "0", 20, 0).Change(func(p *SizePool) { p.Overcommit = 9 }), Warn, "", "surplus"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.host.Holders == nil {
				c.host.Holders = &Holders{}
			}
			v := fix.Judge(c.demand, c.host.Host)
			if v.Decision != c.decision || v.Cause != c.cause || !strings.Contains(words.Summary(v), c.says) {
				t.Errorf("%s %q: %s", v.Decision, v.Cause, words.Text(v))
			}
		})
	}
}

// TestStartingIsReported: who is starting is in the JSON, the text and the journal, and on a node as far as it can be
// nowhere else.
func TestStartingIsReported(t *testing.T) {
	host := Pages(40, 20).Started("a\x1b", "0", 20, 0).Started("b", "", 5, 0)
	host.Holders = &Holders{}
	v := fix.Judge(Guest(t, "strict:0", Cell(21, "strict:0")), host.Host)
	text, err := json.Marshal(words.NewReport(v))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"claimed":20`, `"starting":[{"name":"a\u001b","uuid":"a\u001b","page_kib":2048,"pages":20,"nodes":[0]},{"name":"b","uuid":"b","page_kib":2048,"pages":5,"nodes":null}]`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	if want := `starting guest a\x1b is still to take 20 pages of 2M (40 MiB) on node 0`; !strings.Contains(words.Text(v), want) {
		t.Errorf("no %q in %s", want, words.Text(v))
	}
	fields := words.Fields(v)
	if fields["HUGEGUARD_HOLDER"] != `a\x1b` || fields["HUGEGUARD_HOLDER_PAGES"] != "20" || fields["HUGEGUARD_CAUSE"] != "starting-guests" {
		t.Errorf("%v", fields)
	}
}

// TestClaimsOfVerdict: what a launch claims is what it will take.
func TestClaimsOfVerdict(t *testing.T) {
	v := fix.Judge(Guest(t, "strict:0-1", Cell(20, "strict:1"), Cell(7, "preferred:0")), Pages(40, 40).Host)
	got, err := json.Marshal(v.Claims())
	if err != nil {
		t.Fatal(err)
	}
	const cpuset = `"Cpuset":{"Nodes":[0,1],"Union":[0,1],"Restrictive":false,"Auto":false}`
	const want = `[{"PageKiB":2048,"Pages":20,"Mapped":0,"Clearing":0,"Nodes":[1],"Hard":true,` + cpuset +
		`},{"PageKiB":2048,"Pages":7,"Mapped":0,"Clearing":0,"Nodes":null,"Hard":false,` + cpuset + `}]`
	if string(got) != want {
		t.Errorf("%s", got)
	}
}

// TestClaimsLieWherePagesDo: whatever rules hold, a starting guest claims its pages on every node where they may lie, and
// on no other unless something confines them that a claim does not know.
func TestClaimsLieWherePagesDo(t *testing.T) {
	all := cases.AtLeast(t, 1000)
	exact, wider := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		d, host := DrawLaunch(t)
		e, w := CompareClaims(t, d, host.Host)
		exact, wider = exact+e, wider+w
	})
	if all && (exact == 0 || wider == 0) {
		t.Errorf("%d claims were exact, and %d wider", exact, wider)
	}
}

// TestStartingNeverHelps: with one more starting guest no launch is judged better, and without any it is judged as on
// a host that knows of none.
func TestStartingNeverHelps(t *testing.T) {
	all := cases.AtLeast(t, 300)
	var worse int
	rapid.Check(t, func(t *rapid.T) {
		d, host := DrawLaunch(t)
		host.Releases = drawReleases(t)
		alone := Judge(d, host.Host)
		nodes := rapid.SampledFrom([]string{"", "0", "1", "0-1"}).Draw(t, "claimed nodes")
		for _, name := range []string{"a", "b"}[:rapid.IntRange(1, 2).Draw(t, "starting")] {
			host = host.Started(name, nodes, rapid.Uint64Range(0, 30).Draw(t, "claimed"), 0)
			if claim := &host.Starting[len(host.Starting)-1].Claims[0]; rapid.Bool().Draw(t, "confined") {
				claim.Hard, claim.Cpuset = false, Cpuset{Nodes: claim.Nodes, Union: claim.Nodes, Restrictive: rapid.Bool().Draw(t, "restrictive")}
			}
		}
		beside := Judge(d, host.Host)
		if better(beside.Decision) > better(alone.Decision) {
			t.Fatalf("%s beside %v, %s alone: %s", beside.Decision, host.Starting, alone.Decision, text(beside))
		}
		if beside.Decision != alone.Decision {
			worse++
		}
	})
	if all && worse == 0 {
		t.Error("no starting guest made a difference")
	}
}

// TestWhoseClaims: to a launch it is one whether one domain or several are to take so many pages of the same nodes.
func TestWhoseClaims(t *testing.T) {
	all := cases.AtLeast(t, 1000)
	beside := map[Decision]int{}
	rapid.Check(t, func(t *rapid.T) {
		d, host := DrawLaunch(t)
		host.Holders = &Holders{}
		one, several := host, host
		for _, nodes := range []string{"0", "", "0-1"} {
			var sum, mapped uint64
			for i := range rapid.IntRange(0, 3).Draw(t, "starting") {
				n := rapid.Uint64Range(1, 6).Draw(t, "claimed")
				m := rapid.Uint64Range(0, n).Draw(t, "mapped")
				several = several.Started(fmt.Sprint(nodes, i), nodes, n, m)
				sum, mapped = sum+n, mapped+m
			}
			if sum > 0 {
				one = one.Started(nodes, nodes, sum, mapped)
			}
		}
		// Those that cannot all be served go by their order, whole.
		if !CanServe(several.Host) {
			return
		}
		a, b := Judge(d, one.Host), Judge(d, several.Host)
		if a.Decision != b.Decision || a.Cause != b.Cause || len(a.Findings) != len(b.Findings) {
			t.Fatalf("%s\n%s", text(a), text(b))
		}
		if len(several.Starting) > 0 {
			beside[a.Decision]++
		}
	})
	if all && (beside[Refuse] == 0 || beside[Warn] == 0 || beside[Allow] == 0) {
		t.Errorf("%v", beside)
	}
}

// TestConfinedStarts: where libvirt keeps two starts to one node by the cpuset alone, the second is refused if the
// rules are known to be so, and warned of if they may be.
func TestConfinedStarts(t *testing.T) {
	yes, no := true, false
	d := Guest(t, "restrictive:0", Cell(15, ""))
	first := Judge(d, Pages(20, 20).Host)
	for _, c := range []struct {
		name     string
		releases Releases
		free     uint64
		decision Decision
		says     string
	}{
		{"confined", Releases{Libvirt: Release{Version: 9_000_000}, QEMU: Release{Version: 7_002_000}, Cpuset: &yes}, 29, Refuse, "15 of them for starting guests (first)"},
		{"confined, with room", Releases{Libvirt: Release{Version: 9_000_000}, QEMU: Release{Version: 7_002_000}, Cpuset: &yes}, 30, Allow, ""},
		{"not confined", Releases{Libvirt: Release{Version: 9_000_000}, QEMU: Release{Version: 7_002_000}, Cpuset: &no}, 29, Allow, ""},
		{"who knows", Releases{}, 29, Warn, "; it fails with libvirt 9.0 or later"},
	} {
		t.Run(c.name, func(t *testing.T) {
			host := Pages(c.free, 20)
			host.Releases, host.Holders = c.releases, &Holders{}
			host.Starting = []Starting{{Domain: Domain{Name: "first", UUID: "1"}, Claims: first.Claims()}}
			if v := fix.Judge(d, host.Host); v.Decision != c.decision || !strings.Contains(words.Summary(v), c.says) {
				t.Errorf("%s: %s", v.Decision, words.Text(v))
			}
		})
	}
}

// TestNodemaskClaims: a starting guest's device claims the nodes of its own set where these are known to be strict.
func TestNodemaskClaims(t *testing.T) {
	d := Guest(t, "", Cell(15, "strict:1"))
	for _, c := range []struct {
		libvirt  Version
		decision Decision
	}{{11_010_000, Warn}, {12_000_000, Refuse}} {
		first := Pages(100, 100)
		first.Releases.Libvirt.Version = c.libvirt
		host := Pages(60, 49)
		host.Releases, host.Holders = first.Releases, &Holders{}
		host.Starting = []Starting{Judge(withDIMM(t, "preferred:0", 35, "1"), first.Host).AsStarting()}
		if v := Judge(d, host.Host); v.Decision != c.decision {
			t.Errorf("libvirt %s: %s: %s", c.libvirt, v.Decision, text(v))
		}
	}
}

// TestUnsureClaims: an NVDIMM in a file that may have its pages already takes none from others, and what is certain does.
func TestUnsureClaims(t *testing.T) {
	device := `<devices><memory model='nvdimm'><source><path>/h/nvdimm</path></source>
		<target><size unit='MiB'>128</size><node>0</node></target></memory></devices></domain>`
	with := Parse(t, strings.Replace(GuestXML("", Cell(10, "")), "</domain>", device, 1))
	for _, c := range []struct {
		certain  bool
		pages    int
		decision Decision
	}{{false, 90, Allow}, {false, 91, Refuse}, {true, 26, Allow}, {true, 27, Refuse}} {
		host := Pages(100)
		host.Holders = &Holders{}
		host.Places = []Place{{Path: "/h/nvdimm", At: "/h/nvdimm", Mount: &Mount{Path: "/h", PageKiB: 2048}, Certain: c.certain}}
		first := Judge(with, host.Host)
		if first.Decision != Allow {
			t.Fatalf("the first: %s", text(first))
		}
		host.Starting = []Starting{first.AsStarting()}
		if v := Judge(Plain(t, 2*c.pages, "", TwoMiB), host.Host); v.Decision != c.decision {
			t.Errorf("%+v: %s: %s", c, v.Decision, text(v))
		}
	}
}

// TestClearing: pages that a starting QEMU may have taken, though nobody shows it yet, refuse nothing.
func TestClearing(t *testing.T) {
	for _, c := range []struct {
		name     string
		clearing uint64
		free     uint64
		decision Decision
	}{
		{"none", 0, 30, Refuse},
		{"none, with room", 0, 40, Allow},
		{"as many as are missing", 10, 30, Warn},
		{"fewer than are missing", 9, 30, Refuse},
		{"of no matter", 10, 40, Allow},
	} {
		t.Run(c.name, func(t *testing.T) {
			host := Pages(c.free, 0).Started("a", "0", 20, 20)
			host.Starting[0].Claims[0].Clearing = c.clearing
			host = host.Change(func(p *SizePool) { p.Reserved -= c.clearing })
			host.Holders = &Holders{}
			v := fix.Judge(Guest(t, "strict:0", Cell(20, "strict:0")), host.Host)
			if v.Decision != c.decision {
				t.Errorf("%s: %s", v.Decision, words.Text(v))
			}
			if c.decision == Warn && !strings.Contains(words.Summary(v), "which the kernel is clearing") {
				t.Errorf("%s", words.Summary(v))
			}
		})
	}
}

// TestTooManyConfined: starts that cannot all be served under some rules prove nothing under these.
func TestTooManyConfined(t *testing.T) {
	no := false
	confined := Guest(t, "restrictive:0", Cell(15, ""))
	for _, known := range []Releases{{Cpuset: &no}, {Libvirt: Release{Version: 8_000_000}}, {}} {
		host := Pages(20, 20)
		host.Holders, host.Releases = &Holders{}, known
		claims := Judge(confined, host.Host).Claims()
		host.Starting = []Starting{{Domain: Domain{Name: "a"}, Claims: claims}, {Domain: Domain{Name: "b"}, Claims: claims}}
		for need, want := range map[uint64]Decision{10: Allow, 11: Refuse} {
			if known.Cpuset == nil {
				want = Warn // the second may fail
			}
			if v := fix.Judge(Plain(t, int(2*need), "", TwoMiB), host.Host); v.Decision != want {
				t.Errorf("%+v, %d: %s", known, need, words.Text(v))
			}
		}
	}
}
