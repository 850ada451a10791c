package guard

// contest is what a guest's backends may take from each other at the worst. A guest has many backends and few sets of
// nodes: what concerns sets is worked out once for each two of them.
type contest struct {
	backends []placed
	free     []uint64       // pages, by node of the contest
	known    map[string]int // sets, by their nodes
	sets     [][]int        // nodes of the contest, ascending
	allowed  []int          // sets, by backend
	wanted   []int          // the same
	there    []uint64       // by backend: what a preferred one surely has of its own nodes
	both     map[[2]int]shared
	nodes    map[int]int // numbers in the contest
}

// shared is what two sets have in common.
type shared struct {
	any  bool
	free uint64
}

func newContest(pool SizePool, backends []placed) *contest {
	c := &contest{backends: backends, known: map[string]int{}, both: map[[2]int]shared{}, nodes: map[int]int{}}
	for _, n := range pool.Nodes {
		c.number(n.Node)
		c.free[c.number(n.Node)] = n.Free
	}
	wants := map[int]uint64{} // pages of all backends, by set
	for _, b := range backends {
		set := c.set(b.allowed)
		wants[set] += b.Pages
		c.allowed, c.wanted = append(c.allowed, set), append(c.wanted, c.set(b.wanted))
	}
	wanted := make([]uint64, len(c.free)) // pages of all backends that may use a node
	for set, pages := range wants {
		for _, node := range c.sets[set] {
			wanted[node] += pages
		}
	}
	for _, b := range backends {
		// It goes to its own nodes first, and elsewhere with what finds no room there; before QEMU 8.0 to one of them
		// alone, as it lacks MPOL_PREFERRED_MANY.
		there := b.Pages
		if b.Policy == PolicyPreferred {
			for _, node := range b.wanted {
				k := c.nodes[node]
				others := wanted[k]
				if b.allowed.Has(node) {
					others -= b.Pages
				}
				there = min(there, minus(c.free[k], others))
			}
		}
		c.there = append(c.there, there)
	}
	return c
}

// number is a node's in the contest.
func (c *contest) number(node int) int {
	k, ok := c.nodes[node]
	if !ok {
		k = len(c.free)
		c.nodes[node] = k
		c.free = append(c.free, 0)
	}
	return k
}

// set is the number of a set of nodes.
func (c *contest) set(nodes NodeSet) int {
	key := nodes.key()
	i, ok := c.known[key]
	if !ok {
		var set []int
		for _, node := range nodes {
			set = append(set, c.number(node))
		}
		i = len(c.sets)
		c.known[key] = i
		c.sets = append(c.sets, set)
	}
	return i
}

// inBoth is what two sets have in common.
func (c *contest) inBoth(a, b int) shared {
	key := [2]int{min(a, b), max(a, b)}
	s, ok := c.both[key]
	if !ok {
		has := make([]bool, len(c.free))
		for _, node := range c.sets[a] {
			has[node] = true
		}
		for _, node := range c.sets[b] {
			if has[node] {
				s.any = true
				s.free += c.free[node]
			}
		}
		c.both[key] = s
	}
	return s
}

// taken is how many pages of some nodes the backends before i, and those after it where they are touched side by side,
// may take, at the worst.
func (c *contest) taken(i int, parallel bool, nodes NodeSet) uint64 {
	set := c.set(nodes)
	var taken uint64
	for k, b := range c.backends {
		if k == i || k > i && !parallel {
			continue
		}
		most := c.inBoth(c.allowed[k], set).free
		if b.Policy == PolicyPreferred && b.wanted != nil && !c.inBoth(c.wanted[k], set).any {
			most = min(most, minus(b.Pages, c.there[k]))
		}
		taken += min(b.Pages, most)
	}
	return taken
}
