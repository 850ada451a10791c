package guard

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hugeguard/testdata/cases"
)

// started adds a domain that is starting and has still to take pages of nodes; "" is any. The first so many of them are
// mapped.
func (h Host) started(name, nodes string, pages, mapped uint64) Host {
	c := Claim{PageKiB: 2048, Pages: pages, Mapped: mapped}
	if nodes != "" {
		for _, node := range strings.Split(nodes, "-") { // of two at the most
			c.Nodes = append(c.Nodes, int(node[0]-'0'))
		}
		c.Hard = true
	}
	h.Starting = append(h.Starting[:len(h.Starting):len(h.Starting)], Starting{Domain: Domain{Name: name, UUID: name}, Claims: []Claim{c}})
	return h.Change(func(p *SizePool) { p.Reserved += mapped })
}

// TestJudgeBesideStarting: pages of those who are starting count as gone, as far as they must lie where this launch
// needs its own.
func TestJudgeBesideStarting(t *testing.T) {
	on0 := func(n uint64) Demand { return guest(t, "strict:0", cell{n, "strict:0"}) }
	both := func(n, m uint64) Demand { return guest(t, "strict:0-1", cell{n, "strict:0"}, cell{m, "strict:1"}) }
	anywhere := func(n int) Demand { return plain(t, 2*n, "", twoMiB) }
	for _, c := range []struct {
		name     string
		demand   Demand
		host     Host
		decision Decision
		cause    Cause
		says     string
	}{
		{"room for both", on0(20), pages(40, 0).started("a", "0", 20, 0), Allow, "", "it fits"},
		{"a page too few", on0(21), pages(40, 0).started("a", "0", 20, 0), Refuse, CauseStartingGuests,
			"starting guests take node 0's 2M pages: 40 of 40 free, 20 of them for starting guests (a), 21 needed (42 MiB); without these it would fit; fix: try again when they have started"},
		{"two of them", on0(20), pages(40, 0).started("a", "0", 15, 0).started("b", "0", 15, 0), Refuse, CauseStartingGuests, "30 of them for starting guests (a, b)"},
		{"elsewhere", on0(40), pages(40, 20).started("a", "1", 20, 0), Allow, "", ""},
		{"one that can go elsewhere", on0(40), pages(40, 20).started("a", "", 20, 0), Warn, "", "may lack node 0's 2M pages: ram-node0 fits there only if other starting guests (a) take their pages elsewhere"},
		{"two that cannot all go elsewhere", on0(40), pages(40, 20).started("a", "", 20, 0).started("b", "0-1", 1, 0), Refuse, CauseStartingGuests, "21 of them for starting guests (a, b)"},
		{"some mapped already", on0(20), pages(40, 0).started("a", "0", 20, 20), Allow, "", ""},
		{"and some not", on0(20), pages(40, 0).started("a", "0", 20, 7), Allow, "", ""},
		{"reserved, not promised yet", anywhere(21), pages(20, 20).started("a", "0", 20, 0), Refuse, CauseStartingGuests, "20 of them for starting guests (a), 21 needed"},
		{"a reservation of its own", anywhere(21), pages(20, 20).started("a", "0", 20, 20), Refuse, CauseStartingGuests, "21 needed (42 MiB); without these it would fit"},
		{"a reservation of others", anywhere(21), pages(20, 20).promisedTo("x", 7, 20), Refuse, CauseKernelReserved, ""},
		{"more than there is in any case", on0(41), pages(40, 0).started("a", "0", 20, 0), Refuse, CausePoolTooSmall, ""},
		{"guests that run, and one that starts", on0(20), pages(20, 0).heldBy(HolderGuest, "r", 9, 0, 20).started("a", "0", 20, 0), Refuse, CauseStartingGuests, ""},
		{"Open vSwitch's pages would do, too", on0(20), pages(20, 0).heldBy(HolderOVS, "ovs-vswitchd", 9, 0, 20).started("a", "0", 20, 0), Refuse, CauseOVS,
			"OVS-DPDK holds node 0's 2M pages: 20 of 40 free, 20 of them for starting guests (a), 20 needed (40 MiB); ovs-vswitchd (pid 9) has 20;"},
		{"guests that run and one that starts, only both of which would do", on0(40), pages(20, 0).heldBy(HolderGuest, "r", 9, 0, 20).started("a", "0", 20, 0), Refuse, CauseGuests,
			"20 of them for starting guests (a), 40 needed (80 MiB); guest r has 20"},
		{"Open vSwitch and one that starts, only both of which would do", on0(40), pages(20, 0).heldBy(HolderOVS, "ovs-vswitchd", 9, 0, 20).started("a", "0", 20, 0), Refuse, CauseOVS,
			"20 of them for starting guests (a), 40 needed (80 MiB); ovs-vswitchd (pid 9) has 20; fix: echo 80 > "},
		{"a process and one that starts, only both of which would do", on0(40), pages(20, 0).heldBy(HolderProcess, "vpp", 9, 0, 20).started("a", "0", 20, 0), Refuse, CauseOtherHolder,
			"40 needed (80 MiB); vpp (pid 9) has 20;"},
		{"the same beside a guest", on0(40), pages(20, 0).heldBy(HolderOVS, "ovs-vswitchd", 9, 0, 20).heldBy(HolderGuest, "r", 8, 0, 1).started("a", "0", 20, 0), Refuse, CauseOVS,
			"20 of 41 free, 20 of them for starting guests (a), 40 needed (80 MiB); ovs-vswitchd (pid 9) has 20;"},
		{"files and one that starts, only both of which would do", on0(40), pages(20, 0).leftBehind(0, 20, "/h/x").started("a", "0", 20, 0), Refuse, CauseLeftoverFiles, "leftover file /h/x has 20; fix: rm /h/x"},
		{"a start on one node, Open vSwitch on the other", both(10, 10), pages(20, 0).heldBy(HolderOVS, "ovs-vswitchd", 9, 1, 20).started("a", "0", 20, 0), Refuse, CauseOVS,
			"OVS-DPDK holds node 1's 2M pages: 0 of 20 free, 10 needed (20 MiB); ovs-vswitchd (pid 9) has 20;"},
		{"Open vSwitch and a guest on one node, a start on the other", both(10, 10),
			pages(0, 20).heldBy(HolderOVS, "ovs-vswitchd", 9, 0, 20).heldBy(HolderGuest, "r", 8, 0, 1).started("a", "1", 20, 0), Refuse, CauseOVS, "OVS-DPDK holds node 0's 2M pages: 0 of 21 free, 10 needed (20 MiB); ovs-vswitchd (pid 9) has 20;"},
		{"Open vSwitch and a reservation, only both of which would do", on0(40), pages(20, 0).heldBy(HolderOVS, "ovs-vswitchd", 9, 0, 20).promisedTo("x", 7, 20), Refuse, CauseOVS,
			"OVS-DPDK holds node 0's 2M pages: 20 of 40 free, 40 needed (80 MiB); ovs-vswitchd (pid 9) has 20;"},
		{"one that is too large itself", on0(20), pages(20, 20).started("a", "0", 21, 0), Warn, "", "starting guests lack 2M pages: a need more than there are"},
		{"one that is too large elsewhere", on0(20), pages(20, 20).started("a", "1", 21, 0), Allow, "", ""},
		{"it does not keep out the one before it", on0(1), pages(20, 20).started("a", "0", 20, 0).started("b", "0", 20, 0), Refuse, CauseStartingGuests, "20 of them"},
		{"what overcommit may add", on0(21), pages(40, 0).started("a", "0", 20, 0).pooled(func(p *SizePool) { p.Overcommit = 9 }), Warn, "", "surplus"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.host.Holders == nil {
				c.host.Holders = &Holders{}
			}
			v := JudgeAndFix(c.demand, c.host)
			if v.Decision != c.decision || v.Cause != c.cause || !strings.Contains(Summary(v), c.says) {
				t.Errorf("%s %q: %s", v.Decision, v.Cause, Text(v))
			}
		})
	}
}

// TestStartingIsReported: who is starting is in the JSON, the text and the journal, and on a node as far as it can be
// nowhere else.
func TestStartingIsReported(t *testing.T) {
	host := pages(40, 20).started("a\x1b", "0", 20, 0).started("b", "", 5, 0)
	host.Holders = &Holders{}
	v := JudgeAndFix(guest(t, "strict:0", cell{21, "strict:0"}), host)
	text, err := JSON(v)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"claimed":20`, `"starting":[{"name":"a\u001b","uuid":"a\u001b","page_kib":2048,"pages":20,"nodes":[0]},{"name":"b","uuid":"b","page_kib":2048,"pages":5,"nodes":null}]`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	if want := `starting guest a\x1b is still to take 20 pages of 2M (40 MiB) on node 0`; !strings.Contains(Text(v), want) {
		t.Errorf("no %q in %s", want, Text(v))
	}
	fields := Fields(v)
	if fields["HUGEGUARD_HOLDER"] != `a\x1b` || fields["HUGEGUARD_HOLDER_PAGES"] != "20" || fields["HUGEGUARD_CAUSE"] != "starting-guests" {
		t.Errorf("%v", fields)
	}
}

// TestClaimsOfVerdict: what a launch claims is what it will take.
func TestClaimsOfVerdict(t *testing.T) {
	v := JudgeAndFix(guest(t, "strict:0-1", cell{20, "strict:1"}, cell{7, "preferred:0"}), pages(40, 40))
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
		d, host := drawLaunch(t)
		host.Cgroups = host.Cgroups[:min(len(host.Cgroups), 1)] // as play does
		v := JudgeAndFix(d, host)
		for _, b := range v.Demand {
			if b.Pages == 0 {
				continue
			}
			pool, _ := host.Pool(b.PageKiB)
			only := v
			only.Demand = []Backend{b}
			with := host
			with.Starting = []Starting{only.AsStarting()}
			for _, r := range rules(allRules &^ assumed).subsets() {
				r |= assumed
				s := simulation{rules: r, host: host, inherited: host.inherited(r)}
				s.confined, s.bound = s.confinement(d.Cpuset)
				formed, _ := b.under(r)
				p, f := s.place(formed)
				if f != nil {
					continue
				}
				claimed := with.claims(pool, r)[0].allowed
				// A claim does not know of control groups above the domain's, of a policy that libvirt gives the
				// process in place of a cpuset, of a cpuset that leaves out some of the nodes it is bound to, or of rules
				// that are not known to hold.
				cpuset := d.Cpuset.of(r)
				confined := b.formed() != 0 || host.cgroup().Nodes != nil || cpuset != nil && (!r.has(ruleCpuset) && b.Policy == PolicyDefault ||
					r.has(ruleCpuset) && b.Policy == PolicyBind && len(b.HostNodes.Without(cpuset)) > 0)
				switch same := slices.Equal(claimed, p.allowed); {
				case len(p.allowed.Without(claimed)) > 0 || !same && !confined:
					t.Fatalf("rules %b: %+v may lie on nodes %v and claims %v: %s", r, b, p.allowed, claimed, Text(v))
				case same:
					exact++
				default:
					wider++
				}
			}
		}
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
		d, host := drawLaunch(t)
		host.Releases = drawReleases(t)
		alone := Judge(d, host)
		nodes := rapid.SampledFrom([]string{"", "0", "1", "0-1"}).Draw(t, "claimed nodes")
		for _, name := range []string{"a", "b"}[:rapid.IntRange(1, 2).Draw(t, "starting")] {
			host = host.started(name, nodes, rapid.Uint64Range(0, 30).Draw(t, "claimed"), 0)
			if claim := &host.Starting[len(host.Starting)-1].Claims[0]; rapid.Bool().Draw(t, "confined") {
				claim.Hard, claim.Cpuset = false, Cpuset{Nodes: claim.Nodes, Union: claim.Nodes, Restrictive: rapid.Bool().Draw(t, "restrictive")}
			}
		}
		beside := Judge(d, host)
		if better(beside.Decision) > better(alone.Decision) {
			t.Fatalf("%s beside %v, %s alone: %s", beside.Decision, host.Starting, alone.Decision, Text(beside))
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
		d, host := drawLaunch(t)
		host.Holders = &Holders{}
		one, several := host, host
		for _, nodes := range []string{"0", "", "0-1"} {
			var sum, mapped uint64
			for i := range rapid.IntRange(0, 3).Draw(t, "starting") {
				n := rapid.Uint64Range(1, 6).Draw(t, "claimed")
				m := rapid.Uint64Range(0, n).Draw(t, "mapped")
				several = several.started(fmt.Sprint(nodes, i), nodes, n, m)
				sum, mapped = sum+n, mapped+m
			}
			if sum > 0 {
				one = one.started(nodes, nodes, sum, mapped)
			}
		}
		// Those that cannot all be served go by their order, whole.
		if !canServe(several) {
			return
		}
		a, b := Judge(d, one), Judge(d, several)
		if a.Decision != b.Decision || a.Cause != b.Cause || len(a.Findings) != len(b.Findings) {
			t.Fatalf("%s\n%s", Text(a), Text(b))
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
	d := guest(t, "restrictive:0", cell{15, ""})
	first := Judge(d, pages(20, 20))
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
			host := pages(c.free, 20)
			host.Releases, host.Holders = c.releases, &Holders{}
			host.Starting = []Starting{{Domain: Domain{Name: "first", UUID: "1"}, Claims: first.Claims()}}
			if v := JudgeAndFix(d, host); v.Decision != c.decision || !strings.Contains(Summary(v), c.says) {
				t.Errorf("%s: %s", v.Decision, Text(v))
			}
		})
	}
}

// TestNodemaskClaims: a starting guest's device claims the nodes of its own set where these are known to be strict.
func TestNodemaskClaims(t *testing.T) {
	d := guest(t, "", cell{15, "strict:1"})
	for _, c := range []struct {
		libvirt  Version
		decision Decision
	}{{11_010_000, Warn}, {12_000_000, Refuse}} {
		first := pages(100, 100)
		first.Releases.Libvirt.Version = c.libvirt
		host := pages(60, 49)
		host.Releases, host.Holders = first.Releases, &Holders{}
		host.Starting = []Starting{Judge(withDIMM(t, "preferred:0", 35, "1"), first).AsStarting()}
		if v := Judge(d, host); v.Decision != c.decision {
			t.Errorf("libvirt %s: %s: %s", c.libvirt, v.Decision, Text(v))
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
			host := pages(c.free, 0).started("a", "0", 20, 20)
			host.Starting[0].Claims[0].Clearing = c.clearing
			host = host.Change(func(p *SizePool) { p.Reserved -= c.clearing })
			host.Holders = &Holders{}
			v := JudgeAndFix(guest(t, "strict:0", cell{20, "strict:0"}), host)
			if v.Decision != c.decision {
				t.Errorf("%s: %s", v.Decision, Text(v))
			}
			if c.decision == Warn && !strings.Contains(Summary(v), "which the kernel is clearing") {
				t.Errorf("%s", Summary(v))
			}
		})
	}
}

// TestTooManyConfined: starts that cannot all be served under some rules prove nothing under these.
func TestTooManyConfined(t *testing.T) {
	no := false
	confined := guest(t, "restrictive:0", cell{15, ""})
	for _, known := range []Releases{{Cpuset: &no}, {Libvirt: Release{Version: 8_000_000}}, {}} {
		host := pages(20, 20)
		host.Holders, host.Releases = &Holders{}, known
		claims := Judge(confined, host).Claims()
		host.Starting = []Starting{{Domain: Domain{Name: "a"}, Claims: claims}, {Domain: Domain{Name: "b"}, Claims: claims}}
		for need, want := range map[uint64]Decision{10: Allow, 11: Refuse} {
			if known.Cpuset == nil {
				want = Warn // the second may fail
			}
			if v := JudgeAndFix(plain(t, int(2*need), "", twoMiB), host); v.Decision != want {
				t.Errorf("%+v, %d: %s", known, need, Text(v))
			}
		}
	}
}
