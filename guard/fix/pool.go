package fix

import "hugeguard/guard"

// GrowPools makes pools larger, by telling the kernel their new numbers of pages.
type GrowPools struct {
	Limits []Limit // to raise first
	// Shrink are pools of larger pages, which give free ones back first: there is no other memory for Pools.
	Shrink []PoolSize
	Pools  []PoolSize
	// Compact says that the free memory is in pieces that are too small: caches have to go, and memory has to be moved.
	Compact bool
	// Seek says that no block of free memory is as large as a page: the kernel has to clear a place for each, and may
	// find fewer.
	Seek bool
	// Unsure says that it is not known whether there is memory for the pages.
	Unsure bool
	// Files are to be deleted afterwards. Their pages are surplus, so that they would go back to the kernel before.
	Files  *DeleteFiles
	NoNUMA bool // the kernel has no files for each node
	Keep   Keep
}

// PoolSize is how many pages one node's pool should have, without surplus ones.
type PoolSize struct {
	Node         int
	PageKiB      uint64
	Pages        uint64
	Now          uint64 // pages that it has, surplus ones included
	Surplus      uint64 // of these
	AvailableKiB uint64 // memory that the node has for more; 0 where that is not known
}

// Made is how many pages the kernel has to make: surplus pages become the pool's first.
func (p PoolSize) Made() uint64 { return minus(p.Pages, p.Now) }

// Keep is how pools keep their sizes beyond the next boot.
type Keep struct {
	Asked  bool       // the kernel's command line asks for as many already
	Sysctl uint64     // for vm.nr_hugepages, which is of the default size on all nodes; 0 where that will not do
	Line   *BootLine  // nil where the kernel's command line cannot say it
	Pools  []PoolSize // what else would have to be written at each boot
}

// BootLine is what the kernel's command line is to say.
type BootLine struct {
	Pools []guard.BootPool
	Was   []guard.BootPool // what it says now of these sizes
	CMA   bool             // it has hugetlb_cma=, which keeps the kernel from making gigantic pages at boot
	Tool  string           // as in [guard.Boot]
	Tuned string
}

// BootPools sets pools up at boot, as the kernel cannot be expected to find the memory later.
type BootPools struct {
	Limits []Limit // to be larger, too
	Line   BootLine
	Pools  []PoolSize
	Lost   uint64 // pages that the last boot did not make of those it was asked for, and which are asked for on top
	// Short is what there is too little memory for now; none where there is enough.
	Short []MemoryShort
	// Scattered says that there is memory now, but hardly in pieces as large as these pages.
	Scattered bool
	// Node is where all else that runs finds only RestKiB of memory then, less than the UsedKiB that it uses now; -1
	// for none.
	Node             int
	RestKiB, UsedKiB uint64
}

// FreeMemory has other programs give back memory: no node has as much as the pages take.
type FreeMemory struct {
	Places []MemoryShort
	Then   GrowPools // afterwards
}

// MemoryShort is what a node has too little memory for.
type MemoryShort struct {
	Node         int
	PageKiB      uint64
	Pages        uint64 // to be made
	AvailableKiB uint64
	MissingKiB   uint64 // to be freed, so that the host keeps what it lives on
}
