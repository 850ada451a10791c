package guard

// simulation is one launch under one set of rules.
type simulation struct {
	rules rules
	host  Host
	// inherited are the nodes with memory that the control groups above QEMU's leave it, confined those of them that
	// its own cpuset leaves it, and bound those that the process's own policy leaves it.
	inherited, confined, bound NodeSet

	tuned    NodeSet // what libvirt confines QEMU to, nil for nothing
	backends []placed
}

// placed is a backend with the nodes that the kernel will let it use.
type placed struct {
	Backend
	// wanted are the nodes that its policy names, as far as they have memory and the cpuset allows them; nil where it
	// names none.
	wanted NodeSet
	// allowed are the nodes that its pages may lie on.
	allowed NodeSet
}

// confinement returns the nodes that QEMU's cpuset leaves it, and those of them that its own policy leaves it. libvirt
// keeps strict by the cpuset (qemuProcessSetupPid), or by the process's policy where it may not use that controller
// (qemuProcessHook): this policy counts for the reservation and for memory without a policy of its own, and for no
// other. A cpuset with no node that it may have does not take effect: cgroup v2 falls back to the parent's.
func (s simulation) confinement(cpuset Cpuset) (confined, bound NodeSet) {
	nodes := cpuset.of(s.rules)
	if nodes == nil {
		return s.inherited, s.inherited
	}
	if !s.rules.has(ruleCpuset) {
		return s.inherited, s.rebound(nodes)
	}
	if limited := nodes.And(s.inherited); len(limited) > 0 {
		return limited, limited
	}
	return s.inherited, s.inherited
}

// reservable returns the nodes whose free pages a reservation counts.
func (s simulation) reservable() NodeSet {
	if s.rules.has(rulePolicy) {
		return s.bound
	}
	return s.confined
}

// rebound is a process's policy once libvirt has moved the process below its control group, which it does after setting
// the policy: the kernel gives each node the one of the same rank among those that are left, and begins again after the
// last (mpol_rebind_nodemask). A policy of nodes without memory was not set in the first place.
func (s simulation) rebound(policy NodeSet) NodeSet {
	bound := NodeSet{}
	for rank, node := range s.host.MemoryNodes() {
		if policy.Has(node) {
			bound = bound.Or(NodeSet{s.inherited[rank%len(s.inherited)]})
		}
	}
	if len(bound) == 0 {
		return s.inherited
	}
	return bound
}
