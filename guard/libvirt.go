package guard

import "slices"

// What libvirt itself refuses. The hook leaves it to libvirt, whose message is clear; who asks beforehand is told it,
// and what helps.

// NoMount: libvirt refuses, as no hugetlbfs of that page size is mounted; PageKiB 0 is of any.
type NoMount struct {
	Disabled bool       // hugetlbfs_mount in qemu.conf is empty
	Mounted  []SizeAt   // what is mounted, of other sizes
	Sizes    []SizeFree // of the kernel's
}

// SizeAt is a page size in KiB, and where hugetlbfs of that size is mounted.
type SizeAt struct {
	PageKiB uint64
	Path    string
}

// SizeFree is how many pages of one size, in KiB, are free on all nodes.
type SizeFree struct {
	PageKiB, Free, Total uint64
}

// LateMount: libvirt refuses, as the hugetlbfs of that page size was mounted after its daemon had started.
type LateMount struct{ Path string }

// MayBeLate: libvirt refuses if its daemon was started before the hugetlbfs of that page size was mounted.
type MayBeLate struct{ Path string }

// NoNode: libvirt refuses, as the host has no such nodes.
type NoNode struct{ Missing, Has NodeSet }

// refusedByLibvirt returns why libvirt refuses a backend on a host, nil where it does not.
func refusedByLibvirt(b Backend, host Host) Reason {
	if b.Own {
		return nil
	}
	if late := host.late(b.PageKiB); late != "" && b.OnMount() {
		return LateMount{late}
	}
	if b.PageKiB == 0 || b.OnMount() && !host.mounted(b.PageKiB) {
		return host.noMount(b.PageKiB)
	}
	if missing := host.MissingNodes(b); len(missing) > 0 {
		return NoNode{missing, host.AllNodes()}
	}
	return nil
}

// MissingNodes returns the nodes that a backend asks for and the host does not have.
func (h Host) MissingNodes(b Backend) NodeSet { return b.HostNodes.Or(b.Cpuset).Without(h.AllNodes()) }

// late returns the mount of a page size if libvirt's daemon knows none of that size; "" where it may know one.
func (h Host) late(kib uint64) (path string) {
	for _, m := range h.Mounts {
		switch {
		case m.PageKiB != kib:
		case m.Daemon != Unaware:
			return ""
		case path == "":
			path = m.Path
		}
	}
	return path
}

// mayBeLate returns what is known of a backend whose mount may have come after libvirt's daemon; nil if none may, or
// nobody looked.
func (h Host) mayBeLate(b Backend) *Finding {
	if !b.OnMount() {
		return nil
	}
	at := ""
	for _, m := range h.Mounts {
		switch {
		case m.PageKiB != b.PageKiB:
		case m.Daemon != Untold || m.Path == UsualMount:
			return nil
		case at == "":
			at = m.Path
		}
	}
	if at == "" {
		return nil
	}
	f := newFinding(codeMountAge, SeverityInfo, SizePool{PageKiB: b.PageKiB}, nil, 0, MayBeLate{at}).of(b)
	return &f
}

// mountAges returns one finding for each mount.
func (l launch) mountAges(host Host) (found []Finding) {
	for _, b := range l.backends {
		f := host.mayBeLate(b)
		if f != nil && !slices.ContainsFunc(found, func(known Finding) bool { return known.Reason == f.Reason }) {
			found = append(found, *f)
		}
	}
	return found
}

// noMount returns what there is instead of a mount of a page size in KiB.
func (h Host) noMount(kib uint64) NoMount {
	n := NoMount{Disabled: h.Configured && len(h.Mounts) == 0}
	for _, m := range h.Mounts {
		if m.PageKiB != kib {
			n.Mounted = append(n.Mounted, SizeAt{m.PageKiB, m.Path})
		}
	}
	for _, size := range h.Sizes {
		if pool, ok := h.Pool(size); ok {
			sum := pool.On(h.AllNodes())
			n.Sizes = append(n.Sizes, SizeFree{size, sum.Free, sum.Total})
		}
	}
	return n
}
