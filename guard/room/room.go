// Package room counts for how many more guests a host has room, by the judgement of package guard.
package room

import (
	"slices"
	"sort"

	"hugeguard/guard"
	"hugeguard/guard/fix"
)

// Room is for how many more launches of one kind a host has room, one after the other.
type Room struct {
	// Fit is how many would not be refused, [Most] at the most, and Sure how many of these, from the first on,
	// nothing is said against.
	Fit, Sure int
	// Doubt is the first that is warned of; nil where Sure is Fit.
	Doubt *fix.Verdict
	// Next is what is in the way of one more: its refusal, or the warning after which nobody can tell any more; nil
	// where Fit is Most.
	Next *fix.Verdict
}

// OfNode is the room of one node.
type OfNode struct {
	Node int
	Room
}

// Most is how many launches are counted at the most.
const Most = 1 << 20

// For returns for how many more launches of a demand a host has room. It asks [guard.Judge] as it would be asked if one
// after the other was started: each that fits claims its pages ([guard.Verdict.AsStarting]), and has them counted against
// the limits of mounts and control groups. countable is false where a launch takes no huge pages for certain, so
// that there is nothing to count.
//
// More claims never make a launch fit that did not, so that the number is found by halving (TestRoomIsExact).
func For(demand guard.Demand, host guard.Host) (room Room, countable bool) {
	host, _ = guard.Serious(host)
	first := guard.Judge(demand, host)
	judged := func(n int) guard.Verdict { return guard.Judge(demand, after(host, n, first)) }
	shown := func(n int) *fix.Verdict {
		v := fix.Judge(demand, after(host, n, first))
		return &v
	}
	if !fits(first) {
		room.Next = shown(0)
		return room, true
	}
	if len(first.Claims()) == 0 {
		return room, false
	}
	room.Fit = firstNot(Most, func(n int) bool { return fits(judged(n)) })
	room.Sure = firstNot(room.Fit, func(n int) bool { return judged(n).Decision == guard.Allow })
	if room.Sure < room.Fit {
		room.Doubt = shown(room.Sure)
	}
	if room.Fit == Most {
		return room, true
	}
	room.Next = shown(room.Fit)
	if room.Next.Doomed() {
		room.Next = shown(room.Fit - 1)
	}
	return room, true
}

// fits reports whether a launch is started, and those before it are sure of their pages.
func fits(v guard.Verdict) bool {
	return v.Decision != guard.Refuse && v.RefusedBy() == "" && !v.Doomed()
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
func after(h guard.Host, n int, v guard.Verdict) guard.Host {
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

// ByNode returns for how many more launches each node with memory has room, if all were bound to it, and all nodes
// together have. It is for a demand that is [Movable].
func ByNode(demand guard.Demand, host guard.Host) (nodes []OfNode, all Room) {
	rest := host
	for _, id := range host.MemoryNodes() {
		bound := BoundTo(demand, id)
		room, countable := For(bound, host)
		if !countable {
			continue
		}
		nodes = append(nodes, OfNode{id, room})
		room, _ = For(bound, rest)
		all.Fit, all.Sure = all.Fit+room.Fit, all.Sure+room.Sure
		if room.Fit > 0 {
			rest = after(rest, room.Fit, guard.Judge(bound, rest))
		}
	}
	if !isBound(demand) {
		all, _ = For(demand, host)
	}
	return nodes, all
}

// Movable reports whether a guest like that can lie on any one node: it is bound to one alone, or to none.
func Movable(d guard.Demand) bool { return len(d.Backends) > 0 && (isBound(d) || isFree(d)) }

// isBound reports whether all memory is bound to the same one node.
func isBound(d guard.Demand) bool {
	return !slices.ContainsFunc(d.Backends, func(b guard.Backend) bool {
		return b.Policy != guard.PolicyBind || b.Auto || len(b.HostNodes) != 1 || b.HostNodes[0] != d.Backends[0].HostNodes[0]
	})
}

// isFree reports whether nothing says where memory is to lie.
func isFree(d guard.Demand) bool {
	return d.Cpuset.Nodes == nil && !d.Cpuset.Auto && !slices.ContainsFunc(d.Backends, func(b guard.Backend) bool {
		return b.Auto || b.HostNodes != nil || b.Cpuset != nil
	})
}

// BoundTo returns the demand with all memory bound to one node, and its CPUs with it.
func BoundTo(d guard.Demand, node int) guard.Demand {
	on := guard.NodeSet{node}
	if d.Cpuset.Nodes != nil || !isBound(d) {
		d.Cpuset = guard.Cpuset{Nodes: on, Union: on}
	}
	d.Backends, d.Otherwise = slices.Clone(d.Backends), nil
	for i := range d.Backends {
		b := &d.Backends[i]
		b.Policy, b.Strength, b.HostNodes, b.Pinned, b.PinnedTo = guard.PolicyBind, guard.Hard, on, false, nil
	}
	return d
}
