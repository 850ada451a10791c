package guard

import "slices"

// risks returns what may go wrong with a launch that can succeed.
func (s simulation) risks(pool SizePool, backends []placed) []Finding {
	starting := s.host.claims(pool, s.rules)
	if f := s.luck(pool, backends, starting); f != nil {
		return []Finding{*f}
	}
	found := s.numadRisks(pool, backends)
	contest := newContest(pool, backends)
	for i, b := range backends {
		if b.Auto && b.Strength == Hard {
			continue
		}
		found = append(found, s.orderRisks(pool, contest, i, starting)...)
		if free := pool.On(b.wanted).Free; b.Lazy && b.Policy == PolicyBind && free < b.Pages {
			found = append(found, newFinding(codeOnTouch, SeverityWarn, pool, b.wanted, b.Pages, OnTouch{free}).of(b.Backend))
		}
		if b.wanted == nil || b.Policy == PolicyBind {
			continue
		}
		// The domain allows that: it starts.
		if fit := wished(pool, b); fit < b.Pages {
			found = append(found, newFinding(codeSpill, SeverityInfo, pool, b.wanted, b.Pages, Spills{b.Policy, fit}).of(b.Backend))
		}
	}
	return found
}

// luck returns what the whole launch hangs on, nil for nothing: that reserved pages are its own, starting guests
// further than they show, surplus pages to be had.
func (s simulation) luck(pool SizePool, backends []placed, starting []claimed) *Finding {
	memory := s.host.MemoryNodes()
	free, needed := pool.On(memory).Free, sum(backends)
	promised := pool.Reserved + unmapped(starting)
	if needed <= minus(free, promised) && fits(pool, backends, starting, 0) {
		return nil
	}
	var f Finding
	switch extra := pool.headroom(); {
	case needed > minus(free+extra, promised):
		f = newFinding(codeReserved, SeverityWarn, pool, memory, needed, SetAside{pool.Reserved})
	case !fits(pool, backends, starting, extra) && fits(pool, backends, sure(starting), extra):
		f = newFinding(codeStarting, SeverityWarn, pool, memory, needed, OnlyCleared{names(clearing(s.host, pool.PageKiB))})
	default:
		f = newFinding(codeOvercommit, SeverityWarn, pool, memory, needed, OnlySurplus{})
	}
	return &f
}

// fits reports whether the pages of backends can be had after those of starting guests, with some surplus pages.
func fits(pool SizePool, backends []placed, starting []claimed, extra uint64) bool {
	return assign(append(claimRequests(starting), requests(backends)...), pool.freeByNode(), extra) == nil
}

// numadRisks returns what may be wrong with the nodes that numad chooses.
func (s simulation) numadRisks(pool SizePool, backends []placed) (found []Finding) {
	auto := slices.DeleteFunc(slices.Clone(backends), func(p placed) bool { return !p.Auto })
	if len(auto) == 0 {
		return nil
	}
	memory := s.host.MemoryNodes()
	warn := func(nodes NodeSet, pages uint64, n Numad) {
		found = append(found, newFinding(codeAuto, SeverityWarn, pool, nodes, pages, n))
	}
	// It may choose one node for all that it places.
	if hard := slices.DeleteFunc(slices.Clone(auto), func(p placed) bool { return p.Strength != Hard }); len(hard) > 0 {
		if small := s.tooSmall(pool, sum(hard)); len(small) > 0 {
			warn(small, sum(hard), Numad{Risk: NumadTooSmall})
		}
	}
	if denied := memory.Without(s.inherited); len(denied) > 0 {
		i := slices.IndexFunc(auto, func(p placed) bool { return p.Policy != PolicyDefault })
		if i >= 0 {
			warn(denied, auto[i].Pages, Numad{NumadDenied, s.host.cgroup().NodesFile, s.inherited})
		}
	}
	for _, b := range auto {
		// What is bound to numad's nodes is also prepared from there.
		idle := slices.DeleteFunc(slices.Clone(memory), func(node int) bool { return s.host.hasCPU(NodeSet{node}, s.cpus(b.Backend)) })
		if s.rules.has(ruleThreads) && !b.Global && (b.Policy != PolicyDefault || s.rules.has(ruleRestrictiveThreads)) && len(idle) > 0 {
			warn(idle, b.Pages, Numad{Risk: NumadIdle})
			break
		}
	}
	return found
}

// orderRisks returns what depends for a backend on who takes which page first.
func (s simulation) orderRisks(pool SizePool, contest *contest, i int, starting []claimed) (found []Finding) {
	b := contest.backends[i]
	warn := func(code string, nodes NodeSet, reason Reason) {
		found = append(found, newFinding(code, SeverityWarn, pool, nodes, b.Pages, reason).of(b.Backend))
	}
	// Whether what is touched side by side is so when all is mapped, or from when each is, is QEMU's to choose.
	if s.reservesElsewhere(b) && minus(pool.On(s.reservable()).Free, contest.taken(i, false, s.reservable())) < b.Pages {
		warn(codeOrder, s.reservable(), OnlyOrder{Reservation: true})
	}
	have := pool.On(b.allowed).Free
	taken := contest.taken(i, s.rules.has(ruleParallel), b.allowed)
	if minus(have, taken) < b.Pages {
		warn(codeOrder, b.allowed, OnlyOrder{})
	} else if minus(have, taken+claimable(pool, starting, b.allowed)) < b.Pages {
		warn(codeStarting, b.allowed, OnlyBeside{names(s.host.startingOn(pool.PageKiB, b.allowed))})
	}
	return found
}

// wished is how many of a soft backend's pages find room on the nodes that it asks for, alone: for interleave an even
// share on each.
func wished(pool SizePool, b placed) uint64 {
	if b.Policy != PolicyInterleave {
		return min(b.Pages, pool.On(b.wanted).Free)
	}
	share := (b.Pages + uint64(len(b.wanted)) - 1) / uint64(len(b.wanted))
	var there uint64
	for _, node := range b.wanted {
		there += min(share, pool.Node(node).Free)
	}
	return min(there, b.Pages)
}

// tooSmall returns the nodes that could not hold so many pages alone.
func (s simulation) tooSmall(pool SizePool, pages uint64) NodeSet {
	var small NodeSet
	for _, node := range s.host.MemoryNodes() {
		if pool.Node(node).Free < pages {
			small = append(small, node)
		}
	}
	return small
}
