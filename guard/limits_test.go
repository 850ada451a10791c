package guard

import (
	"strings"
	"testing"
)

// sized gives the mount of 2 MiB pages a size= of so many pages.
func sized(h Host, limit, used uint64) Host {
	h.Mounts = []Mount{{Path: "/dev/hugepages", PageKiB: 2048, Limit: &PageLimit{PageKiB: 2048, Reserved: true, Pages: limit, Used: used}}}
	return h
}

// below starts QEMU below control groups.
func below(h Host, groups ...Cgroup) Host {
	h.Cgroups = groups
	return h
}

const machineSlice = "/sys/fs/cgroup/machine.slice"

// confinedTo is machine.slice with nodes.
func confinedTo(nodes ...int) Cgroup {
	return Cgroup{Path: machineSlice, Nodes: nodes, NodesFile: machineSlice + "/cpuset.mems.effective"}
}

// legacy is the same in version 1.
func legacy(nodes ...int) Cgroup {
	return Cgroup{Path: "/sys/fs/cgroup/cpuset/machine.slice", Nodes: nodes, NodesFile: "/sys/fs/cgroup/cpuset/machine.slice/cpuset.mems", Legacy: true}
}

// limited is machine.slice with a limit on 2 MiB pages.
func limited(file string, pages, used uint64) Cgroup {
	l := PageLimit{PageKiB: 2048, File: machineSlice + "/hugetlb.2MB." + file, Reserved: strings.HasPrefix(file, "rsvd."), Pages: pages, Used: used}
	return Cgroup{Path: machineSlice, Limits: []PageLimit{l}}
}

// TestLimits has limits besides the pools: that of the mount, those of control groups, and the nodes that these leave.
func TestLimits(t *testing.T) {
	twoMounts := func(h Host) Host {
		h.Mounts = append(h.Mounts, Mount{Path: "/other", PageKiB: 2048})
		return h
	}
	memfd := twoMiB + "<source type='memfd'/>"
	three := pages(20, 20, 20)
	manual := Cgroup{Path: "/sys/fs/cgroup/machine"}
	for _, test := range []struct {
		name   string
		demand Demand
		host   Host
		want   Decision
		cause  Cause
		code   string // of the first finding
		says   string // in the summary
	}{
		// The nodes that QEMU inherits.
		{"kept to a node, exactly enough", plain(t, 40, "", twoMiB), below(pages(20, 20), confinedTo(1)), Allow, "", "", "it fits"},
		{"kept to a node, one page short", plain(t, 42, "", twoMiB), below(pages(20, 20), confinedTo(1)), Refuse, CausePoolTooSmall, codeNodeShort,
			"node 1 has too few 2M pages: 20 of 20 free, 21 needed"},
		{"bound to the node that is left", guest(t, "strict:1", cell{21, "strict:1"}), below(pages(40, 20), confinedTo(1)), Refuse, CausePoolTooSmall, codeNodeShort, "node 1 has too few 2M pages: 20 of 20 free, 21 needed"},
		{"bound to both, one is left", guest(t, "", cell{21, "strict:0-1"}), below(pages(20, 20), confinedTo(1)), Refuse, CausePoolTooSmall, codeNodeShort, "keeps QEMU there"},
		{"bound to another node", guest(t, "", cell{1, "strict:0"}), below(pages(20, 20), confinedTo(1)), Refuse, CauseBindingImpossible, codeBinding,
			"cannot bind RAM to node 0 for ram-node0: /sys/fs/cgroup/machine.slice/cpuset.mems.effective keeps QEMU to node 1"},
		{"strict on another node", plain(t, 2, "strict:0", twoMiB), below(pages(20, 20), confinedTo(1)), Refuse, CauseBindingImpossible, codeBinding, "keeps QEMU to node 1"},
		{"preferred on another node", plain(t, 2, "preferred:0", twoMiB), below(pages(20, 20), confinedTo(1)), Refuse, CauseBindingImpossible, codeBinding, ""},
		{"interleave over both", plain(t, 42, "interleave:0-1", twoMiB), below(pages(20, 20), confinedTo(1)), Refuse, CausePoolTooSmall, codeNodeShort, ""},
		{"restrictive on another node lives on what is left", plain(t, 40, "restrictive:0", twoMiB), below(pages(0, 20), confinedTo(1)), Allow, "", "", ""},
		{"the global reservation is of all nodes", plain(t, 40, "", twoMiB), below(pages(10, 20).pooled(func(p *SizePool) { p.Reserved = 11 }), confinedTo(1)), Refuse, CauseKernelReserved, codeReserved, "promises hold this host's 2M pages: 30 of 30 free, 11 of them promised, 19 usable, 20 needed"},
		{"overcommit does not help who is kept to a node", plain(t, 42, "", twoMiB), below(pages(20, 20).pooled(func(p *SizePool) { p.Overcommit = 20 }), confinedTo(1)), Refuse, CausePoolTooSmall, codeNodeShort, ""},
		// Without the cpuset controller the policy moves with the process: node 1 is the second of three, and so is
		// node 2 of those that are left.
		{"a policy that is moved", plain(t, 42, "strict:1", twoMiB), below(pages(0, 20, 20), confinedTo(1, 2)), Refuse, CausePoolTooSmall, codeNodeShort, ""},
		{"a policy that is moved away", plain(t, 40, "strict:1", twoMiB), below(pages(0, 20, 10), confinedTo(1, 2)), Warn, "", codeSome, "may lack node 2's 2M pages: 10 of 10 free, 20 needed"},
		{"a group without memory of its own", plain(t, 40, "", twoMiB), below(pages(20), confinedTo(3)), Allow, "", "", ""},
		{"numad may choose the node that is not left", parse(t, `<domain type='kvm'><name>g</name><memory unit='MiB'>2</memory><memoryBacking>`+twoMiB+`</memoryBacking>
			<numatune><memory mode='strict' placement='auto'/></numatune></domain>`), below(pages(20, 20), confinedTo(1)), Warn, "", codeAuto, "does not know that /sys/fs/cgroup/machine.slice/cpuset.mems.effective keeps QEMU to node 1"},
		{"numad may prefer the node that is not left", parse(t, `<domain type='kvm'><name>g</name><memory unit='MiB'>2</memory><memoryBacking>`+twoMiB+`</memoryBacking>
			<numatune><memory mode='preferred' placement='auto'/></numatune></domain>`), below(pages(20, 20), confinedTo(1)), Warn, "", codeAuto, "does not know"},

		// Version 1.
		{"version 1, unbound", plain(t, 42, "", twoMiB), below(pages(20, 20), legacy(1)), Warn, "", codeSome, "may lack node 1's 2M pages: 20 of 20 free, 21 needed"},
		{"version 1, nowhere", plain(t, 82, "", twoMiB), below(pages(20, 20), legacy(1)), Refuse, CausePoolTooSmall, codeNodeShort, ""},
		{"version 1, a cpuset that libvirt cannot write", plain(t, 42, "strict:0", twoMiB), below(pages(20, 20), legacy(1)), Warn, "", codeSome, "where libvirt may not use the cpuset controller"},
		{"version 1, another node", guest(t, "", cell{1, "strict:0"}), below(pages(20, 20), legacy(1)), Warn, "", codeSome, "may not bind RAM to node 0 for ram-node0: "},

		// Two groups that it may be.
		{"either group will do", plain(t, 40, "", twoMiB), below(three, confinedTo(1), manual), Allow, "", "", ""},
		{"one group will not do", plain(t, 42, "", twoMiB), below(three, confinedTo(1), manual), Warn, "", codeCgroup, "may lack node 1's 2M pages: 20 of 20 free, 21 needed"},
		{"neither group will do", plain(t, 122, "", twoMiB), below(three, confinedTo(1), manual), Refuse, CausePoolTooSmall, codeNodeShort, "node 1 has too few 2M pages: 20 of 20 free, 61 needed"},

		// size= of the mount.
		{"a mount that is just large enough", plain(t, 40, "", twoMiB), sized(pages(30), 30, 10), Allow, "", "", ""},
		{"a mount that is full", plain(t, 42, "", twoMiB), sized(pages(30), 30, 10), Refuse, CauseMountLimit, codeMountLimit,
			"mount limit is too low for 2M pages: size= of /dev/hugepages leaves 20 of 30, 21 needed (42 MiB); fix: mount -t hugetlbfs -o pagesize=2048K,size=65011712 hugetlbfs /dev/hugepages"},
		{"a mount of no size", plain(t, 2, "", twoMiB), sized(pages(30), 0, 0), Refuse, CauseMountLimit, codeMountLimit, "leaves 0 of 0, "},
		{"a memfd has no mount", plain(t, 42, "", memfd), sized(pages(30), 30, 10), Allow, "", "", ""},
		{"another mount may be the one", plain(t, 42, "", twoMiB), twoMounts(sized(pages(30), 30, 10)), Warn, "", codeMountLimit, "it fails unless libvirt takes another mount of 2M pages"},
		{"the mount and the pool", plain(t, 62, "", twoMiB), sized(pages(30), 30, 10), Refuse, CauseMountLimit, codeMountLimit, ""},
		{"cells share a mount", guest(t, "", cell{10, ""}, cell{11, ""}), sized(pages(30), 20, 0), Refuse, CauseMountLimit, codeMountLimit, "21 needed"},

		// hugetlb control groups.
		{"a group that is just large enough", plain(t, 40, "", twoMiB), below(pages(30), limited("max", 30, 10)), Allow, "", "", ""},
		{"a group that is full", plain(t, 42, "", memfd), below(pages(30), limited("max", 30, 10)), Refuse, CauseCgroupLimit, codeCgroupLimit,
			"cgroup limit is too low for 2M pages: /sys/fs/cgroup/machine.slice/hugetlb.2MB.max allows 30, 10 used, 21 needed (42 MiB); fix: echo 65011712 > /sys/fs/cgroup/machine.slice/hugetlb.2MB.max"},
		{"a group that is promised away", plain(t, 42, "", twoMiB), below(pages(30), limited("rsvd.max", 30, 10)), Refuse, CauseCgroupLimit, codeCgroupLimit, "allows 30, 10 used or promised, 21 needed"},
		{"cells share a group", guest(t, "", cell{10, "strict:0"}, cell{11, "strict:1"}), below(pages(30, 30), limited("max", 20, 0)), Refuse, CauseCgroupLimit, codeCgroupLimit, "21 needed"},
		{"one group of two is full", plain(t, 42, "", twoMiB), below(pages(30), limited("max", 30, 10), manual), Warn, "", codeCgroup, ""},
		{"a group that is overdrawn", plain(t, 2, "", twoMiB), below(pages(30), limited("max", 5, 9)), Refuse, CauseCgroupLimit, codeCgroupLimit, "allows 5"},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := JudgeAndFix(test.demand, test.host)
			code := ""
			if len(v.Findings) > 0 {
				code = v.Findings[0].Code
			}
			if v.Decision != test.want || v.Cause != test.cause || code != test.code {
				t.Errorf("got %s %q %q, want %s %q %q", v.Decision, v.Cause, code, test.want, test.cause, test.code)
			}
			if !strings.Contains(Summary(v), test.says) {
				t.Errorf("summary is %q, want in it %q", Summary(v), test.says)
			}
		})
	}
}

// TestEveryLimit: all limits that are met are told, each with its fix, and what is short besides is told after them.
func TestEveryLimit(t *testing.T) {
	host := sized(pages(19), 20, 0)
	c := limited("max", 18, 0)
	c.Limits = append(c.Limits, limited("rsvd.max", 25, 5).Limits...)
	v := JudgeAndFix(plain(t, 42, "", twoMiB), below(host, c))
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
	if len(Fixes(v)) != 1 || Fixes(v)[0].For != "host" || len(Fixes(v)[0].Lines) != 5 || Fields(v)["HUGEGUARD_TOTAL"] != "20" {
		t.Errorf("%+v, %v", Fixes(v), Fields(v))
	}
}

// However many pages overcommit allows, those that are free are enough.
func TestOvercommitWithoutBounds(t *testing.T) {
	for _, overcommit := range []uint64{0, 1, 1<<64 - 2, 1<<64 - 1} {
		host := pages(2).pooled(func(p *SizePool) { p.Overcommit = overcommit })
		if v := JudgeAndFix(guest(t, "", cell{2, ""}), host); v.Decision != Allow {
			t.Errorf("overcommit %d: %s: %s", overcommit, v.Decision, Summary(v))
		}
	}
}
