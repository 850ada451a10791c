// Package guardtest makes hosts for tests.
package guardtest

import "hugeguard/guard"

// Idle returns a host with four idle nodes, all of whose page sizes are mounted: on it a verdict's demand shows how
// each domain was read.
func Idle(base, dflt uint64, sizes ...uint64) guard.Host {
	host := guard.Host{BasePageKiB: base, DefaultPageKiB: dflt, Sizes: sizes}
	for id := range 4 {
		host.Nodes = append(host.Nodes, guard.Node{ID: id, HasMemory: true, HasCPU: true})
	}
	for _, kib := range sizes {
		host.Mounts = append(host.Mounts, guard.Mount{Path: "/dev/hugepages", PageKiB: kib})
		pool := guard.SizePool{PageKiB: kib}
		for _, n := range host.Nodes {
			pool.Nodes = append(pool.Nodes, guard.NodePool{Node: n.ID, Total: 1 << 20, Free: 1 << 20})
		}
		host.Pools = append(host.Pools, pool)
	}
	return host
}
