package guard

import "slices"

// Change returns the host with each pool changed by f, which may write to its Nodes.
func (h Host) Change(f func(*SizePool)) Host {
	h.Pools = slices.Clone(h.Pools)
	for i := range h.Pools {
		h.Pools[i].Nodes = slices.Clone(h.Pools[i].Nodes)
		f(&h.Pools[i])
	}
	return h
}

// idle returns the host as it would be with all pages given back: surplus pages go away when they are freed.
func idle(h Host) Host {
	h.Starting = nil
	return h.Change(func(p *SizePool) {
		p.Reserved, p.Surplus = 0, 0
		for i, n := range p.Nodes {
			total := minus(n.Total, n.Surplus)
			p.Nodes[i] = NodePool{Node: n.Node, Total: total, Free: total}
		}
	})
}

// unreserved returns the host without pages that are promised to others than the starting guests.
func unreserved(h Host) Host {
	return h.Change(func(p *SizePool) {
		var mapped uint64
		for _, c := range h.claims(*p, 0) {
			mapped += c.mapped
		}
		p.Reserved = min(p.Reserved, mapped)
	})
}

// withoutStarting returns the host as it would be without the starting guests.
func withoutStarting(h Host) Host {
	alone := h.Change(func(p *SizePool) {
		for _, c := range h.claims(*p, 0) {
			p.Reserved = minus(p.Reserved, c.mapped)
		}
	})
	alone.Starting = nil
	return alone
}
