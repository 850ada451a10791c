package guard

// within returns the cpuset if every control group that QEMU may be put below leaves it a node of each of its sets:
// without one it would not take effect.
func (c Cpuset) within(host Host) Cpuset {
	groups := host.Cgroups
	if len(groups) == 0 {
		groups = []Cgroup{{}}
	}
	for _, group := range groups {
		host.Cgroups = []Cgroup{group}
		inherited := host.UsableNodes()
		if len(c.Nodes.And(inherited)) == 0 || len(c.Union.And(inherited)) == 0 {
			return Cpuset{}
		}
	}
	return c
}

// of returns the nodes that libvirt confines QEMU to under some rules, by whatever means; nil where it does not.
func (c Cpuset) of(r rules) NodeSet {
	switch {
	case c.Restrictive && !r.has(ruleRestrictive), r.has(ruleCpuset) && !r.has(ruleConfinedFirst):
		return nil
	case r.has(ruleUnion | ruleCpuset):
		return c.Union
	}
	return c.Nodes
}

// inherited returns the nodes that QEMU's memory may lie on before libvirt confines it to fewer.
func (h Host) inherited(r rules) NodeSet {
	all, c := h.MemoryNodes(), h.cgroup()
	if c.Nodes == nil || c.Legacy && !r.has(ruleCpuset) {
		return all
	}
	if nodes := c.Nodes.And(all); len(nodes) > 0 {
		return nodes
	}
	return all
}

// UsableNodes returns the nodes that QEMU's memory may lie on if libvirt may use cpusets and confines it to nothing.
func (h Host) UsableNodes() NodeSet { return h.inherited(ruleCpuset) }

// inheritedCPUs returns the CPUs that QEMU may run on before libvirt confines it to fewer; nil for all.
func (h Host) inheritedCPUs(r rules) CPUSet {
	c := h.cgroup()
	if c.Legacy && !r.has(ruleCpuset) {
		return nil
	}
	return c.CPUs
}
