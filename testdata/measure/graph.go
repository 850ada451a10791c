package main

import (
	"cmp"
	"maps"
	"slices"
)

// A graph has for each file those that it uses.
type graph map[string]map[string]bool

// edges counts the uses.
func (g graph) edges() int {
	n := 0
	for _, to := range g {
		n += len(to)
	}
	return n
}

// mutual counts the pairs of files that use each other.
func (g graph) mutual() int {
	n := 0
	for from, all := range g {
		for to := range all {
			if from < to && g[to][from] {
				n++
			}
		}
	}
	return n
}

// knots returns the sets of files of which each reaches each, the largest first. A file alone is none.
func (g graph) knots() [][]string {
	reached := map[string]map[string]bool{}
	for file := range g {
		reached[file] = g.reach(file)
	}
	var all [][]string
	in := map[string]bool{}
	for _, file := range slices.Sorted(maps.Keys(g)) {
		if in[file] || !reached[file][file] {
			continue
		}
		var knot []string
		for other := range reached[file] {
			if reached[other][file] {
				knot = append(knot, other)
				in[other] = true
			}
		}
		slices.Sort(knot)
		all = append(all, knot)
	}
	slices.SortStableFunc(all, func(a, b []string) int { return cmp.Compare(len(b), len(a)) })
	return all
}

// reach returns all that a file uses, directly or through others.
func (g graph) reach(file string) map[string]bool {
	found := map[string]bool{}
	for queue := []string{file}; len(queue) > 0; queue = queue[1:] {
		for to := range g[queue[0]] {
			if !found[to] {
				found[to] = true
				queue = append(queue, to)
			}
		}
	}
	return found
}
