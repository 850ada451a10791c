package main

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"hugeguard/guard"
)

// dice makes random scenes. All that is random of a case comes from its own.
type dice struct {
	*rand.Rand
	m *machine
	// late: the last cases of a run. What kernels before 6.15 are apt to lose
	// count by, a mount with min_size=, is left to them.
	late bool
}

func (m *machine) dice(seed uint64, number int) dice {
	return dice{Rand: rand.New(rand.NewPCG(seed, uint64(number))), m: m}
}

// chance is true in percent of all cases.
func (d dice) chance(percent int) bool { return d.IntN(100) < percent }

// between is low, high or something in between.
func (d dice) between(low, high int) int { return low + d.IntN(max(high-low, 0)+1) }

// pick returns one of several.
func pick[T any](d dice, of ...T) T { return of[d.IntN(len(of))] }

// someNodes returns at least one of the nodes, mostly few.
func (d dice) someNodes(of []int) guard.NodeSet {
	all := slices.Clone(of)
	d.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	n := 1
	for n < len(all) && d.chance(30) {
		n++
	}
	all = all[:n]
	slices.Sort(all)
	return guard.NodeSet(all)
}

// pools makes a scene without a domain.
func (d dice) pools() scene {
	var s scene
	total := 0
	for range d.m.nodes {
		pages := 0
		switch n := d.IntN(100); {
		case n < 12:
		case n < 75:
			pages = d.between(1, 8)
		default:
			pages = d.between(9, 20)
		}
		s.Pools = append(s.Pools, pages)
		total += pages
	}
	if d.chance(35) {
		s.Overcommit = d.between(1, 8)
	}
	for n := pick(d, 0, 0, 1, 1, 2, 3); n > 0 && total > 0; n-- {
		h := holder{Kind: pick(d, hugeFile, memfd, anonymous), Shared: d.chance(60), Pages: d.between(1, max(total/2, 1))}
		switch d.IntN(4) {
		case 0: // only reserved
		case 1:
			h.Touched = d.between(0, h.Pages)
		default:
			h.Touched = h.Pages
		}
		h.NoReserve = d.chance(6)
		h.Left = h.Kind == hugeFile && h.Shared && d.chance(20)
		if d.chance(70) {
			h.Mode = pick(d, mpolBind, mpolBind, mpolBind, mpolPreferred, mpolInterleave)
			h.Nodes = d.someNodes(d.m.nodes)
			if h.Mode == mpolPreferred {
				h.Nodes = h.Nodes[:1]
			}
		}
		s.Holders = append(s.Holders, h)
	}
	if d.chance(60) {
		d.limits(&s, total)
	}
	if len(s.Holders) > 0 && d.chance(12) {
		for _, pages := range s.Pools {
			s.Resized = append(s.Resized, max(pages+d.between(-6, 2), 0))
		}
	}
	return s
}

// tuned makes a mode with nodes.
func (d dice) tuned(modes ...string) *tuning {
	return &tuning{Mode: pick(d, modes...), Nodes: d.someNodes(d.m.allNodes)}
}

// domain makes a domain whose size is about what the host can just give.
func (d dice) domain(host guard.Host) domain {
	var dom domain
	dom.Source = pick(d, "", "", "file", "memfd", "memfd")
	dom.Shared = d.chance(50)
	dom.Pages = pick(d, pagesDefault, pagesSize, pagesSize)
	switch d.IntN(20) {
	case 0:
		dom.Memory = &tuning{Mode: pick(d, "strict", "preferred", "interleave"), Auto: true}
	case 1, 2:
		dom.Memory = d.tuned("preferred", "interleave")
	case 3, 4:
		dom.Memory = d.tuned("restrictive")
	case 5, 6, 7, 8:
	default:
		dom.Memory = d.tuned("strict", "strict", "")
	}
	cells := pick(d, 0, 0, 1, 1, 1, 2, 2, 2, 3)
	for range cells {
		var c cell
		if (dom.Memory == nil || !dom.Memory.Auto) && d.chance(55) {
			switch {
			case dom.Memory != nil && dom.Memory.Mode == "restrictive":
				c.Memnode = d.tuned("restrictive")
			case d.chance(3):
				c.Memnode = d.tuned("restrictive")
			default:
				c.Memnode = d.tuned("strict", "strict", "strict", "strict", "preferred", "interleave")
			}
			// What most people write lies within what the whole may use.
			if dom.Memory != nil && d.chance(60) {
				if within := c.Memnode.Nodes.And(dom.Memory.Nodes); len(within) > 0 {
					c.Memnode.Nodes = within
				}
			}
		}
		dom.Cells = append(dom.Cells, c)
	}
	if cells > 1 && d.chance(12) {
		dom.Pages = pick(d, pagesCells, pagesMixed)
		dom.Cells[d.IntN(cells)].Normal = true
	}
	if cells > 0 {
		for d.chance(12) {
			dev := device{Model: pick(d, "dimm", "dimm", "dimm", "virtio-mem"), Cell: d.IntN(cells), Own: d.chance(30)}
			if d.chance(40) {
				dev.Nodes = d.someNodes(d.m.allNodes)
			}
			dom.Devices = append(dom.Devices, dev)
		}
	}
	d.sizes(&dom, host)
	return dom
}

// sizes gives the backends their pages: some at random, some as many as are
// left where they may lie, give or take one.
func (d dice) sizes(dom *domain, host guard.Host) {
	pool := host.Pools[0]
	free := map[int]int{}
	all := 0
	for _, n := range pool.Nodes {
		free[n.Node] = int(n.Free)
		all += int(n.Free)
	}
	headroom := max(int(pool.Overcommit)-int(pool.Surplus), 0)
	unpromised := max(all-int(pool.Reserved), 0)
	taken := 0
	limits := slices.Clone(host.Cgroups[0].Limits)
	if l := host.Mounts[0].Limit; l != nil && dom.Source != "memfd" {
		limits = append(limits, *l)
	}
	size := func(b backend, last bool) int {
		nodes := b.nodes
		if nodes == nil {
			nodes = d.m.nodes
			if inherited := host.Cgroups[0].Nodes; inherited != nil {
				nodes = inherited
			}
		}
		there := 0
		for _, n := range nodes {
			there += free[n]
		}
		left := max(unpromised-taken, 0)
		pages := 0
		switch n := d.IntN(20); {
		case len(limits) > 0 && last && n%3 == 0:
			l := pick(d, limits...)
			pages = max(int(l.Pages)-int(l.Used)-taken, 0) + pick(d, 0, 0, 1, -1)
		case !last && n < 12:
			pages = d.between(1, min(there, left))
		case n < 9:
			pages = min(there, left) + pick(d, 0, 0, 0, -1, 1)
		case n < 11:
			pages = there + pick(d, 0, 0, 1, -1)
		case n < 13:
			pages = there + headroom + pick(d, 0, 0, -1, 1)
		case n < 15:
			pages = left + headroom + pick(d, 0, 0, -1, 1)
		default:
			pages = d.between(1, max(there, 2))
		}
		pages = min(max(pages, 1), 36)
		taken += pages
		rest := pages
		for _, n := range nodes {
			here := min(rest, free[n])
			free[n] -= here
			rest -= here
		}
		return pages
	}
	mib := func(pages int) int {
		if d.chance(3) {
			return 2*pages - 1
		}
		return 2 * pages
	}
	backends := dom.backends(d.m.nodes)
	next := func() (b backend, last bool) {
		b, backends = backends[0], backends[1:]
		return b, len(backends) == 0
	}
	if len(dom.Cells) == 0 {
		dom.WholeMiB = mib(size(next()))
	}
	for i := range dom.Cells {
		if dom.Cells[i].Normal {
			dom.Cells[i].MiB = 64
			continue
		}
		dom.Cells[i].MiB = mib(size(next()))
	}
	for i := range dom.Devices {
		dev := &dom.Devices[i]
		if !dev.Own && dom.Cells[dev.Cell].Normal {
			dev.MiB = 64
			continue
		}
		dev.MiB = mib(size(next()))
	}
}

// cpu is where a main thread runs: mostly where the rest of the machine does.
func (d dice) cpu(of []int) int {
	if d.chance(60) {
		return of[0]
	}
	return pick(d, of...)
}

// pin makes what an emulator is pinned to, nil mostly. libvirt itself refuses
// CPUs of which the group above leaves none.
func (d dice) pin(g group) guard.CPUSet {
	if !d.chance(20) {
		return nil
	}
	pin := d.someNodes(d.m.allCPUs)
	if g.CPUs != nil {
		pin = pin.Or(guard.NodeSet(g.CPUs))
	}
	return guard.CPUSet(pin)
}

// cpusOf returns the CPUs that an emulator may run on.
func (m *machine) cpusOf(sc scene) []int {
	switch {
	case sc.Group.CPUs != nil:
		return sc.Group.CPUs // the pin has them
	case sc.Domain.Pin != nil:
		return sc.Domain.Pin
	}
	return m.allCPUs
}

// maxVariants bounds the plays of one case.
const maxVariants = 8

// The releases that are played: one before and one after each that changed
// what becomes of a launch, and those whose stable series may have a change.
var (
	libvirts = []guard.Version{8_009_000, 9_000_000, 9_003_000, 9_004_000, 11_003_000}
	qemus    = []guard.Version{7_001_000, 7_002_022, 8_002_000, 9_000_000, 10_000_013}
)

// variants returns ways to launch a domain, in random order, each with the
// releases that go that way.
func (d dice) variants(sc scene) []variant {
	dom := sc.Domain
	mode, memnodes := "", slices.ContainsFunc(dom.Cells, func(c cell) bool { return c.Memnode != nil })
	if dom.Memory != nil {
		mode = dom.Memory.mode()
	}
	bound, restrictive, odd, touched := false, false, false, 0
	for _, b := range dom.backends(d.m.nodes) {
		if !b.virtio {
			touched++
			odd = odd || b.mib%2 != 0
			bound = bound || b.nodes != nil
			restrictive = restrictive || b.mode == "restrictive"
		}
	}
	advices := []guard.NodeSet{nil}
	if dom.Memory != nil && dom.Memory.Auto {
		advices = []guard.NodeSet{d.m.nodes}
		for _, n := range d.m.nodes {
			advices = append(advices, guard.NodeSet{n})
		}
	}
	var all []variant
	for _, libvirt := range libvirts {
		for _, qemu := range qemus {
			for _, may := range []bool{false, true} {
				v := variant{Releases: guard.Releases{Libvirt: guard.Release{Version: libvirt}, QEMU: guard.Release{Version: qemu}, Kernel: guard.Release{Version: d.m.kernel}, Cpuset: &may},
					Order: apart, Threads: pick(d, 1, 1, 2), CPU: d.cpu(d.m.cpusOf(sc)), Many: qemu >= 8_000_000 && d.m.kernel >= 5_015_000 && d.chance(80)}
				switch {
				case mode != "strict" && mode != "restrictive", mode == "strict" && may:
					v.Cpuset = cpusetMemory
				case mode == "restrictive" && may && (libvirt >= 9_000_000 || d.chance(50)): // since 9.0, perhaps before
					v.Cpuset = cpusetMemory
				default:
					v.Cpuset = cpusetNone
				}
				// 9.4.0 is between the two.
				if mode == "strict" && may && memnodes && (libvirt >= 9_005_000 || libvirt >= 9_004_000 && d.chance(50)) {
					v.Cpuset = cpusetUnion
				}
				v.Pinned = bound && libvirt >= 8_010_000 && qemu >= 7_002_000
				v.Restrictive = v.Pinned && (restrictive || dom.Pin != nil) && libvirt >= 9_002_000
				v.Exact = odd && (qemu >= 9_001_000 || qemu >= 9_000_000 && d.chance(50))
				if v.Pinned && touched > 1 && qemu >= 9_000_000 && d.m.kernel >= 5_014_000 {
					v.Order = pick(d, together, overlapping)
				}
				for _, advice := range advices {
					v.Advice = advice
					all = append(all, v)
				}
			}
		}
	}
	d.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	// Those that go the same way differ in the guard alone: one of them will do.
	gone := map[string]bool{}
	all = slices.DeleteFunc(all, func(v variant) bool {
		way := fmt.Sprint(v.Cpuset, dom.Pin != nil && *v.Releases.Cpuset, v.Order, v.Exact, v.Pinned, v.Restrictive, v.Advice)
		again := gone[way]
		gone[way] = true
		return again
	})
	return all[:min(len(all), maxVariants)]
}
