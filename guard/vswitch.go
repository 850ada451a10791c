package guard

import (
	"maps"
	"slices"

	"hugeguard/guard/nova"
	"hugeguard/guard/ovs"
)

// pending says that it is known to hold less than it was told to take.
func (o OVS) pending() bool { return o.HeldKiB != nil && *o.HeldKiB < o.TotalMiB()*1024 }

// OVSReport puts what Open vSwitch was told beside what it holds; nil where it was not asked, or not told to use DPDK.
func (h Host) OVSReport() *OVSReport {
	if h.OVS == nil || !h.OVS.Init {
		return nil
	}
	report := OVSReport{Told: h.OVS.Told, PageKiB: ovsPageKiB(h), AnyMiB: h.OVS.AllocMiB, Pending: h.OVS.pending(), Nodes: []OVSNodeReport{}}
	heldKiB := map[int]uint64{}
	if h.Holders != nil {
		for _, holder := range h.Holders.List {
			if holder.Kind != HolderOVS || holder.Guest != "" {
				continue
			}
			for node, n := range holder.Pages {
				heldKiB[node] += n * holder.PageKiB
			}
		}
	}
	nodes := slices.Concat(h.OVS.Nodes(), slices.Collect(maps.Keys(heldKiB)))
	slices.Sort(nodes)
	for _, node := range slices.Compact(nodes) {
		n := OVSNodeReport{Node: node, ToldMiB: h.OVS.SocketMiB[node]}
		if h.Holders != nil {
			held := heldKiB[node] / 1024
			n.HeldMiB = &held
		}
		if usedKiB, ok := h.OVS.Use[node]; ok {
			used := (usedKiB + 1023) / 1024
			n.UsedMiB = &used
		}
		report.Nodes = append(report.Nodes, n)
	}
	return &report
}

// told is what Open vSwitch was told to take on each node, in pages; nil where it is not certain in which.
func told(h Host) map[nova.Pool]uint64 {
	kib := ovsPageKiB(h)
	if kib == 0 {
		return nil
	}
	told := map[nova.Pool]uint64{}
	for node, mib := range h.OVS.SocketMiB {
		told[nova.Pool{Node: node, PageKiB: kib}] = ovs.Pages(mib, kib)
	}
	return told
}

// ovsPageKiB is the page size of Open vSwitch's memory: that of its hugetlbfs mount, or of what it holds, or the only
// one that is mounted and of which there are pages; 0 where that is not certain, or it is not to have any.
func ovsPageKiB(h Host) uint64 {
	if h.OVS == nil || !h.OVS.Init {
		return 0
	}
	var sizes []uint64
	for _, mount := range h.Mounts {
		named := h.OVS.HugeDir == mount.Path
		has := h.OVS.Sizes == nil || slices.Contains(h.OVS.Sizes, mount.PageKiB)
		if named || h.OVS.HugeDir == "" && has {
			sizes = append(sizes, mount.PageKiB)
		}
	}
	if held := h.HeldBy(HolderOVS); len(held) > 0 && h.OVS.HugeDir == "" {
		sizes = nil
		for pool := range held {
			sizes = append(sizes, pool.PageKiB)
		}
	}
	slices.Sort(sizes)
	sizes = slices.Compact(sizes)
	if len(sizes) != 1 {
		return 0
	}
	return sizes[0]
}

// remains is how many pages each node that a launch is bound to has left after it, by page size, at the worst.
func (l launch) remains(host Host) map[uint64]map[int]uint64 {
	left := map[uint64]map[int]uint64{}
	for _, b := range l.backends {
		pool, ok := host.Pool(b.PageKiB)
		if !ok || b.Policy != PolicyBind || b.Auto || b.Pages == 0 {
			continue
		}
		if left[b.PageKiB] == nil {
			left[b.PageKiB] = map[int]uint64{}
		}
		for _, node := range b.HostNodes {
			if _, ok := left[b.PageKiB][node]; !ok {
				left[b.PageKiB][node] = pool.Node(node).Free
			}
			left[b.PageKiB][node] = minus(left[b.PageKiB][node], b.Pages)
		}
	}
	return left
}

// LeavesNoMempool reports whether the start of a domain with vhost-user interfaces leaves less on a node than one more
// mempool for them takes.
func LeavesNoMempool(demand Demand, host Host) bool {
	if len(demand.VhostMTUs) == 0 {
		return false
	}
	backends, _ := resolve(demand, host)
	for kib, nodes := range (launch{backends: backends}).remains(host) {
		least := ovs.PagesOf(ovs.Mempool(slices.Max(demand.VhostMTUs)), kib)
		for _, left := range nodes {
			if left < least {
				return true
			}
		}
	}
	return false
}

// vswitch warns of what a launch takes from Open vSwitch: pages that it was told to take and has not taken yet, and, of
// a domain with vhost-user interfaces, room for the memory of their packets. It never keeps it from starting.
func (l launch) vswitch(demand Demand, host Host) []Finding {
	if host.OVS == nil || !host.OVS.Init {
		return nil
	}
	kib := ovsPageKiB(host)
	pool, ok := host.Pool(kib)
	if !ok {
		return nil
	}
	var mtu, least uint64 // of the most that one of its ports needs; 0 without any
	if len(demand.VhostMTUs) > 0 {
		mtu = slices.Max(demand.VhostMTUs)
		least = ovs.PagesOf(ovs.Mempool(mtu), kib)
	}
	pending := host.OVS.pending()
	remains := l.remains(host)[kib]
	var found []Finding
	for _, node := range slices.Sorted(maps.Keys(remains)) {
		left, on := remains[node], NodeSet{node}
		told := ovs.Pages(host.OVS.SocketMiB[node], kib)
		switch {
		case pending && left < told:
			found = append(found, newFinding(codeOVSPending, SeverityWarn, pool, on, told, OVSPending{left}))
		case pending:
			// It will make its mempools of these.
		case left < least && (host.OVS.PerPort || host.OVS.SocketMiB[node]*1024 < ovs.FullMempool(mtu)):
			found = append(found, newFinding(codeOVSMempool, SeverityWarn, pool, on, least, NoMempool{left, mtu}))
		}
	}
	return found
}
