package guard

import "slices"

// simulation is one launch under one set of rules.
type simulation struct {
	rules rules
	host  Host
	// inherited are the nodes with memory that the control groups above QEMU's
	// leave it, confined those of them that its own cpuset leaves it, and bound
	// those that the process's own policy leaves it.
	inherited, confined, bound NodeSet

	tuned    NodeSet // what libvirt confines QEMU to, nil for nothing
	backends []placed
}

// simulate plays a launch under given rules and returns why it must fail, the
// first first, or else what might still go wrong.
func simulate(r rules, backends []Backend, cpuset Cpuset, host Host) ([]failure, []Finding) {
	s := simulation{rules: r, host: host, inherited: host.inherited(r), backends: make([]placed, 0, len(backends))}
	if r.has(ruleCpuset) && host.cgroup().Legacy && len(cpuset.of(r).And(s.inherited)) < len(cpuset.of(r)) {
		// Version 1 refuses a cpuset with nodes that the group above lacks,
		// and libvirt says so.
		return nil, nil
	}
	s.confined, s.bound = s.confinement(cpuset)
	s.tuned = cpuset.of(r)
	for _, b := range backends {
		if f := unsupported(b, host); f != nil {
			return []failure{*f}, nil
		}
		if f := s.mismatch(b); f != nil {
			return []failure{*f}, nil
		}
		p, f := s.place(b)
		if f != nil {
			return []failure{*f}, nil
		}
		s.backends = append(s.backends, p)
	}
	var limits, shortages []failure
	risks := s.strays(cpuset)
	for _, pool := range host.Pools {
		of := slices.DeleteFunc(slices.Clone(s.backends), func(p placed) bool {
			return p.PageKiB != pool.PageKiB || p.Pages == 0
		})
		if len(of) == 0 {
			continue
		}
		met, mountRisk := s.limits(pool, of)
		limits = append(limits, met...)
		risks = append(risks, mountRisk...)
		if short := s.certain(pool, of); short != nil {
			shortages = append(shortages, short...)
		} else {
			risks = append(risks, s.risks(pool, of)...)
		}
	}
	// What no freed page would mend comes first.
	return append(limits, shortages...), risks
}

// strays warns of backends with nodes of their own where numad will choose
// those that QEMU is confined to: mbind() refuses others under a cpuset, and mmap() may in any case.
func (s simulation) strays(cpuset Cpuset) []Finding {
	if !cpuset.Auto {
		return nil
	}
	var found []Finding
	for _, b := range s.backends {
		if len(s.inherited.without(b.wanted)) == 0 || b.wanted == nil {
			continue
		}
		pool, _ := s.host.pool(b.PageKiB)
		found = append(found, newFinding(codeAuto, SeverityWarn, pool, b.wanted, b.Pages, Numad{Risk: NumadLeavesOut}).of(b.Backend))
	}
	return found
}

// confinement returns the nodes that QEMU's cpuset leaves it, and those of them
// that its own policy leaves it. libvirt keeps strict by the cpuset
// (qemuProcessSetupPid), or by the process's policy where it may not use that
// controller (qemuProcessHook): such a policy counts for the reservation and
// for memory without a policy of its own, and for no other. A cpuset with no
// node that it may have does not take effect: cgroup v2 falls back to the
// parent's.
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

// rebound is a process's policy once libvirt has moved the process below its
// control group, which it does after setting the policy: the kernel gives each
// node the one of the same rank among those that are left, and begins anew
// after the last (mpol_rebind_nodemask). A policy of nodes without memory was
// not set in the first place.
func (s simulation) rebound(policy NodeSet) NodeSet {
	bound := NodeSet{}
	for rank, node := range s.host.memoryNodes() {
		if policy.Has(node) {
			bound = bound.Or(NodeSet{s.inherited[rank%len(s.inherited)]})
		}
	}
	if len(bound) == 0 {
		return s.inherited
	}
	return bound
}
