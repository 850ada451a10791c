package guard

import (
	"fmt"
	"slices"
)

// remedies returns what an admin can do about failures of one cause.
func remedies(host Host, must []failure, cause Cause) []Remedy {
	var remedy Remedy
	switch cause {
	case CauseOVS, CauseOtherHolder:
		remedy = Remedy{For: "nova", Lines: append([]string{"[DEFAULT]"}, reservedHugePages(host)...)}
	case CausePoolMissing, CausePoolTooSmall:
		remedy = Remedy{For: "host", Lines: growth(host, must)}
	default:
		return nil
	}
	return []Remedy{remedy}
}

// growth returns the commands that set up as many more pages as are missing
// now. Where several nodes would do, the first gets them.
func growth(host Host, must []failure) []string {
	type place struct {
		kib  uint64
		node int
	}
	var places []place
	missing := map[place]uint64{}
	for _, f := range must {
		pool, _ := host.pool(f.pageKiB)
		at := place{f.pageKiB, f.nodes[0]}
		if missing[at] == 0 {
			places = append(places, at)
		}
		have := f.free
		if f.code == codeReserved {
			have = minus(have, pool.Reserved)
		}
		missing[at] += minus(f.needed, have)
	}
	var lines []string
	for _, at := range places {
		pool, _ := host.pool(at.kib)
		n := pool.node(at.node)
		lines = append(lines, fmt.Sprintf("echo %d > /sys/devices/system/node/node%d/hugepages/hugepages-%dkB/nr_hugepages",
			minus(n.Total, n.Surplus)+missing[at], at.node, at.kib))
	}
	return lines
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
func alternatives(host Host, f failure) []NodePool {
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
