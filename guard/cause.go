package guard

import (
	"cmp"
	"fmt"
	"slices"
)

// blame finds the cause of failures by asking of each possible one: but for
// this, would the guest fit? The judge itself answers, on a host without it.
// What an admin can act on first is asked first; the others that hold too go
// with it. Where nothing answers for the whole launch, it is asked of the first
// failure alone.
func (l launch) blame(host Host, must []failure) Blame {
	b := l.butFor(host, must)
	if host.Holders == nil {
		return b
	}
	b.Holders = host.settle(b.Holders)
	for i := range b.Also {
		b.Also[i].Holders = host.settle(b.Also[i].Holders)
	}
	return b
}

func (l launch) butFor(host Host, must []failure) Blame {
	f := must[0]
	if f.cause != "" {
		return Blame{Cause: f.cause}
	}
	if idle := host.idle(); l.isShort(idle, f) {
		pool, _ := idle.pool(f.pageKiB)
		if pool.on(f.nodes).Total == 0 {
			return Blame{Cause: CausePoolMissing}
		}
		return Blame{Cause: CausePoolTooSmall}
	}
	if found := l.suspects(host, f, l.mustFail); len(found) > 0 {
		found[0].Also = found[1:]
		return found[0]
	}
	// Something else may be short then: of the first failure alone.
	isShort := func(h Host) bool { return l.isShort(h, f) }
	if found := l.suspects(host, f, isShort); len(found) > 0 {
		return found[0]
	}
	if host.Holders == nil {
		return Blame{Cause: CauseUnaccounted}
	}
	return l.together(host, f, isShort)
}

// isShort reports whether a launch must fail on a host for want of the same pages,
// or some of them.
func (l launch) isShort(host Host, f failure) bool {
	must, _ := l.play(host)
	return slices.ContainsFunc(must, f.has)
}

// inOrder returns failures with those first that are so even on an idle host, as
// they are there: whatever is done about the others, these stay. Those that pass
// by themselves, once the domains that are starting have failed, come last.
func (l launch) inOrder(host Host, must []failure) []failure {
	idle, _ := l.play(host.idle())
	var all []failure
	for _, f := range idle {
		if f.cause != "" {
			continue
		}
		same := func(g failure) bool { return f.has(g) && g.has(f) && f.needed == g.needed }
		if i := slices.IndexFunc(must, same); i >= 0 {
			f = must[i]
		}
		pool, _ := host.pool(f.pageKiB)
		f.free = pool.on(f.nodes).Free
		all = append(all, f)
	}
	lasting := slices.Clone(all)
	for _, f := range must {
		if !slices.ContainsFunc(lasting, func(g failure) bool { return g.has(f) }) {
			all = append(all, f)
		}
	}
	settled := host.settled()
	rank := func(f failure) int {
		switch {
		case f.cause != "":
			return 0
		case slices.ContainsFunc(lasting, func(g failure) bool { return g.has(f) }):
			return 1
		case len(host.Starting) == 0 || l.isShort(settled, f):
			return 2
		}
		return 3
	}
	slices.SortStableFunc(all, func(a, b failure) int { return cmp.Compare(rank(a), rank(b)) })
	return all
}

// suspects returns what a failure would not be but for, each by itself, what an
// admin can act on first.
func (l launch) suspects(host Host, f failure, fails func(Host) bool) (found []Blame) {
	reserved := !fails(host.unreserved())
	started := len(host.Starting) > 0 && !fails(host.settled())
	addStarting := func() {
		if started {
			found = append(found, Blame{Cause: CauseStartingGuests, Holders: asHolders(f.pageKiB, host.rivals(f.pageKiB, f.nodes))})
		}
	}
	if host.Holders == nil {
		if reserved {
			return []Blame{{Cause: CauseKernelReserved}}
		}
		addStarting()
		return found
	}
	h := host.holding(f)
	ask := func(cause Cause, holders []Holder) bool {
		fits := len(holders) > 0 && !fails(h.without(holders))
		if fits {
			found = append(found, Blame{Cause: cause, Holders: holders})
		}
		return fits
	}
	ask(CauseLeftoverFiles, h.of(HolderFile))
	if reserved {
		found = append(found, Blame{Cause: CauseKernelReserved, Holders: h.promised})
	}
	ask(CauseOVS, h.of(HolderOVS))
	// Many have as much, of which one answers for all.
	refuted := map[string]bool{}
	processes := h.of(HolderProcess)
	if !slices.ContainsFunc(processes, func(one Holder) bool {
		has := fmt.Sprint(h.unseen.certain(one), one.Reserved)
		if refuted[has] {
			return false
		}
		refuted[has] = true
		return ask(CauseOtherHolder, []Holder{one})
	}) {
		ask(CauseOtherHolder, processes)
	}
	addStarting()
	return found
}

// together returns what a failure is for where no one thing is enough.
func (l launch) together(host Host, f failure, fails func(Host) bool) Blame {
	h := host.holding(f)
	fitsWithout := func(holders []Holder) bool { return len(holders) > 0 && !fails(h.without(holders)) }
	others := h.of(HolderOVS, HolderProcess)
	if fitsWithout(others) {
		return Blame{Cause: CauseOtherHolder, Holders: others}
	}
	others = h.of(HolderOVS, HolderProcess, HolderFile)
	if fitsWithout(others) {
		return Blame{Cause: CauseOtherHolder, Holders: others}
	}
	// Guests use the pages as they should, pages that nobody shows are gone.
	if fitsWithout([]Holder{{PageKiB: f.pageKiB, Pages: host.unaccounted(h.pool)}}) {
		return Blame{Cause: CauseUnaccounted, Holders: h.list}
	}
	// What a QEMU that is starting was promised goes with its claim.
	running := slices.Clone(h.list)
	for i, one := range running {
		if slices.ContainsFunc(host.Starting, func(s Starting) bool { return s.PID != 0 && s.PID == one.PID }) {
			running[i].Reserved = 0
		}
	}
	without := h.without(running).settled()
	guests := h.of(HolderGuest)
	switch {
	case len(host.Starting) > 0 && len(others) > 0 && !fails(h.without(others).settled()):
		return Blame{Cause: causeOf(others), Holders: others}
	case len(guests) > 0 && !fails(without):
		return Blame{Cause: CauseGuests, Holders: append(guests, others...)}
	case h.pool.Reserved > 0 && !fails(without.unreserved()):
		return Blame{Cause: CauseKernelReserved, Holders: h.promised}
	}
	return Blame{Cause: CauseUnaccounted, Holders: h.list}
}

// causeOf is the cause that is about such holders, none of them a guest.
func causeOf(holders []Holder) Cause {
	of := func(kind HolderKind) bool {
		return !slices.ContainsFunc(holders, func(h Holder) bool { return h.Kind != kind })
	}
	switch {
	case of(HolderFile):
		return CauseLeftoverFiles
	case of(HolderOVS):
		return CauseOVS
	}
	return CauseOtherHolder
}

// asHolders returns starting domains as holders of the pages of a size that
// they have still to take, as far as these are of one node alone.
func asHolders(kib uint64, starting []Starting) []Holder {
	var list []Holder
	for _, s := range starting {
		holder := Holder{Kind: HolderGuest, Name: s.Domain.Name, PID: s.PID, PageKiB: kib, Pages: map[int]uint64{}}
		for _, c := range s.Claims {
			if c.PageKiB == kib && c.Hard && len(c.Nodes) == 1 {
				holder.Pages[c.Nodes[0]] += c.Pages
			}
		}
		list = append(list, holder)
	}
	return list
}

// holding is those who may be to blame for a shortage.
type holding struct {
	host           Host
	pool           SizePool
	unseen         unseen
	list, promised []Holder // those with most pages there first, and with most promises
}

// holding returns those who have pages on the nodes of a shortage, or may have.
func (h Host) holding(f failure) holding {
	pool, _ := h.pool(f.pageKiB)
	all := holding{host: h, pool: pool, unseen: h.unseen(pool)}
	there := map[int]uint64{} // by where it is in the host's list, at the least
	var at []int
	for i, one := range h.Holders.List {
		if one.PageKiB != pool.PageKiB {
			continue
		}
		// Those who hold nothing on the short nodes are nobody's trouble.
		if there[i] = (Holder{Pages: all.unseen.certain(one)}).On(f.nodes); there[i] > 0 || one.Unplaced > 0 {
			at = append(at, i)
		}
		if one.Reserved > 0 {
			all.promised = append(all.promised, one)
		}
	}
	slices.SortStableFunc(at, func(a, b int) int {
		return cmp.Or(cmp.Compare(there[b], there[a]), cmp.Compare(h.Holders.List[a].PID, h.Holders.List[b].PID))
	})
	for _, i := range at {
		all.list = append(all.list, h.Holders.List[i])
	}
	slices.SortStableFunc(all.promised, func(a, b Holder) int {
		return cmp.Or(cmp.Compare(b.Reserved, a.Reserved), cmp.Compare(a.PID, b.PID))
	})
	return all
}

// of returns those of some kinds.
func (h holding) of(kinds ...HolderKind) []Holder {
	return slices.DeleteFunc(slices.Clone(h.list), func(one Holder) bool { return !slices.Contains(kinds, one.Kind) })
}

// without returns the host as it would be had some holders of the size taken
// nothing, and been promised nothing.
func (h holding) without(holders []Holder) Host {
	back := h.unseen.certain(holders...)
	return h.host.change(func(p *SizePool) {
		if p.PageKiB != h.pool.PageKiB {
			return
		}
		for i, n := range p.Nodes {
			p.Nodes[i].Free = min(n.Total, n.Free+back[n.Node])
		}
		p.Reserved = minus(p.Reserved, sumReserved(holders))
	})
}
