package guard

import "slices"

// limits returns the limits on a pool's pages that backends exceed, and what may be one. All are met whatever is free:
// those on a mapping before the pool itself is looked at (hugetlb_reserve_pages), that on touched pages when QEMU
// populates its memory (hugetlb_cgroup_charge_cgroup).
func (s simulation) limits(pool SizePool, backends []placed) (met []failure, risks []Finding) {
	if limited, certain := s.mountLimit(pool, backends); limited != nil {
		f := failure{code: codeMountLimit, cause: CauseMountLimit, backend: backends[0].ID, pageKiB: pool.PageKiB,
			needed: sumFiles(backends), free: limited.Limit.left(), total: limited.Limit.Pages, reason: MountFull{limited.Path, limited.Limit.Used}}
		if certain {
			met = append(met, f)
		} else {
			risks = append(risks, f.perhaps(s.host, f.code, IfThisMount{}))
		}
	}
	needed := sum(backends)
	for _, l := range s.host.cgroup().Limits {
		if l.PageKiB == pool.PageKiB && needed > l.left() {
			met = append(met, failure{code: codeCgroupLimit, cause: CauseCgroupLimit, backend: backends[0].ID, pageKiB: pool.PageKiB,
				needed: needed, free: l.left(), total: l.Pages,
				reason: GroupFull{l.File, l.Used, l.Reserved}})
		}
	}
	return met, risks
}

// mountLimit returns the mount that libvirt takes for a pool's pages if the backends' files are too large for it
// (hugepage_subpool_get_pages), and whether that is certain: they are for every other mount of that size, too, or
// qemu.conf says which it is, rather than what was mounted when the daemon started.
func (s simulation) mountLimit(pool SizePool, backends []placed) (limited *Mount, certain bool) {
	files := sumFiles(backends)
	certain = true
	for _, m := range s.host.Mounts {
		switch {
		case m.PageKiB != pool.PageKiB:
		case m.Limit == nil || files <= m.Limit.left():
			if limited == nil {
				return nil, false
			}
			certain = s.host.Configured
		case limited == nil:
			limited = &m
		}
	}
	return limited, certain
}

// sumFiles is how many pages backends want of a mount that libvirt takes.
func sumFiles(backends []placed) uint64 {
	return sum(slices.DeleteFunc(slices.Clone(backends), func(p placed) bool { return !p.OnMount() }))
}
