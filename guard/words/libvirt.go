package words

import (
	"fmt"

	"hugeguard/guard"
)

// leftToLibvirt says why libvirt itself will refuse.
func leftToLibvirt(f guard.Finding, why guard.Reason) string {
	switch why := why.(type) {
	case guard.NoNode:
		return fmt.Sprintf("this host has no %s, it has %s", numaNodes(why.Missing), nodes(why.Has))
	case guard.LateMount:
		return fmt.Sprintf("hugetlbfs at %s (%s pages) was mounted after libvirt's daemon was started, which knows only the mounts of then",
			path(why.Path), pageName(f.PageKiB))
	case guard.NoMount:
		return noMount(f, why)
	}
	panic(fmt.Sprintf("no words for %T", why))
}

// numaNodes says a set of nodes that do not exist.
func numaNodes(s guard.NodeSet) string {
	if len(s) == 1 {
		return "NUMA node " + s.String()
	}
	return "NUMA nodes " + s.String()
}

// noMount says that a mount is missing, and what there is.
func noMount(f guard.Finding, n guard.NoMount) string {
	text := fmt.Sprintf("no hugetlbfs of %s pages is mounted", pageName(f.PageKiB))
	switch {
	case n.Disabled:
		text = "hugetlbfs_mount in qemu.conf is empty, which disables huge pages"
	case f.PageKiB == 0:
		text = "no hugetlbfs is mounted, so there is no default page size"
	case len(n.Mounted) == 0:
		text = "no hugetlbfs of " + pageName(f.PageKiB) + " pages is mounted, and none of any other size"
	default:
		var each []string
		for _, m := range n.Mounted {
			each = append(each, fmt.Sprintf("%s pages (%s)", guard.Size(m.PageKiB), path(m.Path)))
		}
		text += ", only one of " + enumerate(each, 3)
	}
	return text + "; this kernel supports " + kernelSizes(n.Sizes)
}

// kernelSizes says which page sizes a kernel has, and how many of each.
func kernelSizes(sizes []guard.SizeFree) string {
	if len(sizes) == 0 {
		return "no huge pages at all"
	}
	var each []string
	for _, s := range sizes {
		pool := "no pool is set up"
		if s.Total > 0 {
			pool = fmt.Sprintf("%d of %d free", s.Free, s.Total)
		}
		each = append(each, fmt.Sprintf("%s pages (%s)", pageName(s.PageKiB), pool))
	}
	return enumerate(each, 4)
}

// mayBeLate says that libvirt may not know a mount.
func mayBeLate(m guard.MayBeLate) string {
	return fmt.Sprintf("nothing here tells whether libvirt's daemon was started before %s was mounted: if it was, libvirt refuses the start until the daemon is restarted",
		path(m.Path))
}

// unjudged says that memory is not judged, though it may be on huge pages.
func unjudged(f guard.Finding, u guard.Unjudged) string {
	switch {
	case u.Unread != "":
		return fmt.Sprintf("%s is in a file, and is not judged: %s, which says where, could not be read", f.Backend, path(u.Unread))
	case u.Path == "":
		return fmt.Sprintf("%s is on huge pages by qemu:commandline, and is not judged: its size is not understood", f.Backend)
	}
	return fmt.Sprintf("%s is on huge pages at %s by qemu:commandline, and is not judged: its size is not understood", f.Backend, path(u.Path))
}
