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
		d.Backends = append(d.Backends, b)
	}
	return d, host
}

// better orders the decisions.
func better(d Decision) int { return slices.Index([]Decision{Refuse, Warn, Allow}, d) }

// TestMorePagesNeverHurt: a free page more never turns a launch that could
// succeed into one that must fail.
func TestMorePagesNeverHurt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, host := drawLaunch(t)
		before := Judge(d, host)
		node := rapid.IntRange(0, len(host.Nodes)-1).Draw(t, "node")
		after := Judge(d, host.pooled(func(p *SizePool) { p.Nodes[node].Free++; p.Nodes[node].Total++ }))
		if before.Decision != Refuse && after.Decision == Refuse {
			t.Fatalf("%s, and with a page more on node %d: %s", before.Summary, node, after.Summary)
		}
	})
}

// TestLargerGuestsNeverHelp: a page more to take never turns a launch that
// must fail into one that could succeed.
func TestLargerGuestsNeverHelp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, host := drawLaunch(t)
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
				// The order is turned round, and the numbers have holes.
				moved = append(moved, shift+3*(len(host.Nodes)-n))
			}
			slices.Sort(moved)
			return moved
		}
		other := host
		other.Nodes = nil
		for _, n := range slices.Backward(host.Nodes) {
			n.ID = move(NodeSet{n.ID})[0]
			other.Nodes = append(other.Nodes, n)
		}
		other = other.pooled(func(p *SizePool) {
			slices.Reverse(p.Nodes)
			for i := range p.Nodes {
				p.Nodes[i].Node = move(NodeSet{p.Nodes[i].Node})[0]
			}
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
