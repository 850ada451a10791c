package guard

import (
	"cmp"
	"slices"
)

// blame is the cause of a refusal, and who holds the pages that are missing.
type blame struct {
	cause   Cause
	holders []Holder // those the cause is about, the largest on the short nodes first
}

// blame finds the cause of a failure by asking of each possible one: but for
// this, would the guest fit? The judge itself answers, on a host without it.
// What an admin can act on first is asked first.
func (l launch) blame(host Host, f failure) blame {
	if f.cause != "" {
		return blame{cause: f.cause}
	}
	idle := host.idle()
	if must, _ := l.play(idle); must != nil {
		pool, _ := idle.pool(must[0].pageKiB)
		if pool.on(must[0].nodes).Total == 0 {
			return blame{cause: CausePoolMissing}
		}
		return blame{cause: CausePoolTooSmall}
	}
	if !l.mustFail(host.unreserved()) {
		return blame{cause: CauseKernelReserved}
	}
	if host.Holders == nil {
		return blame{cause: CauseUnaccounted}
	}
	fitsWithout := func(holders []Holder) bool {
		return len(holders) > 0 && !l.mustFail(host.without(holders))
	}
	// Those who hold nothing on the short nodes are nobody's trouble.
	var onNodes []Holder
	for _, h := range host.Holders.List {
		if h.PageKiB == f.pageKiB && h.on(f.nodes) > 0 {
			onNodes = append(onNodes, h)
		}
	}
	slices.SortStableFunc(onNodes, func(a, b Holder) int {
		return cmp.Or(cmp.Compare(b.on(f.nodes), a.on(f.nodes)), cmp.Compare(a.PID, b.PID))
	})
	of := func(kinds ...HolderKind) []Holder {
		return slices.DeleteFunc(slices.Clone(onNodes), func(h Holder) bool { return !slices.Contains(kinds, h.Kind) })
	}
	if ovs := of(HolderOVS); fitsWithout(ovs) {
		return blame{CauseOVS, ovs}
	}
	processes := of(HolderProcess)
	for _, one := range processes {
		if fitsWithout([]Holder{one}) {
			return blame{CauseOtherHolder, []Holder{one}}
		}
	}
	if fitsWithout(processes) {
		return blame{CauseOtherHolder, processes}
	}
	if outsiders := of(HolderOVS, HolderProcess); fitsWithout(outsiders) {
		return blame{CauseOtherHolder, outsiders}
	}
	// Guests use the pages as they should, pages that nobody shows are gone.
	if fitsWithout([]Holder{host.unseen(f.pageKiB)}) {
		return blame{CauseUnaccounted, onNodes}
	}
	if guests := of(HolderGuest); len(guests) > 0 && fitsWithout(onNodes) {
		return blame{CauseGuests, append(guests, of(HolderOVS, HolderProcess)...)}
	}
	return blame{CauseUnaccounted, onNodes}
}

// on is how many pages a holder has on some nodes.
func (h Holder) on(nodes NodeSet) uint64 {
	var pages uint64
	for node, n := range h.Pages {
		if nodes.Has(node) {
			pages += n
		}
	}
	return pages
}

// unseen is what is taken of a pool and no holder shows.
func (h Host) unseen(kib uint64) Holder {
	unseen := Holder{PageKiB: kib, Pages: map[int]uint64{}}
	for _, report := range h.Report() {
		if report.PageKiB == kib && report.Unaccounted != nil {
			unseen.Pages[report.Node] = *report.Unaccounted
		}
	}
	return unseen
}

// change returns the host with each pool changed by f, which may write to its
// Nodes.
func (h Host) change(f func(*SizePool)) Host {
	h.Pools = slices.Clone(h.Pools)
	for i := range h.Pools {
		h.Pools[i].Nodes = slices.Clone(h.Pools[i].Nodes)
		f(&h.Pools[i])
	}
	return h
}

// idle returns the host as it would be with all pages given back: surplus
// pages go away when they are freed.
func (h Host) idle() Host {
	return h.change(func(p *SizePool) {
		p.Reserved, p.Surplus = 0, 0
		for i, n := range p.Nodes {
			total := minus(n.Total, n.Surplus)
			p.Nodes[i] = NodePool{Node: n.Node, Total: total, Free: total}
		}
	})
}

// unreserved returns the host without pages that are promised to others.
func (h Host) unreserved() Host {
	return h.change(func(p *SizePool) { p.Reserved = 0 })
}

// without returns the host as it would be had some holders taken nothing.
func (h Host) without(holders []Holder) Host {
	return h.change(func(p *SizePool) {
		for _, holder := range holders {
			if holder.PageKiB != p.PageKiB {
				continue
			}
			for i, n := range p.Nodes {
				p.Nodes[i].Free = min(n.Total, n.Free+holder.Pages[n.Node])
			}
		}
	})
}
