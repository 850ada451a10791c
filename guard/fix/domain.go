package fix

import (
	"slices"

	"hugeguard/guard"
)

// changes returns what to change of a domain that no free page would help.
func (l launch) changes() (changes []Change) {
	for _, f := range l.must {
		c := Change{Backend: f.Backend}
		switch why := f.Reason.(type) {
		case guard.NoSuchPages:
			c.Do, c.KiB = TakePages, why.Sizes
		case guard.WrongSize:
			c.Do, c.KiB = Resize, []uint64{why.RightKiB}
			if why.Why == guard.SmallBlock {
				c.Do = ResizeBlocks
			}
		case guard.Unbindable:
			c.Do, c.Nodes = Bind, why.Able
			if why.Why == guard.PinnedToOther {
				c.Do, c.Nodes = PinEmulator, f.Nodes
			}
		}
		if len(c.KiB)+len(c.Nodes) > 0 {
			changes = append(changes, c)
		}
	}
	return changes
}

// rebind binds memory that is short to another node, the nearest where all of it fits, or else to all nodes, where it
// fits on these together. Managers choose nodes themselves.
func (r refusal) rebind() []guard.Fix {
	if r.verdict.Manager != "" || len(r.must) != 1 {
		return nil
	}
	var better []guard.NodeSet
	for _, other := range r.verdict.Lack.Others {
		better = append(better, guard.NodeSet{other.Node})
	}
	for _, to := range append(better, r.host.UsableNodes()) {
		moved, changes := r.moved(r.must[0].Nodes, to)
		if len(changes) > 0 && guard.MustFail(moved, r.host) == nil {
			return []guard.Fix{ChangeDomain{Changes: changes}}
		}
	}
	return nil
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
