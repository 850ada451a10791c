package fix

import (
	"slices"

	"hugeguard/guard"
)

// Told returns which pools were to be made larger, for a ledger: those that the host has been told of already, and those
// of the fixes.
func Told(host guard.Host, fixes []Fix) []guard.Told {
	m := memory{host.Memory}
	if m.Memory == nil {
		return nil
	}
	told := slices.Clone(m.Told)
	for i, t := range told {
		pool, _ := host.Pool(t.PageKiB)
		told[i].Failed = m.failed(PoolSize{Node: t.Node, PageKiB: t.PageKiB, Pages: t.Pages, Now: pool.Node(t.Node).Total})
	}
	for _, fix := range fixes {
		grow, ok := fix.(GrowPools)
		if !ok {
			continue
		}
		for _, p := range grow.Pools {
			t := guard.Told{Node: p.Node, PageKiB: p.PageKiB, Pages: p.Pages, Had: p.Now, AvailableKiB: p.AvailableKiB}
			i := slices.IndexFunc(told, t.SamePool)
			switch {
			case p.Made() == 0:
			case i < 0:
				told = append(told, t)
			default:
				t.Failed = told[i].Failed
				told[i] = t
			}
		}
	}
	return told
}

// failed reports whether the kernel was told to make a pool as large, made fewer pages, and has no more memory now than
// it had then. That it was told is certain where the pool has grown meanwhile. The kernel's counter of failures is no
// evidence: it counts all pools together, and pages beyond the pools, too.
func (m memory) failed(p PoolSize) bool {
	if m.Memory == nil {
		return false
	}
	at := guard.Told{Node: p.Node, PageKiB: p.PageKiB}
	i := slices.IndexFunc(m.Told, at.SamePool)
	if i < 0 {
		return false
	}
	t := m.Told[i]
	node, _ := m.node(p.Node)
	if p.Now >= t.Pages || p.Pages < t.Pages || m.availableKiB(node) >= t.AvailableKiB+minus(t.Pages, p.Now)*p.PageKiB {
		return false
	}
	return t.Failed || p.Now > t.Had
}
