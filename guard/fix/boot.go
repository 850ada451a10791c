package fix

import (
	"slices"

	"hugeguard/guard"
)

// bootPools returns how to have pools of these sizes from the next boot on; nil where the kernel's command line cannot
// say it.
func bootPools(host guard.Host, grown GrowPools) *BootPools {
	line := grown.Keep.Line
	if line == nil || !line.raises(host.Memory) {
		return nil
	}
	fix := BootPools{Line: *line, Pools: grown.Pools, Node: -1}
	if grown.Keep.Undone {
		fix.Sysctl, fix.Setting = grown.Keep.Sysctl, grown.Keep.Setting
	}
	nodes := len(host.MemoryNodes())
	for _, p := range grown.Pools {
		fix.Lost += lost(host, p.Node, p.PageKiB, nodes)
		if slices.Contains(host.Memory.Boot.Bare, p.PageKiB) && host.Memory.Asked(p.PageKiB).Pages == 0 {
			fix.Bare = p.PageKiB
		}
		node, _ := memory{host.Memory}.node(p.Node)
		rest := minus(node.TotalKiB, node.PoolsKiB+p.Made()*p.PageKiB)
		if used := node.usedKiB(); rest < used+node.keptKiB() {
			fix.Node, fix.RestKiB, fix.UsedKiB = p.Node, rest, used
		}
	}
	return &fix
}

// askedFor reports whether the command line, or a setting of systemd's, asks for as many pages of a pool as a fix does: the
// kernel did not make them then.
func askedFor(host guard.Host, p PoolSize) bool {
	boot, nodes := host.Memory.Boot, host.MemoryNodes()
	return host.Memory.Asked(p.PageKiB).On(p.Node, len(nodes)) >= p.Pages ||
		p.PageKiB == host.DefaultPageKiB && boot.Setting != "" && boot.Set/uint64(len(nodes)) >= p.Pages
}

// undone reports whether a setting of systemd's gives pools of the default size fewer pages at each boot than these have.
func undone(host guard.Host, pools []PoolSize) bool {
	var all uint64
	for _, p := range pools {
		if p.PageKiB == host.DefaultPageKiB {
			all += p.Pages
		}
	}
	return host.Memory.Boot.Setting != "" && all > host.Memory.Boot.Set
}

// keep returns how pools keep these sizes.
func keep(host guard.Host, pools []PoolSize) Keep {
	k := Keep{Pools: pools}
	if len(pools) == 0 {
		return k
	}
	if len(host.MemoryNodes()) == 1 && len(pools) == 1 && pools[0].PageKiB == host.DefaultPageKiB {
		k.Sysctl = pools[0].Pages
	}
	if host.Memory == nil {
		return k
	}
	k.Set, k.Setting = host.Memory.Boot.Set, host.Memory.Boot.Setting
	nodes := len(host.MemoryNodes())
	k.Undone = undone(host, pools)
	k.Asked = !k.Undone && !slices.ContainsFunc(pools, func(p PoolSize) bool { return host.Memory.Asked(p.PageKiB).On(p.Node, nodes) < p.Pages })
	line := BootLine{CMA: host.Memory.Boot.CMA, Tool: host.Memory.Boot.Tool, Tuned: host.Memory.Boot.Tuned, Spread: nodes > 1 && !host.Memory.Boot.PerNode}
	for _, p := range pools {
		if slices.ContainsFunc(line.Pools, func(b guard.BootPool) bool { return b.PageKiB == p.PageKiB }) {
			continue
		}
		boot, ok := bootPool(host, p.PageKiB, pools)
		if !ok {
			return k
		}
		line.Pools = append(line.Pools, boot)
		if was := host.Memory.Asked(p.PageKiB); was.Pages > 0 {
			line.Was = append(line.Was, was)
		}
	}
	if line.raises(host.Memory) {
		k.Line = &line
	}
	return k
}

// bootPool returns what the command line has to ask for so that pools of a size get theirs and the others stay as they
// are; ok is false where it cannot say that.
func bootPool(h guard.Host, pageKiB uint64, pools []PoolSize) (b guard.BootPool, ok bool) {
	pool, _ := h.Pool(pageKiB)
	asked := h.Memory.Asked(pageKiB)
	nodes := h.MemoryNodes()
	b = guard.BootPool{PageKiB: pageKiB, Nodes: map[int]uint64{}}
	var most uint64
	for _, node := range nodes {
		n := pool.Node(node)
		has, before := minus(n.Total, n.Surplus), asked.On(node, len(nodes))
		want := max(has, before)
		for _, p := range pools {
			if p.PageKiB == pageKiB && p.Node == node {
				want = max(p.Pages+lost(h, node, pageKiB, len(nodes)), before)
			}
		}
		b.Nodes[node] = want
		b.Pages += want
		most = max(most, want)
	}
	if len(nodes) == 1 {
		b.Nodes = nil
		return b, true
	}
	if h.Memory.Boot.PerNode {
		return b, true
	}
	for _, node := range nodes { // the kernel spreads them evenly
		if more := most - b.Nodes[node]; more > 0 && (memory{h.Memory}).room(node, pageKiB) < more {
			return guard.BootPool{}, false
		}
	}
	return guard.BootPool{PageKiB: pageKiB, Pages: most * uint64(len(nodes))}, true
}

// lost is how many of the pages that were asked for on a node, of so many, were not made at boot for holes in the memory:
// few. Where more are missing, there was no memory for them, or the pool was made smaller since.
func lost(h guard.Host, node int, pageKiB uint64, nodes int) uint64 {
	pool, _ := h.Pool(pageKiB)
	asked, n := h.Memory.Asked(pageKiB).On(node, nodes), pool.Node(node)
	lost := minus(asked, minus(n.Total, n.Surplus))
	if lost > max(1, asked/8) {
		return 0
	}
	return lost
}

// raises reports whether the line asks for more pages than the kernel's command line does.
func (b BootLine) raises(m *guard.Memory) bool {
	return slices.ContainsFunc(b.Pools, func(p guard.BootPool) bool { return p.Pages > m.Asked(p.PageKiB).Pages })
}
