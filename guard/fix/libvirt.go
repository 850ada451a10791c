package fix

import (
	"slices"
	"strings"

	"hugeguard/guard"
)

// forLibvirt returns what an admin can do about a start that libvirt will refuse, for a reason that the judge left to it,
// the cheapest first. After each of them the judge does not refuse.
func forLibvirt(demand guard.Demand, host guard.Host, left guard.Finding) []Fix {
	switch why := left.Reason.(type) {
	case guard.LateMount:
		restarted := host
		restarted.Mounts = slices.Clone(host.Mounts)
		for i := range restarted.Mounts {
			restarted.Mounts[i].Daemon = guard.Aware
		}
		if _, ok := after(demand, restarted); ok {
			return []Fix{RestartDaemon{why.Path, host.Daemon}}
		}
	case guard.NoMount:
		return mountFixes(demand, host, left.PageKiB)
	case guard.NoNode:
		if changes := otherNodes(demand, host); changes != nil {
			return []Fix{ChangeDomain{Changes: changes, Sets: sets(demand.Backends, changes, len(demand.Cpuset.Nodes.Without(host.AllNodes())) > 0)}}
		}
	}
	return nil
}

// after judges a demand on a host after a fix: ok says that the start does not fail any more, not even under a
// condition, or that then does the rest, which is nil where there is none.
func after(demand guard.Demand, host guard.Host) (then Fix, ok bool) {
	v := guard.Judge(demand, host)
	switch {
	case v.RefusedBy() == guard.ByLibvirt:
		return nil, false
	case v.Decision != guard.Refuse:
		return nil, !slices.ContainsFunc(v.Findings, func(f guard.Finding) bool { _, may := f.Reason.(guard.Perhaps); return may })
	}
	fixes := ofRefusal(demand, host, v)
	i := slices.IndexFunc(fixes, setsUp)
	if i < 0 {
		return nil, false
	}
	return fixes[i], true
}

// setsUp reports whether a fix is one that makes the pages.
func setsUp(f Fix) bool {
	switch f.(type) {
	case GrowPools, BootPools:
		return true
	}
	return false
}

// mountFixes are those of a page size in KiB without a mount, 0 for that which the kernel has by default.
func mountFixes(demand guard.Demand, host guard.Host, kib uint64) (fixes []Fix) {
	if kib == 0 {
		kib = host.DefaultPageKiB
	}
	var other []Fix
	for _, size := range mountedSizes(host) {
		changed, ids := onPages(demand, kib, size)
		then, ok := after(changed, host)
		if ok {
			other = append(other, ChangePages{Backends: ids, PageKiB: size, Then: then})
		}
	}
	if !slices.Contains(host.Sizes, kib) {
		return other
	}
	mounted := host
	m := guard.Mount{Path: mountPoint(host, kib), PageKiB: kib}
	mounted.Mounts = append(slices.Clone(host.Mounts), m)
	then, ok := after(demand, mounted)
	if !ok {
		return other
	}
	mount := MountPages{PageKiB: kib, Path: m.Path, Daemon: host.Daemon, Then: then}
	if host.Configured {
		for _, m := range mounted.Mounts {
			mount.Conf = append(mount.Conf, m.Path)
		}
	}
	if then == nil {
		return append([]Fix{mount}, other...)
	}
	return append(other, mount)
}

// mountPoint is where a hugetlbfs of a page size in KiB is mounted by custom.
func mountPoint(host guard.Host, kib uint64) string {
	taken := slices.ContainsFunc(host.Mounts, func(m guard.Mount) bool { return m.Path == guard.UsualMount })
	if kib == host.DefaultPageKiB && !taken {
		return guard.UsualMount
	}
	size, unit, _ := strings.Cut(guard.Size(kib), " ")
	return guard.UsualMount + size + unit[:1]
}

// mountedSizes returns the page sizes in KiB of all mounts, each once.
func mountedSizes(h guard.Host) (sizes []uint64) {
	for _, m := range h.Mounts {
		if !slices.Contains(sizes, m.PageKiB) {
			sizes = append(sizes, m.PageKiB)
		}
	}
	return sizes
}

// onPages returns a demand with pages of another size where it asks for one, and the backends that have them.
func onPages(d guard.Demand, of, size uint64) (changed guard.Demand, ids []string) {
	changed = d
	changed.Backends = slices.Clone(d.Backends)
	for i := range changed.Backends {
		b := &changed.Backends[i]
		if b.PageKiB == of && b.OnMount() {
			b.PageKiB = size
			ids = append(ids, b.ID)
		}
	}
	return changed, ids
}

// otherNodes returns how to bind the backends of a demand that name nodes which the host has not: to those of them that
// it has, else to the first where it fits, else to all; nil if it fits nowhere.
func otherNodes(demand guard.Demand, host guard.Host) []Change {
	memory := host.MemoryNodes()
	var tries []guard.NodeSet
	for _, node := range memory {
		tries = append(tries, guard.NodeSet{node})
	}
	for _, nodes := range append(tries, memory) {
		moved, changes := onNodes(demand, nodes, host)
		then, ok := after(moved, host)
		if ok && then == nil {
			return changes
		}
	}
	return nil
}

// onNodes returns a demand in which nothing names a node that the host has not: sets without any other become nodes.
func onNodes(d guard.Demand, nodes guard.NodeSet, host guard.Host) (moved guard.Demand, changes []Change) {
	has := host.AllNodes()
	there := func(set guard.NodeSet) guard.NodeSet {
		switch left := set.And(has); {
		case set == nil:
			return nil
		case len(left) > 0:
			return left
		}
		return nodes
	}
	moved = d
	moved.Cpuset.Nodes, moved.Cpuset.Union = there(d.Cpuset.Nodes), there(d.Cpuset.Union)
	moved.Backends = slices.Clone(d.Backends)
	for i := range moved.Backends {
		b := &moved.Backends[i]
		if len(host.MissingNodes(*b)) == 0 {
			continue
		}
		b.HostNodes, b.Cpuset, b.Threads = there(b.HostNodes), there(b.Cpuset), there(b.Threads)
		changes = append(changes, Change{Do: Bind, Backend: b.ID, Nodes: b.HostNodes.Or(b.Cpuset)})
	}
	return moved, changes
}
