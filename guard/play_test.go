package guard_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	. "hugeguard/guard"
	"hugeguard/guard/domain"
	. "hugeguard/guard/guardtest"
	"hugeguard/testdata/cases"
)

// player plays a launch as the kernel would, page by page, in every order in which it may hand them out. It knows one
// page size and no overcommit.
type player struct {
	memory, cpuset, task NodeSet // all nodes, those of the cpuset, those of the process's own policy
	promised             uint64  // to others
	parallel             bool
	restrictive          bool // its backends have a thread-context, too
	started, failed      bool // some order ended so
}

// room is the free pages of nodes.
func room(free map[int]uint64, nodes NodeSet) (n uint64) {
	for _, node := range nodes {
		n += free[node]
	}
	return n
}

// touch takes a backend's pages in each way that there may be, and continues with what is left if they were enough.
func (p *player) touch(b Backend, free map[int]uint64, next func(free map[int]uint64)) {
	allowed, first := p.cpuset, NodeSet{}
	switch b.Policy {
	case PolicyDefault:
		allowed = p.task.And(p.cpuset)
	case PolicyBind:
		allowed = b.HostNodes.And(p.cpuset)
	case PolicyPreferred, PolicyInterleave:
		first = b.HostNodes.And(p.cpuset)
	}
	// preferred is MPOL_PREFERRED, for the first node, or MPOL_PREFERRED_MANY.
	many := false
	way := func(order []int) {
		free, want := maps.Clone(free), b.Pages
		take := func(node int, most uint64) {
			n := min(want, free[node], most)
			free[node] -= n
			want -= n
		}
		switch b.Policy {
		case PolicyPreferred:
			for _, node := range order {
				if first.Has(node) && (many || node == first[0]) {
					take(node, want)
				}
			}
		case PolicyInterleave:
			for turn := 0; want > 0 && room(free, first) > 0; turn++ {
				take(first[turn%len(first)], 1)
			}
		}
		for _, node := range order {
			take(node, want)
		}
		if want > 0 {
			p.end(false)
		} else {
			next(free)
		}
	}
	permute([]int(allowed), way)
	if many = true; len(first) > 1 && b.Policy == PolicyPreferred {
		permute([]int(allowed), way)
	}
}

// permute calls f with each order of a list.
func permute[T any](list []T, f func([]T)) {
	var from func(done int)
	list = slices.Clone(list)
	from = func(done int) {
		if done == len(list) {
			f(list)
		}
		for i := done; i < len(list); i++ {
			list[done], list[i] = list[i], list[done]
			from(done + 1)
			list[done], list[i] = list[i], list[done]
		}
	}
	from(0)
}

func (p *player) end(started bool) {
	p.started, p.failed = p.started || started, p.failed || !started
}

// play maps the backends that are left, each of which is touched at once or, if it may be, beside all others that are
// mapped by then.
func (p *player) play(left, mapped []Backend, free map[int]uint64) {
	if len(left) == 0 {
		permute(mapped, func(order []Backend) { p.touchAll(order, free) })
		return
	}
	b, rest := left[0], left[1:]
	promised := p.promised + together(mapped) + b.Pages
	if promised > room(free, p.memory) || b.Pages > room(free, p.task.And(p.cpuset)) || // hugetlb_acct_memory
		b.HostNodes != nil && len(b.HostNodes.And(p.cpuset)) == 0 { // mbind
		p.end(false)
		return
	}
	if p.parallel && (b.HostNodes != nil || p.restrictive && b.Threads != nil) {
		p.play(rest, append(slices.Clone(mapped), b), free)
		return
	}
	p.touch(b, free, func(free map[int]uint64) { p.play(rest, mapped, free) })
}

func (p *player) touchAll(order []Backend, free map[int]uint64) {
	if len(order) == 0 {
		p.end(true)
		return
	}
	p.touch(order[0], free, func(free map[int]uint64) { p.touchAll(order[1:], free) })
}

func together(backends []Backend) (pages uint64) {
	for _, b := range backends {
		pages += b.Pages
	}
	return pages
}

// TestEveryOrder: under rules that are known, what starts in some order of events is not refused, and what fails in
// some is not allowed without a word.
func TestEveryOrder(t *testing.T) {
	all := cases.AtLeast(t, 3000)
	tried := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		nodes := rapid.IntRange(1, 3).Draw(t, "nodes")
		free := make([]uint64, nodes)
		for i := range free {
			free[i] = rapid.Uint64Range(0, 6).Draw(t, "free")
		}
		host := Pages(free...)
		host.Pools[0].Reserved = rapid.SampledFrom([]uint64{0, 0, 0, 2, 5}).Draw(t, "reserved")
		sets := func(label string) NodeSet {
			s := NodeSet{rapid.IntRange(0, nodes-1).Draw(t, label)}
			if rapid.IntRange(0, 2).Draw(t, label+" more") == 0 {
				s = s.Or(NodeSet{rapid.IntRange(0, nodes-1).Draw(t, label)})
			}
			return s
		}
		memory := ""
		if rapid.IntRange(0, 3).Draw(t, "memory") > 0 {
			memory = "strict:" + sets("memory nodes").String()
		}
		union := rapid.Bool().Draw(t, "union")
		modes := []string{"", "strict", "strict", "preferred", "interleave", "restrictive"}
		if union {
			modes = modes[:5] // libvirt allows restrictive beside that alone
		}
		var cells []GuestCell
		for range rapid.IntRange(1, 3).Draw(t, "cells") {
			c := Cell(rapid.Uint64Range(1, 6).Draw(t, "pages"), "")
			if mode := rapid.SampledFrom(modes).Draw(t, "mode"); mode != "" {
				c.Memnode = mode + ":" + sets("cell nodes").String()
			}
			cells = append(cells, c)
		}
		d, err := domain.Parse([]byte(GuestXML(memory, cells...)))
		if err != nil {
			t.Fatal(err)
		}
		may := rapid.Bool().Draw(t, "cpuset")
		p := player{promised: host.Pools[0].Reserved, parallel: rapid.Bool().Draw(t, "parallel"), memory: host.MemoryNodes()}
		libvirt, qemu := Version(9_000_000), Version(7_002_000)
		switch {
		case union:
			libvirt = 11_003_000
		case rapid.Bool().Draw(t, "restrictive threads"):
			libvirt = 9_003_000
		}
		p.restrictive = libvirt > 9_000_000
		if p.parallel {
			qemu = 10_000_000
		}
		host = host.Serving(libvirt, qemu).UsingCpuset(may)
		p.cpuset, p.task = p.memory, p.memory
		switch {
		case d.Cpuset.Nodes == nil:
		case may && union:
			p.cpuset = d.Cpuset.Union
		case may:
			p.cpuset = d.Cpuset.Nodes
		default:
			p.task = d.Cpuset.Nodes
		}
		byNode := map[int]uint64{}
		for node, n := range free {
			byNode[node] = n
		}
		p.play(Resolved(d, host.Host), nil, byNode)
		v := Judge(d, host.Host)
		if p.started && v.Decision == Refuse || p.failed && v.Decision == Allow {
			t.Fatalf("memory %s, cells %v, free %v, %d reserved, parallel %v, %s: starts in some order: %v, fails in some: %v\n%s: %s",
				memory, cells, free, p.promised, p.parallel, host.Releases, p.started, p.failed, v.Decision, summary(v))
		}
		tried[fmt.Sprintf("starts %v, fails %v, parallel %v", p.started, p.failed, p.parallel)]++
	})
	t.Log(tried)
	for _, ends := range []string{"starts true, fails false", "starts false, fails true", "starts true, fails true"} {
		for _, parallel := range []bool{false, true} {
			if k := fmt.Sprintf("%s, parallel %v", ends, parallel); all && tried[k] == 0 {
				t.Errorf("no launch was one that %s", k)
			}
		}
	}
}
