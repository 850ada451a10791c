package guard

import (
	"fmt"
	"slices"
)

// blame finds the cause of failures by asking of each possible one: but for this, would the guest fit? The judge itself
// answers, on a host without it. What an admin can act on first is asked first; the others that hold too go with it.
// Where nothing answers for the whole launch, it is asked of the first failure alone.
func (l launch) blame(host Host, must []failure) Blame {
	b := l.butFor(host, must)
	if host.Holders == nil {
		return b
	}
	b.Holders = host.locate(b.Holders)
	for i := range b.Also {
		b.Also[i].Holders = host.locate(b.Also[i].Holders)
	}
	return b
}

func (l launch) butFor(host Host, must []failure) Blame {
	f := must[0]
	if f.cause != "" {
		return Blame{Cause: f.cause}
	}
	idle := idle(host)
	if l.isShort(idle, f) {
		pool, _ := idle.Pool(f.pageKiB)
		if pool.On(f.nodes).Total == 0 {
			return Blame{Cause: CausePoolMissing}
		}
		return Blame{Cause: CausePoolTooSmall}
	}
	t := trial{launch: l, host: host, failure: f, whole: true}
	if host.Holders != nil {
		t.holding = holdersOf(host, f.pageKiB, f.nodes)
	}
	if found := t.suspects(); len(found) > 0 {
		found[0].Also = found[1:]
		return found[0]
	}
	t.whole = false // something else may be short then
	if found := t.suspects(); len(found) > 0 {
		return found[0]
	}
	if host.Holders == nil {
		return Blame{Cause: CauseUnaccounted}
	}
	return t.together()
}

// isShort reports whether a launch must fail on a host because it lacks the same pages, or some of them.
func (l launch) isShort(host Host, f failure) bool {
	must, _ := l.play(host)
	return slices.ContainsFunc(must, f.has)
}

// inOrder returns failures with those first that are so even on an idle host, as they are there: whatever is done about
// the others, these stay. Those that pass by themselves, once the starting guests have failed, come last.
func (l launch) inOrder(host Host, must []failure) []failure {
	lasting := l.lasting(host, must)
	alone := withoutStarting(host)
	var limits, others, passing []failure
	for _, f := range must {
		switch {
		case slices.ContainsFunc(lasting, func(g failure) bool { return g.has(f) }):
		case f.cause != "":
			limits = append(limits, f)
		case len(host.Starting) == 0 || l.isShort(alone, f):
			others = append(others, f)
		default:
			passing = append(passing, f)
		}
	}
	return slices.Concat(limits, lasting, others, passing)
}

// lasting returns the shortages that are so even on an idle host.
func (l launch) lasting(host Host, must []failure) (lasting []failure) {
	failures, _ := l.play(idle(host))
	for _, f := range failures {
		if f.cause != "" {
			continue
		}
		i := slices.IndexFunc(must, func(g failure) bool { return f.has(g) && g.has(f) && f.needed == g.needed })
		if i >= 0 {
			f = must[i]
		}
		pool, _ := host.Pool(f.pageKiB)
		f.free = pool.On(f.nodes).Free
		lasting = append(lasting, f)
	}
	return lasting
}

// trial tries a launch on hosts without one thing or another.
type trial struct {
	launch  launch
	host    Host
	failure failure
	whole   bool    // it asks whether the launch would fit, rather than whether this failure would be gone
	holding holding // none where nobody looked
}

// fits reports whether it would fit on another host.
func (t trial) fits(host Host) bool {
	if t.whole {
		return !t.launch.mustFail(host)
	}
	return !t.launch.isShort(host, t.failure)
}

// fitsWithout reports whether it would fit without some holders, if there are any.
func (t trial) fitsWithout(holders []Holder) bool {
	return len(holders) > 0 && t.fits(t.holding.without(holders))
}

// suspects returns what it would fit but for, each by itself, what an admin can act on first.
func (t trial) suspects() (found []Blame) {
	if former := t.holding.former(); t.fitsWithout(former) {
		found = append(found, Blame{Cause: CauseGuests, Holders: former})
	}
	if dead := t.holding.ofDead(); t.fitsWithout(dead) {
		found = append(found, Blame{Cause: causeOf(dead), Holders: dead})
		t.holding.list = slices.DeleteFunc(slices.Clone(t.holding.list), func(h Holder) bool { return h.Guest != "" })
	}
	reserved := t.fits(unreserved(t.host))
	if reserved && t.host.Holders == nil {
		return []Blame{{Cause: CauseKernelReserved}}
	}
	if files := t.holding.of(HolderFile); t.fitsWithout(files) {
		found = append(found, Blame{Cause: CauseLeftoverFiles, Holders: files})
	}
	if reserved {
		found = append(found, Blame{Cause: CauseKernelReserved, Holders: t.holding.promised})
	}
	var outsiders []Blame
	ovs := t.holding.of(HolderOVS)
	if t.fitsWithout(ovs) {
		outsiders = append(outsiders, Blame{Cause: CauseOVS, Holders: ovs})
	}
	if processes := t.processes(); processes != nil {
		outsiders = append(outsiders, Blame{Cause: CauseOtherHolder, Holders: processes})
	}
	if t.allowedFor(ovs) {
		slices.Reverse(outsiders)
	}
	found = append(found, outsiders...)
	if len(t.host.Starting) > 0 && t.fits(withoutStarting(t.host)) {
		starting := t.host.startingOn(t.failure.pageKiB, t.failure.nodes)
		found = append(found, Blame{Cause: CauseStartingGuests, Holders: asHolders(t.failure.pageKiB, starting)})
	}
	return found
}

// allowedFor reports whether Nova keeps back all that holders have where pages are missing: then somebody else is to blame
// first.
func (t trial) allowedFor(holders []Holder) bool {
	var held uint64
	for _, h := range holders {
		held += h.On(t.failure.nodes)
	}
	return t.host.Nova.Known() && t.host.Nova.reserves(t.failure.pageKiB, t.failure.nodes) >= int64(held)
}

// processes returns the one process without which it would fit, else all of them, and nil if that is not enough either.
func (t trial) processes() []Holder {
	all := t.holding.of(HolderProcess)
	refuted := map[string]bool{} // many have as much, of which one answers for all
	for _, holder := range all {
		one := slices.DeleteFunc(slices.Clone(all), func(h Holder) bool { return h.PID != holder.PID })
		has := fmt.Sprint(t.holding.unseen.certain(one...), sumReserved(one))
		if !refuted[has] && t.fitsWithout(one) {
			return one
		}
		refuted[has] = true
	}
	if t.fitsWithout(all) {
		return all
	}
	return nil
}

// together returns what it would fit but for where no one thing is enough.
func (t trial) together() Blame {
	h := t.holding
	others := h.of(HolderOVS, HolderProcess)
	if t.fitsWithout(others) {
		return Blame{Cause: CauseOtherHolder, Holders: others}
	}
	others = h.of(HolderOVS, HolderProcess, HolderFile)
	if t.fitsWithout(others) {
		return Blame{Cause: CauseOtherHolder, Holders: others}
	}
	// Guests use the pages as they should, pages that nobody shows are gone.
	if t.fitsWithout([]Holder{{PageKiB: h.pool.PageKiB, Pages: unaccounted(h.pool, t.host.held(h.pool))}}) {
		return Blame{Cause: CauseUnaccounted, Holders: h.list}
	}
	// What a QEMU that is starting was promised goes with its claim.
	running := slices.Clone(h.list)
	for i, one := range running {
		if slices.ContainsFunc(t.host.Starting, func(s Starting) bool { return s.PID != 0 && s.PID == one.PID }) {
			running[i].Reserved = 0
		}
	}
	alone := withoutStarting(h.without(running))
	guests := h.of(HolderGuest)
	switch {
	case len(t.host.Starting) > 0 && len(others) > 0 && t.fits(withoutStarting(h.without(others))):
		return Blame{Cause: causeOf(others), Holders: others}
	case len(guests) > 0 && t.fits(alone):
		return Blame{Cause: CauseGuests, Holders: append(guests, others...)}
	case h.pool.Reserved > 0 && t.fits(unreserved(alone)):
		return Blame{Cause: CauseKernelReserved, Holders: h.promised}
	}
	return Blame{Cause: CauseUnaccounted, Holders: h.list}
}

// causeOf returns the cause that blames these holders, none of them a guest.
func causeOf(holders []Holder) Cause {
	switch {
	case !slices.ContainsFunc(holders, func(h Holder) bool { return h.Kind != HolderFile }):
		return CauseLeftoverFiles
	case !slices.ContainsFunc(holders, func(h Holder) bool { return h.Kind != HolderOVS }):
		return CauseOVS
	}
	return CauseOtherHolder
}

// asHolders returns starting guests as holders of the pages of a size that they have still to take, as far as these are
// of one node alone.
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
