package guard

import (
	"cmp"
	"slices"
)

// GrowPools makes pools larger, by telling the kernel their new numbers of pages.
type GrowPools struct {
	Limits []Limit // to raise first
	// Shrink are pools of larger pages, which give free ones back first: there is no other memory for Pools.
	Shrink []PoolSize
	Pools  []PoolSize
	// Compact says that the free memory is in pieces that are too small: caches have to go, and memory has to be moved.
	Compact bool
	// Seek says that no block of free memory is as large as a page: the kernel has to clear a place for each, and may
	// find fewer.
	Seek bool
	// Unsure says that it is not known whether there is memory for the pages.
	Unsure bool
	// Files are to be deleted afterwards. Their pages are surplus, so that they would go back to the kernel before.
	Files  *DeleteFiles
	NoNUMA bool // the kernel has no files for each node
	Keep   Keep
}

// PoolSize is how many pages one node's pool should have, without surplus ones.
type PoolSize struct {
	Node         int
	PageKiB      uint64
	Pages        uint64
	Now          uint64 // pages that it has, surplus ones included
	Surplus      uint64 // of these
	AvailableKiB uint64 // memory that the node has for more; 0 where that is not known
}

// Made is how many pages the kernel has to make: surplus pages become the pool's first.
func (p PoolSize) Made() uint64 { return minus(p.Pages, p.Now) }

// Keep is how pools keep their sizes beyond the next boot.
type Keep struct {
	Asked  bool       // the kernel's command line asks for as many already
	Sysctl uint64     // for vm.nr_hugepages, which is of the default size on all nodes; 0 where that will not do
	Line   *BootLine  // nil where the kernel's command line cannot say it
	Pools  []PoolSize // what else would have to be written at each boot
}

// BootLine is what the kernel's command line is to say.
type BootLine struct {
	Pools []BootPool
	Was   []BootPool // what it says now of these sizes
	CMA   bool       // it has hugetlb_cma=, which keeps the kernel from making gigantic pages at boot
	Tool  string     // as in [Boot]
	Tuned string
}

// BootPools sets pools up at boot, as the kernel cannot be expected to find the memory later.
type BootPools struct {
	Limits []Limit // to be larger, too
	Line   BootLine
	Pools  []PoolSize
	Lost   uint64 // pages that the last boot did not make of those it was asked for, and which are asked for on top
	// Short is what there is too little memory for now; none where there is enough.
	Short []MemoryShort
	// Scattered says that there is memory now, but hardly in pieces as large as these pages.
	Scattered bool
	// Node is where all else that runs finds only RestKiB of memory then, less than the UsedKiB that it uses now; -1
	// for none.
	Node             int
	RestKiB, UsedKiB uint64
}

// FreeMemory has other programs give back memory: no node has as much as the pages take.
type FreeMemory struct {
	Places []MemoryShort
	Then   GrowPools // afterwards
}

// MemoryShort is what a node has too little memory for.
type MemoryShort struct {
	Node         int
	PageKiB      uint64
	Pages        uint64 // to be made
	AvailableKiB uint64
	MissingKiB   uint64 // to be freed, so that the host keeps what it lives on
}

// added is pages that a pool gets.
type added struct {
	node    int
	pageKiB uint64
	pages   uint64
}

// rooms is how many more pages of a size a node can have.
type rooms func(node int, pageKiB uint64) uint64

// grower looks for sizes of pools with which a launch fits.
type grower struct {
	launch launch
	host   Host // as it would be
	more   []added
	room   rooms
	most   bool // of several nodes with room, the one with most room gets the pages, rather than the first
	force  bool // where no node has room, the one that has most takes all
}

// mostRounds bounds how often it is asked again what is missing.
const mostRounds = 8

// grow reports whether the launch fits if pools grow, and makes them grow.
func (g *grower) grow() bool {
	for range mostRounds {
		must, _ := g.launch.play(g.host)
		if must == nil {
			return true
		}
		for _, f := range must {
			if f.cause != "" || !g.serve(f) {
				return false
			}
		}
	}
	return false
}

// serve gives nodes the pages that a shortage is about: one node where it has room for all, else several.
func (g *grower) serve(f failure) bool {
	pool, _ := g.host.pool(f.pageKiB)
	have := pool.on(f.nodes).Free
	if f.code == codeReserved {
		have = minus(have, pool.Reserved)
	}
	missing := minus(f.needed+f.claimed, have)
	if missing == 0 {
		return true // the growth for another shortage does for this one, too
	}
	left := map[int]uint64{}
	var all uint64
	for _, node := range f.nodes {
		left[node] = g.left(node, f.pageKiB)
		all += left[node]
	}
	nodes := slices.Clone(f.nodes)
	enough := missing
	if g.most {
		enough = unknownRoom
	}
	slices.SortStableFunc(nodes, func(a, b int) int { return cmp.Compare(min(left[b], enough), min(left[a], enough)) })
	switch {
	case len(nodes) == 0 || all < missing && !g.force:
		return false
	case all < missing, left[nodes[0]] >= missing:
		g.add(added{nodes[0], f.pageKiB, missing})
		return true
	}
	slices.Reverse(nodes)
	for i, node := range nodes { // those that have least room first, each its share
		others := uint64(len(nodes) - i)
		n := min(left[node], (missing+others-1)/others)
		missing -= n
		g.add(added{node, f.pageKiB, n})
	}
	return true
}

// left is how much room a node has beside what it is to get already.
func (g *grower) left(node int, pageKiB uint64) uint64 {
	var taken uint64
	for _, a := range g.more {
		if a.node == node {
			taken += a.pages * a.pageKiB
		}
	}
	return minus(g.room(node, pageKiB), (taken+pageKiB-1)/pageKiB)
}

func (g *grower) add(a added) {
	if a.pages == 0 {
		return
	}
	i := slices.IndexFunc(g.more, func(b added) bool { return b.node == a.node && b.pageKiB == a.pageKiB })
	if i >= 0 {
		g.more[i].pages += a.pages
	} else {
		g.more = append(g.more, a)
	}
	g.host = g.host.change(func(p *SizePool) {
		if p.PageKiB != a.pageKiB {
			return
		}
		if p.node(a.node) == (NodePool{Node: a.node}) && !slices.ContainsFunc(p.Nodes, func(n NodePool) bool { return n.Node == a.node }) {
			p.Nodes = append(p.Nodes, NodePool{Node: a.node})
		}
		for i, n := range p.Nodes {
			if n.Node == a.node { // set_max_huge_pages: surplus pages become the pool's before any is made
				p.Surplus = minus(p.Surplus, n.Surplus)
				p.Nodes[i] = NodePool{Node: n.Node, Total: n.Total + a.pages, Free: n.Free + a.pages}
			}
		}
	})
}

// growth returns how to make pools large enough for a launch, the best first: now where there is memory for it, else
// at boot, else once other programs have given some back. Each of them is proven: on the host as it would be then the
// launch has no reason left to fail. Limits are to be raised besides, and are so on the host.
func (l launch) growth(host Host, must []failure, limits []Limit) (found []Fix) {
	base, files := l.withoutLeftovers(host, must)
	gained := func(node int, pageKiB uint64) uint64 {
		before, _ := host.pool(pageKiB)
		after, _ := base.pool(pageKiB)
		return before.node(node).Total - after.node(node).Total
	}
	now := grower{launch: l, host: base, room: func(node int, pageKiB uint64) uint64 {
		return host.Memory.room(node, pageKiB) + gained(node, pageKiB)
	}}
	fits := now.grow()
	fix := growPools(host, base, now.more)
	fix.Files, fix.Limits = files, limits
	if fits && fix.possible(host) {
		found = append(found, fix)
		if !fix.Seek && !fix.Compact {
			return found
		}
	}
	var short *FreeMemory
	if !fits {
		if fix := l.trading(host, base, gained); fix != nil {
			fix.Files, fix.Limits = files, limits
			return append(found, *fix)
		}
		short = l.freeMemory(host, base, now.room)
	}
	boot := grower{launch: l, host: base, room: host.Memory.roomAtBoot, most: true}
	if boot.grow() {
		if fix := bootPools(host, growPools(host, base, boot.more)); fix != nil {
			fix.Limits, fix.Scattered = limits, fits && found == nil
			if short != nil {
				fix.Short = short.Places
			}
			found = append(found, *fix)
		}
	}
	if short != nil {
		short.Then.Files, short.Then.Limits = files, limits
		found = append(found, *short)
	}
	return found
}

// trading returns how to make pools larger of memory that is in free pages of another, larger size; nil where that will
// not do.
func (l launch) trading(host, like Host, gained rooms) *GrowPools {
	if host.Memory == nil {
		return nil
	}
	for _, other := range host.Memory.Others {
		rich := host
		rich.Memory = host.Memory.with(other)
		g := grower{launch: l, host: like, most: true, room: func(node int, pageKiB uint64) uint64 {
			if pageKiB >= other.PageKiB {
				return 0
			}
			return rich.Memory.room(node, pageKiB) + gained(node, pageKiB)
		}}
		if !g.grow() {
			continue
		}
		fix := growPools(host, like, g.more)
		if !fix.possible(rich) || fix.Seek {
			continue
		}
		for _, p := range fix.Pools {
			memory, _ := host.Memory.node(p.Node)
			short := minus(p.Made()*p.PageKiB+memory.keptKiB(), p.AvailableKiB)
			if short == 0 {
				continue
			}
			total := other.node(p.Node).Total
			fix.Shrink = append(fix.Shrink, PoolSize{Node: p.Node, PageKiB: other.PageKiB, Pages: total - (short-1)/other.PageKiB - 1, Now: total})
		}
		fix.Keep = Keep{Pools: slices.Concat(fix.Shrink, fix.Pools)}
		return &fix
	}
	return nil
}

// enlarging returns what helps where nobody is to blame: larger pools or, where the kernel does not make pages at once,
// first to bind the memory to other nodes.
func (l launch) enlarging(host Host, must []failure) []Fix {
	larger, elsewhere := l.growth(host, must, nil), l.rebind(host, must)
	if len(larger) == 1 {
		return append(larger, elsewhere...)
	}
	return append(elsewhere, larger...)
}

// larger returns how to make pools larger at once, for those who have to do something else otherwise.
func (l launch) larger(host Host, must []failure) []Fix {
	return slices.DeleteFunc(l.growth(host, must, nil), func(f Fix) bool {
		grow, ok := f.(GrowPools)
		return !ok || grow.Compact
	})
}

// withoutLeftovers returns the host without leftover files on the nodes of the first shortage, and these files, where
// pages of theirs are surplus and it is certain that nobody uses them.
func (l launch) withoutLeftovers(host Host, must []failure) (Host, *DeleteFiles) {
	f := must[0]
	pool, _ := host.pool(f.pageKiB)
	if host.Holders == nil || len(host.Holders.Unreadable) > 0 || host.Holders.Cut || pool.on(f.nodes).Surplus == 0 {
		return host, nil
	}
	holding := holdersOf(host, f)
	files := holding.of(HolderFile)
	if len(files) == 0 {
		return host, nil
	}
	return holding.without(files), &DeleteFiles{files, true}
}

// growPools returns the sizes with which pools have more pages than on a host that is like the one there is.
func growPools(host, like Host, more []added) GrowPools {
	fix := GrowPools{NoNUMA: host.Memory != nil && host.Memory.NoNUMA}
	more = slices.SortedStableFunc(slices.Values(more), func(a, b added) int { return cmp.Compare(a.node, b.node) })
	for _, a := range more {
		now, _ := host.pool(a.pageKiB)
		pool, _ := like.pool(a.pageKiB)
		n := now.node(a.node)
		size := PoolSize{Node: a.node, PageKiB: a.pageKiB, Pages: pool.node(a.node).Total + a.pages, Now: n.Total, Surplus: n.Surplus}
		memory, known := host.Memory.node(a.node)
		if known {
			size.AvailableKiB = host.Memory.availableKiB(memory)
		}
		fix.Pools = append(fix.Pools, size)
	}
	fix.Keep = keep(host, fix.Pools)
	return fix
}

// possible reports whether the kernel will make the pages while it runs, and sets how.
func (g *GrowPools) possible(host Host) bool {
	for _, p := range g.Pools {
		memory, known := host.Memory.node(p.Node)
		need := p.Made() * p.PageKiB
		if !known || need == 0 {
			g.Unsure = g.Unsure || need > 0
			continue
		}
		if memory.gigantic(p.PageKiB, host.BasePageKiB) {
			if !host.Memory.Boot.CMA && memory.largestKiB(host.BasePageKiB) < 2*need {
				return false // it may be there, but is not likely to
			}
			g.Seek = true
			continue
		}
		pieces, known := memory.pieces(p.PageKiB, host.BasePageKiB)
		g.Unsure = g.Unsure || !known
		if known && pieces < p.Made() || memory.FreeKiB < need+memory.keptKiB()/4 {
			g.Compact = true
		}
	}
	return true
}

// freeMemory returns what memory is missing on a host, for pools as they would have to be on one that is like it; nil where
// no pools would do.
func (l launch) freeMemory(host, like Host, room rooms) *FreeMemory {
	g := grower{launch: l, host: like, room: room, most: true, force: true}
	if !g.grow() {
		return nil
	}
	then := growPools(host, like, g.more)
	then.Compact, then.Keep.Line = true, nil // what can be set up at boot is a fix of its own
	fix := FreeMemory{Then: then}
	for _, p := range then.Pools {
		memory, _ := host.Memory.node(p.Node)
		short := MemoryShort{Node: p.Node, PageKiB: p.PageKiB, Pages: p.Made(), AvailableKiB: p.AvailableKiB}
		short.MissingKiB = minus(short.Pages*p.PageKiB+memory.keptKiB(), p.AvailableKiB)
		fix.Places = append(fix.Places, short)
	}
	return &fix
}

// bootPools returns how to have pools of these sizes from the next boot on; nil where the kernel's command line cannot
// say it.
func bootPools(host Host, grown GrowPools) *BootPools {
	line := grown.Keep.Line
	if line == nil || !line.raises(host.Memory) {
		return nil
	}
	fix := BootPools{Line: *line, Pools: grown.Pools, Node: -1}
	nodes := len(host.memoryNodes())
	for _, p := range grown.Pools {
		fix.Lost += host.lost(p.Node, p.PageKiB, nodes)
		memory, _ := host.Memory.node(p.Node)
		rest := minus(memory.TotalKiB, memory.PoolsKiB+p.Made()*p.PageKiB)
		if used := memory.usedKiB(); rest < used {
			fix.Node, fix.RestKiB, fix.UsedKiB = p.Node, rest, used
		}
	}
	return &fix
}

// keep returns how pools keep these sizes.
func keep(host Host, pools []PoolSize) Keep {
	k := Keep{Pools: pools}
	if len(pools) == 0 {
		return k
	}
	if len(host.memoryNodes()) == 1 && len(pools) == 1 && pools[0].PageKiB == host.DefaultPageKiB {
		k.Sysctl = pools[0].Pages
	}
	if host.Memory == nil {
		return k
	}
	nodes := len(host.memoryNodes())
	k.Asked = !slices.ContainsFunc(pools, func(p PoolSize) bool { return host.Memory.asked(p.PageKiB).on(p.Node, nodes) < p.Pages })
	line := BootLine{CMA: host.Memory.Boot.CMA, Tool: host.Memory.Boot.Tool, Tuned: host.Memory.Boot.Tuned}
	for _, p := range pools {
		if slices.ContainsFunc(line.Pools, func(b BootPool) bool { return b.PageKiB == p.PageKiB }) {
			continue
		}
		boot, ok := host.bootPool(p.PageKiB, pools)
		if !ok {
			return k
		}
		line.Pools = append(line.Pools, boot)
		if was := host.Memory.asked(p.PageKiB); was.Pages > 0 {
			line.Was = append(line.Was, was)
		}
	}
	k.Line = &line
	return k
}

// bootPool returns what the command line has to ask for so that pools of a size get theirs and the others stay as they
// are; ok is false where it cannot say that.
func (h Host) bootPool(pageKiB uint64, pools []PoolSize) (b BootPool, ok bool) {
	pool, _ := h.pool(pageKiB)
	asked := h.Memory.asked(pageKiB)
	nodes := h.memoryNodes()
	b = BootPool{PageKiB: pageKiB, Nodes: map[int]uint64{}}
	var most uint64
	for _, node := range nodes {
		n := pool.node(node)
		has, before := minus(n.Total, n.Surplus), asked.on(node, len(nodes))
		want := max(has, before)
		for _, p := range pools {
			if p.PageKiB == pageKiB && p.Node == node {
				want = max(p.Pages+h.lost(node, pageKiB, len(nodes)), before)
			}
		}
		b.Nodes[node] = want
		b.Pages += want
		most = max(most, want)
	}
	if len(nodes) == 1 {
		b.Nodes = nil
		return b, true
	}
	if h.Memory.Boot.PerNode {
		return b, true
	}
	for _, node := range nodes { // the kernel spreads them evenly
		if more := most - b.Nodes[node]; more > 0 && h.Memory.room(node, pageKiB) < more {
			return BootPool{}, false
		}
	}
	return BootPool{PageKiB: pageKiB, Pages: most * uint64(len(nodes))}, true
}

// on is how many pages were asked for on a node, of so many that the kernel spreads them over.
func (b BootPool) on(node, nodes int) uint64 {
	if b.Nodes != nil {
		return b.Nodes[node]
	}
	return b.Pages / uint64(nodes)
}

// askedOn is how many pages of a size the kernel's command line asks for on some nodes.
func (h Host) askedOn(pageKiB uint64, nodes NodeSet) (pages uint64) {
	asked, all := h.Memory.asked(pageKiB), h.memoryNodes()
	for _, node := range nodes.And(all) {
		pages += asked.on(node, len(all))
	}
	return pages
}

// lost is how many of the pages that were asked for on a node, of so many, were not made at boot for holes in the memory:
// few. Where more are missing, there was no memory for them, or the pool was made smaller since.
func (h Host) lost(node int, pageKiB uint64, nodes int) uint64 {
	pool, _ := h.pool(pageKiB)
	asked, n := h.Memory.asked(pageKiB).on(node, nodes), pool.node(node)
	lost := minus(asked, minus(n.Total, n.Surplus))
	if lost > max(1, asked/8) {
		return 0
	}
	return lost
}

// raises reports whether the line asks for more pages than the kernel's command line does.
func (b BootLine) raises(m *Memory) bool {
	return slices.ContainsFunc(b.Pools, func(p BootPool) bool { return p.Pages > m.asked(p.PageKiB).Pages })
}
