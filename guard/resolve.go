package guard

import "slices"

// resolve settles page sizes and page counts, and drops backends whose pages are no huge ones here. left is what
// libvirt will refuse by itself.
func resolve(demand Demand, host Host) (backends []Backend, left *Finding) {
	for _, b := range demand.On(host.Releases).Backends {
		b, ok := host.settled(b)
		if !ok || b.Bytes == 0 {
			continue
		}
		b, huge := host.Releases.settle(b)
		if !huge {
			continue
		}
		if why := refusedByLibvirt(b, host); why != nil && left == nil {
			f := newFinding(codeLeftToOthers, SeverityWarn, SizePool{PageKiB: b.PageKiB}, nil, 0, why).of(b)
			left = &f
		}
		if b.PageKiB == 0 {
			continue
		}
		if b.Device != VirtioMem || b.Lazy {
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

// settled returns a backend with its page size, and where it lies; ok is false where its pages are no huge ones.
func (h Host) settled(b Backend) (settled Backend, ok bool) {
	switch {
	case b.Path != "":
		i := slices.IndexFunc(h.Places, func(p Place) bool { return p.Path == b.Path })
		if i < 0 || h.Places[i].Mount == nil {
			return b, false
		}
		place := h.Places[i]
		b.PageKiB, b.Path, b.Unsure, b.over = place.Mount.PageKiB, place.At, b.Unsure || !place.Certain, place.Mount.Over
	case b.Own && b.PageKiB == 0:
		b.PageKiB = h.DefaultPageKiB
	case b.PageKiB == 0:
		b.PageKiB = defaultMountKiB(h)
	}
	return b, b.PageKiB == 0 || b.PageKiB != h.BasePageKiB
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

// unknown warns of the values of a demand that hugeguard does not know.
func unknown(d Demand) (found []Finding) {
	for _, u := range d.Unknown {
		found = append(found, newFinding(codeUnknown, SeverityWarn, SizePool{}, nil, 0, u))
	}
	return found
}

// unjudged returns what of a demand is not judged. It is a warning where it takes huge pages for all that is known.
func unjudged(d Demand, host Host) (certain, open []Finding) {
	for _, b := range d.Backends {
		i := slices.IndexFunc(host.Places, func(p Place) bool { return p.Path == b.Path })
		settled, ok := host.settled(b)
		switch {
		case i >= 0 && host.Places[i].Unread != "":
			f := newFinding(codeUnjudged, SeverityInfo, SizePool{}, nil, 0, Unjudged{b.Path, host.Places[i].Unread}).of(b)
			open = append(open, f)
		case ok && b.Bytes == 0:
			f := newFinding(codeUnjudged, SeverityWarn, SizePool{PageKiB: settled.PageKiB}, nil, 0, Unjudged{settled.Path, ""}).of(b)
			certain = append(certain, f)
		}
	}
	return certain, open
}
