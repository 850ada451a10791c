package guard

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"hugeguard/guard/nova"
)

// Reservation is what Nova is to keep back of one pool.
type Reservation struct {
	nova.Pool
	Count   uint64
	Lacking bool // Nova does not keep back as many now, or it is not known whether it does
}

// String returns the value of a setting of reserved_huge_pages, the size in KiB, which Nova takes without a unit.
func (r Reservation) String() string {
	return fmt.Sprintf("node:%d,size:%d,count:%d", r.Node, r.PageKiB, r.Count)
}

// Known reports whether it is known what Nova reserves.
func (n *Nova) Known() bool { return n != nil && len(n.Files) > 0 && n.Fault == "" }

// inUse returns what nova-compute keeps back: what it read when it started. ok is whether that is known.
func (n *Nova) inUse() (reserved nova.Reserved, ok bool) {
	if n.Stale != "" {
		return n.Read, n.Read != nil
	}
	return n.Reserved, n.Known()
}

// reserves is how many pages of a size Nova keeps back on some nodes.
func (n *Nova) reserves(kib uint64, nodes NodeSet) int64 {
	var count int64
	for _, node := range nodes {
		count += n.Reserved[nova.Pool{Node: node, PageKiB: kib}]
	}
	return count
}

// InstanceOf returns what Nova counts for a domain that it made: each guest cell's pages on the one node that Nova binds
// it to. running is whether it has a QEMU.
func InstanceOf(demand Demand, running bool) Instance {
	i := Instance{Name: demand.Domain.Name, UUID: demand.Domain.UUID, Running: running, Pages: map[nova.Pool]uint64{}}
	for _, b := range demand.Backends {
		if b.Device == "" && b.PageKiB > 0 && len(b.HostNodes) == 1 {
			i.Pages[nova.Pool{Node: b.HostNodes[0], PageKiB: b.PageKiB}] += b.Bytes / 1024 / b.PageKiB
		}
	}
	return i
}

// NovaReport compares what Nova believes with the pools; uuid is a domain that is about to start and not to be counted,
// "" for none. It is nil where there is no sign of Nova.
//
// An instance that is off counts for Nova and holds nothing, so it is no drift. Between a change of the configuration
// and the restart of nova-compute it is not known what Nova believes, unless it is known what nova-compute read.
func (h Host) NovaReport(uuid string) *NovaReport {
	n := h.Nova
	if n == nil {
		return nil
	}
	report := &NovaReport{Files: n.Files, Fault: n.Fault, PID: n.PID, Stale: n.Stale, Unread: n.Unread, Unlisted: n.Unlisted, Pools: []NovaPool{}}
	counted, running := report.count(n, uuid)
	report.Uncounted = slices.DeleteFunc(slices.Clone(n.Uncounted), func(dir string) bool { return uuid != "" && strings.HasPrefix(dir, uuid) })
	if len(n.Files) == 0 && n.Fault == "" && n.PID == 0 && report.Instances == 0 {
		return nil
	}
	for _, s := range strangers(h) {
		report.Strangers = append(report.Strangers, Stranger{s.Name, s.PageKiB, s.On(h.AllNodes())})
	}
	if !n.Known() {
		return report
	}
	for at, count := range n.Reserved {
		if !h.AllNodes().Has(at.Node) || !slices.Contains(h.Sizes, at.PageKiB) {
			report.Ignored = append(report.Ignored, Reservation{Pool: at, Count: uint64(max(count, 0))}.String())
		}
	}
	slices.Sort(report.Ignored)
	report.Pools = append(report.Pools, h.believed(counted, running)...)
	return report
}

// count notes how many instances Nova counts, but for one, and returns how many pages of each pool it counts for them,
// and how many of these for those that run.
func (r *NovaReport) count(n *Nova, uuid string) (counted, running map[nova.Pool]uint64) {
	counted, running = map[nova.Pool]uint64{}, map[nova.Pool]uint64{}
	for _, i := range n.Instances {
		if i.UUID == uuid {
			continue
		}
		r.Instances++
		for pool, pages := range i.Pages {
			counted[pool] += pages
			if i.Running {
				running[pool] += pages
			}
		}
	}
	for _, i := range n.Refused {
		if i.UUID == uuid {
			continue
		}
		for pool, pages := range i.Pages {
			counted[pool] += pages
			r.Refused = append(r.Refused, RefusedInstance{i.Name, i.UUID, pool.Node, pool.PageKiB, pages})
		}
	}
	slices.SortFunc(r.Refused, func(a, b RefusedInstance) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.PageKiB, b.PageKiB), cmp.Compare(a.Node, b.Node))
	})
	return counted, running
}

// believed returns what Nova believes of the pools, given what it counts for its instances.
func (h Host) believed(counted, running map[nova.Pool]uint64) (pools []NovaPool) {
	n, wanted := h.Nova, map[nova.Pool]int64{}
	for _, r := range h.Reservations() {
		wanted[r.Pool] = int64(r.Count)
	}
	promised := h.promised(HolderOVS, HolderProcess)
	read, inUse := n.inUse()
	for _, pool := range h.Pools {
		for _, node := range pool.Nodes {
			at := nova.Pool{Node: node.Node, PageKiB: pool.PageKiB}
			if node.Total == 0 && n.Reserved[at] == 0 && read[at] == 0 && counted[at] == 0 && wanted[at] == 0 {
				continue
			}
			p := NovaPool{Node: at.Node, PageKiB: at.PageKiB, Reserved: n.Reserved[at], Instances: counted[at]}
			if inUse {
				p.Reserved = read[at]
				free := int64(node.Total) - p.Reserved - int64(p.Instances)
				drift := int64(minus(node.Total, node.Free)+promised[at]) - p.Reserved - int64(running[at])
				p.Free, p.Drift = &free, &drift
			}
			p.Unreserved = uint64(max(wanted[at]-p.Reserved, 0))
			pools = append(pools, p)
		}
	}
	return pools
}

// drifts are findings of what Nova believes and is not so.
func drifts(h Host, uuid string) []Finding {
	report := h.NovaReport(uuid)
	if report == nil {
		return nil
	}
	var found []Finding
	if report.Stale != "" {
		found = append(found, newFinding(codeNovaStale, SeverityInfo, SizePool{}, nil, 0, NovaStale{report.PID, report.Stale}))
	}
	for _, p := range report.Pools {
		if pool, ok := h.Pool(p.PageKiB); ok && p.Drift != nil && *p.Drift != 0 {
			found = append(found, newFinding(codeNovaDrift, SeverityInfo, pool, NodeSet{p.Node}, 0, p))
		}
	}
	return found
}

// Reservations is the whole of what Nova is to reserve on this host: what others than guests hold or were promised, for
// Open vSwitch at least what it was told to take, and in all at least what Nova reserves now. Memory of guests that are
// gone is not in it: the process that keeps it should give it back. Guests without Nova's metadata are not in
// it: they are to go, or to become instances.
func (h Host) Reservations() []Reservation {
	counts := map[nova.Pool]uint64{}
	own, ownPromised := h.HeldBy(HolderOVS), h.promised(HolderOVS)
	for _, pools := range []map[nova.Pool]uint64{own, h.HeldBy(HolderProcess), h.promised(HolderOVS, HolderProcess)} {
		for pool, pages := range pools {
			counts[pool] += pages
		}
	}
	for pool, pages := range told(h) {
		counts[pool] += minus(pages, own[pool]+ownPromised[pool])
	}
	if h.Nova.Known() {
		for pool, count := range h.Nova.Reserved {
			counts[pool] = max(counts[pool], uint64(max(count, 0)))
		}
	}
	var all []Reservation
	for pool, count := range counts {
		if count > 0 {
			all = append(all, Reservation{pool, count, !h.Nova.Known() || h.Nova.Reserved[pool] != int64(count)})
		}
	}
	slices.SortFunc(all, func(a, b Reservation) int {
		return cmp.Or(cmp.Compare(a.PageKiB, b.PageKiB), cmp.Compare(a.Node, b.Node))
	})
	return all
}

// Agrees reports whether Nova's configuration reserves what [Host.Reservations] returns.
func (h Host) Agrees() bool {
	if !h.Nova.Known() {
		return false
	}
	wanted := nova.Reserved{}
	for _, r := range h.Reservations() {
		wanted[r.Pool] = int64(r.Count)
	}
	return wanted.Same(h.Nova.Reserved)
}

// agreesOn is Agrees for the pages of one size on some nodes.
func agreesOn(h Host, kib uint64, nodes NodeSet) bool {
	return h.Nova.Known() && !slices.ContainsFunc(h.Reservations(), func(r Reservation) bool {
		return r.PageKiB == kib && nodes.Has(r.Node) && r.Lacking
	})
}

// strangers are the guests that Nova did not make; none where not all domains could be read.
func strangers(h Host) []Holder {
	if h.Nova == nil || h.Nova.Unread > 0 || h.Holders == nil {
		return nil
	}
	var found []Holder
	for _, holder := range h.Holders.List {
		made := slices.ContainsFunc(h.Nova.Instances, func(i Instance) bool { return i.Name == holder.Name })
		if holder.Kind == HolderGuest && !made {
			found = append(found, holder)
		}
	}
	return found
}
