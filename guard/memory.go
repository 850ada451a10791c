package guard

import "slices"

// Memory is what a host has to make more huge pages of, and what it was told to make at boot.
type Memory struct {
	Nodes []NodeMemory // of which it is known
	// AvailableKiB is how much can be had on all nodes without swapping (MemAvailable); 0 where that is not known.
	AvailableKiB uint64
	Boot         Boot
	// Others are the pools of the sizes that are none of the host's Pools.
	Others []SizePool
	// NoNUMA says that the kernel has no files for each node.
	NoNUMA bool
}

// NodeMemory is the memory of a node, in KiB.
type NodeMemory struct {
	Node     int
	TotalKiB uint64
	FreeKiB  uint64
	CacheKiB uint64 // that the kernel can take back: file pages and slab memory
	PoolsKiB uint64 // in huge pages of all sizes, in use or not
	// Blocks are how many free blocks of each order there are, of 2^order ordinary pages; nil where that is not known.
	Blocks []uint64
}

// Boot is what is known of setting up pages at boot.
type Boot struct {
	Pools []BootPool // that the kernel's command line asks for
	// CMA says that gigantic pages come from memory that hugetlb_cma= sets aside. The kernel makes none at boot then.
	CMA     bool
	PerNode bool   // the kernel takes hugepages=NODE:COUNT: it is Linux 5.16 or later
	Tool    string // changes the command line: "grubby", "update-grub", "" for neither
	Tuned   string // the profile of TuneD that is active, "" for none
}

// BootPool is how many pages of a size were to be made at boot.
type BootPool struct {
	PageKiB uint64
	Pages   uint64         // on all nodes
	Nodes   map[int]uint64 // nil where the kernel was to spread them
}

// node returns the memory of a node; ok is false where nothing is known of it.
func (m *Memory) node(id int) (n NodeMemory, ok bool) {
	if m == nil {
		return NodeMemory{}, false
	}
	i := slices.IndexFunc(m.Nodes, func(n NodeMemory) bool { return n.Node == id })
	if i < 0 {
		return NodeMemory{}, false
	}
	return m.Nodes[i], true
}

// availableKiB is how much of a node's memory the kernel can make pages of without swapping.
func (m *Memory) availableKiB(n NodeMemory) uint64 {
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
func (n NodeMemory) keptKiB() uint64 { return min(max(n.TotalKiB/64, leastKeptKiB), mostKeptKiB) }

// usedKiB is what neither is available nor in huge pages.
func (n NodeMemory) usedKiB() uint64 { return minus(n.TotalKiB, n.FreeKiB+n.CacheKiB+n.PoolsKiB) }

// room is how many pages the kernel can make on a node now, the host's own memory left aside; all there can be where
// nothing is known of the node.
func (m *Memory) room(node int, pageKiB uint64) uint64 {
	n, ok := m.node(node)
	if !ok {
		return unknownRoom
	}
	return minus(m.availableKiB(n), n.keptKiB()) / pageKiB
}

// with returns memory as it is once all that is free of another pool has been given back.
func (m *Memory) with(other SizePool) *Memory {
	more := *m
	more.Nodes = slices.Clone(m.Nodes)
	for i, n := range more.Nodes {
		kib := other.spare(n.Node) * other.PageKiB
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
func (p SizePool) spare(node int) uint64 {
	n := p.node(node)
	if n.Surplus > 0 {
		return 0
	}
	return minus(n.Free, p.Reserved)
}

// roomAtBoot is how many more pages a node can have from the next boot on. Then what else runs finds less memory than
// it uses now: no less than three quarters of that.
func (m *Memory) roomAtBoot(node int, pageKiB uint64) uint64 {
	n, ok := m.node(node)
	if !ok {
		return 0
	}
	rest := minus(n.TotalKiB, n.PoolsKiB)
	return minus(rest, max(n.keptKiB(), n.usedKiB()/4*3)) / pageKiB
}

// unknownRoom is more pages than any node has.
const unknownRoom = 1 << 50

// pieces is how many pages the free blocks of a node are large enough for; known is false where the blocks are not
// known.
func (n NodeMemory) pieces(pageKiB, baseKiB uint64) (pages uint64, known bool) {
	for order, blocks := range n.Blocks {
		if size := baseKiB << order; size >= pageKiB {
			pages += blocks * (size / pageKiB)
		}
	}
	return pages, n.Blocks != nil
}

// largestKiB is how much of a node's free memory is in blocks of the largest order.
func (n NodeMemory) largestKiB(baseKiB uint64) uint64 {
	if len(n.Blocks) == 0 {
		return 0
	}
	last := len(n.Blocks) - 1
	return n.Blocks[last] * (baseKiB << last)
}

// gigantic reports whether pages are larger than the kernel's largest block of free memory, which has 2^10 ordinary
// pages where the node does not say: the kernel has to clear a place for each (alloc_contig_pages).
func (n NodeMemory) gigantic(pageKiB, baseKiB uint64) bool {
	orders := len(n.Blocks)
	if orders == 0 {
		orders = 11
	}
	return pageKiB > baseKiB<<(orders-1)
}

// asked is what the kernel's command line asks for of a size.
func (m *Memory) asked(pageKiB uint64) BootPool {
	if m == nil {
		return BootPool{}
	}
	i := slices.IndexFunc(m.Boot.Pools, func(p BootPool) bool { return p.PageKiB == pageKiB })
	if i < 0 {
		return BootPool{}
	}
	return m.Boot.Pools[i]
}
