package fix_test

import (
	"slices"
	"testing"

	"hugeguard/guard"
	"hugeguard/guard/fix"
	. "hugeguard/guard/guardtest"
	"hugeguard/guard/words"
)

// TestEnableHooks: nobody knows whether a hook makes the missing pages. To enable it comes first where the pool lacks
// pages, last where something else is sure to help, and not at all where a limit is met, or it has to do with other things.
func TestEnableHooks(t *testing.T) {
	makes := guard.IdleHook{Path: "/etc/libvirt/hooks/qemu.d/alloc", Makes: true}
	limited := Pages(64, 0).Below(guard.Cgroup{Path: MachineSlice, Limits: []guard.PageLimit{{PageKiB: 2048, File: MachineSlice + "/hugetlb.2MB.max", Pages: 63}}})
	mounted := Pages(64, 0)
	mounted.Mounts = slices.Clone(mounted.Mounts)
	mounted.Mounts[0].Limit = &guard.PageLimit{PageKiB: 2048, Reserved: true, Pages: 63}
	const first, last = "first", "last"
	for _, test := range []struct {
		cause guard.Cause
		host  Setup
		hook  guard.IdleHook
		want  string
	}{
		{guard.CausePoolMissing, Pages(0, 0), makes, first},
		{guard.CausePoolTooSmall, Pages(63, 0), makes, first},
		{guard.CausePoolTooSmall, Pages(63, 0), guard.IdleHook{Path: makes.Path}, ""},
		{guard.CauseOVS, Pages(24, 0).Holding(guard.HolderOVS, "ovs-vswitchd", 7, 0, 40), makes, last},
		{guard.CauseGuests, Pages(24, 0).Holding(guard.HolderGuest, "a", 7, 0, 40), makes, last},
		{guard.CauseStartingGuests, Pages(64, 0).Started("a", "0", 1, 0), makes, last},
		{guard.CauseLeftoverFiles, Pages(24, 0).LeftBehind(0, 40, "/h/x"), makes, last},
		{guard.CauseMountLimit, mounted, makes, ""},
		{guard.CauseCgroupLimit, limited, makes, ""},
	} {
		test.host.IdleHooks = []guard.IdleHook{test.hook}
		v := fix.Judge(Plain(t, 128, "", TwoMiB), test.host.Host)
		var kinds []string
		for _, f := range words.Fixes(v) {
			kinds = append(kinds, f.Kind)
		}
		got := "between others"
		switch slices.Index(kinds, "enable-hooks") {
		case -1:
			got = ""
		case 0:
			got = first
		case len(kinds) - 1:
			got = last
		}
		if v.Cause != test.cause || len(kinds) == 0 || got != test.want {
			t.Errorf("%s: %s, %q, want it %q", test.cause, v.Cause, kinds, test.want)
		}
	}
}
