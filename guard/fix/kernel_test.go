package fix_test

import (
	"slices"

	"pgregory.net/rapid"

	"hugeguard/guard"
	"hugeguard/guard/fix"
	"hugeguard/guard/words"
)

// kernel does what Linux does about pools (mm/hugetlb.c).
type kernel struct{ guard.Host }

// write is a number written to a node's nr_hugepages (set_max_huge_pages): surplus pages become the pool's first, then
// pages are made; free ones are given back, and what is in use stays as surplus.
func (k *kernel) write(node int, pageKiB, count uint64) {
	k.Host = k.Change(func(p *guard.SizePool) {
		if p.PageKiB != pageKiB {
			return
		}
		for i := range p.Nodes {
			n := &p.Nodes[i]
			if n.Node != node {
				continue
			}
			for n.Surplus > 0 && n.Total-n.Surplus < count {
				n.Surplus--
				p.Surplus--
			}
			for n.Total-n.Surplus < count {
				n.Total++
				n.Free++
			}
			for n.Total-n.Surplus > count && n.Free > 0 {
				n.Total--
				n.Free--
			}
			for n.Total-n.Surplus > count {
				n.Surplus++
				p.Surplus++
			}
		}
	})
}

// free is a page that is given back (free_huge_folio).
func (k *kernel) free(node int, pageKiB uint64) {
	k.Host = k.Change(func(p *guard.SizePool) {
		for i := range p.Nodes {
			n := &p.Nodes[i]
			if p.PageKiB != pageKiB || n.Node != node {
				continue
			}
			if n.Surplus > 0 {
				n.Surplus--
				p.Surplus--
				n.Total--
			} else {
				n.Free++
			}
		}
	})
}

// do does what a fix says, in its order.
func (k *kernel) do(g fix.GrowPools) {
	for _, l := range g.Limits {
		k.raise(l)
	}
	for _, p := range g.Pools {
		k.write(p.Node, p.PageKiB, p.Pages)
	}
	if g.Files != nil {
		k.dropFiles()
	}
}

// raise raises a limit. A mount's is that of another mount over it.
func (k *kernel) raise(l fix.Limit) {
	k.Mounts, k.Cgroups = slices.Clone(k.Mounts), slices.Clone(k.Cgroups)
	for i := range k.Mounts {
		if m := &k.Mounts[i]; l.Mount && m.Path == l.Path && m.Limit != nil {
			limit := *m.Limit
			limit.Pages = l.Pages
			m.Limit = &limit
		}
	}
	for i := range k.Cgroups {
		c := &k.Cgroups[i]
		c.Limits = slices.Clone(c.Limits)
		for j := range c.Limits {
			if !l.Mount && c.Limits[j].File == l.Path {
				c.Limits[j].Pages = l.Pages
			}
		}
	}
}

// dropFiles deletes all leftover files.
func (k *kernel) dropFiles() {
	if k.Holders == nil {
		return
	}
	for _, p := range k.Report() {
		for _, h := range p.Holders {
			for range h.Pages {
				if h.Kind == guard.HolderFile {
					k.free(p.Node, p.PageKiB)
				}
			}
		}
	}
	holders := *k.Holders
	holders.List = slices.DeleteFunc(slices.Clone(holders.List), func(h guard.Holder) bool { return h.Kind == guard.HolderFile })
	k.Holders = &holders
}

// room is how many pages a node has memory for beside what the host lives on: a 64th of it, 256 MiB to 2 GiB.
func (k kernel) room(node int, pageKiB uint64) uint64 {
	n := k.Memory.Nodes[node]
	have, kept := min(n.FreeKiB+n.CacheKiB, k.Memory.AvailableKiB), min(max(n.TotalKiB/64, 256<<10), 2<<20)
	return (have - min(have, kept)) / pageKiB
}

// helps sees that each fix of pools and limits helps: after it the launch is not refused.
func helps(t rapid.TB, d guard.Demand, host guard.Host, v fix.Verdict) (fixes int) {
	for _, f := range v.Fixes {
		after := kernel{host}
		switch f := f.(type) {
		case fix.GrowPools:
			for _, p := range f.Pools {
				if host.Memory != nil && p.Made() > 0 && f.Shrink == nil && after.room(p.Node, p.PageKiB) < p.Made() {
					t.Errorf("%d pages are to be made on node %d, where there is room for %d", p.Made(), p.Node, after.room(p.Node, p.PageKiB))
				}
			}
			after.do(f)
		case fix.RaiseLimits:
			after.do(fix.GrowPools{Limits: f.Limits})
		case fix.BootPools:
			after.dropFiles()
			after.do(fix.GrowPools{Pools: f.Pools, Limits: f.Limits})
		case fix.FreeMemory:
			after.do(f.Then)
		default:
			continue
		}
		fixes++
		if then := fix.Judge(d, after.Host); then.Decision == guard.Refuse {
			t.Errorf("%+v does not help: %s\nbefore: %s\nafter: %+v", f, words.Summary(then), words.Summary(v), after.Pools)
		}
	}
	return fixes
}
