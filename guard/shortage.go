package guard

import "slices"

// certain returns the shortages that no order of events and no choice of nodes can avoid: the tests of the kernel's
// hugetlb_acct_memory() at mmap and alloc_hugetlb_folio() at touch, taken at their most lenient.
func (s simulation) certain(pool SizePool, backends []placed) []failure {
	starting := sure(s.host.claims(pool, s.rules))
	free := pool.freeByNode()
	if shortages := s.untouchable(pool, backends, starting, free); shortages != nil {
		return shortages
	}
	if s.host.setAside(pool) {
		// What the mount has for it already is not asked of any node.
		return nil
	}
	if f := s.unreservable(pool, backends, starting); f != nil {
		return []failure{*f}
	}
	if f := s.unreservableBound(pool, backends, free); f != nil {
		return []failure{*f}
	}
	return nil
}

// short is a shortage of a backend.
func short(pool SizePool, code string, b placed, nodes NodeSet, needed uint64) failure {
	return failure{code: code, backend: b.ID, nodes: nodes, pageKiB: pool.PageKiB, needed: needed, free: pool.On(nodes).Free}
}

// nodeShort is a shortage of nodes.
func (s simulation) nodeShort(pool SizePool, b placed, nodes NodeSet, needed uint64) failure {
	f := short(pool, codeNodeShort, b, nodes, needed)
	f.keeper = s.keeper(b, nodes)
	return f
}

// untouchable returns the shortages when the pages are touched: those of each backend from its own nodes, surplus
// included. Starting guests come before it. What is short is told in full: all who can use no other nodes, and after
// them what is short elsewhere. It changes free where nothing is left.
func (s simulation) untouchable(pool SizePool, backends []placed, starting []claimed, free map[int]uint64) (shortages []failure) {
	extra := pool.headroom()
	for left, ahead := backends, starting; ; ahead, extra = nil, 0 {
		lack := lacking(ahead, left, free, extra)
		if lack == nil {
			return shortages
		}
		f := s.nodeShort(pool, left[lack.first], lack.nodes, lack.needed)
		f.claimed = min(lack.claimed, f.free)
		shortages = append(shortages, f)
		for _, node := range lack.nodes {
			free[node] = 0
		}
		left = lack.others
	}
}

// unreservable returns the shortage when the pages are mapped: they are to come from all that is free, less what others
// were promised.
func (s simulation) unreservable(pool SizePool, backends []placed, starting []claimed) *failure {
	all := pool.On(s.host.MemoryNodes())
	claimed := unmapped(starting)
	needed := sum(backends)
	if needed <= minus(all.Free+pool.headroom(), pool.Reserved+claimed) {
		return nil
	}
	f := short(pool, codeReserved, backends[0], s.host.MemoryNodes(), needed)
	f.claimed = min(claimed, f.free)
	return &f
}

// unreservableBound returns the shortage of the reservation under a cpuset or a policy: it takes free pages of its
// nodes, and those that this reservation and the guest's earlier ones have added. Surplus pages that the touch could
// still add do not count.
func (s simulation) unreservableBound(pool SizePool, backends []placed, free map[int]uint64) *failure {
	all, bound := pool.On(s.host.MemoryNodes()), pool.On(s.reservable())
	extra := pool.headroom()
	promised := pool.Reserved
	var touched *flow // of the earlier ones that have taken theirs by then, where that can matter
	if slices.ContainsFunc(backends, s.reservesElsewhere) {
		touched = newFlow(free, extra)
	}
	for i, b := range backends {
		promised += b.Pages
		if b.Pages > bound.Free+minus(promised, all.Free) {
			f := s.nodeShort(pool, b, s.reservable(), b.Pages)
			return &f
		}
		if s.reservesElsewhere(b) {
			here := b
			here.allowed = s.reservable()
			if touched.clone().add(request{here.Pages, here.allowed}) != nil {
				before := slices.DeleteFunc(slices.Clone(backends[:i]), s.touchedLater)
				lack := lacking(nil, append(before, here), free, extra)
				f := s.nodeShort(pool, here, lack.nodes, lack.needed)
				return &f
			}
		}
		if touched != nil && !s.touchedLater(b) {
			touched.add(request{b.Pages, b.allowed})
		}
	}
	return nil
}

// reservesElsewhere reports whether a backend's pages are reserved on other nodes than they may lie on: a process's
// policy counts for the reservation, also of what is bound to other nodes then.
func (s simulation) reservesElsewhere(b placed) bool {
	return len(b.allowed.Without(s.reservable())) > 0
}

// touchedLater reports whether a backend may have none of its pages yet when those after it are mapped: where all are
// touched side by side, which takes a thread-context.
func (s simulation) touchedLater(b placed) bool {
	return s.rules.has(ruleParallel) && len(s.preparedFrom(b.Backend)) > 0
}

// keeper names the file of the control group that keeps a backend to nodes, "" where the domain itself does or nothing
// needs to.
func (s simulation) keeper(b placed, nodes NodeSet) string {
	wanted := s.host.MemoryNodes()
	if s.tuned != nil {
		wanted = s.tuned.And(wanted)
	}
	if b.Policy == PolicyBind && !b.Auto {
		wanted = b.HostNodes.And(wanted)
	}
	if len(wanted.And(nodes)) == len(wanted) {
		return ""
	}
	return s.host.cgroup().NodesFile
}

// lackOf is nodes that have too little for backends that can use no others.
type lack struct {
	nodes   NodeSet
	first   int      // the first backend that cannot be served
	needed  uint64   // by all backends that can use no other nodes
	claimed uint64   // by starting guests, the same
	others  []placed // backends that can use other nodes, too
}

// lacking returns what lacks for backends, and for the starting guests ahead of them; nil if nothing does, or these
// alone are too many.
func lacking(ahead []claimed, backends []placed, free map[int]uint64, extra uint64) *lack {
	requests := append(claimRequests(ahead), requests(backends)...)
	set := assign(requests, free, extra)
	if set == nil {
		return nil
	}
	if set[0] < len(ahead) {
		return nil // these cannot be served under these rules, and end by themselves
	}
	l := lack{first: set[0] - len(ahead)}
	for _, i := range set {
		if allowed := requests[i].allowed; !allowed.within(l.nodes) {
			l.nodes = l.nodes.Or(allowed)
		}
		if i < len(ahead) {
			l.claimed += ahead[i].pages
		}
	}
	for _, b := range backends {
		if b.allowed.within(l.nodes) {
			l.needed += b.Pages
		} else {
			l.others = append(l.others, b)
		}
	}
	return &l
}

// requests is what backends want of which nodes.
func requests(backends []placed) []request {
	list := make([]request, len(backends))
	for i, b := range backends {
		list[i] = request{pages: b.Pages, allowed: b.allowed}
	}
	return list
}

// sum is how many pages backends want together.
func sum(backends []placed) uint64 {
	var pages uint64
	for _, b := range backends {
		pages += b.Pages
	}
	return pages
}
