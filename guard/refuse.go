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
	if v.Manager == ManagerNova && !v.Canary { // of which nobody should do anything
		v.Nova = host.NovaReport(v.Domain.UUID)
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
	pool, _ := h.Pool(f.pageKiB)
	there := pool.On(f.nodes)
	l := Lack{SetUp: minus(there.Total, there.Surplus), Reserved: pool.Reserved, Surplus: pool.Surplus, Overcommit: pool.Overcommit}
	if asked := h.askedOn(f.pageKiB, f.nodes); asked > l.SetUp {
		l.Asked = asked
	}
	if h.Memory != nil && f.pageKiB == h.DefaultPageKiB {
		all := pool.On(h.MemoryNodes())
		set, has := h.Memory.Boot.Set, minus(all.Total, all.Surplus)
		if set > has || set == has && l.Asked > 0 {
			l.Set, l.Setting = set, h.Memory.Boot.Setting
		}
	}
	if h.Holders != nil {
		l.Unaccounted = Holder{Pages: unaccounted(pool, h.held(pool))}.On(f.nodes)
	}
	if v.Blame.outsiders() && v.Manager == ManagerNova && h.Nova.Known() {
		reserves := h.Nova.reserves(f.pageKiB, f.nodes)
		l.NovaReserves = &reserves
		if agreesOn(h, f.pageKiB, f.nodes) {
			misplaced := misplaced(h, f, v.Domain.UUID)
			l.Misplaced = &misplaced
		}
	}
	if f.cause == "" {
		l.Others = alternatives(h, f, v.Demand)
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

// alternatives returns the nodes that have as many free pages as a shortage on other nodes wants, beside what else of the
// demand must lie there, the nearest first.
func alternatives(host Host, f failure, demand []Backend) []NodePool {
	pool, _ := host.Pool(f.pageKiB)
	open := host.UsableNodes()
	var found []NodePool
	for _, n := range pool.Nodes {
		n.Free = minus(n.Free, host.claimedOn(pool, n.Node))
		var own uint64
		for _, b := range demand {
			if b.PageKiB == f.pageKiB && b.Policy == PolicyBind && !b.Auto && slices.Equal(b.HostNodes, NodeSet{n.Node}) {
				own += b.Pages
			}
		}
		if !f.nodes.Has(n.Node) && open.Has(n.Node) && n.Free >= f.needed+own {
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

// askedOn is how many pages of a size the kernel's command line asks for on some nodes.
func (h Host) askedOn(pageKiB uint64, nodes NodeSet) (pages uint64) {
	asked, all := h.Memory.Asked(pageKiB), h.MemoryNodes()
	for _, node := range nodes.And(all) {
		pages += asked.On(node, len(all))
	}
	return pages
}
