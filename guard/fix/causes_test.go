package fix_test

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"hugeguard/guard"
	"hugeguard/guard/fix"
	. "hugeguard/guard/guardtest"
	"hugeguard/guard/words"
)

// start is a launch on a host.
type start struct {
	demand guard.Demand
	host   Setup
}

// TestEveryCauseHasItsFix: every cause is that of some launch, and not of another that is all but the same; the line
// says both the cause and the node where it is cut; there is something to do, in the entry and in the line; and the verdict knows whether others can make the pages.
func TestEveryCauseHasItsFix(t *testing.T) {
	bound := Guest(t, "strict:0", Cell(64, "strict:0"))
	with := func(change func(*guard.Backend)) guard.Demand {
		changed := bound
		changed.Backends = slices.Clone(bound.Backends)
		change(&changed.Backends[0])
		return changed
	}
	odd := with(func(b *guard.Backend) { b.Bytes -= 1 << 20; b.ExactBytes = b.Bytes })
	foreign := with(func(b *guard.Backend) { b.PageKiB, b.Memfd = 512<<10, true })
	withoutCPU, withoutMemory := Pages(64, 64), Pages(64, 64)
	withoutCPU.Nodes, withoutMemory.Nodes = slices.Clone(withoutCPU.Nodes), slices.Clone(withoutMemory.Nodes)
	withoutCPU.Nodes[0].HasCPU, withoutMemory.Nodes[0].HasMemory = false, false
	debian12 := func(h Setup) Setup { return h.Serving(9_000_000, 7_002_022).UsingCpuset(true) }
	mounted := func(most uint64) Setup {
		h := Pages(64, 0)
		h.Mounts = slices.Clone(h.Mounts)
		h.Mounts[0].Limit = &guard.PageLimit{PageKiB: 2048, Reserved: true, Pages: most}
		return h
	}
	limited := func(most uint64) Setup {
		const file = MachineSlice + "/hugetlb.2MB.max"
		return Pages(64, 0).Below(guard.Cgroup{Path: MachineSlice, Limits: []guard.PageLimit{{PageKiB: 2048, File: file, Pages: most}}})
	}
	pinned := func(cpu string) guard.Demand { return Parse(t, PinnedXML("<vcpu cpuset='"+cpu+"'>1</vcpu>")) }
	has := map[guard.Cause]bool{}
	for _, test := range []struct {
		name   string
		cause  guard.Cause
		shown  string // of the line, where Nova shows 30 bytes of it
		is     start
		allBut start  // another cause's, or nobody's
		fix    string // the best fix in words; "" for none
		short  string // in the line; "" for the fix itself
		lack   bool   // of pages that others can make, or give back
	}{
		{"Open vSwitch", guard.CauseOVS, "OVS-DPDK holds node 0's 2M pag", start{bound, Pages(24, 0).Holding(guard.HolderOVS, "ovs-vswitchd", 7, 0, 40)},
			start{bound, Pages(24, 0).Holding(guard.HolderOVS, "ovs-vswitchd", 7, 0, 39)},
			"host: echo 104 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages, cat /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "fix: echo 104 > ", true},
		{"a process", guard.CauseOtherHolder, "vpp holds node 0's 2M pages: 2", start{bound, Pages(24, 0).Holding(guard.HolderProcess, "vpp", 7, 0, 40)},
			start{bound, Pages(24, 0).Holding(guard.HolderProcess, "vpp", 7, 0, 39)},
			"host: echo 104 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages, cat /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "fix: echo 104 > ", true},
		{"a guest", guard.CauseGuests, "guests fill node 0's 2M pages:", start{bound, Pages(24, 64).Holding(guard.HolderGuest, "a", 7, 0, 40)},
			start{bound, Pages(24, 64).Holding(guard.HolderGuest, "a", 7, 0, 39)},
			"host: echo 104 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages, cat /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "fix: echo 104 > ", true},
		{"a guest that starts", guard.CauseStartingGuests, "starting guests take node 0's ", start{bound, Pages(64, 0).Started("a", "0", 1, 0)},
			start{bound, Pages(65, 0).Started("a", "0", 1, 0)}, "host: echo 65 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages, cat /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "fix: echo 65 > ", true},
		{"files", guard.CauseLeftoverFiles, "leftover files hold node 0's 2", start{bound, Pages(24, 0).LeftBehind(0, 40, "/h/x")},
			start{bound, Pages(24, 0).LeftBehind(0, 39, "/h/x")}, "host: rm /h/x", "fix: rm /h/x", true},
		{"promised", guard.CauseKernelReserved, "promises hold this host's 2M p", start{bound, Pages(64, 0).PromisedTo("lazy", 5, 1)}, start{bound, Pages(65, 0).PromisedTo("lazy", 5, 1)},
			"host: echo 65 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages, cat /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "fix: echo 65 > ", true},
		{"a small pool", guard.CausePoolTooSmall, "node 0 has too few 2M pages: 6", start{bound, Pages(63, 0)}, start{bound, Pages(64, 0)},
			"host: echo 64 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages, cat /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "fix: echo 64 > ", true},
		{"no pool", guard.CausePoolMissing, "node 0 has no 2M pages at all:", start{bound, Pages(0, 64)}, start{bound, Pages(1, 63)},
			"host: echo 64 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages, cat /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "fix: echo 64 > ", true},
		{"a size that is not there", guard.CausePageSizeUnsupported, "this kernel has no 512M pages:", start{foreign, Pages(64, 64)},
			start{with(func(b *guard.Backend) { b.Memfd = true }), Pages(64, 64)},
			"domain: give ram-node0 2M pages (<page size='2048' unit='KiB'/> in memoryBacking/hugepages)", "", false},
		{"a limit of the mount", guard.CauseMountLimit, "mount limit is too low for 2M ", start{bound, mounted(63)}, start{bound, mounted(64)},
			"host: mount -t hugetlbfs -o pagesize=2048K,size=134217728 hugetlbfs /dev/hugepages", "fix: mount -t hugetlbfs ", true},
		{"a limit of a control group", guard.CauseCgroupLimit, "cgroup limit is too low for 2M", start{bound, limited(63)}, start{bound, limited(64)},
			"host: echo 134217728 > " + MachineSlice + "/hugetlb.2MB.max, cat " + MachineSlice + "/hugetlb.2MB.max", "fix: echo 134217728 > ", true},
		{"odd", guard.CauseSizeMismatch, "size is no multiple of 2M page", start{odd, Pages(64, 64)}, start{bound, Pages(64, 64)}, "domain: make ram-node0 128 MiB", "", false},
		{"blocks smaller than a page", guard.CauseSizeMismatch, "blocks are smaller than a 2M p", start{with(func(b *guard.Backend) { b.Block = 1024 }), Pages(64, 64)},
			start{with(func(b *guard.Backend) { b.Block = 2048 }), Pages(64, 64)}, "domain: make the blocks of ram-node0 2 MiB", "", false},
		{"no memory there", guard.CauseBindingImpossible, "cannot bind RAM to node 0 for ", start{bound, withoutMemory}, start{bound, Pages(64, 64)}, "domain: bind ram-node0 to node 1 (numatune/memnode[@cellid='0'])", "", false},
		{"no CPU there", guard.CauseBindingImpossible, "cannot bind RAM to node 0 for ", start{bound, debian12(withoutCPU)}, start{bound, debian12(Pages(64, 64))}, "domain: bind ram-node0 to node 1 (numatune/memnode[@cellid='0'])", "", false},
		{"kept from the CPUs there", guard.CauseBindingImpossible, "cannot bind RAM to node 0 for ", start{bound, debian12(TwoCPUs(64, 64).Below(RunningOn(3)))},
			start{bound, debian12(TwoCPUs(64, 64).Below(RunningOn(1, 3)))}, "domain: bind ram-node0 to node 1 (numatune/memnode[@cellid='0'])", "", false},
		{"pinned elsewhere", guard.CauseBindingImpossible, "cannot bind RAM to node 1 for ", start{pinned("0"), debian12(TwoCPUs(64, 64))}, start{pinned("0,2"), debian12(TwoCPUs(64, 64))},
			"domain: pin the emulator to CPUs of node 1, too (cputune/emulatorpin)", "", false},
		{"gone", guard.CauseUnaccounted, "unexplained use of node 0's 2M", start{bound, Pages(24, 0).Holding(guard.HolderGuest, "a", 1, 0, 3).Gone(0, 37)},
			start{bound, Pages(64, 0).Holding(guard.HolderGuest, "a", 1, 0, 3).Gone(0, 37)}, "host: echo 104 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages, cat /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "fix: echo 104 > ", true},
	} {
		has[test.cause] = true
		v := fix.Judge(test.is.demand, test.is.host.Host)
		best := ""
		if fixes := Fixes(v); len(fixes) > 0 {
			best = fixes[0].For + ": " + strings.Join(fixes[0].Lines, ", ")
		}
		_, says, _ := strings.Cut(test.fix, ": ")
		if v.Cause != test.cause || best != test.fix || !strings.Contains(words.Summary(v), "; "+cmp.Or(test.short, "fix: "+says)) {
			t.Errorf("%s: %s, %q, want %q: %s", test.name, v.Cause, best, test.fix, words.Summary(v))
		}
		if test.fix == "" && test.short == "" {
			t.Errorf("%s: there is nothing to do", test.name)
		}
		if line := words.Line(v); line[:30] != test.shown || !strings.HasPrefix(line, words.Summary(v)+"; more: hugeguard explain") {
			t.Errorf("%s: the line is %s\nwant at its begin %s", test.name, line, test.shown)
		}
		if v.Shortage() != test.lack {
			t.Errorf("%s: others can make the pages: %t, want %t", test.name, v.Shortage(), test.lack)
		}
		if v := fix.Judge(test.allBut.demand, test.allBut.host.Host); v.Cause == test.cause {
			t.Errorf("%s: one that is all but the same is refused for it, too: %s", test.name, words.Summary(v))
		}
	}
	for _, cause := range guard.Causes() {
		if !has[cause] {
			t.Errorf("%s: no launch has that cause here", cause)
		}
	}
}
