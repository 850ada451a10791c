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
	// Told are pools that fixes of refusals were to make larger since boot.
	Told []Told
}

// Told is what a fix was to make of a pool, and what there was then.
type Told struct {
	Node           int
	PageKiB, Pages uint64
	Had            uint64 // pages
	AvailableKiB   uint64 // on the node
	Failed         bool   // since then the kernel made fewer than it was told to
}

// SamePool reports whether both are of one pool.
func (t Told) SamePool(o Told) bool { return t.Node == o.Node && t.PageKiB == o.PageKiB }

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
	// Bare are the page sizes in KiB of hugepagesz= without hugepages= behind it, which asks for no pages.
	Bare []uint64
	// CMA says that gigantic pages come from memory that hugetlb_cma= sets aside. The kernel makes none at boot then.
	CMA bool
	// Pages of the default size that a file has systemd set at boot, after the command line; Setting is its path, "" for
	// none.
	Set     uint64
	Setting string
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

// Asked is what the kernel's command line asks for of a size.
func (m *Memory) Asked(pageKiB uint64) BootPool {
	if m == nil {
		return BootPool{}
	}
	i := slices.IndexFunc(m.Boot.Pools, func(p BootPool) bool { return p.PageKiB == pageKiB })
	if i < 0 {
		return BootPool{}
	}
	return m.Boot.Pools[i]
}

// On is how many pages were asked for on a node, of so many that the kernel spreads them over.
func (b BootPool) On(node, nodes int) uint64 {
	if b.Nodes != nil {
		return b.Nodes[node]
	}
	return b.Pages / uint64(nodes)
}
