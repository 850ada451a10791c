package guard

import (
	"cmp"
	"slices"

	"hugeguard/guard/nova"
)

// On is how many pages a holder is seen to have on some nodes.
func (h Holder) On(nodes NodeSet) uint64 {
	var pages uint64
	for node, n := range h.Pages {
		if nodes.Has(node) {
			pages += n
		}
	}
	return pages
}

func sumPages[M ~map[int]uint64](pages M) uint64 {
	var sum uint64
	for _, n := range pages {
		sum += n
	}
	return sum
}

func sumReserved(holders []Holder) uint64 {
	var sum uint64
	for _, h := range holders {
		sum += h.Reserved
	}
	return sum
}

// unseen is how many pages of each node are taken and seen with nobody. The unplaced pages of all holders are among
// them.
type unseen map[int]uint64

func (h Host) unseen(pool SizePool) unseen {
	left := unseen{}
	for _, n := range pool.Nodes {
		left[n.Node] = minus(n.Total, n.Free)
	}
	var unplaced uint64
	for _, holder := range h.Holders.List {
		if holder.PageKiB != pool.PageKiB {
			continue
		}
		unplaced += holder.Unplaced
		for node, pages := range holder.Pages {
			left[node] = minus(left[node], pages)
		}
	}
	if unplaced > sumPages(left) {
		// The counters and the holders are not of one moment: of what could not be seen nothing is certain then.
		for node := range left {
			left[node] = 0
		}
	}
	return left
}

// certain is what some holders of one size have on each node at the least: the pages seen there, and those of their
// unplaced ones for which the unseen pages of the other nodes leave no room.
func (u unseen) certain(holders ...Holder) map[int]uint64 {
	pages := map[int]uint64{}
	var unplaced uint64
	for _, holder := range holders {
		unplaced += holder.Unplaced
		for node, n := range holder.Pages {
			pages[node] += n
		}
	}
	all := sumPages(u)
	for node, n := range u {
		if must := min(n, minus(unplaced, all-n)); must > 0 {
			pages[node] += must
		}
	}
	return pages
}

// held is what each of the host's holders has of a pool, by node.
func (h Host) held(pool SizePool) []map[int]uint64 {
	if h.Holders == nil {
		return nil
	}
	unseen := h.unseen(pool)
	held := make([]map[int]uint64, len(h.Holders.List))
	for i, holder := range h.Holders.List {
		if holder.PageKiB == pool.PageKiB {
			held[i] = unseen.certain(holder)
		}
	}
	return held
}

// locate returns holders with those of their unplaced pages on the nodes where they must lie.
func (h Host) locate(holders []Holder) []Holder {
	located := slices.Clone(holders)
	known := map[uint64]unseen{} // by page size
	for i, holder := range located {
		if known[holder.PageKiB] == nil {
			pool, _ := h.Pool(holder.PageKiB)
			known[holder.PageKiB] = h.unseen(pool)
		}
		pages := known[holder.PageKiB].certain(holder)
		located[i].Unplaced -= sumPages(pages) - sumPages(holder.Pages)
		located[i].Pages = pages
	}
	return located
}

// HeldBy is what holders of one kind have, all of them together, without the memory of guests that are gone: a process
// that keeps that is to give it back.
func (h Host) HeldBy(kind HolderKind) map[nova.Pool]uint64 {
	held := map[nova.Pool]uint64{}
	if h.Holders == nil {
		return held
	}
	for _, holder := range h.locate(h.Holders.List) {
		if holder.Kind == kind && holder.Guest == "" {
			for node, pages := range holder.Pages {
				held[nova.Pool{Node: node, PageKiB: holder.PageKiB}] += pages
			}
		}
	}
	return held
}

// promised is how many pages of each node holders of some kinds are still to take of those that were promised to them.
// On one node that is certain. Of several nodes none is certain: hugeguard assumes that they continue where they have pages already, else
// where most are free.
func (h Host) promised(kinds ...HolderKind) map[nova.Pool]uint64 {
	placed := map[nova.Pool]uint64{}
	if h.Holders == nil {
		return placed
	}
	for _, holder := range h.Holders.List {
		if holder.Guest != "" || !slices.Contains(kinds, holder.Kind) {
			continue
		}
		pool, _ := h.Pool(holder.PageKiB)
		nodes := slices.Clone(pool.Nodes)
		slices.SortStableFunc(nodes, func(a, b NodePool) int {
			return cmp.Or(cmp.Compare(holder.Pages[b.Node], holder.Pages[a.Node]), cmp.Compare(b.Free, a.Free))
		})
		left := holder.Reserved
		for _, n := range nodes {
			at := nova.Pool{Node: n.Node, PageKiB: holder.PageKiB}
			take := min(left, minus(n.Free, placed[at]))
			if take > 0 {
				placed[at] += take
				left -= take
			}
		}
	}
	return placed
}

// unaccounted is what is taken of each node of a pool and, for all that is certain, held by no holder.
func unaccounted(pool SizePool, held []map[int]uint64) map[int]uint64 {
	left := map[int]uint64{}
	for _, n := range pool.Nodes {
		left[n.Node] = minus(n.Total, n.Free)
	}
	for _, pages := range held {
		for node, n := range pages {
			left[node] = minus(left[node], n)
		}
	}
	return left
}
