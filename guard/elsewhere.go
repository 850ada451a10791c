package guard

import "slices"

// Place is a path where QEMU is told to put memory, and what it lies on.
type Place struct {
	Path    string // as in [Backend]
	At      string // the directory or file that it means
	Mount   *Mount // of hugetlbfs; nil for another file system
	Certain bool   // it is so for libvirt and for QEMU
	Unread  string // the file or link that says where it is, where that could not be read
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

// OnMount reports whether libvirt takes a mount by the page size for the backend's file.
func (b Backend) OnMount() bool { return !b.Memfd && b.Path == "" }

// byDefault reports whether libvirt takes the default page size for it.
func (b Backend) byDefault() bool { return b.PageKiB == 0 && b.Path == "" && !b.Own }

// sure returns the launch without the backends that are [Backend.Unsure].
func (l launch) sure() launch {
	return launch{slices.DeleteFunc(slices.Clone(l.backends), func(b Backend) bool { return b.Unsure }), l.cpuset}
}

// IfThere: the backend's file lies at a path of hugetlbfs, which is not certain.
type IfThere struct{ Backend, Path string }

// unsure returns why a launch that must fail might not: it fails for memory of which it is not certain that it is on
// huge pages; nil if it does not.
func (l launch) unsure(host Host, f failure) *Finding {
	sure := l.sure()
	if len(sure.backends) == len(l.backends) || sure.mustFail(host) {
		return nil
	}
	i := slices.IndexFunc(l.backends, func(b Backend) bool { return b.Unsure && (b.ID == f.backend || f.backend == "") })
	i = max(i, slices.IndexFunc(l.backends, func(b Backend) bool { return b.Unsure }))
	finding := f.perhaps(host, codeElsewhere, IfThere{l.backends[i].ID, l.backends[i].Path})
	return &finding
}

// Unjudged: memory may be on huge pages and is not judged.
type Unjudged struct {
	Path   string // as in [Place]
	Unread string // as in [Place]; "" where its size is not understood
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

// OnTouch: of pages that QEMU does not touch at the start only so many are free on their nodes.
type OnTouch struct{ Fit uint64 }
