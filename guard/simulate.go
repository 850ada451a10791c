package guard

import "slices"

// simulate plays a launch under given rules and returns why it must fail, the first first, or else what might still go
// wrong.
func simulate(r rules, backends []Backend, cpuset Cpuset, host Host) ([]failure, []Finding) {
	s := simulation{rules: r, host: host, inherited: host.inherited(r), backends: make([]placed, 0, len(backends))}
	if r.has(ruleCpuset) && host.cgroup().Legacy && len(cpuset.of(r).And(s.inherited)) < len(cpuset.of(r)) {
		// Version 1 refuses a cpuset with nodes that the group above lacks, and libvirt says so.
		return nil, nil
	}
	s.confined, s.bound = s.confinement(cpuset)
	s.tuned = cpuset.of(r)
	for _, b := range backends {
		b, huge := b.under(r)
		if !huge {
			continue
		}
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
	// What no freed page would help comes first.
	return append(limits, shortages...), risks
}

// strays warns of backends with nodes of their own where numad will choose those that QEMU is confined to: mbind()
// refuses others under a cpuset, and mmap() may in any case.
func (s simulation) strays(cpuset Cpuset) []Finding {
	if !cpuset.Auto {
		return nil
	}
	var found []Finding
	for _, b := range s.backends {
		if len(s.inherited.Without(b.wanted)) == 0 || b.wanted == nil {
			continue
		}
		pool, _ := s.host.Pool(b.PageKiB)
		found = append(found, newFinding(codeAuto, SeverityWarn, pool, b.wanted, b.Pages, Numad{Risk: NumadLeavesOut}).of(b.Backend))
	}
	return found
}
