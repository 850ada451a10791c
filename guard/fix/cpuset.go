package fix

import (
	"slices"

	"hugeguard/guard"
)

// widen lets QEMU have memory of nodes that a control group above it leaves out, where the guest fits then: of one more
// node if that is enough, else of all. In a container the group's path is another.
func (r refusal) widen() []Fix {
	if len(r.host.Cgroups) != 1 || r.verdict.Inside != guard.InsideHost || !slices.ContainsFunc(r.must, kept) {
		return nil
	}
	group := r.host.Cgroups[0]
	all := r.host.MemoryNodes()
	var sets []guard.NodeSet
	for _, node := range all.Without(group.Nodes) {
		sets = append(sets, group.Nodes.Or(guard.NodeSet{node}))
	}
	for _, nodes := range append(sets, all) {
		wide := r.host
		group.Nodes = nodes
		wide.Cgroups = []guard.Cgroup{group}
		if groups := widened(group.Confining, nodes); len(groups) > 0 && r.fits(wide) {
			return []Fix{WidenCpuset{groups, r.host.Cgroups[0].Nodes, nodes, group.NodesFile, group.Legacy}}
		}
	}
	return nil
}

// widened returns the groups that lack some of the nodes, with these. None loses what others below it may use.
func widened(groups []guard.GroupNodes, nodes guard.NodeSet) (changed []guard.GroupNodes) {
	for _, g := range groups {
		if len(nodes.Without(g.Nodes)) > 0 {
			changed = append(changed, guard.GroupNodes{Dir: g.Dir, Nodes: g.Nodes.Or(nodes)})
		}
	}
	return changed
}

// kept reports whether a control group keeps QEMU to the nodes that a finding is about.
func kept(f guard.Finding) bool {
	switch why := f.Reason.(type) {
	case guard.Short:
		return why.Keeper != ""
	case guard.Unbindable:
		return why.Why == guard.CgroupNodes
	}
	return false
}
