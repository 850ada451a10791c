package fix_test

import (
	"strings"
	"testing"

	"hugeguard/guard"
	"hugeguard/guard/fix"
	. "hugeguard/guard/guardtest"
	"hugeguard/guard/words"
)

// TestWiden: QEMU is given more nodes only where a control group keeps it from them, it is known which, and the guest fits
// there: of one more node if that is enough.
func TestWiden(t *testing.T) {
	kept := func(confining []guard.GroupNodes, free ...uint64) Setup {
		return Pages(free...).Below(guard.Cgroup{Path: MachineSlice, Nodes: guard.NodeSet{0}, NodesFile: MachineSlice + "/cpuset.mems.effective", Confining: confining})
	}
	legacy := func(h Setup) Setup {
		h.Cgroups[0].Legacy = true
		return h.UsingCpuset(true)
	}
	const child = MachineSlice + "/a"
	only := func(nodes ...int) guard.NodeSet { return nodes }
	slice := []guard.GroupNodes{{Dir: MachineSlice, Nodes: only(0)}}
	for _, test := range []struct {
		name string
		host Setup
		want string // the commands but for the last, which shows the outcome; "" for no such fix
	}{
		{"the other node has them", kept(slice, 0, 64), "systemctl set-property machine.slice AllowedMemoryNodes=0-1"},
		{"both nodes have them", kept(slice, 32, 32), "systemctl set-property machine.slice AllowedMemoryNodes=0-1"},
		{"all nodes lack one", kept(slice, 32, 31), ""},
		{"one more of three is enough", kept(slice, 0, 0, 64), "systemctl set-property machine.slice AllowedMemoryNodes=0,2"},
		{"the group is not known", kept(nil, 0, 64), ""},
		{"a group of nobody's unit", kept([]guard.GroupNodes{{Dir: "/sys/fs/cgroup/machine", Nodes: only(0)}}, 0, 64), "echo 0-1 > /sys/fs/cgroup/machine/cpuset.mems"},
		{"the group above has more", kept([]guard.GroupNodes{{Dir: MachineSlice, Nodes: only(0, 1, 2)}, {Dir: child, Nodes: only(0)}}, 0, 64, 0, 0), "echo 0-1 > " + child + "/cpuset.mems"},
		{"the group above has more, but not the node", kept([]guard.GroupNodes{{Dir: MachineSlice, Nodes: only(0, 2)}, {Dir: child, Nodes: only(0)}}, 0, 64, 0, 0),
			"systemctl set-property machine.slice AllowedMemoryNodes=0-2; echo 0-1 > " + child + "/cpuset.mems"},
		{"the group below has the node", kept([]guard.GroupNodes{{Dir: MachineSlice, Nodes: only(0)}, {Dir: child, Nodes: only(0, 1)}}, 0, 64, 0), "systemctl set-property machine.slice AllowedMemoryNodes=0-1"},
		{"the group below has none of those above", kept([]guard.GroupNodes{{Dir: MachineSlice, Nodes: only(0)}, {Dir: child, Nodes: only(1)}}, 0, 64, 0),
			"systemctl set-property machine.slice AllowedMemoryNodes=0-1; echo 0-1 > " + child + "/cpuset.mems"},
		{"version 1", legacy(kept(slice, 0, 64)), "echo 0-1 > " + MachineSlice + "/cpuset.mems"},
	} {
		got := ""
		for _, f := range words.Fixes(fix.Judge(Plain(t, 128, "", TwoMiB), test.host.Host)) {
			if f.Kind == "widen-cpuset" {
				got = strings.Join(f.Commands[:len(f.Commands)-1], "; ")
			}
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
