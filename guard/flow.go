package guard

import "slices"

// request is pages that one backend wants from any of some nodes.
type request struct {
	pages   uint64
	allowed NodeSet
}

// assign looks for a way to serve all requests at once from free, the pages per node, and extra, pages that may be
// added on any node. If there is none it returns the requests that together want more than their nodes have (Hall's
// condition), by index; the first of them is the first request that cannot be served any more.
func assign(requests []request, free map[int]uint64, extra uint64) (short []int) {
	f := newFlow(free, extra)
	for i, r := range requests {
		if seen := f.add(r); seen != nil {
			short = []int{i}
			for k, earlier := range requests[:i] {
				if earlier.pages > 0 && seen[f.group(earlier.allowed)] {
					short = append(short, k)
				}
			}
			return short
		}
	}
	return nil
}

// flow is a maximum flow in the making, from requests to nodes by augmenting paths. Requests for the same nodes are one
// to it: a guest has many of them, and few sets of nodes.
type flow struct {
	nodes  map[int]int // where a node is in left
	left   []uint64    // pages, by node
	extra  int         // the node of the pages that may be added anywhere, -1 for none
	groups []group
	known  map[string]int // groups, by their nodes
}

// group is the requests for the same nodes.
type group struct {
	allowed []int    // nodes of the flow
	taken   []uint64 // pages, by node
}

func newFlow(free map[int]uint64, extra uint64) *flow {
	f := &flow{nodes: make(map[int]int, len(free)), extra: -1, known: map[string]int{}}
	for node, pages := range free {
		f.nodes[node] = len(f.left)
		f.left = append(f.left, pages)
	}
	if extra > 0 {
		f.extra = len(f.left)
		f.left = append(f.left, extra)
	}
	return f
}

// clone returns a flow that goes its own way from here.
func (f *flow) clone() *flow {
	c := *f
	c.left, c.groups = slices.Clone(f.left), slices.Clone(f.groups)
	for i := range c.groups {
		c.groups[i].taken = slices.Clone(c.groups[i].taken)
	}
	c.known = map[string]int{}
	for key, i := range f.known {
		c.known[key] = i
	}
	return &c
}

// group returns the number of the group of requests for nodes.
func (f *flow) group(nodes NodeSet) int {
	key := nodes.key()
	i, ok := f.known[key]
	if !ok {
		g := group{taken: make([]uint64, len(f.left))}
		for _, node := range nodes {
			if at, ok := f.nodes[node]; ok {
				g.allowed = append(g.allowed, at)
			}
		}
		if len(nodes) > 0 && f.extra >= 0 {
			g.allowed = append(g.allowed, f.extra)
		}
		i = len(f.groups)
		f.groups = append(f.groups, g)
		f.known[key] = i
	}
	return i
}

// add serves a request. If it cannot be served in full it returns the groups, true in seen, that want more than their
// nodes have.
func (f *flow) add(r request) (seen []bool) {
	if r.pages == 0 {
		return nil
	}
	from := f.group(r.allowed)
	for want := r.pages; want > 0; {
		path, seen := f.path(from)
		if path == nil {
			return seen
		}
		want -= f.move(path, want)
	}
	return nil
}

// step is a group that takes pages of a node; the group of the next step gives that node up for its own.
type step struct {
	group int
	node  int
}

// path searches breadth first for a node with pages left that a group can reach, if need be by moving others to other
// nodes. Without one it returns all groups that it met on the way.
func (f *flow) path(from int) (path []step, seen []bool) {
	for _, node := range f.groups[from].allowed {
		if f.left[node] > 0 {
			return []step{{from, node}}, nil
		}
	}
	type visit struct {
		step
		previous int // the visit before it, -1 at the start
	}
	var visits []visit
	reached := make([]bool, len(f.left))
	seen = make([]bool, len(f.groups))
	seen[from] = true
	for queue := []visit{{step{group: from}, -1}}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		for _, node := range f.groups[at.group].allowed {
			if reached[node] {
				continue
			}
			reached[node] = true
			visits = append(visits, visit{step{at.group, node}, at.previous})
			here := len(visits) - 1
			if f.left[node] > 0 {
				for k := here; k >= 0; k = visits[k].previous {
					path = append(path, visits[k].step)
				}
				slices.Reverse(path)
				return path, nil
			}
			for other := range f.groups {
				if !seen[other] && f.groups[other].taken[node] > 0 {
					seen[other] = true
					queue = append(queue, visit{step{group: other}, here})
				}
			}
		}
	}
	return nil, seen
}

// move sends as many pages as it can along a path, most at the most, and returns how many.
func (f *flow) move(path []step, most uint64) uint64 {
	pages := min(most, f.left[path[len(path)-1].node])
	for k := 1; k < len(path); k++ {
		pages = min(pages, f.groups[path[k].group].taken[path[k-1].node])
	}
	f.left[path[len(path)-1].node] -= pages
	for k, s := range path {
		f.groups[s.group].taken[s.node] += pages
		if k > 0 {
			f.groups[s.group].taken[path[k-1].node] -= pages
		}
	}
	return pages
}
