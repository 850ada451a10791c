package guard

import "slices"

// hidden returns the first mount of a page size over which another file system
// lies where QEMU's files will be; nil where there is none.
func (h Host) hidden(pageKiB uint64) *Mount {
	i := slices.IndexFunc(h.Mounts, func(m Mount) bool { return m.PageKiB == pageKiB && m.Over != nil })
	if i < 0 {
		return nil
	}
	return &h.Mounts[i]
}

// onHugePages returns the backends whose pages will be huge ones for all that is
// known, and a warning of each of the others: QEMU maps files on whatever lies over
// the mount, and starts.
func onHugePages(backends []Backend, host Host) (left []Backend, risks []Finding) {
	for _, b := range backends {
		mount := host.hidden(b.PageKiB)
		if b.Memfd || mount == nil {
			left = append(left, b)
			continue
		}
		// By the mount that libvirt takes, if there is another.
		certain := !slices.ContainsFunc(host.Mounts, func(m Mount) bool { return m.PageKiB == b.PageKiB && m.Over == nil })
		pool, _ := host.pool(b.PageKiB)
		risks = append(risks, newFinding(codeHidden, SeverityWarn, pool, nil, b.Pages, Hidden{*mount.Over, certain}).of(b))
	}
	return left, risks
}
