package guard_test

import (
	"strings"
	"testing"

	. "hugeguard/guard"
	"hugeguard/guard/fix"
	. "hugeguard/guard/guardtest"
	"hugeguard/guard/words"
)

// sized gives the mount of 2 MiB pages a size= of so many pages.
func sized(h Setup, limit, used uint64) Setup {
	h.Mounts = []Mount{{Path: "/dev/hugepages", PageKiB: 2048, Limit: &PageLimit{PageKiB: 2048, Reserved: true, Pages: limit, Used: used}}}
	return h
}

// confinedTo is machine.slice with nodes.
func confinedTo(nodes ...int) Cgroup {
	return Cgroup{Path: MachineSlice, Nodes: nodes, NodesFile: MachineSlice + "/cpuset.mems.effective"}
}

// legacy is the same in version 1.
func legacy(nodes ...int) Cgroup {
	return Cgroup{Path: "/sys/fs/cgroup/cpuset/machine.slice", Nodes: nodes, NodesFile: "/sys/fs/cgroup/cpuset/machine.slice/cpuset.mems", Legacy: true}
}

// limited is machine.slice with a limit on 2 MiB pages.
func limited(file string, pages, used uint64) Cgroup {
	l := PageLimit{PageKiB: 2048, File: MachineSlice + "/hugetlb.2MB." + file, Reserved: strings.HasPrefix(file, "rsvd."), Pages: pages, Used: used}
	return Cgroup{Path: MachineSlice, Limits: []PageLimit{l}}
}

// TestLimits has limits besides the pools: that of the mount, those of control groups, and the nodes that these leave.
func TestLimits(t *testing.T) {
	twoMounts := func(h Setup) Setup {
		h.Mounts = append(h.Mounts, Mount{Path: "/other", PageKiB: 2048})
		return h
	}
	memfd := TwoMiB + "<source type='memfd'/>"
	three := Pages(20, 20, 20)
	manual := Cgroup{Path: "/sys/fs/cgroup/machine"}
	for _, test := range []launchTest{
		// The nodes that QEMU inherits.
		{"kept to a node, exactly enough", Plain(t, 40, "", TwoMiB), Pages(20, 20).Below(confinedTo(1)), Allow, "", "", "it fits"},
		{"kept to a node, one page short", Plain(t, 42, "", TwoMiB), Pages(20, 20).Below(confinedTo(1)), Refuse, CausePoolTooSmall, "node-short",
			"node 1 has too few 2M pages: 20 of 20 free, 21 needed"},
		{"bound to the node that is left", Guest(t, "strict:1", Cell(21, "strict:1")), Pages(40, 20).Below(confinedTo(1)), Refuse, CausePoolTooSmall, "node-short", "node 1 has too few 2M pages: 20 of 20 free, 21 needed"},
		{"bound to both, one is left", Guest(t, "", Cell(21, "strict:0-1")), Pages(20, 20).Below(confinedTo(1)), Refuse, CausePoolTooSmall, "node-short", "keeps QEMU there"},
		{"bound to another node", Guest(t, "", Cell(1, "strict:0")), Pages(20, 20).Below(confinedTo(1)), Refuse, CauseBindingImpossible, "binding",
			"cannot bind RAM to node 0 for ram-node0: /sys/fs/cgroup/machine.slice/cpuset.mems.effective keeps QEMU to node 1"},
		{"strict on another node", Plain(t, 2, "strict:0", TwoMiB), Pages(20, 20).Below(confinedTo(1)), Refuse, CauseBindingImpossible, "binding", "keeps QEMU to node 1"},
		{"preferred on another node", Plain(t, 2, "preferred:0", TwoMiB), Pages(20, 20).Below(confinedTo(1)), Refuse, CauseBindingImpossible, "binding", ""},
		{"interleave over both", Plain(t, 42, "interleave:0-1", TwoMiB), Pages(20, 20).Below(confinedTo(1)), Refuse, CausePoolTooSmall, "node-short", ""},
		{"restrictive on another node lives on what is left", Plain(t, 40, "restrictive:0", TwoMiB), Pages(0, 20).Below(confinedTo(1)), Allow, "", "", ""},
		{"the global reservation is of all nodes", Plain(t, 40, "", TwoMiB), Pages(10, 20).Change(func(p *SizePool) { p.Reserved = 11 }).Below(confinedTo(1)), Refuse, CauseKernelReserved, "reserved", "promises hold this host's 2M pages: 30 of 30 free, 11 of them promised, 19 usable, 20 needed"},
		{"overcommit does not help who is kept to a node", Plain(t, 42, "", TwoMiB), Pages(20, 20).Change(func(p *SizePool) { p.Overcommit = 20 }).Below(confinedTo(1)), Refuse, CausePoolTooSmall, "node-short", ""},
		// Without the cpuset controller the policy moves with the process: node 1 is the second of three, and so is
		// node 2 of those that are left.
		{"a policy that is moved", Plain(t, 42, "strict:1", TwoMiB), Pages(0, 20, 20).Below(confinedTo(1, 2)), Refuse, CausePoolTooSmall, "node-short", ""},
		{"a policy that is moved away", Plain(t, 40, "strict:1", TwoMiB), Pages(0, 20, 10).Below(confinedTo(1, 2)), Warn, "", "release", "may lack node 2's 2M pages: 10 of 10 free, 20 needed"},
		{"a group without memory of its own", Plain(t, 40, "", TwoMiB), Pages(20).Below(confinedTo(3)), Allow, "", "", ""},
		{"numad may choose the node that is not left", Parse(t, `<domain type='kvm'><name>g</name><memory unit='MiB'>2</memory><memoryBacking>`+TwoMiB+`</memoryBacking>
			<numatune><memory mode='strict' placement='auto'/></numatune></domain>`), Pages(20, 20).Below(confinedTo(1)), Warn, "", "placement-auto", "does not know that /sys/fs/cgroup/machine.slice/cpuset.mems.effective keeps QEMU to node 1"},
		{"numad may prefer the node that is not left", Parse(t, `<domain type='kvm'><name>g</name><memory unit='MiB'>2</memory><memoryBacking>`+TwoMiB+`</memoryBacking>
			<numatune><memory mode='preferred' placement='auto'/></numatune></domain>`), Pages(20, 20).Below(confinedTo(1)), Warn, "", "placement-auto", "does not know"},

		// Version 1.
		{"version 1, unbound", Plain(t, 42, "", TwoMiB), Pages(20, 20).Below(legacy(1)), Warn, "", "release", "may lack node 1's 2M pages: 20 of 20 free, 21 needed"},
		{"version 1, nowhere", Plain(t, 82, "", TwoMiB), Pages(20, 20).Below(legacy(1)), Refuse, CausePoolTooSmall, "node-short", ""},
		{"version 1, a cpuset that libvirt cannot write", Plain(t, 42, "strict:0", TwoMiB), Pages(20, 20).Below(legacy(1)), Warn, "", "release", "where libvirt may not use the cpuset controller"},
		{"version 1, another node", Guest(t, "", Cell(1, "strict:0")), Pages(20, 20).Below(legacy(1)), Warn, "", "release", "may not bind RAM to node 0 for ram-node0: "},

		// Two groups that it may be.
		{"either group will do", Plain(t, 40, "", TwoMiB), three.Below(confinedTo(1), manual), Allow, "", "", ""},
		{"one group will not do", Plain(t, 42, "", TwoMiB), three.Below(confinedTo(1), manual), Warn, "", "cgroup", "may lack node 1's 2M pages: 20 of 20 free, 21 needed"},
		{"neither group will do", Plain(t, 122, "", TwoMiB), three.Below(confinedTo(1), manual), Refuse, CausePoolTooSmall, "node-short", "node 1 has too few 2M pages: 20 of 20 free, 61 needed"},

		// size= of the mount.
		{"a mount that is just large enough", Plain(t, 40, "", TwoMiB), sized(Pages(30), 30, 10), Allow, "", "", ""},
		{"a mount that is full", Plain(t, 42, "", TwoMiB), sized(Pages(30), 30, 10), Refuse, CauseMountLimit, "mount-limit",
			"mount limit is too low for 2M pages: size= of /dev/hugepages leaves 20 of 30, 21 needed (42 MiB); fix: mount -t hugetlbfs -o pagesize=2048K,size=65011712 hugetlbfs /dev/hugepages"},
		{"a mount of no size", Plain(t, 2, "", TwoMiB), sized(Pages(30), 0, 0), Refuse, CauseMountLimit, "mount-limit", "leaves 0 of 0, "},
		{"a memfd has no mount", Plain(t, 42, "", memfd), sized(Pages(30), 30, 10), Allow, "", "", ""},
		{"another mount may be the one", Plain(t, 42, "", TwoMiB), twoMounts(sized(Pages(30), 30, 10)), Warn, "", "mount-limit", "it fails unless libvirt takes another mount of 2M pages"},
		{"the mount and the pool", Plain(t, 62, "", TwoMiB), sized(Pages(30), 30, 10), Refuse, CauseMountLimit, "mount-limit", ""},
		{"cells share a mount", Guest(t, "", Cell(10, ""), Cell(11, "")), sized(Pages(30), 20, 0), Refuse, CauseMountLimit, "mount-limit", "21 needed"},

		// hugetlb control groups.
		{"a group that is just large enough", Plain(t, 40, "", TwoMiB), Pages(30).Below(limited("max", 30, 10)), Allow, "", "", ""},
		{"a group that is full", Plain(t, 42, "", memfd), Pages(30).Below(limited("max", 30, 10)), Refuse, CauseCgroupLimit, "cgroup-limit",
			"cgroup limit is too low for 2M pages: /sys/fs/cgroup/machine.slice/hugetlb.2MB.max leaves 20 of 30 (10 used), 21 needed (42 MiB); fix: echo 65011712 > /sys/fs/cgroup/machine.slice/hugetlb.2MB.max"},
		{"a group that is promised away", Plain(t, 42, "", TwoMiB), Pages(30).Below(limited("rsvd.max", 30, 10)), Refuse, CauseCgroupLimit, "cgroup-limit", "leaves 20 of 30 (10 used or promised), 21 needed"},
		{"cells share a group", Guest(t, "", Cell(10, "strict:0"), Cell(11, "strict:1")), Pages(30, 30).Below(limited("max", 20, 0)), Refuse, CauseCgroupLimit, "cgroup-limit", "21 needed"},
		{"one group of two is full", Plain(t, 42, "", TwoMiB), Pages(30).Below(limited("max", 30, 10), manual), Warn, "", "cgroup", ""},
		{"a group that is overdrawn", Plain(t, 2, "", TwoMiB), Pages(30).Below(limited("max", 5, 9)), Refuse, CauseCgroupLimit, "cgroup-limit", "leaves 0 of 5"},
	} {
		t.Run(test.name, test.judge)
	}
}

// TestEveryLimit: all limits that are met are told, each with its fix, and what is short besides is told after them.
func TestEveryLimit(t *testing.T) {
	host := sized(Pages(19), 20, 0)
	c := limited("max", 18, 0)
	c.Limits = append(c.Limits, limited("rsvd.max", 25, 5).Limits...)
	v := fix.Judge(Plain(t, 42, "", TwoMiB), host.Below(c).Host)
	var codes []string
	for _, f := range v.Findings {
		codes = append(codes, f.Code)
	}
	if got := strings.Join(codes, " "); got != "mount-limit cgroup-limit cgroup-limit node-short" {
		t.Errorf("findings: %s", got)
	}
	if f := v.Findings[1]; f.Needed != 21 || f.Free != 18 || f.Total != 18 || f.Nodes != nil {
		t.Errorf("%+v", f)
	}
	if len(Fixes(v)) != 1 || Fixes(v)[0].For != "host" || len(Fixes(v)[0].Lines) != 5 || words.Fields(v)["HUGEGUARD_TOTAL"] != "20" {
		t.Errorf("%+v, %v", Fixes(v), words.Fields(v))
	}
}

// However many pages overcommit allows, those that are free are enough.
func TestOvercommitWithoutBounds(t *testing.T) {
	for _, overcommit := range []uint64{0, 1, 1<<64 - 2, 1<<64 - 1} {
		host := Pages(2).Change(func(p *SizePool) { p.Overcommit = overcommit })
		if v := fix.Judge(Guest(t, "", Cell(2, "")), host.Host); v.Decision != Allow {
			t.Errorf("overcommit %d: %s: %s", overcommit, v.Decision, words.Summary(v))
		}
	}
}
