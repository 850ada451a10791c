package guard

import (
	"fmt"
	"slices"
)

// remedies returns what an admin can do about a failure.
func remedies(host Host, f *failure, b blame) []Remedy {
	switch b.cause {
	case CauseOVS, CauseOtherHolder:
		if lines := reservedHugePages(host); len(lines) > 0 {
			return []Remedy{{For: "nova", Lines: append([]string{"[DEFAULT]"}, lines...)}}
		}
	case CausePoolMissing, CausePoolTooSmall:
		if len(f.nodes) == 1 {
			pool, _ := host.pool(f.pageKiB)
			n := pool.node(f.nodes[0])
			return []Remedy{{For: "host", Lines: []string{fmt.Sprintf(
				"echo %d > /sys/devices/system/node/node%d/hugepages/hugepages-%dkB/nr_hugepages",
				minus(n.Total, n.Surplus)+minus(f.needed, n.Free), n.Node, f.pageKiB)}}}
		}
	}
	return nil
}

// reservedHugePages returns the lines of nova.conf's [DEFAULT] section that
// tell Nova of the huge pages that others than guests hold: one for each node
// and page size, the size in KiB as Nova takes it without a unit. Nova does
// not know of any pages but its instances'.
func reservedHugePages(host Host) []string {
	var lines []string
	for _, pool := range host.Pools {
		for _, n := range pool.Nodes {
			var count uint64
			for _, h := range host.Holders.List {
				if h.Kind != HolderGuest && h.PageKiB == pool.PageKiB {
					count += h.Pages[n.Node]
				}
			}
			if count > 0 {
				lines = append(lines, fmt.Sprintf("reserved_huge_pages=node:%d,size:%d,count:%d", n.Node, pool.PageKiB, count))
			}
		}
	}
	return lines
}

// alternatives returns the nodes that have as many free pages as a shortage
// on other nodes wants, the nearest first.
func alternatives(host Host, f *failure) []NodePool {
	pool, _ := host.pool(f.pageKiB)
	var found []NodePool
	for _, n := range pool.Nodes {
		if !f.nodes.Has(n.Node) && n.Free >= f.needed {
			found = append(found, n)
		}
	}
	distance := func(to int) int {
		for _, n := range host.Nodes {
			if n.ID == f.nodes[0] {
				return n.Distances[to]
			}
		}
		return 0
	}
	slices.SortStableFunc(found, func(a, b NodePool) int { return distance(a.Node) - distance(b.Node) })
	return found
}
