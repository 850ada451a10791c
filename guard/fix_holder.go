package guard

import (
	"slices"
	"strings"

	"hugeguard/guard/nova"
	"hugeguard/guard/ovs"
)

// EndFormer ends the earlier QEMU of the guest that is about to start.
type EndFormer struct{ Former Holder }

// Reboot restarts the host, which gives back what nothing else does.
type Reboot struct{ Why RebootWhy }

// RebootWhy is what a reboot is for.
type RebootWhy int

// What reboots are for.
const (
	EndStuck  RebootWhy = iota // it ends a process that no signal ends
	FindPages                  // it gives back unexplained pages
)

// FreeDeadGuests has back ends give back the memory of guests that are gone.
type FreeDeadGuests struct{ Keepers []Holder }

// ShrinkOVS has Open vSwitch take less memory at its start. Sizes are MiB, by node.
type ShrinkOVS struct {
	OVS  Holder
	Told []uint64
	Less []uint64
}

// TuneProcess has a process do with fewer pages by a switch of its own, where one is known.
type TuneProcess struct {
	Holder Holder
	Fewer  map[int]uint64 // pages of each node that it has to do without
	// Ordinary says that there is ordinary memory for all that it has.
	Ordinary bool
}

// StopProcesses ends processes, which give their pages back.
type StopProcesses struct{ Holders []Holder }

// leastOVSKiB is the least memory that Open vSwitch is told to do with: room for two mempools for jumbo frames, as small
// as it makes them.
var leastOVSKiB = 2 * ovs.Mempool(9000)

// over reports whether all those to blame should be gone: an earlier QEMU of the guest, the memory of guests that are
// gone.
func (b Blame) over() bool {
	return len(b.Holders) > 0 && !slices.ContainsFunc(b.Holders, func(h Holder) bool { return !h.Former && h.Guest == "" })
}

// holderFixes returns what can be done about those who are to blame, the cheapest first. With each of them the launch
// fits.
func (l launch) holderFixes(host Host, must []failure, b Blame) []Fix {
	larger := l.larger(host, must)
	switch {
	case !b.over():
		return slices.Concat(l.rebind(host, must), larger, l.shrinkOVS(host, must, b), l.tune(host, must, b), stop(b))
	case !b.Holders[0].Former:
		return append([]Fix{FreeDeadGuests{b.Holders}}, larger...)
	case b.Holders[0].Stuck:
		return []Fix{EndFormer{b.Holders[0]}, Reboot{EndStuck}}
	}
	return []Fix{EndFormer{b.Holders[0]}}
}

// fitsWith reports whether a launch would fit if so many more pages were free.
func (l launch) fitsWith(host Host, more map[nova.Pool]uint64) bool {
	return !l.mustFail(host.change(func(p *SizePool) {
		for i := range p.Nodes {
			n := &p.Nodes[i]
			n.Free = min(n.Total, n.Free+more[nova.Pool{Node: n.Node, PageKiB: p.PageKiB}])
		}
	}))
}

// missingFrom is how many pages are missing, on the nodes where holders could give them: of several nodes that would do, on
// that where they have most.
func missingFrom(host Host, must []failure, held map[nova.Pool]uint64) map[nova.Pool]uint64 {
	missing := map[nova.Pool]uint64{}
	for _, f := range must {
		if f.cause != "" || len(f.nodes) == 0 {
			continue
		}
		have := f.free
		if f.code == codeReserved {
			pool, _ := host.pool(f.pageKiB)
			have = minus(have, pool.Reserved)
		}
		node := slices.MaxFunc(f.nodes, func(a, b int) int {
			return int(held[nova.Pool{Node: a, PageKiB: f.pageKiB}]) - int(held[nova.Pool{Node: b, PageKiB: f.pageKiB}])
		})
		at := nova.Pool{Node: node, PageKiB: f.pageKiB}
		missing[at] = max(missing[at], minus(f.needed+f.claimed, have))
	}
	return missing
}

// shrinkOVS has Open vSwitch be told to take less, if it holds no more than it was told: what it holds beyond that it
// needs.
func (l launch) shrinkOVS(host Host, must []failure, b Blame) []Fix {
	i := slices.IndexFunc(b.Holders, func(h Holder) bool { return h.Kind == HolderOVS && h.Guest == "" })
	if i < 0 || host.OVS == nil || !toldByKey(*host.OVS) {
		return nil
	}
	kib := ovsPageKiB(host)
	held := share(host, HolderOVS)
	missing := missingFrom(host, must, held)
	shrink := ShrinkOVS{OVS: b.Holders[i]}
	for node := range slices.Max(host.OVS.Nodes()) + 1 {
		at, told := nova.Pool{Node: node, PageKiB: kib}, host.OVS.SocketMiB[node]
		less := minus(told, (missing[at]*kib+1023)/1024)
		if less < told && (held[at] > ovs.Pages(told, kib) || less*1024 < leastOVSKiB) {
			return nil
		}
		shrink.Told, shrink.Less = append(shrink.Told, told), append(shrink.Less, less)
	}
	if slices.Equal(shrink.Told, shrink.Less) || !l.fitsWith(host, missing) {
		return nil
	}
	return []Fix{shrink}
}

// toldByKey reports whether Open vSwitch has its memory by dpdk-socket-mem, which options in dpdk-extra go before.
func toldByKey(o OVS) bool {
	return len(o.Nodes()) > 0 && slices.ContainsFunc(o.Told, func(told string) bool { return strings.HasPrefix(told, "dpdk-socket-mem=") }) &&
		!slices.ContainsFunc(o.Told, func(told string) bool { return strings.HasPrefix(told, "dpdk-extra=") && strings.Contains(told, "-m") })
}

// tune has the only process to blame do with fewer pages.
func (l launch) tune(host Host, must []failure, b Blame) []Fix {
	processes := slices.DeleteFunc(slices.Clone(b.Holders), func(h Holder) bool { return h.Kind != HolderProcess || h.Guest != "" })
	if len(processes) != 1 || len(processes) != len(b.Holders) {
		return nil
	}
	held := map[nova.Pool]uint64{}
	for node, pages := range processes[0].Pages {
		held[nova.Pool{Node: node, PageKiB: processes[0].PageKiB}] = pages
	}
	fewer := map[int]uint64{}
	for at, pages := range missingFrom(host, must, held) {
		if at.PageKiB == processes[0].PageKiB {
			fewer[at.Node] = pages
		}
	}
	return []Fix{TuneProcess{processes[0], fewer, host.Memory.holds(processes[0])}}
}

// search returns what can be done about unexplained pages.
func (l launch) search(host Host, must []failure) []Fix {
	if host.Holders == nil || host.Holders.Cut || len(host.Holders.Unreadable) > 0 {
		return []Fix{LookUnconfined{}}
	}
	found := slices.Concat(l.rebind(host, must), l.larger(host, must))
	pool, _ := host.pool(must[0].pageKiB)
	lost := unaccounted(pool, host.held(pool))
	gone := host.change(func(p *SizePool) {
		for i := range p.Nodes {
			if n := &p.Nodes[i]; p.PageKiB == pool.PageKiB {
				surplus := min(n.Surplus, lost[n.Node])
				n.Free += lost[n.Node] - surplus
				n.Total -= surplus
				n.Surplus -= surplus
				p.Surplus = minus(p.Surplus, surplus)
			}
		}
	})
	if !l.mustFail(gone) {
		found = append(found, Reboot{FindPages})
	}
	return found
}

// rebind binds memory that is short to another node, the nearest where all of it fits, or else to all nodes, where it
// fits on these together. Managers choose nodes themselves.
func (l launch) rebind(host Host, must []failure) []Fix {
	if host.Placer != "" || len(must) != 1 || must[0].cause != "" {
		return nil
	}
	var better []NodeSet
	for _, other := range alternatives(host, must[0]) {
		better = append(better, NodeSet{other.Node})
	}
	better = append(better, host.inherited(ruleCpuset).And(host.memoryNodes()))
	for _, to := range better {
		moved, changes := l.moved(must[0].nodes, to)
		if len(changes) > 0 && !moved.mustFail(host) {
			return []Fix{ChangeDomain{Changes: changes}}
		}
	}
	return nil
}

// moved returns the launch with what is bound to certain nodes bound to others instead.
func (l launch) moved(from, to NodeSet) (moved launch, changes []Change) {
	moved = launch{slices.Clone(l.backends), l.cpuset}
	swap := func(set NodeSet) NodeSet {
		if slices.Equal(set, from) {
			return to
		}
		return set
	}
	var all NodeSet
	for i := range moved.backends {
		b := &moved.backends[i]
		if b.Policy == PolicyBind && !b.Auto && slices.Equal(b.HostNodes, from) {
			b.HostNodes = to
			changes = append(changes, Change{Do: Bind, Backend: b.ID, Nodes: to})
		}
		all = append(all, b.HostNodes...)
	}
	if moved.cpuset.Nodes != nil {
		moved.cpuset.Nodes = swap(moved.cpuset.Nodes)
		all = append(all, moved.cpuset.Nodes...)
		slices.Sort(all)
		moved.cpuset.Union = slices.Compact(all)
	}
	return moved, changes
}

// holds reports whether the host has as much ordinary memory available as a process has in huge pages; so it does where
// nothing is known of its memory.
func (m *Memory) holds(h Holder) bool {
	if m == nil || m.AvailableKiB == 0 {
		return true
	}
	var kept uint64
	for _, n := range m.Nodes {
		kept += n.keptKiB()
	}
	return m.AvailableKiB >= kept+h.all()*h.PageKiB
}

// all is how many pages a holder has, or was promised.
func (h Holder) all() uint64 { return sumPages(h.Pages) + h.Unplaced + h.Reserved }

// stop ends the processes to blame. Without Open vSwitch and other guests a host is of no use.
func stop(b Blame) []Fix {
	var processes []Holder
	for _, h := range b.Holders {
		if h.Kind != HolderProcess {
			return nil
		}
		if !slices.ContainsFunc(processes, func(known Holder) bool { return known.PID == h.PID }) {
			processes = append(processes, h)
		}
	}
	if processes == nil {
		return nil
	}
	return []Fix{StopProcesses{processes}}
}
