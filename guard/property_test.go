package guard_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	. "hugeguard/guard"
	"hugeguard/guard/fix"
	. "hugeguard/guard/guardtest"
	"hugeguard/guard/words"
	"hugeguard/testdata/cases"
)

// trials counts what a property was tried on, so that none holds for want of cases.
type trials map[string]int

func (c trials) add(d Demand, host Setup, v Verdict) {
	c[string(v.Decision)]++
	of := func(trait string, is bool) {
		if is {
			c[trait+" "+string(v.Decision)]++
		}
	}
	for _, b := range d.Backends {
		of(string(b.Policy), true)
		of("gigantic", b.PageKiB == 1<<20)
		of("auto", b.Auto)
		of("restrictive", b.Cpuset != nil)
		of("dimm", b.Device == "dimm")
		of("virtio-mem", b.Device == VirtioMem)
	}
	of("overcommit", host.Pools[0].Overcommit > 0)
	of("reservations", host.Pools[0].Reserved > 0)
	of("limits", host.Mounts[0].Limit != nil)
	of("cgroups", len(host.Cgroups) > 0)
	of("pinned", d.Backends[0].PinnedTo != nil)
}

// check wants each trait of a launch with each of the decisions, where all cases were tried.
func (c trials) check(t *testing.T, all bool, traits ...string) {
	t.Helper()
	t.Logf("tried: %v", c)
	if !all {
		return
	}
	for _, decision := range []Decision{Allow, Warn, Refuse} {
		for _, trait := range traits {
			if c[trait+" "+string(decision)] == 0 {
				t.Errorf("no launch with %s was one to %s", trait, decision)
			}
		}
	}
}

// traits are those of all launches.
var traits = []string{string(PolicyDefault), string(PolicyBind), string(PolicyPreferred), string(PolicyInterleave),
	"gigantic", "auto", "restrictive", "dimm", VirtioMem, "reservations", "limits", "cgroups", "pinned"}

// better orders the decisions.
func better(d Decision) int { return slices.Index([]Decision{Refuse, Warn, Allow}, d) }

// steady is a host whose pools do not grow. Where they do, the kernel itself keeps to neither property: pages that a
// reservation has to add may be the ones that let it pass the test of its cpuset.
func steady(host Setup) Setup {
	return host.Change(func(p *SizePool) { p.Overcommit = 0 })
}

// TestMorePagesNeverHurt: a free page more never turns a launch that could succeed into one that must fail.
func TestMorePagesNeverHurt(t *testing.T) {
	all := cases.AtLeast(t, 1000)
	tried, rescued := trials{}, 0
	rapid.Check(t, func(t *rapid.T) {
		d, host := DrawLaunch(t)
		host = steady(host)
		before := Judge(d, host.Host)
		tried.add(d, host, before)
		node := rapid.IntRange(0, len(host.Nodes)-1).Draw(t, "node")
		kib := rapid.SampledFrom([]uint64{2048, 1 << 20}).Draw(t, "size")
		after := Judge(d, host.Change(func(p *SizePool) {
			if p.PageKiB == kib {
				p.Nodes[node].Free++
				p.Nodes[node].Total++
			}
		}).Host)
		if before.Decision != Refuse && after.Decision == Refuse {
			t.Fatalf("%s, and with a page more on node %d: %s", summary(before), node, summary(after))
		}
		if before.Decision == Refuse && after.Decision != Refuse {
			rescued++
		}
	})
	if all && rescued < 5 {
		t.Errorf("a page more made a difference to %d launches", rescued)
	}
	tried.check(t, all, traits...)
}

// TestMoreRoomNeverHurts: a limit that is a page wider never turns a launch that could succeed into one that must fail.
func TestMoreRoomNeverHurts(t *testing.T) {
	all := cases.AtLeast(t, 1000)
	tried := trials{}
	rapid.Check(t, func(t *rapid.T) {
		d, host := DrawLaunch(t)
		before := Judge(d, host.Host)
		tried.add(d, host, before)
		wider := host
		wider.Mounts, wider.Cgroups = slices.Clone(host.Mounts), slices.Clone(host.Cgroups)
		if l := host.Mounts[0].Limit; l != nil {
			more := *l
			more.Pages++
			wider.Mounts[0].Limit = &more
		}
		for i, c := range wider.Cgroups {
			wider.Cgroups[i].Limits = slices.Clone(c.Limits)
			for k := range c.Limits {
				wider.Cgroups[i].Limits[k].Pages++
			}
		}
		if after := Judge(d, wider.Host); before.Decision != Refuse && after.Decision == Refuse {
			t.Fatalf("%s, and with more room: %s", summary(before), summary(after))
		}
	})
	tried.check(t, all, append(traits, "overcommit")...)
}

// TestLargerGuestsNeverHelp: a page more to take never turns a launch that must fail into one that could succeed.
func TestLargerGuestsNeverHelp(t *testing.T) {
	all := cases.AtLeast(t, 1000)
	tried, tooLarge := trials{}, 0
	rapid.Check(t, func(t *rapid.T) {
		d, host := DrawLaunch(t)
		host = steady(host)
		before := Judge(d, host.Host)
		larger := d
		larger.Backends = slices.Clone(d.Backends)
		i := rapid.IntRange(0, len(d.Backends)-1).Draw(t, "backend")
		tried.add(d, host, before)
		page := d.Backends[i].PageKiB * 1024
		larger.Backends[i].Bytes += page
		larger.Backends[i].ExactBytes += page
		after := Judge(larger, host.Host)
		if before.Decision == Refuse && after.Decision != Refuse {
			t.Fatalf("%s, and with a page more for %s: %s", summary(before), d.Backends[i].ID, after.Decision)
		}
		if before.Decision != Refuse && after.Decision == Refuse {
			tooLarge++
		}
	})
	if all && tooLarge < 5 {
		t.Errorf("a page more was too much for %d launches", tooLarge)
	}
	tried.check(t, all, traits...)
}

// TestNumbersOfNodesDoNotMatter: renumbering the nodes changes the decision of no launch.
func TestNumbersOfNodesDoNotMatter(t *testing.T) {
	all := cases.AtLeast(t, 1000)
	tried := trials{}
	rapid.Check(t, func(t *rapid.T) {
		d, host := DrawLaunch(t)
		shift := rapid.IntRange(1, 60).Draw(t, "shift")
		move := func(s NodeSet) NodeSet {
			if s == nil {
				return nil
			}
			moved := NodeSet{}
			for _, n := range s {
				// The order is turned round, and the numbers have holes. The order counts where the kernel moves a
				// policy along with its process.
				if slices.ContainsFunc(host.Cgroups, func(c Cgroup) bool { return c.Nodes != nil }) {
					n = len(host.Nodes) - 1 - n
				}
				moved = append(moved, shift+3*(len(host.Nodes)-n))
			}
			slices.Sort(moved)
			return moved
		}
		other := host
		other.Nodes = nil
		for _, n := range host.Nodes {
			n.ID = move(NodeSet{n.ID})[0]
			other.Nodes = append(other.Nodes, n)
		}
		slices.SortFunc(other.Nodes, func(a, b Node) int { return a.ID - b.ID })
		other.Cgroups = slices.Clone(host.Cgroups)
		for i, c := range host.Cgroups {
			other.Cgroups[i].Nodes = move(c.Nodes)
		}
		other = other.Change(func(p *SizePool) {
			for i := range p.Nodes {
				p.Nodes[i].Node = move(NodeSet{p.Nodes[i].Node})[0]
			}
			slices.SortFunc(p.Nodes, func(a, b NodePool) int { return a.Node - b.Node })
		})
		moved := d
		moved.Cpuset.Nodes, moved.Cpuset.Union = move(d.Cpuset.Nodes), move(d.Cpuset.Union)
		moved.Backends = slices.Clone(d.Backends)
		for i := range moved.Backends {
			b := &moved.Backends[i]
			b.HostNodes, b.Cpuset, b.Threads = move(b.HostNodes), move(b.Cpuset), move(b.Threads)
			b.Nodemask.Nodes = move(b.Nodemask.Nodes)
		}
		a, b := Judge(d, host.Host), Judge(moved, other.Host)
		tried.add(d, host, a)
		if better(a.Decision) != better(b.Decision) || a.Cause != b.Cause {
			t.Fatalf("%s %s: %s\nrenumbered %s %s: %s", a.Decision, a.Cause, summary(a), b.Decision, b.Cause, summary(b))
		}
	})
	tried.check(t, all, append(traits, "overcommit")...)
}

// TestTheSameTwice: the same launch on the same host gets the same verdict, whatever the order in which its maps are
// walked.
func TestTheSameTwice(t *testing.T) {
	all := cases.AtLeast(t, 1000)
	tried := trials{}
	rapid.Check(t, func(t *rapid.T) {
		d, host := DrawLaunch(t)
		kinds := []HolderKind{HolderOVS, HolderGuest, HolderProcess}
		holders := Holders{}
		for i := range rapid.IntRange(0, 4).Draw(t, "holders") {
			h := Holder{Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), Name: fmt.Sprintf("h%d", i%3), PID: i / 2, PageKiB: 2048, Pages: map[int]uint64{}}
			for node := range host.Nodes {
				n := rapid.Uint64Range(0, 9).Draw(t, "held")
				h.Pages[node] = n
				host.Pools[0].Nodes[node].Total += n
			}
			holders.List = append(holders.List, h)
		}
		host.Holders = &holders
		for i := range host.Nodes {
			host.Nodes[i].Distances = map[int]int{}
			for k := range host.Nodes {
				host.Nodes[i].Distances[k] = 10 + 5*((i-k)*(i-k)%3)
			}
		}
		first := fix.Judge(d, host.Host)
		tried.add(d, host, first.Verdict)
		for range 3 {
			again := fix.Judge(d, host.Host)
			if !reflect.DeepEqual(first, again) || words.Text(first) != words.Text(again) || !reflect.DeepEqual(words.Fields(first), words.Fields(again)) {
				t.Fatalf("%+v\nand again\n%+v", first, again)
			}
		}
	})
	tried.check(t, all, traits...)
}
