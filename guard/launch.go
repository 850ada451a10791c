package guard

import "slices"

// launch is what a domain asks for, with the host's part settled.
type launch struct {
	backends []Backend
	cpuset   Cpuset
}

// asSaved is the launch with the sizes that the XML has, as a restore and an incoming migration take them; differs says
// whether that is fewer pages.
func (l launch) asSaved() (saved launch, differs bool) {
	saved = launch{slices.Clone(l.backends), l.cpuset}
	for i := range saved.backends {
		b := &saved.backends[i]
		b.Bytes = b.ExactBytes
		if pages := b.pages(); pages < b.Pages {
			b.Pages, differs = pages, true
		}
	}
	return saved, differs
}

// pages is how many pages a backend's bytes take, the last one in part.
func (b Backend) pages() uint64 {
	page := b.PageKiB * 1024
	pages := b.Bytes / page
	if b.Bytes%page != 0 {
		pages++
	}
	return pages
}

// resolve settles page sizes and page counts, and drops backends whose pages are no huge ones here. left is what
// libvirt will refuse by itself.
func resolve(demand Demand, host Host) (backends []Backend, left *Finding) {
	var certain rules
	if slices.ContainsFunc(demand.Backends, Backend.varies) {
		certain = host.Releases.certain()
	}
	for _, b := range demand.Backends {
		b, ok := host.settled(b.under(certain))
		if !ok || b.Bytes == 0 {
			continue
		}
		if why := refusedByLibvirt(b, host); why != nil && left == nil {
			f := newFinding(codeLeftToOthers, SeverityWarn, SizePool{PageKiB: b.PageKiB}, nil, 0, why).of(b)
			left = &f
		}
		if b.PageKiB == 0 {
			continue
		}
		if b.Device != VirtioMem {
			b.Pages = b.pages()
		}
		backends = append(backends, b)
	}
	return backends, left
}

// PageSizes returns the page sizes in KiB that a demand can mean on a host, ascending, each once: those whose pools
// Judge needs. They are all of the kernel's where libvirt will refuse it, as one of these may help.
func (d Demand) PageSizes(host Host) []uint64 {
	var sizes []uint64
	if _, left := resolve(d, host); left != nil {
		sizes = slices.Clone(host.Sizes)
	}
	for _, b := range d.Backends {
		if b.byDefault() {
			for _, mount := range host.Mounts {
				sizes = append(sizes, mount.PageKiB)
			}
		} else if b, ok := host.settled(b); ok {
			sizes = append(sizes, b.PageKiB)
		}
	}
	slices.Sort(sizes)
	return slices.Compact(sizes)
}

// defaultMountKiB is the page size that libvirt takes where the domain names none, in KiB: the kernel's default if it
// is mounted, else that of the first mount, 0 without any (virFileGetDefaultHugepage). Of several in qemu.conf it is
// the second (virQEMUDriverConfigLoadProcessEntry).
func defaultMountKiB(h Host) uint64 {
	if h.Configured && len(h.Mounts) > 1 {
		return h.Mounts[1].PageKiB
	}
	if !h.Configured && h.mounted(h.DefaultPageKiB) {
		return h.DefaultPageKiB
	}
	if len(h.Mounts) > 0 {
		return h.Mounts[0].PageKiB
	}
	return 0
}

func (h Host) mounted(kib uint64) bool {
	return slices.ContainsFunc(h.Mounts, func(m Mount) bool { return m.PageKiB == kib })
}

// onHugePages returns the backends whose pages will be huge ones for all that is known, and a warning of each of the
// others: QEMU maps files on whatever lies over the mount, and starts.
func onHugePages(backends []Backend, host Host) (left []Backend, risks []Finding) {
	for _, b := range backends {
		over, certain := host.over(b)
		if over == nil {
			left = append(left, b)
			continue
		}
		pool, _ := host.Pool(b.PageKiB)
		risks = append(risks, newFinding(codeHidden, SeverityWarn, pool, nil, b.Pages, Hidden{*over, certain}).of(b))
	}
	return left, risks
}

// over returns what lies over the place of a backend's file, nil for nothing that is known; certain says that no other
// mount may be meant.
func (h Host) over(b Backend) (over *OverMount, certain bool) {
	if !b.OnMount() {
		return b.over, !b.Unsure
	}
	certain = true
	for _, m := range h.Mounts {
		switch {
		case m.PageKiB != b.PageKiB:
		case m.Over == nil:
			certain = false // libvirt may take this one
		case over == nil:
			over = m.Over
		}
	}
	return over, certain
}
