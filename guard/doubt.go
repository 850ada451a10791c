package guard

import "slices"

// doubt returns why a launch that must fail might not: memory may not be on huge pages, libvirt may take other pages than
// it is thought to, or the sizes that it has saved. It is nil if none of these helps.
func (l launch) doubt(demand Demand, host Host, f failure) *Finding {
	if finding := l.unsure(demand, host, f); finding != nil {
		return finding
	}
	if l.fitsOtherDefault(demand, host) {
		finding := f.perhaps(host, codeDefault, IfDefaultSize{})
		return &finding
	}
	if asSaved, differs := l.asSaved(); differs && !asSaved.mustFail(host) {
		finding := f.perhaps(host, codeRestore, IfColdStart{})
		return &finding
	}
	return nil
}

// unsure returns why a launch that must fail might not: it fails for memory of which it is not certain that it is on
// huge pages, or where these may lie; nil if it does not.
func (l launch) unsure(demand Demand, host Host, f failure) *Finding {
	sure := l.sure()
	if len(sure.backends) == len(l.backends) || sure.mustFail(host) {
		return nil
	}
	i := slices.IndexFunc(l.backends, func(b Backend) bool { return b.Unsure && (b.ID == f.backend || f.backend == "") })
	i = max(i, slices.IndexFunc(l.backends, func(b Backend) bool { return b.Unsure }))
	if len(demand.Unknown) > 0 && l.backends[i].Path == "" {
		finding := f.perhaps(host, codeUnknown, IfUnknown{demand.Unknown[0]})
		return &finding
	}
	finding := f.perhaps(host, codeElsewhere, IfThere{l.backends[i].ID, l.backends[i].Path})
	return &finding
}

// fitsOtherDefault reports whether a launch of pages without a size could succeed with another size than the one that
// libvirt is thought to take: what was mounted when the daemon started and hugetlbfs_mount in qemu.conf decide.
func (l launch) fitsOtherDefault(demand Demand, host Host) bool {
	if host.Configured || !slices.ContainsFunc(demand.Backends, Backend.byDefault) {
		return false
	}
	for _, mount := range host.Mounts {
		// As if that mount were the one, and no size the kernel's default.
		other := host
		other.Mounts, other.DefaultPageKiB = append([]Mount{mount}, host.Mounts...), 0
		backends, left := resolve(demand, other)
		backends, _ = onHugePages(backends, other)
		if left == nil && !(launch{backends, l.cpuset}).mustFail(other) {
			return true
		}
	}
	return false
}
