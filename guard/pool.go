package guard

// SizePool is the huge pages of one size; all counts are pages.
type SizePool struct {
	PageKiB    uint64
	Reserved   uint64 // promised to mappings that have not touched them; on no node in particular
	Surplus    uint64 // above what was set up
	Overcommit uint64 // how far Surplus may grow
	Nodes      []NodePool
}

// NodePool is one node's share of a SizePool, in pages.
type NodePool struct {
	Node    int
	Total   uint64 // surplus included
	Free    uint64 // reserved ones included
	Surplus uint64
}

// Node returns one node's share of a pool; a node without one has no pages.
func (p SizePool) Node(id int) NodePool {
	for _, n := range p.Nodes {
		if n.Node == id {
			return n
		}
	}
	return NodePool{Node: id}
}

// On sums the pool over a set of nodes.
func (p SizePool) On(nodes NodeSet) NodePool {
	var sum NodePool
	for _, n := range p.Nodes {
		if nodes.Has(n.Node) {
			sum.Total += n.Total
			sum.Free += n.Free
			sum.Surplus += n.Surplus
		}
	}
	return sum
}

// freeByNode is the free pages of each node.
func (p SizePool) freeByNode() map[int]uint64 {
	free := map[int]uint64{}
	for _, n := range p.Nodes {
		free[n.Node] = n.Free
	}
	return free
}

// headroom is how many surplus pages the pool may still grow by, if the kernel finds the memory
// (nr_overcommit_hugepages, zero for gigantic pages where the kernel makes none of these).
//
// The kernel takes any number for that; what no memory has room for is cut, so that it can be added to.
func (p SizePool) headroom() uint64 { return min(minus(p.Overcommit, p.Surplus), 1<<50) }
