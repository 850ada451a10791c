package words

import (
	"testing"

	"hugeguard/guard"
)

// TestReleasesBetween: the releases before one and since another are said as a range, and what is no range, one after
// the other.
func TestReleasesBetween(t *testing.T) {
	libvirt := func(since, until guard.Version) guard.Combinations {
		return guard.Combinations{Libvirt: guard.Changes{Since: since, Until: until}}
	}
	before := func(v guard.Version, cpuset bool) guard.Combinations {
		return guard.Combinations{Libvirt: guard.Changes{Since: v}, Cpuset: cpuset, Others: true}
	}
	for _, test := range []struct {
		all  []guard.Combinations
		want string
	}{
		{[]guard.Combinations{before(9_005_000, false), libvirt(9_000_000, 0)}, "with libvirt 9.0 to 9.4"},
		{[]guard.Combinations{libvirt(9_000_000, 0), before(9_005_000, false)}, "with libvirt 9.0 to 9.4"},
		{[]guard.Combinations{before(9_005_000, true), libvirt(9_000_000, 0)},
			"with libvirt before 9.5 or where libvirt may not use the cpuset controller, and only with libvirt 9.0 or later"},
		{[]guard.Combinations{before(9_000_000, false), libvirt(9_005_000, 0)}, "with libvirt before 9.0, and only with libvirt 9.5 or later"},
		{[]guard.Combinations{libvirt(8_010_000, 9_002_000)}, "with libvirt 8.10 to 9.1"},
		{nil, "with some releases of libvirt and QEMU"},
	} {
		if got := releases(guard.IfReleases{All: test.all}); got != test.want {
			t.Errorf("%+v: %s, want %s", test.all, got, test.want)
		}
	}
}
