package guard_test

import (
	"slices"
	"testing"

	. "hugeguard/guard"
	. "hugeguard/guard/guardtest"
)

// TestReservationsOfPromises: what was promised to others than guests counts as what they hold, and the memory of guests that are
// gone does not.
func TestReservationsOfPromises(t *testing.T) {
	for _, test := range []struct {
		name string
		host Setup
		want []string
	}{
		{"promised", Pages(64).Holding(HolderProcess, "postgres", 7, 0, 3).PromisedTo("postgres", 7, 40), []string{"node:0,size:2048,count:43"}},
		{"promised on the node where it has pages", Pages(64, 99).PromisedTo("postgres", 7, 40).
			Looked(func(h *Holders) { h.List[0].Pages = map[int]uint64{0: 1} }), []string{"node:0,size:2048,count:41"}},
		{"promised more than is free there", Pages(30, 99).PromisedTo("postgres", 7, 40).
			Looked(func(h *Holders) { h.List[0].Pages = map[int]uint64{0: 1} }), []string{"node:0,size:2048,count:31", "node:1,size:2048,count:10"}},
		{"promised, and nothing says where", Pages(30, 99).PromisedTo("a", 7, 90).PromisedTo("b", 8, 20), []string{"node:0,size:2048,count:11", "node:1,size:2048,count:99"}},
		{"promised to a guest", Pages(64).PromisedTo("a", 7, 40).Looked(func(h *Holders) { h.List[0].Kind = HolderGuest }), nil},
		{"kept of a dead guest", Pages(64).Holding(HolderOVS, "ovs-vswitchd", 7, 0, 5).Holding(HolderOVS, "ovs-vswitchd", 7, 0, 9).
			Looked(func(h *Holders) { h.List[1].Guest = "7-a" }), []string{"node:0,size:2048,count:5"}},
	} {
		var got []string
		for _, r := range test.host.Reservations() {
			got = append(got, r.String())
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
