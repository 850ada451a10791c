package guard

import "slices"

// plugging warns of virtio-mem devices that the guest cannot fill: QEMU starts, and refuses the guest's plug requests
// later.
func plugging(host Host, backends []Backend) []Finding {
	var found []Finding
	type poolOn struct {
		kib   uint64
		nodes string
	}
	known := map[poolOn]uint64{} // what is left
	for _, b := range backends {
		pool, ok := host.Pool(b.PageKiB)
		if b.Device != VirtioMem || !ok {
			continue
		}
		nodes := host.UsableNodes()
		if b.Policy == PolicyBind && !b.Auto {
			nodes = b.HostNodes.And(nodes)
		}
		key := poolOn{b.PageKiB, nodes.key()}
		left, ok := known[key]
		if !ok {
			left = minus(pool.On(nodes).Free, pool.Reserved)
			for _, other := range backends {
				if other.PageKiB == b.PageKiB && (other.HostNodes == nil || slices.ContainsFunc(other.HostNodes, nodes.Has)) {
					left = minus(left, other.Pages)
				}
			}
			known[key] = left
		}
		if wanted := (b.Requested + b.PageKiB - 1) / b.PageKiB; wanted > left {
			found = append(found, newFinding(codeGrow, SeverityWarn, pool, nodes, wanted, CannotPlug{left}).of(b))
		}
	}
	return found
}

// beside warns of starting guests that will fail: meanwhile they may take pages that this launch needs.
func (l launch) beside(host Host, doomed []Starting) []Finding {
	var found []Finding
	host.Starting = doomed
	for _, pool := range host.Pools {
		var nodes NodeSet
		var needed uint64
		for _, b := range l.backends {
			if b.PageKiB != pool.PageKiB || b.Pages == 0 {
				continue
			}
			needed += b.Pages
			if b.Policy == PolicyBind && !b.Auto {
				nodes = nodes.Or(b.HostNodes)
			} else {
				nodes = host.MemoryNodes()
			}
		}
		if starting := host.startingOn(pool.PageKiB, nodes); needed > 0 && len(starting) > 0 {
			found = append(found, newFinding(codeStarting, SeverityWarn, pool, nodes, needed, Doomed{names(starting)}))
		}
	}
	return found
}
