package sysfs

import (
	"testing"
)

// TestPoolAtRest: what was read of a pool while pages moved is read again.
func TestPoolAtRest(t *testing.T) {
	state := func(reserved, free0, free1 uint64) Pool {
		return Pool{Total: 20, Free: free0 + free1, Reserved: reserved, Nodes: []NodePool{{0, 10, free0, 0}, {1, 10, free1, 0}}}
	}
	for _, test := range []struct {
		name string
		// before, on node 0, on node 1, after: what a pool is as each is read
		states [][4]Pool
		want   Pool
	}{
		{"at rest", [][4]Pool{{state(0, 4, 5), state(0, 4, 5), state(0, 4, 5), state(0, 4, 5)}}, state(0, 4, 5)},
		{"taken while it is read", [][4]Pool{
			{state(0, 4, 5), state(0, 4, 5), state(0, 4, 0), state(0, 4, 0)},
			{{}, state(0, 4, 0), state(0, 4, 0), state(0, 4, 0)}}, state(0, 4, 0)},
		{"reserved while it is read", [][4]Pool{
			{state(0, 4, 5), state(0, 4, 5), state(0, 4, 5), state(3, 4, 5)},
			{{}, state(3, 4, 5), state(3, 4, 5), state(3, 4, 5)}}, state(3, 4, 5)},
		{"given back on node 0 and taken on node 1", [][4]Pool{
			{state(0, 0, 9), state(0, 0, 9), state(0, 9, 0), state(0, 9, 0)},
			{{}, state(0, 9, 0), state(0, 9, 0), state(0, 9, 0)}}, state(0, 9, 0)},
	} {
		t.Run(test.name, func(t *testing.T) {
			round, asked := 0, 0
			pool, ok, err := steady(
				func() (Pool, bool, error) {
					p := test.states[max(round-1, 0)][min(asked, 1)*3]
					asked++
					p.Nodes = nil
					return p, true, nil
				},
				func(Pool) ([]NodePool, error) {
					s := test.states[round]
					round++
					return []NodePool{s[1].Nodes[0], s[2].Nodes[1]}, nil
				})
			if err != nil || !ok || pool.Free != test.want.Free || pool.Reserved != test.want.Reserved ||
				pool.Nodes[0] != test.want.Nodes[0] || pool.Nodes[1] != test.want.Nodes[1] || round != len(test.states) {
				t.Errorf("%+v, %v, %v after %d rounds, want %+v after %d", pool, ok, err, round, test.want, len(test.states))
			}
		})
	}
}
