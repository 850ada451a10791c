package guard

import (
	"slices"
	"sort"
)

// Room is for how many more launches of one kind a host has room, one after the other.
type Room struct {
	// Fit is how many would not be refused, [MostRoom] at the most, and Sure how many of these, from the first on,
	// nothing is said against.
	Fit, Sure int
	// Doubt is the first that is warned of; nil where Sure is Fit.
	Doubt *Verdict
	// Next is what is in the way of one more: its refusal, or the warning after which nobody can tell any more; nil
	// where Fit is MostRoom.
	Next *Verdict
}

// NodeRoom is the room of one node.
type NodeRoom struct {
	Node int
	Room
}

// MostRoom is how many launches are counted at the most.
const MostRoom = 1 << 20

// RoomFor returns for how many more launches of a demand a host has room. It asks [Judge] as it would be asked if one
// after the other was started: each that fits claims its pages ([Verdict.AsStarting]), and has them counted against the
// limits of mounts and control groups. The verdicts that it returns are those of judge, which may add fixes to them.
// countable is false where a launch takes no huge pages, so that there is nothing to count.
//
// More claims never make a launch fit that did not, so that the number is found by halving (TestRoomIsExact).
func RoomFor(demand Demand, host Host, judge func(Demand, Host) Verdict) (room Room, countable bool) {
	host, _ = Serious(host)
	first := Judge(demand, host)
	after := func(n int) Verdict { return Judge(demand, host.after(n, first)) }
	shown := func(n int) *Verdict {
		v := judge(demand, host.after(n, first))
		return &v
	}
	if !first.fits() {
		room.Next = shown(0)
		return room, true
	}
	if len(first.Claims()) == 0 {
		room.Next = &first
		return room, false
	}
	room.Fit = firstNot(MostRoom, func(n int) bool { return after(n).fits() })
	room.Sure = firstNot(room.Fit, func(n int) bool { return after(n).Decision == Allow })
	if room.Sure < room.Fit {
		room.Doubt = shown(room.Sure)
	}
	if room.Fit == MostRoom {
		return room, true
	}
	room.Next = shown(room.Fit)
	if room.Next.doomed {
		room.Next = shown(room.Fit - 1)
	}
	return room, true
}

// fits reports whether a launch is started, and those before it are sure of their pages.
func (v Verdict) fits() bool {
	return v.Decision != Refuse && v.RefusedBy() == "" && !v.doomed
}

// firstNot returns the first number for which a test fails that holds for all before it, most if it never does.
func firstNot(most int, holds func(n int) bool) int {
	high := 1
	for high < most && holds(high) {
		high *= 2
	}
	return sort.Search(min(high, most), func(n int) bool { return !holds(n) })
}

// after returns the host when n launches of that verdict have been started on it, together as one: for the kernel it is
// the same whose pages they are.
func (h Host) after(n int, v Verdict) Host {
	if n == 0 {
		return h
	}
	all := v.AsStarting()
	for i := range all.Claims {
		all.Claims[i].Pages *= uint64(n)
	}
	h.Starting = append(slices.Clone(h.Starting), all)
	h.Mounts, h.Cgroups = slices.Clone(h.Mounts), slices.Clone(h.Cgroups)
	for _, b := range v.Demand {
		pages := uint64(n) * b.Pages
		for i, m := range h.Mounts {
			if m.Limit != nil && m.PageKiB == b.PageKiB && !b.Memfd {
				limit := *m.Limit
				limit.Used += pages
				h.Mounts[i].Limit = &limit
			}
		}
		for i := range h.Cgroups {
			limits := slices.Clone(h.Cgroups[i].Limits)
			for k := range limits {
				if limits[k].PageKiB == b.PageKiB {
					limits[k].Used += pages
				}
			}
			h.Cgroups[i].Limits = limits
		}
	}
	return h
}

// RoomByNode returns for how many more launches each node with memory has room, if all were bound to it, and all nodes
// together have. The verdicts are judge's, as those of [RoomFor]. It is for a demand that is [Demand.Movable].
func RoomByNode(demand Demand, host Host, judge func(Demand, Host) Verdict) (nodes []NodeRoom, all Room) {
	rest := host
	for _, id := range host.MemoryNodes() {
		bound := demand.BoundTo(id)
		room, countable := RoomFor(bound, host, judge)
		if !countable {
			continue
		}
		nodes = append(nodes, NodeRoom{id, room})
		room, _ = RoomFor(bound, rest, Judge)
		all.Fit, all.Sure = all.Fit+room.Fit, all.Sure+room.Sure
		if room.Fit > 0 {
			rest = rest.after(room.Fit, Judge(bound, rest))
		}
	}
	if !demand.bound() {
		all, _ = RoomFor(demand, host, judge)
	}
	return nodes, all
}

// Movable reports whether a guest like that can lie on any one node: it is bound to one alone, or to none.
func (d Demand) Movable() bool { return len(d.Backends) > 0 && (d.bound() || d.free()) }

// bound reports whether all memory is bound to the same one node.
func (d Demand) bound() bool {
	return !slices.ContainsFunc(d.Backends, func(b Backend) bool {
		return b.Policy != PolicyBind || b.Auto || len(b.HostNodes) != 1 || b.HostNodes[0] != d.Backends[0].HostNodes[0]
	})
}

// free reports whether nothing says where memory is to lie.
func (d Demand) free() bool {
	return d.Cpuset.Nodes == nil && !d.Cpuset.Auto && !slices.ContainsFunc(d.Backends, func(b Backend) bool {
		return b.Auto || b.HostNodes != nil || b.Cpuset != nil
	})
}

// BoundTo returns the demand with all memory bound to one node, and its CPUs with it.
func (d Demand) BoundTo(node int) Demand {
	on := NodeSet{node}
	if d.Cpuset.Nodes != nil || !d.bound() {
		d.Cpuset = Cpuset{Nodes: on, Union: on}
	}
	d.Backends = slices.Clone(d.Backends)
	for i := range d.Backends {
		b := &d.Backends[i]
		b.Policy, b.Strength, b.HostNodes, b.Pinned, b.PinnedTo = PolicyBind, Hard, on, false, nil
	}
	return d
}
