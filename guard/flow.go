package guard

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
	taken := make([]map[int]uint64, len(requests)) // by request and node
	left := make(map[int]uint64, len(free))
	for node, pages := range free {
		left[node] = pages
	}
	for i, r := range requests {
		taken[i] = map[int]uint64{}
		for want := r.pages; want > 0; {
			path, seen := findPath(i, requests, taken, left, extra)
			if path == nil {
				return seen
			}
			// The most that can move along the path.
			move := want
			last := path[len(path)-1].node
			if left[last] > 0 {
				move = min(move, left[last])
			} else {
				move = min(move, extra)
			}
			for k := 1; k < len(path); k++ {
				move = min(move, taken[path[k].request][path[k-1].node])
			}
			if left[last] > 0 {
				left[last] -= move
			} else {
				extra -= move
			}
			for k, step := range path {
				taken[step.request][step.node] += move
				if k > 0 {
					taken[step.request][path[k-1].node] -= move
				}
			}
			want -= move
		}
	}
	return nil
}

// step is a request that takes pages of a node; the request of the next step
// gives that node up for its own.
type step struct {
	request int
	node    int
}

// findPath searches breadth first for a node with pages left that request
// from can reach, if need be by moving others to other nodes. Without one it
// returns all requests that it met on the way.
func findPath(from int, requests []request, taken []map[int]uint64, left map[int]uint64, extra uint64) (path []step, seen []int) {
	type visit struct {
		step
		previous int // index into visits, -1 at the start
	}
	var visits []visit
	reached := map[int]bool{}
	seen = []int{from}
	seenRequest := map[int]bool{from: true}
	type origin struct{ request, previous int }
	for queue := []origin{{from, -1}}; len(queue) > 0; queue = queue[1:] {
		o := queue[0]
		for _, node := range requests[o.request].allowed {
			if reached[node] {
				continue
			}
			reached[node] = true
			visits = append(visits, visit{step{o.request, node}, o.previous})
			at := len(visits) - 1
			if left[node] > 0 || extra > 0 {
				for at >= 0 {
					path = append([]step{visits[at].step}, path...)
					at = visits[at].previous
				}
				return path, nil
			}
			for other := range requests {
				if !seenRequest[other] && taken[other] != nil && taken[other][node] > 0 {
					seenRequest[other] = true
					seen = append(seen, other)
					queue = append(queue, origin{other, at})
				}
			}
		}
	}
	return nil, seen
}
