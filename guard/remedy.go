package guard

import (
	"fmt"
	"slices"
	"strings"
)

// remedies returns what an admin can do about failures of one cause.
func remedies(host Host, must []failure, cause Cause) []Remedy {
	switch cause {
	case CauseOVS, CauseOtherHolder:
		if host.Agrees() {
			return nil // what else keeps Nova from knowing is in the summary
		}
		return []Remedy{{For: "nova", How: host.Nova.Edit(), Lines: host.Reserve()}}
	case CausePoolMissing, CausePoolTooSmall, CauseGuests:
		return []Remedy{{For: "host", How: "as root on this host, until its next boot (fewer pages appear where memory is short)", Lines: growth(host, must)}}
	case CauseMountLimit, CauseCgroupLimit:
		remedy := Remedy{For: "host", How: "as root on this host, until its next boot"}
		for _, f := range must {
			if f.remedy != "" {
				remedy.Lines = append(remedy.Lines, f.remedy)
			}
		}
		if len(remedy.Lines) > 0 {
			return []Remedy{remedy}
		}
	}
	return nil
}

// Edit says where the lines of [Host.Reserve] go, and what to do then.
func (n *Nova) Edit() string {
	where, restart := "in nova.conf of this host", "restart nova-compute"
	if n != nil && len(n.SetIn) > 0 {
		var files []string
		for _, file := range n.SetIn {
			files = append(files, Printable(file, 200))
		}
		where = "in place of reserved_huge_pages in " + strings.Join(files, ", ")
	}
	if n != nil && n.Unit != "" {
		restart = "run systemctl restart " + n.Unit
	}
	return where + ", then " + restart
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

// alternatives returns the nodes that have as many free pages as a shortage
// on other nodes wants, the nearest first.
func alternatives(host Host, f failure) []NodePool {
	pool, _ := host.pool(f.pageKiB)
	open := host.inherited(rules{cpuset: true})
	var found []NodePool
	for _, n := range pool.Nodes {
		if !f.nodes.Has(n.Node) && open.Has(n.Node) && n.Free >= f.needed {
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
