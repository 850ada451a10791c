package guard

import "slices"

// refuse makes a verdict of why a launch must fail: what is missing, who is to blame, and what helps.
func (l launch) refuse(v *Verdict, host Host, must []failure) {
	must = l.inOrder(host, must)
	l.setReleases(host, must)
	v.Decision = Refuse
	v.Blame = l.blame(host, must)
	v.Cause = v.Blame.Cause
	v.Lack = lackOf(host, must[0], *v)
	v.waits = l.fitsAfter(host)
	for _, f := range must {
		v.Findings = append(v.Findings, f.finding(host, SeverityRefuse))
	}
	if !v.Canary { // else nobody should do anything about it
		if v.Manager == ManagerNova {
			v.Nova = host.NovaReport(v.Domain.UUID)
		}
		v.Fixes = onPlatform(host, *v, l.fixes(host, must, v.Blame))
	}
}

// setReleases notes with each failure what had to be known of the releases for it to be certain.
func (l launch) setReleases(host Host, must []failure) {
	for _, known := range host.Releases.parts() {
		less := host
		less.Releases = known
		if l.mustFail(less) {
			for i := range must {
				must[i].releases = known
			}
			return
		}
	}
}

// fitsAfter reports whether a launch would fit but for the starting guests.
func (l launch) fitsAfter(host Host) bool {
	return len(host.Starting) > 0 && !l.mustFail(withoutStarting(host))
}

// lackOf returns what is known of what a failure is short of.
func lackOf(h Host, f failure, v Verdict) Lack {
	pool, _ := h.pool(f.pageKiB)
	there := pool.on(f.nodes)
	l := Lack{SetUp: minus(there.Total, there.Surplus), Reserved: pool.Reserved, Surplus: pool.Surplus, Overcommit: pool.Overcommit}
	if asked := h.askedOn(f.pageKiB, f.nodes); asked > l.SetUp {
		l.Asked = asked
	}
	if h.Holders != nil {
		l.Unaccounted = Holder{Pages: unaccounted(pool, h.held(pool))}.On(f.nodes)
	}
	if v.Blame.outsiders() && v.Manager == ManagerNova && h.Nova.known() {
		reserves := h.Nova.reserves(f.pageKiB, f.nodes)
		l.NovaReserves = &reserves
		if agreesOn(h, f.pageKiB, f.nodes) {
			misplaced := misplaced(h, f, v.Domain.UUID)
			l.Misplaced = &misplaced
		}
	}
	if f.cause == "" {
		l.Others = alternatives(h, f)
	}
	return l
}

// misplaced returns why Nova came here although its configuration reserves enough on the nodes that are short; uuid is
// the domain that is about to start.
func misplaced(h Host, f failure, uuid string) (m Misplaced) {
	if n := h.Nova; n.Stale != "" {
		m.Stale = &NovaStale{n.PID, n.Stale}
		return m
	}
	for _, s := range strangers(h) {
		if s.PageKiB == f.pageKiB && s.On(f.nodes) > 0 {
			m.Strangers = append(m.Strangers, s)
		}
	}
	if m.Strangers != nil {
		return m
	}
	var free int64
	for _, p := range h.NovaReport(uuid).Pools {
		if p.PageKiB == f.pageKiB && f.nodes.Has(p.Node) && p.Free != nil {
			free += *p.Free
		}
	}
	if free < int64(f.needed) {
		m.Believed = &free
	}
	return m
}

// alternatives returns the nodes that have as many free pages as a shortage on other nodes wants, the nearest first.
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
	i := slices.IndexFunc(host.Nodes, func(n Node) bool { return len(f.nodes) > 0 && n.ID == f.nodes[0] })
	if i >= 0 {
		distances := host.Nodes[i].Distances
		slices.SortStableFunc(found, func(a, b NodePool) int { return distances[a.Node] - distances[b.Node] })
	}
	return found
}

// fixes returns what an admin can do about failures of one cause.
func (l launch) fixes(host Host, must []failure, b Blame) (found []Fix) {
	if b.over() {
		return l.holderFixes(host, must, b) // as they are over, nobody is to reckon with them
	}
	switch b.Cause {
	case CauseOVS, CauseOtherHolder:
		found = slices.Concat(tellManager(host, b), l.holderFixes(host, must, b))
	case CauseKernelReserved:
		found = append(found, l.holderFixes(host, must, b)...)
	case CausePoolMissing, CausePoolTooSmall, CauseGuests:
		found = append(found, l.enlarging(host, must)...)
	case CauseMountLimit, CauseCgroupLimit:
		found = append(found, l.raising(host, own[Limit](must))...)
	case CauseSizeMismatch, CausePageSizeUnsupported, CauseBindingImpossible:
		found = append(found, ChangeDomain{Changes: own[Change](must)})
	case CauseUnaccounted:
		found = append(found, l.search(host, must)...)
	}
	files := slices.DeleteFunc(slices.Clone(b.Holders), func(h Holder) bool { return h.Kind != HolderFile })
	if len(files) > 0 {
		found = append(found, DeleteFiles{files, len(host.Holders.Unreadable) == 0 && !host.Holders.Cut})
	}
	return found
}

// own returns the fixes that failures have each for itself.
func own[T any](must []failure) (fixes []T) {
	for _, f := range must {
		if fix, ok := f.fix.(T); ok {
			fixes = append(fixes, fix)
		}
	}
	return fixes
}
