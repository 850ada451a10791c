package fix_test

import (
	"testing"

	"hugeguard/guard"
	"hugeguard/guard/fix"
	. "hugeguard/guard/guardtest"
	"hugeguard/guard/words"
)

// TestWiden: QEMU is given more nodes only where a control group keeps it from them, it is known which, and the guest fits
// there: of one more node if that is enough.
func TestWiden(t *testing.T) {
	kept := func(confining []string, free ...uint64) Setup {
		return Pages(free...).Below(guard.Cgroup{Path: MachineSlice, Nodes: guard.NodeSet{0}, NodesFile: MachineSlice + "/cpuset.mems.effective", Confining: confining})
	}
	legacy := func(h Setup) Setup {
		h.Cgroups[0].Legacy = true
		return h.UsingCpuset(true)
	}
	slice := []string{MachineSlice}
	for _, test := range []struct {
		name string
		host Setup
		want string // the first command; "" for no such fix
	}{
		{"the other node has them", kept(slice, 0, 64), "systemctl set-property machine.slice AllowedMemoryNodes=0-1"},
		{"both nodes have them", kept(slice, 32, 32), "systemctl set-property machine.slice AllowedMemoryNodes=0-1"},
		{"all nodes lack one", kept(slice, 32, 31), ""},
		{"one more of three is enough", kept(slice, 0, 0, 64), "systemctl set-property machine.slice AllowedMemoryNodes=0,2"},
		{"the group is not known", kept(nil, 0, 64), ""},
		{"a group of nobody's unit", kept([]string{"/sys/fs/cgroup/machine"}, 0, 64), "echo 0-1 > /sys/fs/cgroup/machine/cpuset.mems"},
		{"version 1", legacy(kept(slice, 0, 64)), "echo 0-1 > " + MachineSlice + "/cpuset.mems"},
	} {
		got := ""
		for _, f := range words.Fixes(fix.Judge(Plain(t, 128, "", TwoMiB), test.host.Host)) {
			if f.Kind == "widen-cpuset" {
				got = f.Commands[0]
			}
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
