package guardtest

import (
	"slices"

	"hugeguard/guard"
)

// WithMemory gives each node so much memory in KiB, of which all but used and the pools is free, in the largest blocks.
func (s Setup) WithMemory(totalKiB uint64, usedKiB ...uint64) Setup {
	memory := &guard.Memory{Boot: guard.Boot{PerNode: true}}
	for id, used := range usedKiB {
		n := guard.NodeMemory{Node: id, TotalKiB: totalKiB}
		for _, p := range s.Pools {
			n.PoolsKiB += p.Node(id).Total * p.PageKiB
		}
		n.FreeKiB = totalKiB - min(totalKiB, used+n.PoolsKiB)
		n.Blocks = make([]uint64, 11)
		n.Blocks[10] = n.FreeKiB / (4 << 10)
		memory.Nodes = append(memory.Nodes, n)
		memory.AvailableKiB += n.FreeKiB
	}
	s.Memory = memory
	return s
}

// Remembering changes what [Setup.WithMemory] gave it.
func (s Setup) Remembering(change func(*guard.Memory)) Setup {
	memory := *s.Memory
	memory.Nodes = slices.Clone(memory.Nodes)
	change(&memory)
	s.Memory = &memory
	return s
}

// InPieces breaks a node's free memory into blocks smaller than a page, but for some of 2 MiB.
func (s Setup) InPieces(node int, left uint64) Setup {
	return s.Remembering(func(memory *guard.Memory) {
		n := &memory.Nodes[node]
		n.Blocks = make([]uint64, 11)
		n.Blocks[9] = left
		n.Blocks[3] = (n.FreeKiB - left*2048) / 32
	})
}

// BesideGiB puts all but 256 KiB of node 0's free memory into pages of 1 GiB, of which some are free and some of these
// promised.
func (s Setup) BesideGiB(total, free, reserved uint64) Setup {
	const gib = 1 << 20
	return s.Remembering(func(memory *guard.Memory) {
		n := &memory.Nodes[0]
		n.PoolsKiB, n.FreeKiB, n.Blocks, memory.AvailableKiB = n.PoolsKiB+total*gib, 256, make([]uint64, 11), 256
		memory.Others = []guard.SizePool{{PageKiB: gib, Reserved: reserved, Nodes: []guard.NodePool{{Node: 0, Total: total, Free: free}}}}
	})
}

// Booted changes how its kernel was booted.
func (s Setup) Booted(change func(*guard.Boot)) Setup {
	return s.Remembering(func(memory *guard.Memory) { change(&memory.Boot) })
}

// Asking has the kernel's command line ask for pages.
func (s Setup) Asking(pools ...guard.BootPool) Setup {
	return s.Booted(func(b *guard.Boot) { b.Pools = pools })
}

// Told has node 0's pool of 2 MiB pages have been told to grow, with all of today's memory unless it is said.
func (s Setup) Told(t guard.Told) Setup {
	return s.Remembering(func(memory *guard.Memory) {
		t.PageKiB = 2048
		if t.AvailableKiB == 0 {
			t.AvailableKiB = memory.AvailableKiB
		}
		memory.Told = []guard.Told{t}
	})
}
