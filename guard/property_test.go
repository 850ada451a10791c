package guard

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawLaunch draws a guest of several cells with any tuning, and a host.
func drawLaunch(t *rapid.T) (Demand, Host) {
	nodes := rapid.IntRange(1, 3).Draw(t, "nodes")
	count := rapid.Uint64Range(0, 12)
	free := make([]uint64, nodes)
	for i := range free {
		free[i] = count.Draw(t, "free")
	}
	host := pages(free...)
	for i := range host.Nodes {
		host.Nodes[i].HasCPU = i == 0 || rapid.IntRange(0, 5).Draw(t, "cpu") > 0
	}
	host = host.pooled(func(p *SizePool) {
		p.Reserved = rapid.SampledFrom([]uint64{0, 0, 3, 9}).Draw(t, "reserved")
		p.Overcommit = rapid.SampledFrom([]uint64{0, 0, 2}).Draw(t, "overcommit")
	})
	limit := func(label string) *PageLimit {
		if rapid.IntRange(0, 9).Draw(t, label) > 0 {
			return nil
		}
		return &PageLimit{PageKiB: 2048, Pages: rapid.Uint64Range(5, 40).Draw(t, label), Used: rapid.Uint64Range(0, 10).Draw(t, label)}
	}
	host.Mounts[0].Limit = limit("mount")
	set := func(label string) NodeSet {
		s := NodeSet{}
		for n := range nodes {
			if rapid.Bool().Draw(t, label) {
				s = append(s, n)
			}
		}
		if len(s) == 0 {
			return NodeSet{0}
		}
		return s
	}
	for range rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(t, "groups") {
		c := Cgroup{Legacy: rapid.IntRange(0, 3).Draw(t, "version") == 0}
		if rapid.IntRange(0, 3).Draw(t, "confined") == 0 {
			c.Nodes = set("inherited nodes")
		}
		if l := limit("group"); l != nil {
			c.Limits = []PageLimit{*l}
		}
		host.Cgroups = append(host.Cgroups, c)
	}
	d := Demand{}
	if rapid.Bool().Draw(t, "cpuset") {
		d.Cpuset.Nodes = set("cpuset nodes")
		d.Cpuset.Union = d.Cpuset.Nodes.Or(set("union"))
	}
	for i := range rapid.IntRange(1, 3).Draw(t, "backends") {
		n := rapid.Uint64Range(1, 10).Draw(t, "pages")
		b := Backend{ID: fmt.Sprintf("ram-node%d", i), PageKiB: 2048, Bytes: n << 21, ExactBytes: n << 21,
			Policy: rapid.SampledFrom([]Policy{PolicyDefault, PolicyBind, PolicyBind, PolicyPreferred, PolicyInterleave}).Draw(t, "policy")}
		if b.Policy != PolicyDefault {
			b.HostNodes = set("host nodes")
		}
		b.Memfd = rapid.IntRange(0, 3).Draw(t, "memfd") == 0
		d.Backends = append(d.Backends, b)
	}
	return d, host
}

// better orders the decisions.
func better(d Decision) int { return slices.Index([]Decision{Refuse, Warn, Allow}, d) }

// steady is a host whose pools do not grow. Where they do, the kernel itself
// keeps to neither property: pages that a reservation has to add may be the
// ones that let it pass the test of its cpuset.
func steady(host Host) Host {
	return host.pooled(func(p *SizePool) { p.Overcommit = 0 })
}

// TestMorePagesNeverHurt: a free page more never turns a launch that could
// succeed into one that must fail.
func TestMorePagesNeverHurt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, host := drawLaunch(t)
		host = steady(host)
		before := Judge(d, host)
		node := rapid.IntRange(0, len(host.Nodes)-1).Draw(t, "node")
		after := Judge(d, host.pooled(func(p *SizePool) { p.Nodes[node].Free++; p.Nodes[node].Total++ }))
		if before.Decision != Refuse && after.Decision == Refuse {
			t.Fatalf("%s, and with a page more on node %d: %s", before.Summary, node, after.Summary)
		}
	})
}

// TestMoreRoomNeverHurts: a limit that is a page wider never turns a launch that
// could succeed into one that must fail.
func TestMoreRoomNeverHurts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, host := drawLaunch(t)
		before := Judge(d, host)
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
		if after := Judge(d, wider); before.Decision != Refuse && after.Decision == Refuse {
			t.Fatalf("%s, and with more room: %s", before.Summary, after.Summary)
		}
	})
}

// TestLargerGuestsNeverHelp: a page more to take never turns a launch that
// must fail into one that could succeed.
func TestLargerGuestsNeverHelp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, host := drawLaunch(t)
		host = steady(host)
		before := Judge(d, host)
		larger := d
		larger.Backends = slices.Clone(d.Backends)
		i := rapid.IntRange(0, len(d.Backends)-1).Draw(t, "backend")
		larger.Backends[i].Bytes += 2 << 20
		larger.Backends[i].ExactBytes += 2 << 20
		if after := Judge(larger, host); before.Decision == Refuse && after.Decision != Refuse {
			t.Fatalf("%s, and with a page more for %s: %s", before.Summary, d.Backends[i].ID, after.Decision)
		}
	})
}

// TestNumbersOfNodesDoNotMatter: renumbering the nodes changes the decision of
// no launch.
func TestNumbersOfNodesDoNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, host := drawLaunch(t)
		shift := rapid.IntRange(1, 60).Draw(t, "shift")
		move := func(s NodeSet) NodeSet {
			if s == nil {
				return nil
			}
			moved := NodeSet{}
			for _, n := range s {
				// The order is turned round, and the numbers have holes. The
				// order counts where the kernel moves a policy along with its
				// process.
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
		other = other.pooled(func(p *SizePool) {
			for i := range p.Nodes {
				p.Nodes[i].Node = move(NodeSet{p.Nodes[i].Node})[0]
			}
			slices.SortFunc(p.Nodes, func(a, b NodePool) int { return a.Node - b.Node })
		})
		moved := d
		moved.Cpuset.Nodes, moved.Cpuset.Union = move(d.Cpuset.Nodes), move(d.Cpuset.Union)
		moved.Backends = slices.Clone(d.Backends)
		for i := range moved.Backends {
			moved.Backends[i].HostNodes = move(moved.Backends[i].HostNodes)
		}
		a, b := Judge(d, host), Judge(moved, other)
		if better(a.Decision) != better(b.Decision) || a.Cause != b.Cause {
			t.Fatalf("%s %s: %s\nrenumbered %s %s: %s", a.Decision, a.Cause, a.Summary, b.Decision, b.Cause, b.Summary)
		}
	})
}

// TestRulesThatMatter: leaving out a rule that does not matter changes nothing.
func TestRulesThatMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, host := drawLaunch(t)
		for i := range d.Backends {
			d.Backends[i].Bytes += rapid.SampledFrom([]uint64{0, 0, 0, 1 << 20}).Draw(t, "odd")
		}
		d.Cpuset.Restrictive = d.Cpuset.Nodes != nil && rapid.Bool().Draw(t, "restrictive")
		backends, _ := resolve(d, host)
		l := launch{backends, d.Cpuset}
		host.Cgroups = host.Cgroups[:min(len(host.Cgroups), 1)] // as play does
		matters := l.rulesThatMatter(host)
		for _, r := range (Releases{}).rules() {
			all, allRisks := simulate(r, backends, d.Cpuset, host)
			few, fewRisks := simulate(r.only(matters), backends, d.Cpuset, host)
			if !reflect.DeepEqual(all, few) || !reflect.DeepEqual(allRisks, fewRisks) {
				t.Fatalf("%+v: %v %v\nwithout what does not matter (%+v): %v %v", r, all, allRisks, matters, few, fewRisks)
			}
		}
	})
}
