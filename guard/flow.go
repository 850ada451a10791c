package guard

import (
	"maps"
	"slices"
)

// request is pages that one backend wants from any of some nodes.
type request struct {
	pages   uint64
	allowed NodeSet
}

// assign looks for a way to serve all requests at once from free, the pages
// per node, and extra, pages that may be added on any node. If there is none
// it returns the requests that together want more than their nodes have
// (Hall's condition), by index; the first request that cannot be served any
// more is among them.
//
// It is a maximum flow from requests to nodes by augmenting paths: both sides
// are few.
func assign(requests []request, free map[int]uint64, extra uint64) (short []int) {
	f := flow{requests: slices.Clone(requests), left: maps.Clone(free)}
	if extra > 0 {
		// Pages that may be added anywhere lie on a node of their own, which
		// serves all who may use any.
		f.left[anywhere] = extra
		for i, r := range requests {
			if len(r.allowed) > 0 {
				f.requests[i].allowed = append(slices.Clone(r.allowed), anywhere)
			}
		}
	}
	for i, r := range requests {
		f.taken = append(f.taken, map[int]uint64{})
		for want := r.pages; want > 0; {
			path, seen := f.path(i)
			if path == nil {
				return seen
			}
			want -= f.move(path, want)
		}
	}
	return nil
}

// anywhere is no node's number.
const anywhere = -1

// flow is a maximum flow in the making.
type flow struct {
	requests []request
	taken    []map[int]uint64 // pages, by request and node
	left     map[int]uint64   // pages, by node
}

// step is a request that takes pages of a node; the request of the next step
// gives that node up for its own.
type step struct {
	request int
	node    int
}

// path searches breadth first for a node with pages left that request from
// can reach, if need be by moving others to other nodes. Without one it
// returns all requests that it met on the way.
func (f *flow) path(from int) (path []step, seen []int) {
	type visit struct {
		step
		previous int // the visit before it, -1 at the start
	}
	var visits []visit
	reached := map[int]bool{}
	seen = []int{from}
	for queue := []visit{{step{request: from}, -1}}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		for _, node := range f.requests[at.request].allowed {
			if reached[node] {
				continue
			}
			reached[node] = true
			visits = append(visits, visit{step{at.request, node}, at.previous})
			here := len(visits) - 1
			if f.left[node] > 0 {
				for k := here; k >= 0; k = visits[k].previous {
					path = append(path, visits[k].step)
				}
				slices.Reverse(path)
				return path, nil
			}
			for other, taken := range f.taken {
				if taken[node] > 0 && !slices.Contains(seen, other) {
					seen = append(seen, other)
					queue = append(queue, visit{step{request: other}, here})
				}
			}
		}
	}
	return nil, seen
}

// move sends as many pages as it can along a path, most at the most, and
// returns how many.
func (f *flow) move(path []step, most uint64) uint64 {
	last := path[len(path)-1].node
	pages := min(most, f.left[last])
	for k := 1; k < len(path); k++ {
		pages = min(pages, f.taken[path[k].request][path[k-1].node])
	}
	f.left[last] -= pages
	for k, s := range path {
		f.taken[s.request][s.node] += pages
		if k > 0 {
			f.taken[s.request][path[k-1].node] -= pages
		}
	}
	return pages
}
