package fix

import (
	"slices"
	"strings"

	"hugeguard/guard"
	"hugeguard/guard/nova"
	"hugeguard/guard/ovs"
)

// leastOVSKiB is the least memory that Open vSwitch is told to do with, even if it uses less: room for two mempools for
// jumbo frames, as small as it makes them.
var leastOVSKiB = 2 * ovs.Mempool(9000)

// holderFixes returns what can be done about those who are to blame, the cheapest first. With each of them the launch
// fits.
func (r refusal) holderFixes() []Fix {
	blame := r.verdict.Blame
	ways := r.larger()
	switch {
	case !blame.Over():
		return slices.Concat(r.rebind(), ways.now, r.ordinary(), ways.compact, r.shrinkOVS(), r.tune(), stop(blame.Holders), ways.boot)
	case !blame.Holders[0].Former:
		return r.fromDead(ways.now)
	case blame.Holders[0].Stuck:
		return []Fix{EndFormer{blame.Holders[0]}, Reboot{EndStuck}}
	}
	return []Fix{EndFormer{blame.Holders[0]}}
}

// fromDead returns what can be done about back ends that keep the memory of guests that are gone: to restart one that
// serves other guests comes last.
func (r refusal) fromDead(larger []Fix) []Fix {
	keepers := r.verdict.Blame.Holders
	mayReturn := slices.ContainsFunc(keepers, func(h guard.Holder) bool { return h.Defined })
	free := FreeDeadGuests{Keepers: keepers, Again: mayReturn && r.verdict.Maker() == "", Domain: r.verdict.Domain, Nova: r.verdict.Maker() == guard.ManagerNova}
	restart := []Fix{RestartKeepers{keepers}}
	if slices.ContainsFunc(keepers, guard.Holder.ServesMany) {
		return slices.Concat([]Fix{free}, larger, restart)
	}
	return append(restart, larger...)
}

// missingFrom is how many pages are missing, on the nodes where holders could give them: of several nodes that would do,
// on that where they have most.
func (l launch) missingFrom(held map[nova.Pool]uint64) map[nova.Pool]uint64 {
	missing := map[nova.Pool]uint64{}
	for _, f := range l.must {
		short, ok := f.Reason.(guard.Short)
		if !ok || len(f.Nodes) == 0 {
			continue
		}
		node := slices.MaxFunc(f.Nodes, func(a, b int) int {
			return int(held[nova.Pool{Node: a, PageKiB: f.PageKiB}]) - int(held[nova.Pool{Node: b, PageKiB: f.PageKiB}])
		})
		at := nova.Pool{Node: node, PageKiB: f.PageKiB}
		missing[at] = max(missing[at], lacking(f, short, f.Free))
	}
	return missing
}

// shrinkOVS has Open vSwitch be told to take less, but no less than it uses.
func (r refusal) shrinkOVS() []Fix {
	i := slices.IndexFunc(r.verdict.Blame.Holders, func(h guard.Holder) bool { return h.Kind == guard.HolderOVS && h.Guest == "" })
	if i < 0 || r.verdict.OVS == nil || !toldByKey(*r.host.OVS) {
		return nil
	}
	kib := r.verdict.OVS.PageKiB
	held := r.host.HeldBy(guard.HolderOVS)
	missing := r.missingFrom(held)
	shrink := ShrinkOVS{OVS: r.verdict.Blame.Holders[i]}
	for node := range slices.Max(r.host.OVS.Nodes()) + 1 {
		at := nova.Pool{Node: node, PageKiB: kib}
		less, limited, ok := without(*r.host.OVS, at, missing[at], held[at])
		if !ok {
			return nil
		}
		told := r.host.OVS.SocketMiB[node]
		limit := r.host.OVS.LimitMiB[node]
		if limited {
			shrink.Limited, limit = true, less
		}
		shrink.Told, shrink.Less, shrink.Limit = append(shrink.Told, told), append(shrink.Less, min(told, less)), append(shrink.Limit, limit)
		if r.host.OVS.Use != nil {
			shrink.Used = append(shrink.Used, (r.host.OVS.Use[node]+1023)/1024)
		}
	}
	freed := r.host.Change(func(p *guard.SizePool) {
		for i := range p.Nodes {
			n := &p.Nodes[i]
			n.Free = min(n.Total, n.Free+missing[nova.Pool{Node: n.Node, PageKiB: p.PageKiB}])
		}
	})
	if slices.Equal(shrink.Told, shrink.Less) && !shrink.Limited || !r.fits(freed) {
		return nil
	}
	return []Fix{shrink}
}

// without returns how much memory in MiB Open vSwitch is to take on a node so that it holds so many pages less there; ok is
// false where it needs them. Where it is not known what it uses, it needs all beyond what it was told. What ports share a
// mempool of full size use is more than they need: limited says that it makes a smaller one, if it may take no more than
// that (dpdk_mp_create in lib/netdev-dpdk.c halves it until it fits).
func without(o guard.OVS, at nova.Pool, less, held uint64) (mib uint64, limited, ok bool) {
	told := o.SocketMiB[at.Node]
	has := ovs.Pages(told, at.PageKiB)
	switch {
	case less == 0:
		return told, false, true
	case o.Use != nil:
		has = held
	case held > has:
		return told, false, false
	}
	mib = minus(has, less) * at.PageKiB / 1024
	use := o.Use[at.Node]
	if mib < told && mib*1024 >= max(use, leastOVSKiB) {
		return mib, false, true
	}
	full, least := ovs.FullMempool(leastMTU), ovs.Mempool(leastMTU)
	limited = !o.PerPort && use >= full && mib*1024 >= max(use-full+least, leastOVSKiB)
	return mib, limited, limited
}

// leastMTU is that of the ports whose full mempool is the smallest.
const leastMTU = 1500

// toldByKey reports whether Open vSwitch has its memory by dpdk-socket-mem, which options in dpdk-extra go before.
func toldByKey(o guard.OVS) bool {
	return len(o.Nodes()) > 0 && slices.ContainsFunc(o.Told, func(told string) bool { return strings.HasPrefix(told, "dpdk-socket-mem=") }) &&
		!slices.ContainsFunc(o.Told, func(told string) bool { return strings.HasPrefix(told, "dpdk-extra=") && strings.Contains(told, "-m") })
}

// tune has the only process to blame do with fewer pages.
func (r refusal) tune() []Fix {
	holders := r.verdict.Blame.Holders
	if len(holders) != 1 || holders[0].Kind != guard.HolderProcess || holders[0].Guest != "" {
		return nil
	}
	held := map[nova.Pool]uint64{}
	for node, pages := range holders[0].Pages {
		held[nova.Pool{Node: node, PageKiB: holders[0].PageKiB}] = pages
	}
	fewer := map[int]uint64{}
	for at, pages := range r.missingFrom(held) {
		if at.PageKiB == holders[0].PageKiB {
			fewer[at.Node] = pages
		}
	}
	return []Fix{TuneProcess{holders[0], fewer, memory{r.host.Memory}.holds(holders[0])}}
}

// search returns what can be done about unexplained pages.
func (r refusal) search() []Fix {
	if r.host.Holders == nil {
		return []Fix{LookUnconfined{}}
	}
	ways := r.larger()
	if !sawAll(r.host) {
		return append([]Fix{LookUnconfined{r.host.Holders.Alone}}, ways.now...)
	}
	found := slices.Concat(r.rebind(), ways.now, ways.compact)
	lost := map[int]uint64{}
	for _, p := range r.verdict.Pools {
		if p.PageKiB == r.must[0].PageKiB {
			lost[p.Node] = *p.Unaccounted
		}
	}
	gone := r.host.Change(func(p *guard.SizePool) {
		for i := range p.Nodes {
			if n := &p.Nodes[i]; p.PageKiB == r.must[0].PageKiB {
				surplus := min(n.Surplus, lost[n.Node])
				n.Free += lost[n.Node] - surplus
				n.Total -= surplus
				n.Surplus -= surplus
				p.Surplus = minus(p.Surplus, surplus)
			}
		}
	})
	if r.fits(gone) {
		found = append(found, Reboot{FindPages})
	}
	return found
}

// stop ends the processes to blame. Without Open vSwitch and other guests a host is of no use.
func stop(holders []guard.Holder) []Fix {
	var processes []guard.Holder
	for _, h := range holders {
		if h.Kind != guard.HolderProcess {
			return nil
		}
		if !slices.ContainsFunc(processes, func(known guard.Holder) bool { return known.PID == h.PID }) {
			processes = append(processes, h)
		}
	}
	if processes == nil {
		return nil
	}
	return []Fix{StopProcesses{processes}}
}
