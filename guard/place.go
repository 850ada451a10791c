package guard

import "slices"

// place returns where a backend's pages may lie, or why QEMU's mbind() or its thread-context refuses its nodes.
func (s simulation) place(b Backend) (placed, *failure) {
	p := placed{Backend: b, allowed: s.confined}
	if b.Policy == PolicyDefault {
		p.allowed = s.bound
	}
	if f := s.unprepared(b); f != nil {
		return p, f
	}
	if b.Lazy { // a reservation is on no node
		p.allowed = s.host.MemoryNodes()
	}
	if b.Policy == PolicyDefault || b.Auto { // numad may still choose any of them
		return p, nil
	}
	p.wanted = b.HostNodes.And(s.confined)
	if len(p.wanted) == 0 {
		return p, s.unbindable(b, b.HostNodes, s.obstacle(b.HostNodes))
	}
	if b.Policy == PolicyBind && !b.Lazy {
		p.allowed = p.wanted
	}
	return p, nil
}

// obstacle returns why no memory of QEMU's can lie on any of the nodes.
func (s simulation) obstacle(nodes NodeSet) Unbindable {
	switch {
	case len(nodes.And(s.host.MemoryNodes())) == 0:
		return Unbindable{Why: NoMemory}
	case len(nodes.And(s.inherited)) == 0:
		return Unbindable{Why: CgroupNodes, File: s.host.cgroup().NodesFile, Kept: s.inherited}
	}
	return Unbindable{Why: DomainNodes, Kept: s.confined}
}

// unbindable is the failure of a backend that cannot be bound to nodes.
func (s simulation) unbindable(b Backend, nodes NodeSet, why Unbindable) *failure {
	for _, among := range []NodeSet{s.confined, s.inherited} {
		able := slices.DeleteFunc(slices.Clone(among), func(node int) bool { return nodes.Has(node) || !s.host.hasCPU(NodeSet{node}, s.cpus(b)) })
		if len(able) > 0 {
			why.Able = able
			break
		}
	}
	f := s.refused(codeBinding, CauseBindingImpossible, b, why)
	f.nodes = nodes
	return f
}

// refused is a failure that has nothing to do with who holds what. Its counts are those of the nodes that the backend
// may use.
func (s simulation) refused(code string, cause Cause, b Backend, reason Reason) *failure {
	nodes := b.HostNodes
	if nodes == nil {
		nodes = s.bound
	}
	pool, _ := s.host.Pool(b.PageKiB)
	return &failure{code: code, cause: cause, backend: b.ID, nodes: nodes, pageKiB: b.PageKiB,
		needed: b.Pages, free: pool.On(nodes).Free, reason: reason}
}

// preparedFrom returns the nodes from whose CPUs QEMU is to prepare a backend, where it can; none of one without a
// thread-context.
func (s simulation) preparedFrom(b Backend) NodeSet {
	// virtio-mem is not allocated at the start, so nothing prepares it.
	if b.Device == VirtioMem || b.Global {
		return nil
	}
	nodes := b.HostNodes
	if s.rules.has(ruleRestrictiveThreads) {
		if b.Threads != nil {
			nodes = b.Threads
		}
		if b.Pinned {
			nodes = nodes.And(nodesOf(s.host, b.PinnedTo))
		}
	}
	return nodes
}

// unprepared is the failure of a backend whose thread-context cannot run on CPUs of its nodes
// (thread_context_set_node_affinity): there are none, or the cpuset has none; nil where it can.
func (s simulation) unprepared(b Backend) *failure {
	if !s.rules.has(ruleThreads) {
		return nil
	}
	nodes := s.preparedFrom(b)
	inherited := s.host.inheritedCPUs(s.rules)
	var why Unbindable
	switch {
	case len(nodes) == 0:
		return nil
	case !s.host.hasCPU(nodes, nil):
		why = Unbindable{Why: NoCPU}
	case !s.host.hasCPU(nodes, inherited):
		why = Unbindable{Why: CgroupCPUs, File: s.host.cgroup().CPUsFile, CPUs: inherited}
	case !s.host.hasCPU(nodes, s.cpus(b)):
		why = Unbindable{Why: PinnedToOther, CPUs: b.PinnedTo}
	default:
		return nil
	}
	return s.unbindable(b, nodes, why)
}

// cpus returns the CPUs that the cpuset leaves QEMU's own threads. Without one of the domain's they can go elsewhere
// than libvirt has put them.
func (s simulation) cpus(b Backend) CPUSet {
	inherited := s.host.inheritedCPUs(s.rules)
	if !s.rules.has(ruleCpuset) {
		return inherited
	}
	return inherited.and(b.PinnedTo)
}

// unsupported is the failure of a memfd of pages that the kernel does not have. For files libvirt looks for a mount,
// which only that kernel has.
func unsupported(b Backend, host Host) *failure {
	if !b.Memfd || slices.Contains(host.Sizes, b.PageKiB) {
		return nil
	}
	return &failure{code: codePageSize, cause: CausePageSizeUnsupported, backend: b.ID, pageKiB: b.PageKiB, needed: b.Pages,
		reason: NoSuchPages{host.Sizes}}
}

// mismatch returns why QEMU cannot make a backend of that size from pages of that size. Both the size that a cold start
// rounds to and the one that a restore uses must be impossible: the hook cannot tell which it is.
func (s simulation) mismatch(b Backend) *failure {
	if b.Block != 0 && b.Block < b.PageKiB { // virtio_mem_device_realize
		return s.refused(codeSize, CauseSizeMismatch, b, WrongSize{Why: SmallBlock, KiB: b.Block, UnitKiB: b.PageKiB, RightKiB: b.PageKiB})
	}
	page := b.PageKiB * 1024
	unit := max(page, b.Block*1024)
	var wrong WrongSize
	for _, bytes := range []uint64{b.ExactBytes, b.Bytes} {
		wrong = WrongSize{KiB: bytes / 1024, UnitKiB: unit / 1024, RightKiB: (b.Bytes/unit + 1) * unit / 1024}
		switch {
		case bytes < page:
			wrong.Why = BelowPage
		case bytes%unit == 0:
			return nil
		case b.Memfd, b.Device != "", s.rules.has(ruleExactFiles):
			wrong.Why = NoMultiple
		case b.Policy != PolicyDefault:
			wrong.Why, wrong.Auto, wrong.HostNodes = UnboundRests, b.Auto, b.HostNodes
		default:
			return nil
		}
	}
	return s.refused(codeSize, CauseSizeMismatch, b, wrong)
}
