package guard_test

import (
	"slices"
	"strings"
	"testing"

	. "hugeguard/guard"
	. "hugeguard/guard/guardtest"
)

// TestLazy: pages that are reserved and not touched are on no node. A start fails for want of them in all alone, and
// one that their node cannot hold is told.
func TestLazy(t *testing.T) {
	d := Guest(t, "strict:0", Cell(64, "strict:0"))
	d.Backends = slices.Clone(d.Backends)
	d.Backends[0].Lazy = true
	d.Cpuset = Cpuset{}
	for _, test := range []struct {
		host Setup
		want Decision
		says string
	}{
		{Pages(64, 0), Allow, "it fits"},
		{Pages(60, 4), Warn, "guest may die on node 0: ram-node0 is bound there, where only 60 of its 64 pages (128 MiB) of 2M are free: QEMU starts and dies when the guest touches more"},
		{Pages(60, 3), Refuse, "this host has too few 2M pages: 63 of 63 free"},
	} {
		v := Judge(d, test.host.Host)
		if v.Decision != test.want || !strings.Contains(summary(v), test.says) {
			t.Errorf("%s: %s, want %s: %s", v.Decision, summary(v), test.want, test.says)
		}
	}
	if c := Judge(d, Pages(64, 64).Host).Claims(); len(c) != 1 || c[0].Hard || c[0].Nodes != nil {
		t.Errorf("others are to leave it %+v", c)
	}
}

// TestElsewhere: memory at a path has the pages of the mount there. What is unsure is never a refusal alone, and no
// reason against one.
func TestElsewhere(t *testing.T) {
	there := func(h Setup, certain bool) Setup {
		h.Places = []Place{{Path: "/h", At: "/h", Mount: &Mount{Path: "/h", PageKiB: 2048}, Certain: certain}}
		return h
	}
	own := func(bytes uint64) Demand {
		d := Plain(t, 64, "", "<hugepages/>")
		d.Backends = append(slices.Clone(d.Backends), Backend{ID: "m", Path: "/h", Own: true, Bytes: bytes, ExactBytes: bytes, Policy: PolicyDefault, Strength: Soft})
		return d
	}
	for _, test := range []struct {
		name string
		d    Demand
		h    Setup
		want Decision
	}{
		{"both fit", own(64 << 20), there(Pages(64), true), Allow},
		{"both together do not", own(64 << 20), there(Pages(63), true), Refuse},
		{"not certainly there", own(64 << 20), there(Pages(63), false), Warn},
		{"the rest does not fit either", own(64 << 20), there(Pages(31), false), Refuse},
		{"not on hugetlbfs", own(64 << 20), Pages(32), Allow},
		{"of no known size", own(0), there(Pages(64), true), Warn},
	} {
		test.h.Mounts = []Mount{{Path: "/dev/hugepages", PageKiB: 2048}}
		if v := Judge(test.d, test.h.Host); v.Decision != test.want {
			t.Errorf("%s: %s, want %s: %s", test.name, v.Decision, test.want, summary(v))
		}
	}
}
