package guard

import (
	"cmp"
	"fmt"
	"slices"
)

// blame is the cause of a refusal, and who holds the pages that are missing.
type blame struct {
	cause   Cause
	holders []Holder // those the cause is about, the largest on the short nodes first
	// also are other things without which the launch would not have to fail.
	also []blame
}

// blame finds the cause of a failure by asking of each possible one: but for
// this, would the guest fit? The judge itself answers, on a host without it.
// What an admin can act on first is asked first; the others that hold too go
// with it.
func (l launch) blame(host Host, f failure) blame {
	b := l.butFor(host, f)
	if host.Holders == nil {
		return b
	}
	b.holders = host.settle(b.holders)
	for i := range b.also {
		b.also[i].holders = host.settle(b.also[i].holders)
	}
	return b
}

func (l launch) butFor(host Host, f failure) blame {
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
	reserved := !l.mustFail(host.unreserved())
	starting := blame{cause: CauseStartingGuests, holders: asHolders(f.pageKiB, host.rivals(f.pageKiB, f.nodes))}
	started := l.fitsAfter(host)
	if host.Holders == nil {
		switch {
		case reserved:
			return blame{cause: CauseKernelReserved}
		case started:
			return starting
		}
		return blame{cause: CauseUnaccounted}
	}
	pool, _ := host.pool(f.pageKiB)
	unseen := host.unseen(pool)
	known := map[string]bool{} // by what is given back: many holders have as much
	fitsWithout := func(holders []Holder) bool {
		if len(holders) == 0 {
			return false
		}
		pages, reserved := unseen.certain(holders...), sumReserved(holders)
		back := fmt.Sprint(pages, reserved)
		fits, ok := known[back]
		if !ok {
			fits = !l.mustFail(host.returned(pool.PageKiB, pages, reserved))
			known[back] = fits
		}
		return fits
	}
	type share struct {
		Holder
		there uint64 // on the short nodes, at the least
	}
	var shares []share
	var promised []Holder
	for _, h := range host.Holders.List {
		if h.PageKiB != pool.PageKiB {
			continue
		}
		// Those who hold nothing on the short nodes are nobody's trouble.
		if there := (Holder{Pages: unseen.certain(h)}).on(f.nodes); there > 0 || h.Unplaced > 0 {
			shares = append(shares, share{h, there})
		}
		if h.Reserved > 0 {
			promised = append(promised, h)
		}
	}
	slices.SortStableFunc(shares, func(a, b share) int {
		return cmp.Or(cmp.Compare(b.there, a.there), cmp.Compare(a.PID, b.PID))
	})
	held := make([]Holder, len(shares))
	for i, s := range shares {
		held[i] = s.Holder
	}
	slices.SortStableFunc(promised, func(a, b Holder) int {
		return cmp.Or(cmp.Compare(b.Reserved, a.Reserved), cmp.Compare(a.PID, b.PID))
	})
	of := func(kinds ...HolderKind) []Holder {
		return slices.DeleteFunc(slices.Clone(held), func(h Holder) bool { return !slices.Contains(kinds, h.Kind) })
	}
	var found []blame
	ask := func(cause Cause, holders []Holder) bool {
		fits := fitsWithout(holders)
		if fits {
			found = append(found, blame{cause: cause, holders: holders})
		}
		return fits
	}
	ask(CauseLeftoverFiles, of(HolderFile))
	if reserved {
		found = append(found, blame{cause: CauseKernelReserved, holders: promised})
	}
	ask(CauseOVS, of(HolderOVS))
	processes := of(HolderProcess)
	if !slices.ContainsFunc(processes, func(one Holder) bool { return ask(CauseOtherHolder, []Holder{one}) }) {
		ask(CauseOtherHolder, processes)
	}
	if started {
		found = append(found, starting)
	}
	if len(found) == 0 {
		ask(CauseOtherHolder, of(HolderOVS, HolderProcess))
	}
	if len(found) == 0 {
		ask(CauseOtherHolder, of(HolderOVS, HolderProcess, HolderFile))
	}
	if len(found) > 0 {
		found[0].also = found[1:]
		return found[0]
	}
	// Guests use the pages as they should, pages that nobody shows are gone.
	gone := host.unaccounted(pool)
	if fitsWithout([]Holder{{PageKiB: f.pageKiB, Pages: gone}}) {
		return blame{cause: CauseUnaccounted, holders: held}
	}
	// It takes several of all these together.
	without := host.returned(pool.PageKiB, unseen.certain(held...), sumReserved(held)).settled()
	guests := of(HolderGuest)
	if len(guests)+len(host.Starting) > 0 && !l.mustFail(without) {
		return blame{cause: CauseGuests, holders: append(guests, of(HolderOVS, HolderProcess, HolderFile)...)}
	}
	if !l.mustFail(without.unreserved()) {
		return blame{cause: CauseKernelReserved, holders: promised}
	}
	return blame{cause: CauseUnaccounted, holders: held}
}

// settle returns holders with those of their unplaced pages on the nodes where
// they must lie.
func (h Host) settle(holders []Holder) []Holder {
	settled := slices.Clone(holders)
	known := map[uint64]unseen{} // by page size
	for i, holder := range settled {
		if known[holder.PageKiB] == nil {
			pool, _ := h.pool(holder.PageKiB)
			known[holder.PageKiB] = h.unseen(pool)
		}
		pages := known[holder.PageKiB].certain(holder)
		settled[i].Unplaced -= sumPages(pages) - sumPages(holder.Pages)
		settled[i].Pages = pages
	}
	return settled
}

// on is how many pages a holder is seen to have on some nodes.
func (h Holder) on(nodes NodeSet) uint64 {
	var pages uint64
	for node, n := range h.Pages {
		if nodes.Has(node) {
			pages += n
		}
	}
	return pages
}

// unaccounted is what is taken of each node of a pool and, for all that is
// certain, held by no holder.
func (h Host) unaccounted(pool SizePool) map[int]uint64 {
	left := map[int]uint64{}
	for _, n := range pool.Nodes {
		left[n.Node] = minus(n.Total, n.Free)
	}
	for _, pages := range h.held(pool) {
		for node, n := range pages {
			left[node] = minus(left[node], n)
		}
	}
	return left
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
	h.Starting = nil
	return h.change(func(p *SizePool) {
		p.Reserved, p.Surplus = 0, 0
		for i, n := range p.Nodes {
			total := minus(n.Total, n.Surplus)
			p.Nodes[i] = NodePool{Node: n.Node, Total: total, Free: total}
		}
	})
}

// unreserved returns the host without pages that are promised to others than
// the domains that are starting.
func (h Host) unreserved() Host {
	return h.change(func(p *SizePool) {
		var mapped uint64
		for _, c := range h.claims(*p, rules{}) {
			mapped += c.mapped
		}
		p.Reserved = min(p.Reserved, mapped)
	})
}

// returned returns the host as it would be with so many pages of a size given
// back, by node, and so many promises.
func (h Host) returned(kib uint64, back map[int]uint64, reserved uint64) Host {
	return h.change(func(p *SizePool) {
		if p.PageKiB != kib {
			return
		}
		for i, n := range p.Nodes {
			p.Nodes[i].Free = min(n.Total, n.Free+back[n.Node])
		}
		p.Reserved = minus(p.Reserved, reserved)
	})
}
