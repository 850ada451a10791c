package fix

import (
	"slices"

	"hugeguard/guard"
)

// memory is what a host has to make huge pages of; of nil nothing is known.
type memory struct{ *guard.Memory }

// nodeMemory is the same of a node.
type nodeMemory struct{ guard.NodeMemory }

// node returns the memory of a node; ok is false where nothing is known of it.
func (m memory) node(id int) (n nodeMemory, ok bool) {
	if m.Memory == nil {
		return n, false
	}
	i := slices.IndexFunc(m.Nodes, func(n guard.NodeMemory) bool { return n.Node == id })
	if i < 0 {
		return n, false
	}
	return nodeMemory{m.Nodes[i]}, true
}

// availableKiB is how much of a node's memory the kernel can make pages of without swapping.
func (m memory) availableKiB(n nodeMemory) uint64 {
	available := n.FreeKiB + n.CacheKiB
	if m.AvailableKiB > 0 {
		available = min(available, m.AvailableKiB)
	}
	return available
}

const (
	leastKeptKiB = 256 << 10
	mostKeptKiB  = 2 << 20
)

// keptKiB is what a host lives on: so much of a node's memory stays available whatever is made huge pages, a 64th of
// it and no less than 256 MiB, no more than 2 GiB.
func (n nodeMemory) keptKiB() uint64 { return min(max(n.TotalKiB/64, leastKeptKiB), mostKeptKiB) }

// usedKiB is what neither is available nor in huge pages.
func (n nodeMemory) usedKiB() uint64 { return minus(n.TotalKiB, n.FreeKiB+n.CacheKiB+n.PoolsKiB) }

// room is how many pages the kernel can make on a node now, the host's own memory left aside; all there can be where
// nothing is known of the node.
func (m memory) room(node int, pageKiB uint64) uint64 {
	n, ok := m.node(node)
	if !ok {
		return unknownRoom
	}
	return minus(m.availableKiB(n), n.keptKiB()) / pageKiB
}

// roomOfAll is how much ordinary memory, in KiB, the kernel can make pages of now on all nodes together, the host's own
// memory left aside: what is available on each may be more in the sum than is available at all.
func (m memory) roomOfAll() uint64 {
	if m.Memory == nil || m.AvailableKiB == 0 {
		return unknownRoom
	}
	var kept uint64
	for _, n := range m.Nodes {
		kept += nodeMemory{n}.keptKiB()
	}
	return minus(m.AvailableKiB, kept)
}

// unknownRoom is more pages, or KiB, than any node has.
const unknownRoom = 1 << 50

// roomAtBoot is how many more pages a node can have from the next boot on. Then what else runs finds less memory than
// it uses now: no less than three quarters of that.
func (m memory) roomAtBoot(node int, pageKiB uint64) uint64 {
	n, ok := m.node(node)
	if !ok {
		return 0
	}
	rest := minus(n.TotalKiB, n.PoolsKiB)
	return minus(rest, max(n.keptKiB(), n.usedKiB()/4*3)) / pageKiB
}

// with returns memory as it is once all that is free of another pool has been given back.
func (m memory) with(other guard.SizePool) *guard.Memory {
	more := *m.Memory
	more.Nodes = slices.Clone(m.Nodes)
	for i, n := range more.Nodes {
		kib := spare(other, n.Node) * other.PageKiB
		n.FreeKiB, n.PoolsKiB = n.FreeKiB+kib, minus(n.PoolsKiB, kib)
		if last := len(n.Blocks) - 1; last >= 0 {
			n.Blocks = slices.Clone(n.Blocks)
			n.Blocks[last] += kib / (leastKeptKiB / 64) // of 4 MiB, which is no more than the largest block
		}
		if more.AvailableKiB > 0 {
			more.AvailableKiB += kib
		}
		more.Nodes[i] = n
	}
	return &more
}

// spare is how many of a node's pages nobody has, was promised, or is to get back from surplus.
func spare(p guard.SizePool, node int) uint64 {
	n := p.Node(node)
	if n.Surplus > 0 {
		return 0
	}
	return minus(n.Free, p.Reserved)
}

// holds reports whether the host has as much ordinary memory available as a process has in huge pages, or was promised;
// so it does where nothing is known of its memory.
func (m memory) holds(h guard.Holder) bool {
	pages := h.Unplaced + h.Reserved
	for _, n := range h.Pages {
		pages += n
	}
	return m.spares(pages * h.PageKiB)
}

// spares reports whether the host has so much ordinary memory available; so it does where nothing is known of its memory.
func (m memory) spares(kib uint64) bool { return m.roomOfAll() >= kib }

// tmpfs reports whether so much goes into /dev/shm, which by default has half of the host's memory at the most.
func (m memory) tmpfs(kib uint64) bool {
	if m.Memory == nil {
		return false
	}
	var total uint64
	for _, n := range m.Nodes {
		total += n.TotalKiB
	}
	return kib <= total/2
}

// pieces is how many pages the free blocks of a node are large enough for; known is false where the blocks are not
// known.
func (n nodeMemory) pieces(pageKiB, baseKiB uint64) (pages uint64, known bool) {
	for order, blocks := range n.Blocks {
		if size := baseKiB << order; size >= pageKiB {
			pages += blocks * (size / pageKiB)
		}
	}
	return pages, n.Blocks != nil
}

// largestKiB is how much of a node's free memory is in blocks of the largest order.
func (n nodeMemory) largestKiB(baseKiB uint64) uint64 {
	if len(n.Blocks) == 0 {
		return 0
	}
	last := len(n.Blocks) - 1
	return n.Blocks[last] * (baseKiB << last)
}

// gigantic reports whether pages are larger than the kernel's largest block of free memory, which has 2^10 ordinary
// pages where the node does not say: the kernel has to clear a place for each (alloc_contig_pages).
func (n nodeMemory) gigantic(pageKiB, baseKiB uint64) bool {
	orders := len(n.Blocks)
	if orders == 0 {
		orders = 11
	}
	return pageKiB > baseKiB<<(orders-1)
}

// minus is a - b, or 0 where b is larger.
func minus(a, b uint64) uint64 { return a - min(a, b) }
