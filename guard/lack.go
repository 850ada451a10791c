package guard

import "slices"

// Lack is what is known of what a refused launch is short of: the pages of one
// size on the nodes of its first finding.
type Lack struct {
	SetUp       uint64 // pages that the nodes have in all, without surplus ones
	Reserved    uint64 // pages that are promised to others, on all nodes
	Surplus     uint64 // surplus pages on all nodes
	Overcommit  uint64 // how many of these there may be
	Unaccounted uint64 // pages of the nodes that nobody is seen to hold; 0 where nobody looked
	// NovaReserves is how many pages Nova keeps back there, if those who hold them
	// are such that it could; nil where that is not so, or not known.
	NovaReserves *int64
	// Misplaced is why Nova came here although it keeps back what it is to; nil
	// where it does not.
	Misplaced *Misplaced
	Others    []NodePool // nodes that have as many free pages as are needed, the nearest first
}

// Misplaced is why Nova placed a guest where its pages are taken. One thing of
// these is so, or none.
type Misplaced struct {
	Stale     *NovaStale // it has not read its configuration
	Strangers []Holder   // guests with pages there that are none of its instances
	Believed  *int64     // so few pages it believes free itself
}

// lack returns what is known of what a failure is short of.
func (h Host) lack(f failure, b Blame, uuid string) Lack {
	pool, _ := h.pool(f.pageKiB)
	there := pool.on(f.nodes)
	l := Lack{SetUp: minus(there.Total, there.Surplus), Reserved: pool.Reserved, Surplus: pool.Surplus, Overcommit: pool.Overcommit}
	if h.Holders != nil {
		l.Unaccounted = Holder{Pages: h.unaccounted(pool)}.On(f.nodes)
	}
	if b.outsiders() && h.Nova.known() {
		reserves := h.Nova.reserves(f.pageKiB, f.nodes)
		l.NovaReserves = &reserves
		if h.agreesOn(f.pageKiB, f.nodes) {
			misplaced := h.misplaced(f, uuid)
			l.Misplaced = &misplaced
		}
	}
	if f.cause == "" {
		l.Others = alternatives(h, f)
	}
	return l
}

// misplaced returns why Nova came here although its configuration reserves enough
// on the nodes that are short; uuid is the domain that is about to start.
func (h Host) misplaced(f failure, uuid string) (m Misplaced) {
	if n := h.Nova; n.Stale != "" {
		m.Stale = &NovaStale{n.PID, n.Stale}
		return m
	}
	for _, s := range h.strangers() {
		if s.PageKiB == f.pageKiB && s.On(f.nodes) > 0 {
			m.Strangers = append(m.Strangers, s)
		}
	}
	if m.Strangers != nil {
		return m
	}
	var free int64
	for _, p := range h.NovaReport(uuid).Pools {
		if p.PageKiB == f.pageKiB && f.nodes.Has(p.Node) {
			free += p.Free
		}
	}
	if free < int64(f.needed) {
		m.Believed = &free
	}
	return m
}

// alternatives returns the nodes that have as many free pages as a shortage
// on other nodes wants, the nearest first.
func alternatives(host Host, f failure) []NodePool {
	pool, _ := host.pool(f.pageKiB)
	open := host.inherited(ruleCpuset)
	var found []NodePool
	for _, n := range pool.Nodes {
		n.Free = minus(n.Free, host.claimedOn(pool, n.Node))
		if !f.nodes.Has(n.Node) && open.Has(n.Node) && n.Free >= f.needed {
			found = append(found, n)
		}
	}
	distance := func(to int) int {
		for _, n := range host.Nodes {
			if n.ID == f.nodes[0] {
				return n.Distances[to]
			}
		}
		return 0
	}
	slices.SortStableFunc(found, func(a, b NodePool) int { return distance(a.Node) - distance(b.Node) })
	return found
}
