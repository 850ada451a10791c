package guard

import (
	"testing"

	"pgregory.net/rapid"
)

// servable says by trying every distribution whether all requests can be served: slow, and beyond doubt.
func servable(requests []request, free map[int]uint64, extra uint64) bool {
	if len(requests) == 0 {
		return true
	}
	r := requests[0]
	if r.pages == 0 {
		return servable(requests[1:], free, extra)
	}
	rest := append([]request{{r.pages - 1, r.allowed}}, requests[1:]...)
	for _, node := range r.allowed {
		if free[node] > 0 {
			free[node]--
			ok := servable(rest, free, extra)
			free[node]++
			if ok {
				return true
			}
		}
	}
	return len(r.allowed) > 0 && extra > 0 && servable(rest, free, extra-1)
}

// TestAssign compares the flow with trying everything, and checks that what it calls short really wants more than its
// nodes have.
func TestAssign(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		free := map[int]uint64{}
		nodes := rapid.IntRange(1, 3).Draw(t, "nodes")
		for n := range nodes {
			free[n] = rapid.Uint64Range(0, 3).Draw(t, "free")
		}
		extra := rapid.Uint64Range(0, 1).Draw(t, "extra")
		var requests []request
		for range rapid.IntRange(1, 3).Draw(t, "requests") {
			set := NodeSet{}
			for n := range nodes {
				if rapid.Bool().Draw(t, "allowed") {
					set = append(set, n)
				}
			}
			requests = append(requests, request{rapid.Uint64Range(0, 3).Draw(t, "pages"), set})
		}
		short := assign(requests, free, extra)
		if want := servable(requests, free, extra); (short == nil) != want {
			t.Fatalf("assign(%v, %v, %d) = %v, servable: %v", requests, free, extra, short, want)
		}
		if short == nil {
			return
		}
		if k := short[0]; !servable(requests[:k], free, extra) || servable(requests[:k+1], free, extra) {
			t.Fatalf("assign(%v, %v, %d) = %v, which does not begin with the first that cannot be served", requests, free, extra, short)
		}
		var wanted, have uint64
		var on NodeSet
		for _, i := range short {
			wanted += requests[i].pages
			on = on.Or(requests[i].allowed)
		}
		for _, n := range on {
			have += free[n]
		}
		if wanted <= have {
			t.Fatalf("assign(%v, %v, %d) = %v, which want %d and have %d", requests, free, extra, short, wanted, have)
		}
	})
}
