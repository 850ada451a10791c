package fix

import (
	"slices"
	"sort"

	"hugeguard/guard"
)

// changes returns what to change of a domain that no free page would help.
func (l launch) changes() (changes []Change) {
	for _, f := range l.must {
		c := Change{Backend: f.Backend}
		switch why := f.Reason.(type) {
		case guard.NoSuchPages:
			c.Do, c.KiB = TakePages, l.fitting(f.PageKiB, why.Sizes)
		case guard.WrongSize:
			c.Do, c.KiB = Resize, []uint64{why.RightKiB}
			if why.Why == guard.SmallBlock {
				c.Do = ResizeBlocks
			}
		case guard.Unbindable:
			c.Do, c.Nodes, c.From = Bind, why.Able, l.elementOf(f.Backend)
			if why.Why == guard.PinnedToOther {
				c.Do, c.Nodes, c.From = PinEmulator, f.Nodes, ""
			}
		}
		if len(c.KiB)+len(c.Nodes) > 0 {
			changes = append(changes, c)
		}
	}
	return changes
}

// elementOf returns the element of the domain's XML that says where a backend's memory lies.
func (l launch) elementOf(id string) string {
	i := slices.IndexFunc(l.demand.Backends, func(b guard.Backend) bool { return b.ID == id })
	if i < 0 {
		return ""
	}
	return l.demand.Backends[i].From
}

// fitting returns the page sizes in KiB with which the launch fits in place of one, of all if it fits with none.
func (l launch) fitting(of uint64, sizes []uint64) []uint64 {
	host := l.host
	if host.Memory != nil {
		host.Pools = slices.Concat(host.Pools, host.Memory.Others)
	}
	fits := slices.DeleteFunc(slices.Clone(sizes), func(size uint64) bool {
		d := l.demand
		d.Backends = slices.Clone(d.Backends)
		for i := range d.Backends {
			if d.Backends[i].PageKiB == of {
				d.Backends[i].PageKiB = size
			}
		}
		return guard.MustFail(d, host) != nil
	})
	if len(fits) == 0 {
		return sizes
	}
	return fits
}

// rebind binds memory that is short to another node, the nearest where all of it fits, or else to all nodes, where it
// fits on these together. Managers choose nodes themselves; on their hosts a domain without their mark is not theirs,
// unless the host is Nova's, who may have made it all the same.
func (r refusal) rebind() []Fix {
	if r.verdict.Maker() != "" || len(r.must) != 1 {
		return nil
	}
	var better []guard.NodeSet
	for _, other := range r.verdict.Lack.Others {
		better = append(better, guard.NodeSet{other.Node})
	}
	for _, to := range append(better, r.host.UsableNodes()) {
		moved, changes := r.moved(r.must[0].Nodes, to)
		if len(changes) > 0 && guard.MustFail(moved, r.host) == nil {
			return []Fix{ChangeDomain{Changes: changes, Sets: sets(r.verdict.Demand, changes, slices.Equal(r.demand.Cpuset.Nodes, r.must[0].Nodes))}}
		}
	}
	return nil
}

// sets returns the elements that bind backends which change, and the one that confines QEMU where that changes as well.
func sets(backends []guard.Backend, changes []Change, confines bool) (elements []string) {
	const all = "numatune/memory"
	if confines {
		elements = append(elements, all)
	}
	for _, b := range backends {
		if slices.ContainsFunc(changes, func(c Change) bool { return c.Backend == b.ID }) && !slices.Contains(elements, b.From) {
			elements = append(elements, b.From)
		}
	}
	return elements
}

// smaller makes a guest of one piece of memory a little smaller, at most by a quarter, if it fits then.
func (r refusal) smaller() []Fix {
	if len(r.demand.Backends) != 1 || len(r.verdict.Demand) != 1 || r.demand.Backends[0].Device != "" {
		return nil
	}
	b := r.verdict.Demand[0]
	most := sort.Search(int(b.Pages), func(pages int) bool { return guard.MustFail(r.resized(uint64(pages)*b.PageKiB*1024), r.host) != nil }) - 1
	if most < 1 || uint64(most)*4 < b.Pages*3 {
		return nil
	}
	return []Fix{ChangeDomain{Changes: []Change{{Do: Shrink, Backend: b.ID, KiB: []uint64{uint64(most) * b.PageKiB}}}}}
}

// resized returns the demand with its only backend of another size.
func (r refusal) resized(bytes uint64) guard.Demand {
	d := r.demand
	d.Backends = slices.Clone(d.Backends)
	d.Backends[0].Bytes, d.Backends[0].ExactBytes = bytes, bytes
	return d
}

// moved returns the demand with what is bound to certain nodes bound to others instead.
func (r refusal) moved(from, to guard.NodeSet) (moved guard.Demand, changes []Change) {
	moved = r.demand
	moved.Backends = slices.Clone(moved.Backends)
	var all guard.NodeSet
	for i := range moved.Backends {
		b := &moved.Backends[i]
		if !slices.ContainsFunc(r.verdict.Demand, func(judged guard.Backend) bool { return judged.ID == b.ID }) {
			continue // it is not on huge pages here
		}
		if b.Policy == guard.PolicyBind && !b.Auto && slices.Equal(b.HostNodes, from) {
			b.HostNodes = to
			changes = append(changes, Change{Do: Bind, Backend: b.ID, Nodes: to})
		}
		all = all.Or(b.HostNodes)
	}
	if set := &moved.Cpuset; set.Nodes != nil {
		if slices.Equal(set.Nodes, from) {
			set.Nodes = to
		}
		set.Union = all.Or(set.Nodes)
	}
	return moved, changes
}
