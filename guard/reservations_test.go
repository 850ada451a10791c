package guard

import (
	"slices"
	"testing"
)

// TestReservationsOfPromises: what was promised to others than guests counts as what they hold, and the memory of guests that are
// gone does not.
func TestReservationsOfPromises(t *testing.T) {
	for _, test := range []struct {
		name string
		host Host
		want []string
	}{
		{"promised", pages(64).heldBy(HolderProcess, "postgres", 7, 0, 3).promisedTo("postgres", 7, 40), []string{"node:0,size:2048,count:43"}},
		{"promised on the node where it has pages", pages(64, 99).promisedTo("postgres", 7, 40).
			changed(func(h *Holders) { h.List[0].Pages = map[int]uint64{0: 1} }), []string{"node:0,size:2048,count:41"}},
		{"promised more than is free there", pages(30, 99).promisedTo("postgres", 7, 40).
			changed(func(h *Holders) { h.List[0].Pages = map[int]uint64{0: 1} }), []string{"node:0,size:2048,count:31", "node:1,size:2048,count:10"}},
		{"promised, and nothing says where", pages(30, 99).promisedTo("a", 7, 90).promisedTo("b", 8, 20), []string{"node:0,size:2048,count:11", "node:1,size:2048,count:99"}},
		{"promised to a guest", pages(64).promisedTo("a", 7, 40).changed(func(h *Holders) { h.List[0].Kind = HolderGuest }), nil},
		{"kept of a dead guest", pages(64).heldBy(HolderOVS, "ovs-vswitchd", 7, 0, 5).heldBy(HolderOVS, "ovs-vswitchd", 7, 0, 9).
			changed(func(h *Holders) { h.List[1].Guest = "7-a" }), []string{"node:0,size:2048,count:5"}},
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
