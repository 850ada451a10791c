package guard

import (
	"cmp"
	"slices"
)

// holding is those who may be to blame for a shortage.
type holding struct {
	host           Host
	pool           SizePool
	unseen         unseen
	list, promised []Holder // those with most pages there first, and with most promises
}

// holdersOf returns those who have pages of a size on some nodes, or may have.
func holdersOf(host Host, pageKiB uint64, nodes NodeSet) holding {
	pool, _ := host.Pool(pageKiB)
	all := holding{host: host, pool: pool, unseen: host.unseen(pool)}
	there := map[int]uint64{} // by where it is in the host's list, at the least
	var at []int
	for i, one := range host.Holders.List {
		if one.PageKiB != pool.PageKiB {
			continue
		}
		// Those who hold nothing on the short nodes are nobody's trouble.
		there[i] = Holder{Pages: all.unseen.certain(one)}.On(nodes)
		if there[i] > 0 || one.Unplaced > 0 {
			at = append(at, i)
		}
		if one.Reserved > 0 {
			all.promised = append(all.promised, one)
		}
	}
	slices.SortStableFunc(at, func(a, b int) int {
		return cmp.Or(cmp.Compare(there[b], there[a]), cmp.Compare(host.Holders.List[a].PID, host.Holders.List[b].PID))
	})
	for _, i := range at {
		all.list = append(all.list, host.Holders.List[i])
	}
	slices.SortStableFunc(all.promised, func(a, b Holder) int {
		return cmp.Or(cmp.Compare(b.Reserved, a.Reserved), cmp.Compare(a.PID, b.PID))
	})
	return all
}

// WithoutFiles returns the host as it would be without the leftover files that have pages of a size on some nodes, and
// these files. It is for a host whose Holders are known.
func (h Host) WithoutFiles(pageKiB uint64, nodes NodeSet) (without Host, files []Holder) {
	holding := holdersOf(h, pageKiB, nodes)
	files = holding.of(HolderFile)
	return holding.without(files), files
}

// WithoutPages returns the host as it would be if a holder gave back its pages, but kept what it was promised, which
// may be the claim of a starting guest. It is for a host whose Holders are known.
func (h Host) WithoutPages(of Holder) Host {
	of.Reserved = 0
	return holdersOf(h, of.PageKiB, nil).without([]Holder{of})
}

// of returns those of some kinds.
func (h holding) of(kinds ...HolderKind) []Holder {
	return slices.DeleteFunc(slices.Clone(h.list), func(one Holder) bool { return !slices.Contains(kinds, one.Kind) })
}

// former returns what an earlier QEMU of the same domain has.
func (h holding) former() []Holder {
	return slices.DeleteFunc(slices.Clone(h.list), func(one Holder) bool { return !one.Former })
}

// ofDead returns the memory of guests that are gone.
func (h holding) ofDead() []Holder {
	return slices.DeleteFunc(slices.Clone(h.list), func(one Holder) bool { return one.Guest == "" })
}

// without returns the host as it would be if some holders of the size gave all back, and what they were promised. As
// long as a node has surplus pages, those that come back go to the kernel (free_huge_folio).
func (h holding) without(holders []Holder) Host {
	back := h.unseen.certain(holders...)
	return h.host.Change(func(p *SizePool) {
		if p.PageKiB != h.pool.PageKiB {
			return
		}
		for i, n := range p.Nodes {
			gone := min(n.Surplus, back[n.Node])
			total := minus(n.Total, gone)
			p.Nodes[i] = NodePool{n.Node, total, min(total, n.Free+back[n.Node]-gone), n.Surplus - gone}
			p.Surplus = minus(p.Surplus, gone)
		}
		p.Reserved = minus(p.Reserved, sumReserved(holders))
	})
}
