package fix

import (
	"cmp"
	"slices"

	"hugeguard/guard"
)

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
	host   guard.Host // as it would be
	more   []added
	room   rooms
	allKiB uint64 // what all nodes together have room for
	most   bool   // of several nodes with room, the one with most room gets the pages, rather than the first
	force  bool   // where no node has room, the one that has most takes all
}

// mostRounds bounds how often it is asked again what is missing.
const mostRounds = 8

// grow reports whether the launch fits if pools grow, and makes them grow.
func (g *grower) grow() bool {
	for range mostRounds {
		must := g.launch.on(g.host).must
		if must == nil {
			return true
		}
		for _, f := range must {
			short, ok := f.Reason.(guard.Short)
			if !ok || !g.serve(f, short) {
				return false
			}
		}
	}
	return false
}

// serve gives nodes the pages that a shortage is about: one node where it has room for all, else several.
func (g *grower) serve(f guard.Finding, short guard.Short) bool {
	pool, _ := g.host.Pool(f.PageKiB)
	missing := lacking(f, short, pool.On(f.Nodes).Free)
	if missing == 0 {
		return true // the growth for another shortage does for this one, too
	}
	left := map[int]uint64{}
	var all uint64
	for _, node := range f.Nodes {
		left[node] = g.left(node, f.PageKiB)
		all += left[node]
	}
	all = min(all, g.leftOnAll(f.PageKiB))
	nodes := slices.Clone(f.Nodes)
	enough := missing
	if g.most {
		enough = unknownRoom
	}
	slices.SortStableFunc(nodes, func(a, b int) int { return cmp.Compare(min(left[b], enough), min(left[a], enough)) })
	switch {
	case len(nodes) == 0 || all < missing && !g.force:
		return false
	case all < missing, left[nodes[0]] >= missing:
		g.add(added{nodes[0], f.PageKiB, missing})
		return true
	}
	slices.Reverse(nodes)
	for i, node := range nodes { // those that have least room first, each its share
		others := uint64(len(nodes) - i)
		n := min(left[node], (missing+others-1)/others)
		missing -= n
		g.add(added{node, f.PageKiB, n})
	}
	return true
}

// left is how much room a node has beside what it, and the others, are to get already.
func (g *grower) left(node int, pageKiB uint64) uint64 {
	here := g.takenKiB(func(a added) bool { return a.node == node })
	return min(minus(g.room(node, pageKiB), (here+pageKiB-1)/pageKiB), g.leftOnAll(pageKiB))
}

// leftOnAll is how much room all nodes together have beside what they are to get already.
func (g *grower) leftOnAll(pageKiB uint64) uint64 {
	return minus(g.allKiB, g.takenKiB(func(added) bool { return true })) / pageKiB
}

// takenKiB is how much the pools are to get already.
func (g *grower) takenKiB(counts func(added) bool) (kib uint64) {
	for _, a := range g.more {
		if counts(a) {
			kib += a.pages * a.pageKiB
		}
	}
	return kib
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
	g.host = g.host.Change(func(p *guard.SizePool) {
		if p.PageKiB != a.pageKiB {
			return
		}
		if p.Node(a.node) == (guard.NodePool{Node: a.node}) && !slices.ContainsFunc(p.Nodes, func(n guard.NodePool) bool { return n.Node == a.node }) {
			p.Nodes = append(p.Nodes, guard.NodePool{Node: a.node})
		}
		for i, n := range p.Nodes {
			if n.Node == a.node { // set_max_huge_pages: surplus pages become the pool's before any is made
				p.Surplus = minus(p.Surplus, n.Surplus)
				p.Nodes[i] = guard.NodePool{Node: n.Node, Total: n.Total + a.pages, Free: n.Free + a.pages}
			}
		}
	})
}

// growth returns how to make pools large enough for a launch, the best first: now where there is memory for it, else
// once other programs have given some back, else at boot. Each of them is proven: on the host as it would be then the
// launch has no reason left to fail. Limits are to be raised besides, and are so on the host.
func (l launch) growth(limits []Limit) (found []Fix) {
	host := l.host
	base, files := l.withoutLeftovers()
	gained := func(node int, pageKiB uint64) uint64 {
		before, _ := host.Pool(pageKiB)
		after, _ := base.Pool(pageKiB)
		return before.Node(node).Total - after.Node(node).Total
	}
	gainedKiB := totalKiB(host) - totalKiB(base)
	now := grower{launch: l, host: base, allKiB: memory{host.Memory}.roomOfAll() + gainedKiB, room: func(node int, pageKiB uint64) uint64 {
		return memory{host.Memory}.room(node, pageKiB) + gained(node, pageKiB)
	}}
	fits := now.grow()
	fix := growPools(host, base, now.more)
	fix.Files, fix.Limits = files, limits
	failed := slices.ContainsFunc(fix.Pools, memory{host.Memory}.failed)
	if fits && fix.possible(host) {
		found = append(found, fix)
		if !fix.Seek && !fix.Compact {
			return found
		}
	}
	if !fits {
		if fix := l.trading(base, gained, gainedKiB); fix != nil {
			fix.Files, fix.Limits = files, limits
			return append(found, *fix)
		}
		if short := l.freeMemory(base, now); short != nil {
			short.Then.Files, short.Then.Limits = files, limits
			found = append(found, *short)
		}
	}
	boot := grower{launch: l, host: base, room: memory{host.Memory}.roomAtBoot, allKiB: unknownRoom, most: true}
	if boot.grow() {
		if fix := bootPools(host, growPools(host, base, boot.more)); fix != nil {
			fix.Limits, fix.Scattered = limits, fits && found == nil
			fix.Failed = failed
			found = append(found, *fix)
		}
	}
	return found
}

// totalKiB is how much memory all pools have.
func totalKiB(host guard.Host) (kib uint64) {
	for _, pool := range host.Pools {
		kib += pool.On(host.AllNodes()).Total * pool.PageKiB
	}
	return kib
}

// trading returns how to make pools larger of memory that is in free pages of another, larger size; nil where that will
// not do.
func (l launch) trading(like guard.Host, gained rooms, gainedKiB uint64) *GrowPools {
	host := l.host
	if host.Memory == nil {
		return nil
	}
	for _, other := range host.Memory.Others {
		rich := host
		rich.Memory = memory{host.Memory}.with(other)
		g := grower{launch: l, host: like, most: true, allKiB: memory{rich.Memory}.roomOfAll() + gainedKiB, room: func(node int, pageKiB uint64) uint64 {
			if pageKiB >= other.PageKiB {
				return 0
			}
			return memory{rich.Memory}.room(node, pageKiB) + gained(node, pageKiB)
		}}
		if !g.grow() {
			continue
		}
		fix := growPools(host, like, g.more)
		if !fix.possible(rich) || fix.Seek {
			continue
		}
		for _, p := range fix.Pools {
			node, _ := memory{host.Memory}.node(p.Node)
			short := minus(p.Made()*p.PageKiB+node.keptKiB(), p.AvailableKiB)
			if short == 0 {
				continue
			}
			total := other.Node(p.Node).Total
			fix.Shrink = append(fix.Shrink, PoolSize{Node: p.Node, PageKiB: other.PageKiB, Pages: total - (short-1)/other.PageKiB - 1, Now: total})
		}
		fix.Keep = Keep{Pools: slices.Concat(fix.Shrink, fix.Pools)}
		return &fix
	}
	return nil
}

// enlarging returns what helps where nobody is to blame: larger pools or, where the kernel does not make pages at once,
// first to bind the memory to other nodes.
func (r refusal) enlarging() []Fix {
	larger, elsewhere := r.growth(nil), slices.Concat(r.rebind(), r.otherPages(), r.ordinary())
	if len(larger) == 1 {
		switch larger[0].(type) {
		case GrowPools:
			return slices.Concat(larger, elsewhere, r.fewerGuests())
		case BootPools: // a reboot comes last
			return slices.Concat(elsewhere, r.smaller(), r.fewerGuests(), larger)
		}
	}
	return slices.Concat(elsewhere, r.fewerGuests(), larger)
}

// otherPages has the domain take pages of another size, of which there are enough, and a mount.
func (r refusal) otherPages() (found []Fix) {
	host, short := r.host, r.must[0].PageKiB
	if host.Memory != nil {
		host.Pools = slices.Concat(host.Pools, host.Memory.Others)
	}
	for _, size := range mountedSizes(host) {
		_, known := host.Pool(size)
		changed, ids := onPages(r.demand, short, size)
		if known && size != short && len(ids) > 0 && guard.MustFail(changed, host) == nil {
			found = append(found, ChangePages{Backends: ids, PageKiB: size, Smaller: size < short})
		}
	}
	return found
}

// fewerGuests ends the smallest of the guests without which this one fits, where nobody manages them.
func (r refusal) fewerGuests() []Fix {
	if r.verdict.Cause != guard.CauseGuests || r.verdict.Manager != "" {
		return nil
	}
	short := r.must[0]
	guests := slices.DeleteFunc(slices.Clone(r.verdict.Blame.Holders), func(h guard.Holder) bool { return h.Kind != guard.HolderGuest || h.Former })
	slices.SortStableFunc(guests, func(a, b guard.Holder) int { return cmp.Compare(a.On(short.Nodes), b.On(short.Nodes)) })
	for _, g := range guests {
		if r.fits(r.host.WithoutPages(g)) {
			return []Fix{StopGuest{g}}
		}
	}
	return nil
}

// larger are the ways to make pools larger, for those who can do something else: at once, after the host's memory has
// been compacted, and at boot where nothing else is possible.
type larger struct{ now, compact, boot []Fix }

func (l launch) larger() (ways larger) {
	for _, fix := range l.growth(nil) {
		switch fix := fix.(type) {
		case GrowPools:
			if fix.Compact {
				ways.compact = append(ways.compact, fix)
			} else {
				ways.now = append(ways.now, fix)
			}
		case BootPools:
			ways.boot = append(ways.boot, fix)
		}
	}
	if ways.now != nil {
		ways.boot = nil
	}
	return ways
}

// withoutLeftovers returns the host without leftover files on the nodes of the first shortage, and these files, where
// pages of theirs are surplus and it is certain that nobody uses them.
func (l launch) withoutLeftovers() (guard.Host, *DeleteFiles) {
	f := l.must[0]
	pool, _ := l.host.Pool(f.PageKiB)
	if !sawAll(l.host) || pool.On(f.Nodes).Surplus == 0 {
		return l.host, nil
	}
	without, files := l.host.WithoutFiles(f.PageKiB, f.Nodes)
	if len(files) == 0 {
		return l.host, nil
	}
	return without, &DeleteFiles{files, true}
}

// growPools returns the sizes with which pools have more pages than on a host that is like the one there is.
func growPools(host, like guard.Host, more []added) GrowPools {
	fix := GrowPools{NoNUMA: host.Memory != nil && host.Memory.NoNUMA}
	more = slices.SortedStableFunc(slices.Values(more), func(a, b added) int { return cmp.Compare(a.node, b.node) })
	for _, a := range more {
		now, _ := host.Pool(a.pageKiB)
		pool, _ := like.Pool(a.pageKiB)
		n := now.Node(a.node)
		size := PoolSize{Node: a.node, PageKiB: a.pageKiB, Pages: pool.Node(a.node).Total + a.pages, Now: n.Total, Surplus: n.Surplus}
		if node, known := (memory{host.Memory}).node(a.node); known {
			size.AvailableKiB = memory{host.Memory}.availableKiB(node)
		}
		fix.Pools = append(fix.Pools, size)
	}
	fix.Keep = keep(host, fix.Pools)
	return fix
}

// possible reports whether the kernel will make the pages while it runs, and sets how.
func (g *GrowPools) possible(host guard.Host) bool {
	for _, p := range g.Pools {
		node, known := memory{host.Memory}.node(p.Node)
		need := p.Made() * p.PageKiB
		if !known || need == 0 {
			g.Unsure = g.Unsure || need > 0
			continue
		}
		if node.gigantic(p.PageKiB, host.BasePageKiB) {
			if !host.Memory.Boot.CMA && node.largestKiB(host.BasePageKiB) < 2*need {
				return false // it may be there, but is not likely to
			}
			g.Seek = true
			continue
		}
		pieces, known := node.pieces(p.PageKiB, host.BasePageKiB)
		small := known && pieces < p.Made() || node.FreeKiB < need+node.keptKiB()/4
		failed := memory{host.Memory}.failed(p)
		if small && failed {
			return false // it was compacted then
		}
		g.Unsure = g.Unsure || !known
		g.Compact = g.Compact || small || !known && (failed || askedFor(host, p))
	}
	return true
}

// freeMemory returns what memory is missing on the host, for pools as they would have to be on one that is like it; nil
// where no pools would do.
func (l launch) freeMemory(like guard.Host, now grower) *FreeMemory {
	g := grower{launch: l, host: like, room: now.room, allKiB: now.allKiB, most: true, force: true}
	if !g.grow() {
		return nil
	}
	then := growPools(l.host, like, g.more)
	then.Compact, then.Keep.Line = true, nil // what can be set up at boot is a fix of its own
	fix := FreeMemory{Then: then}
	var made, missing uint64 // KiB
	for _, p := range then.Pools {
		node, _ := memory{l.host.Memory}.node(p.Node)
		short := MemoryShort{Node: p.Node, PageKiB: p.PageKiB, Pages: p.Made(), AvailableKiB: p.AvailableKiB, KeptKiB: node.keptKiB()}
		short.MissingKiB = minus(short.Pages*p.PageKiB+short.KeptKiB, p.AvailableKiB)
		fix.Places = append(fix.Places, short)
		made, missing = made+short.Pages*p.PageKiB, missing+short.MissingKiB
	}
	// What each node has may be enough, and what the host has too little.
	fix.Places[0].MissingKiB += minus(minus(made, now.allKiB), missing)
	return &fix
}
