package guard_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	. "hugeguard/guard"
	"hugeguard/guard/fix"
	. "hugeguard/guard/guardtest"
	"hugeguard/guard/words"
)

// withVirtioMem is a guest of one cell of 10 pages, and a virtio-mem device of so many pages, of which the guest gets
// some first.
func withVirtioMem(t *testing.T, pages, requested int) Demand {
	t.Helper()
	device := fmt.Sprintf(`<devices><memory model='virtio-mem'><target><size unit='MiB'>%d</size><node>0</node>
		<block unit='MiB'>2</block><requested unit='MiB'>%d</requested></target></memory></devices></domain>`, 2*pages, 2*requested)
	return Parse(t, strings.Replace(GuestXML("", Cell(10, "")), "</domain>", device, 1))
}

// withDIMM is a guest of one cell of 10 pages, and a DIMM of so many pages with a nodemask.
func withDIMM(t *testing.T, memory string, pages int, nodemask string) Demand {
	t.Helper()
	dimm := fmt.Sprintf(`<devices><memory model='dimm'><source><nodemask>%s</nodemask></source>
		<target><size unit='MiB'>%d</size><node>0</node></target></memory></devices></domain>`, nodemask, 2*pages)
	return Parse(t, strings.Replace(GuestXML(memory, Cell(10, "")), "</domain>", dimm, 1))
}

// auto is a guest of so many MiB in each of some cells, which numad places.
func auto(t *testing.T, mode string, mib, cells int) Demand {
	t.Helper()
	return Parse(t, fmt.Sprintf(`<domain><memory unit='MiB'>1</memory><memoryBacking>%s</memoryBacking><os><type arch='x86_64'>hvm</type></os>
		<numatune><memory mode='%s' placement='auto'/></numatune><cpu><numa>%s</numa></cpu></domain>`,
		TwoMiB, mode, strings.Repeat(fmt.Sprintf("<cell memory='%d' unit='MiB'/>", mib), cells)))
}

// unmounted leaves only the mount of 1 GiB pages.
func unmounted(h Setup) Setup {
	h.Mounts = h.Mounts[1:]
	return h
}

// setAside gives the mount of 2 MiB pages a min_size.
func setAside(h Setup) Setup {
	h.Mounts = []Mount{{Path: "/dev/hugepages", PageKiB: 2048, Minimum: true}}
	return h
}

// launchTest is a launch on a host, and what is wanted of its verdict.
type launchTest struct {
	name   string
	demand Demand
	host   Setup
	want   Decision
	cause  Cause
	code   string // of the first finding
	says   string // in the summary
}

func (test launchTest) judge(t *testing.T) {
	v := fix.Judge(test.demand, test.host.Host)
	code := ""
	if len(v.Findings) > 0 {
		code = v.Findings[0].Code
	}
	if v.Decision != test.want || v.Cause != test.cause || code != test.code {
		t.Errorf("got %s %q %q, want %s %q %q", v.Decision, v.Cause, code, test.want, test.cause, test.code)
	}
	if !strings.Contains(words.Summary(v), test.says) {
		t.Errorf("summary is %q, want in it %q", words.Summary(v), test.says)
	}
	if strings.Contains(words.Summary(v), "\n") || len(words.Line(v)) > 780 {
		t.Errorf("the summary does not fit libvirt's error: %q", words.Summary(v))
	}
}

// TestJudge plays launches whose outcome was measured on a two-node machine with libvirt 9.0, QEMU 7.2 and Linux 6.1
// (and with libvirt 11.3, QEMU 10.0 and Linux 6.12 where they differ).
func TestJudge(t *testing.T) {
	incident := Pages(0, 512).Holding(HolderOVS, "ovs-vswitchd", 702, 0, 512).
		Holding(HolderGuest, "a", 11, 0, 256).Holding(HolderGuest, "b", 12, 0, 256)
	overcommit := func(h Setup, n uint64) Setup {
		return h.Change(func(p *SizePool) { p.Overcommit = n })
	}
	reserved := func(h Setup, n uint64) Setup {
		return h.Change(func(p *SizePool) { p.Reserved = n })
	}
	noCPU := Pages(100, 100)
	noCPU.Nodes[1].HasCPU = false
	noMemory := Pages(100, 100)
	noMemory.Nodes = append(noMemory.Nodes, Node{ID: 2, HasCPU: true})
	nowhere := Pages(0)
	nowhere.Nodes[0].HasMemory = false
	for _, test := range []launchTest{
		// Enough, to the page.
		{"unbound over both nodes", Plain(t, 400, "", TwoMiB), Pages(100, 100), Allow, "", "", "it fits"},
		{"unbound, one page short", Plain(t, 402, "", TwoMiB), Pages(100, 100), Refuse, CausePoolTooSmall, "node-short", "this host has too few 2M pages: 200 of 200 free, 201 needed"},
		{"strict, exactly enough", Guest(t, "", Cell(100, "strict:0")), Pages(100, 0), Allow, "", "", ""},
		{"strict, one page short", Guest(t, "", Cell(101, "strict:0")), Pages(100, 500), Refuse, CausePoolTooSmall, "node-short", "node 0 has too few 2M pages: 100 of 100 free, 101 needed"},
		{"strict over two nodes is the sum", Guest(t, "strict:0-1", Cell(200, "")), Pages(100, 100, 50), Allow, "", "", ""},
		{"strict over two nodes, one short", Guest(t, "strict:0-1", Cell(201, "")), Pages(100, 100, 50), Refuse, CausePoolTooSmall, "node-short", "nodes 0-1 have too few 2M pages: 200 of 200 free, 201 needed"},
		{"two cells on one node add up", Guest(t, "strict:0", Cell(60, "strict:0"), Cell(60, "strict:0")), Pages(100, 500), Refuse, CausePoolTooSmall, "node-short", "node 0 has too few 2M pages: 100 of 100 free, 120 needed"},
		{"three cells are told together", Guest(t, "", Cell(60, "strict:0"), Cell(60, "strict:0"), Cell(60, "strict:0")), Pages(100, 500), Refuse, CausePoolTooSmall, "node-short", "node 0 has too few 2M pages: 100 of 100 free, 180 needed"},
		{"unbound cells are told together", Guest(t, "", Cell(60, ""), Cell(60, ""), Cell(60, "")), Pages(0, 0), Refuse, CausePoolMissing, "node-short", "this host has no 2M pages at all: 180 needed"},
		{"two cells on their own nodes", Guest(t, "strict:0-1", Cell(100, "strict:0"), Cell(100, "strict:1")), Pages(100, 100), Allow, "", "", ""},
		{"a missing pool", Guest(t, "", Cell(10, "strict:1")), Pages(100, 0), Refuse, CausePoolMissing, "node-short", "node 1 has no 2M pages at all: 10 needed (20 MiB)"},

		// Softness.
		{"preferred spills", Guest(t, "", Cell(150, "preferred:0")), Pages(100, 100), Allow, "", "spill", "it fits"},
		{"preferred that fits", Guest(t, "", Cell(100, "preferred:0")), Pages(100, 100), Allow, "", "", ""},
		{"preferred with nowhere to go", Guest(t, "", Cell(201, "preferred:0")), Pages(100, 100), Refuse, CausePoolTooSmall, "node-short", ""},
		{"interleave with less than a share", Guest(t, "", Cell(20, "interleave:0-1")), Pages(5, 35), Allow, "", "spill", ""},
		{"interleave that fits", Guest(t, "", Cell(20, "interleave:0-1")), Pages(10, 35), Allow, "", "", ""},
		{"preferred under strict is reserved on its nodes", Guest(t, "strict:0", Cell(101, "preferred:0")), Pages(100, 500), Refuse, CausePoolTooSmall, "node-short", "node 0 has too few 2M pages: 100 of 100 free, 101 needed"},
		{"interleave under strict, kept by a policy, may go elsewhere", Guest(t, "strict:1", Cell(1, ""), Cell(2, "interleave:1")), Pages(1, 2), Warn, "", "release", "it fails with some releases of libvirt and QEMU"},
		{"restrictive is kept by the cpuset alone", Plain(t, 202, "restrictive:0", TwoMiB), Pages(100, 100), Warn, "", "release", "where libvirt may use the cpuset controller"},
		{"restrictive with nowhere to go", Plain(t, 402, "restrictive:0", TwoMiB), Pages(100, 100), Refuse, CausePoolTooSmall, "node-short", ""},

		// The other cell's pages.
		{"a soft cell may go elsewhere", Guest(t, "", Cell(100, "strict:0"), Cell(100, "")), Pages(100, 100), Warn, "", "order", "may lack node 0's 2M pages: ram-node0 fits there only if"},
		{"overlapping sets, no assignment", Guest(t, "", Cell(60, "strict:0"), Cell(60, "strict:0"), Cell(90, "strict:0-1")), Pages(100, 100), Refuse, CausePoolTooSmall, "node-short", "node 0 has too few 2M pages: 100 of 100 free, 120 needed"},
		{"overlapping sets, an assignment", Guest(t, "", Cell(100, "strict:0"), Cell(90, "strict:0-1")), Pages(100, 100), Warn, "", "order", ""},

		// Reservations protect no node, and bind all.
		{"reserved by others", Plain(t, 512, "", TwoMiB), reserved(Pages(300, 900), 1000), Refuse, CauseKernelReserved, "reserved", "promises hold this host's 2M pages: 1200 of 1200 free, 1000 of them promised, 200 usable, 256 needed"},
		{"reserved, with room", Plain(t, 400, "", TwoMiB), reserved(Pages(300, 900), 1000), Allow, "", "", ""},
		{"a reservation elsewhere does not save the node", Guest(t, "", Cell(10, "strict:1")), reserved(Pages(20, 20), 30), Allow, "", "", ""},

		// Surplus pages may rescue, and are promised to nobody.
		{"overcommit may rescue", Guest(t, "", Cell(30, "strict:0")), overcommit(Pages(20, 20), 20), Warn, "", "overcommit", "surplus"},
		{"overcommit is too little", Guest(t, "", Cell(45, "strict:0")), overcommit(Pages(20, 20), 20), Refuse, CausePoolTooSmall, "node-short", ""},
		{"overcommit does not help under a cpuset", Guest(t, "strict:0", Cell(30, "strict:0")), overcommit(Pages(20, 20), 20), Refuse, CausePoolTooSmall, "node-short", ""},
		{"overcommit helps a cpuset of all nodes", Guest(t, "strict:0-1", Cell(50, "strict:0-1")), overcommit(Pages(20, 20), 20), Warn, "", "overcommit", ""},
		{"overcommit helps a cpuset whose first cell reserves the rest", Guest(t, "strict:0", Cell(1, ""), Cell(2, "")), overcommit(Pages(1, 1), 2), Warn, "", "overcommit", ""},
		{"overcommit is used up", Guest(t, "", Cell(30, "strict:0")), Pages(20, 20).Change(func(p *SizePool) { p.Overcommit, p.Surplus = 20, 15 }), Refuse, CauseUnaccounted, "node-short", ""},

		{"no node has memory", Plain(t, 20, "", TwoMiB), nowhere, Refuse, CausePoolMissing, "node-short", "10 needed"},

		// Bindings that fail whatever is free.
		{"a memnode outside memory", Guest(t, "strict:0", Cell(10, "strict:1")), Pages(100, 100), Warn, "", "release", "before 9.5"},
		{"a node without memory", Guest(t, "", Cell(10, "strict:2")), noMemory, Refuse, CauseBindingImpossible, "binding", "no memory belongs there"},
		{"preferred towards a node without memory", Guest(t, "", Cell(10, "preferred:2")), noMemory, Refuse, CauseBindingImpossible, "binding", ""},
		{"interleave over one that has some", Guest(t, "", Cell(10, "interleave:1-2")), noMemory, Allow, "", "", ""},
		{"a node without CPUs", Guest(t, "", Cell(10, "strict:1")), noCPU, Warn, "", "release", "no CPU belongs there"},
		{"nodes one of which has CPUs", Guest(t, "", Cell(10, "strict:0-1")), noCPU, Allow, "", "", ""},
		{"a node that does not exist is libvirt's", Guest(t, "", Cell(10, "strict:7")), Pages(100, 100), Warn, "", "left-to-libvirt", "no NUMA node 7"},

		// Sizes.
		{"no multiple, unbound", Plain(t, 21, "", TwoMiB), Pages(100, 100), Warn, "", "release", "with QEMU 9.1 or later"},
		{"no multiple, unbound, and short", Plain(t, 501, "", TwoMiB), Pages(100, 100), Refuse, CausePoolTooSmall, "node-short", "251 needed"},
		{"no multiple, bound", Plain(t, 21, "strict:0", TwoMiB), Pages(100, 100), Refuse, CauseSizeMismatch, "size-mismatch", "size is no multiple of 2M pages: pc.ram is 21 MiB, so the kernel cannot bind it to node 0"},
		{"no multiple, memfd", Plain(t, 21, "", TwoMiB+"<source type='memfd'/>"), Pages(100, 100), Refuse, CauseSizeMismatch, "size-mismatch", ""},
		{"no multiple, bound by numad", auto(t, "preferred", 21, 1), Pages(100, 100), Refuse, CauseSizeMismatch, "size-mismatch", "so the kernel cannot bind it to the nodes that numad chooses"},
		{"no multiple, kept by numad's cpuset alone", auto(t, "restrictive", 21, 1), Pages(100, 100), Warn, "", "release", "with QEMU 9.1 or later"},
		{"less than a page", Plain(t, 512, "", "<hugepages><page size='1' unit='GiB'/></hugepages>"), Pages(1000), Refuse, CauseSizeMismatch, "size-mismatch", "size is less than one 1G page: pc.ram is 512 MiB"},
		{"a size the kernel lacks, in a memfd", Plain(t, 512, "", "<hugepages><page size='16' unit='MiB'/></hugepages><source type='memfd'/>"), Pages(1000), Refuse, CausePageSizeUnsupported, "page-size", "this kernel has no 16M pages: it has 2M and 1G, and pc.ram needs 32 pages (512 MiB)"},
		{"a size without a mount is libvirt's", Plain(t, 512, "", "<hugepages><page size='16' unit='MiB'/></hugepages>"), Pages(1), Warn, "", "left-to-libvirt", "no hugetlbfs of 16M pages is mounted"},
		{"no size, short of the default and of the other", Plain(t, 512, "", "<hugepages/>"), Pages(100), Refuse, CausePoolTooSmall, "node-short", "node 0 has too few 2M pages: 100 of 100 free, 256 needed"},
		{"no size, short of the default alone", Plain(t, 1024, "", "<hugepages/>"), Pages(100).WithGiB(1), Warn, "", "default-page-size", "it fails if libvirt takes 2M pages"},
		{"no size, the default not mounted", Plain(t, 1024, "", "<hugepages/>"), unmounted(Pages(600).WithGiB(0)), Refuse, CausePoolMissing, "node-short", "node 0 has no 1G pages at all: 1 needed"},
		{"reserved for the mount itself", Plain(t, 400, "", TwoMiB), setAside(reserved(Pages(300), 200)), Warn, "", "reserved", "min_size"},
		{"not huge", Plain(t, 512, "", "<hugepages><page size='4' unit='KiB'/></hugepages>"), Pages(0), Allow, "", "", "it needs no huge pages"},

		// Who holds them.
		{"the incident", Guest(t, "strict:0", Cell(256, "strict:0")), incident, Refuse, CauseOVS, "node-short",
			"OVS-DPDK holds node 0's 2M pages: 0 of 1024 free, 256 needed"},
		{"the incident, on the other node", Guest(t, "strict:1", Cell(256, "strict:1")), incident, Allow, "", "", ""},
		{"too large even without Open vSwitch", Guest(t, "strict:0", Cell(600, "strict:0")), incident, Refuse, CauseGuests, "node-short", "guest a has 256, guest b has 256, ovs-vswitchd (pid 702) has 512"},
		{"guests hold the pages", Guest(t, "strict:0", Cell(64, "strict:0")), Pages(0, 9).Holding(HolderGuest, "a", 1, 0, 64), Refuse, CauseGuests, "node-short", "guests fill node 0's 2M pages: 0 of 64 free, 64 needed (128 MiB); guest a has 64"},
		{"another process holds them", Guest(t, "strict:0", Cell(64, "strict:0")), Pages(0, 9).Holding(HolderProcess, "vpp_main", 5, 0, 64), Refuse, CauseOtherHolder, "node-short", "vpp_main holds node 0's 2M pages: 0 of 64 free, 64 needed (128 MiB); vpp_main (pid 5) has 64; fix: echo 128 > "},
		{"Open vSwitch holds pages elsewhere", Guest(t, "strict:0", Cell(64, "strict:0")), Pages(0, 0).Holding(HolderGuest, "a", 1, 0, 64).Holding(HolderOVS, "ovs-vswitchd", 2, 1, 64), Refuse, CauseGuests, "node-short", ""},
		{"nobody visible holds them", Guest(t, "strict:0", Cell(64, "strict:0")), Pages(0, 0).Holding(HolderGuest, "a", 1, 0, 3).Change(func(p *SizePool) { p.Nodes[0].Total = 100 }), Refuse, CauseUnaccounted, "node-short", "unexplained use of node 0's 2M pages: 0 of 100 free, 64 needed (128 MiB); for 97 of the 100 no holder was found"},
		{"nobody looked", Guest(t, "strict:0", Cell(64, "strict:0")), Pages(0, 0).Change(func(p *SizePool) { p.Nodes[0].Total = 100 }), Refuse, CauseUnaccounted, "node-short", "node 0 is short of 2M pages: 0 of 100 free, 64 needed (128 MiB); holders were not examined"},
	} {
		t.Run(test.name, test.judge)
	}
}

// TestJudgeRestored: a restore and an incoming migration take sizes as they are, which makes a difference where pages
// are smaller than what a cold start rounds to.
func TestJudgeRestored(t *testing.T) {
	small := func(free uint64) Setup {
		host := Pages(free).Change(func(p *SizePool) { p.PageKiB = 64 })
		host.Sizes, host.Mounts = []uint64{64}, []Mount{{Path: "/dev/hugepages", PageKiB: 64}}
		return host
	}
	ppc64 := func(kib int) Demand {
		return Parse(t, fmt.Sprintf(`<domain type='kvm'><name>g</name><memory>%d</memory><memoryBacking>%s</memoryBacking><os><type arch='ppc64le'>hvm</type></os></domain>`, kib, TwoMiB))
	}
	const sixtyFour = "<hugepages><page size='64'/></hugepages>"
	arm := func(kib int, tune string) Demand {
		return Parse(t, fmt.Sprintf(`<domain type='kvm'><name>g</name><memory>%d</memory><memoryBacking>%s</memoryBacking>%s<os><type arch='aarch64'>hvm</type></os></domain>`, kib, sixtyFour, tune))
	}
	for _, test := range []struct {
		name   string
		demand Demand
		host   Setup
		want   Decision
		code   string
	}{
		{"enough for a cold start", arm(1088, ""), small(32), Allow, ""},
		{"enough as it is", arm(1088, ""), small(31), Warn, "restore"},
		{"just enough as it is", arm(1088, ""), small(17), Warn, "restore"},
		{"too little in any case", arm(1088, ""), small(16), Refuse, "node-short"},
		{"enough as it is, but no multiple", arm(1089, "<numatune><memory nodeset='0'/></numatune>"), small(31), Refuse, "node-short"},
		{"rounded to 256 MiB", ppc64(300 << 10), Pages(200), Warn, "restore"},
		{"rounding makes no page more", Plain(t, 3, "", TwoMiB), Pages(1), Refuse, "node-short"},
	} {
		v := fix.Judge(test.demand, test.host.Host)
		code := ""
		if len(v.Findings) > 0 {
			code = v.Findings[0].Code
		}
		if v.Decision != test.want || code != test.code {
			t.Errorf("%s: %s %q %s, want %s %q", test.name, v.Decision, code, words.Summary(v), test.want, test.code)
		}
	}
}

// TestJudgeAuto: numad's choice is not known at prepare.
func TestJudgeAuto(t *testing.T) {
	const oldCells = "<os><type arch='x86_64' machine='pc-q35-4.2'>hvm</type></os><cpu><numa><cell id='0' memory='204800'/></numa></cpu>"
	for name, rest := range map[string]string{
		"strict":      "<numatune><memory mode='strict' placement='auto'/></numatune>",
		"restrictive": "<numatune><memory mode='restrictive' placement='auto'/></numatune>",
		"implied":     "",
		"-mem-path":   oldCells,
	} {
		d := Parse(t, `<domain type='kvm'><name>g</name><memory unit='MiB'>200</memory><vcpu placement='auto'>2</vcpu>
			<memoryBacking>`+TwoMiB+`</memoryBacking>`+rest+`</domain>`)
		for _, test := range []struct {
			host Setup
			want Decision
		}{
			{Pages(100, 100), Allow},
			{Pages(100, 99), Warn},
			{Pages(50, 50), Warn}, // numad may advise both nodes
			{Pages(50, 49), Refuse},
		} {
			if v := fix.Judge(d, test.host.Host); v.Decision != test.want {
				t.Errorf("%s, free %v: %s (%s), want %s", name, test.host.Pools[0].Nodes, v.Decision, words.Summary(v), test.want)
			}
		}
	}
}

// TestJudgeAutoCells: numad may choose one node for all cells.
func TestJudgeAutoCells(t *testing.T) {
	d := auto(t, "strict", 2, 2)
	for _, test := range []struct {
		host Setup
		want Decision
	}{{Pages(2, 2), Allow}, {Pages(1, 1), Warn}, {Pages(1, 0), Refuse}} {
		if v := fix.Judge(d, test.host.Host); v.Decision != test.want {
			t.Errorf("free %v: %s (%s), want %s", test.host.Pools[0].Nodes, v.Decision, words.Summary(v), test.want)
		}
	}
}

// TestJudgeAutoCPUs: numad may choose nodes from which memory cannot be prepared.
func TestJudgeAutoCPUs(t *testing.T) {
	noCPU := TwoCPUs(10, 10)
	noCPU.Nodes[1].HasCPU = false
	kept := TwoCPUs(10, 10).Below(RunningOn(0))
	for _, test := range []struct {
		mode string
		host Setup
		want Decision
	}{
		{"strict", TwoCPUs(10, 10), Allow},
		{"strict", noCPU, Warn},
		{"strict", kept, Warn},
		{"preferred", kept, Warn},
		{"strict", kept.Serving(9_000_000, 7_001_000), Allow},
		{"restrictive", kept.Serving(9_000_000, 7_002_000), Allow},
		{"restrictive", kept.Serving(9_002_000, 7_002_000), Warn},
		{"strict", TwoCPUs(10, 10).Below(RunningOn(0, 2)), Allow},
	} {
		v := fix.Judge(auto(t, test.mode, 2, 1), test.host.Host)
		if v.Decision != test.want || test.want == Warn && !strings.Contains(words.Summary(v), "numad may choose node 1: it chooses after this check, and QEMU cannot prepare memory from CPUs there") {
			t.Errorf("%s, %+v, %s: %s, %s", test.mode, test.host.Nodes, test.host.Releases, v.Decision, words.Summary(v))
		}
	}
}

// TestJudgeAutoStrays: a device with nodes of its own may lie outside of those that numad chooses for QEMU.
func TestJudgeAutoStrays(t *testing.T) {
	for _, test := range []struct {
		mode, nodes string
		host        Setup
		want        Decision
	}{
		{"strict", "0", Pages(10, 10), Warn},
		{"strict", "0-1", Pages(10, 10), Allow},
		{"strict", "0", Pages(10), Allow},
		{"strict", "0", Pages(10, 10).Below(confinedTo(0)), Warn}, // numad does not know of it
		{"preferred", "0", Pages(10, 10), Allow},
		{"restrictive", "0", Pages(10, 10).Serving(11_010_000, 0), Allow}, // QEMU is told no nodes
		{"restrictive", "0", Pages(10, 10), Warn},
	} {
		v := fix.Judge(Parse(t, fmt.Sprintf(`<domain><name>g</name><memory unit='MiB'>4</memory><memoryBacking>%s</memoryBacking>
			<numatune><memory mode='%s' placement='auto'/></numatune><cpu><numa><cell memory='2' unit='MiB'/></numa></cpu>
			<devices><memory model='dimm'><source><nodemask>%s</nodemask><pagesize unit='MiB'>2</pagesize></source>
			<target><size unit='MiB'>2</size><node>0</node></target></memory></devices></domain>`, TwoMiB, test.mode, test.nodes)), test.host.Host)
		if v.Decision != test.want {
			t.Errorf("%+v: %s", test, words.Text(v))
		}
	}
}

// TestJudgeVirtioMem: QEMU starts without the device's memory.
func TestJudgeVirtioMem(t *testing.T) {
	d := Parse(t, `<domain type='kvm'><name>g</name><memory unit='MiB'>1</memory><memoryBacking>`+TwoMiB+`</memoryBacking>
		<cpu><numa><cell id='0' cpus='0' memory='20' unit='MiB'/></numa></cpu>
		<devices><memory model='virtio-mem'><target><size unit='MiB'>100</size><node>0</node>
		<block unit='MiB'>2</block><requested unit='MiB'>80</requested></target></memory></devices></domain>`)
	for free, want := range map[uint64]Decision{50: Allow, 49: Warn, 10: Warn, 9: Refuse} {
		if v := fix.Judge(d, Pages(free).Serving(0, 6_001_000).Host); v.Decision != want {
			t.Errorf("%d free: %s (%s), want %s", free, v.Decision, words.Summary(v), want)
		}
	}
}

// TestJudgeVirtioMemBlocks: QEMU wants blocks of at least a page, and a whole number of them.
func TestJudgeVirtioMemBlocks(t *testing.T) {
	for _, test := range []struct {
		size, block, page int // in MiB
		want              Decision
		says              string
	}{
		{2048, 2, 1024, Refuse, "memvirtiomem0 is plugged in blocks of 2 MiB"},
		{2048, 1024, 1024, Allow, ""},
		{1536, 1024, 1024, Refuse, "memvirtiomem0 is 1536 MiB, and QEMU requires a multiple"},
		{2048, 1024, 2, Allow, ""},
		{1536, 1024, 2, Refuse, "memvirtiomem0 is 1536 MiB, and QEMU requires a multiple"},
		{1535, 2, 2, Allow, ""}, // rounded, unless it is restored
	} {
		d := Parse(t, fmt.Sprintf(`<domain type='kvm'><name>g</name><memory unit='GiB'>1</memory><cpu><numa><cell id='0' cpus='0' memory='20' unit='MiB'/></numa></cpu>
			<devices><memory model='virtio-mem'><source><pagesize unit='MiB'>%d</pagesize></source><target><size unit='MiB'>%d</size><node>0</node>
			<block unit='MiB'>%d</block><requested unit='MiB'>0</requested></target></memory></devices></domain>`, test.page, test.size, test.block))
		v := fix.Judge(d, Pages(1000).WithGiB(2).Serving(0, 6_001_000).Host)
		if v.Decision != test.want || !strings.Contains(words.Summary(v), test.says) || v.Decision == Refuse && v.Cause != CauseSizeMismatch {
			t.Errorf("%+v: %s %s (%s)", test, v.Decision, v.Cause, words.Summary(v))
		}
	}
}

// TestSummaryIsBounded: libvirt cuts errors at 1024 bytes, and names are other people's.
func TestSummaryIsBounded(t *testing.T) {
	host := Pages(0, 9)
	for pid := range 200 {
		host = host.Holding(HolderGuest, strings.Repeat("\x1b[31m\n", 300), pid, 0, 1)
	}
	v := fix.Judge(Guest(t, "", Cell(64, "strict:0")), host.Host)
	if v.Cause != CauseGuests || len(words.Summary(v)) > 600 || strings.ContainsAny(words.Summary(v), "\n\x1b") {
		t.Errorf("%s, %d bytes: %q", v.Cause, len(words.Summary(v)), words.Summary(v))
	}
	if text := words.Text(v); strings.ContainsRune(text, 0x1b) || len(text) > 20000 {
		t.Errorf("%d bytes of text: %.300q", len(text), text)
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"instance-00000001": "instance-00000001",
		"100% größe":        "100% größe",
		"a\nb\tc":           `a\nb\tc`,
		"\x1b]0;x\a":        `\x1b]0;x\a`,
		"\xff\x00":          `\xff\x00`,
		`a\nb`:              `a\\nb`,
		"\u202eabc\u2028":   `\u202eabc\u2028`,
	} {
		if got := Printable(in, 100); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
	if got := Printable("0123456789", 4); got != "0123..." {
		t.Errorf("cut to %q", got)
	}
	if got := Printable("012\x1b", 4); got != "012..." {
		t.Errorf("an escape was cut in two: %q", got)
	}
}

// TestEveryShortage: nodes that are short each for itself are each told, and the fix is for all of them.
func TestEveryShortage(t *testing.T) {
	v := fix.Judge(Guest(t, "", Cell(10, "strict:0"), Cell(30, "strict:1"), Cell(5, "strict:0")), Pages(4, 0).Host)
	want := []string{"node 0 is short of 2M pages: 4 of 4 free, 15 needed (30 MiB)", "node 1 is short of 2M pages: 30 needed (60 MiB)"}
	for i, f := range v.Findings {
		if len(v.Findings) != len(want) || words.Finding(f) != want[i] || f.Severity != SeverityRefuse {
			t.Errorf("finding %d: %+v", i, f)
		}
	}
	fix := []string{"echo 15 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages",
		"echo 30 > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages",
		"cat /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages"}
	if len(Fixes(v)) != 1 || !slices.Equal(Fixes(v)[0].Lines, fix) {
		t.Errorf("fixes %+v", Fixes(v))
	}
}

// TestHiddenMount: what is mounted over the place of QEMU's files makes of them ordinary memory, for which no pool is
// too small; a memfd has its pages all the same.
func TestHiddenMount(t *testing.T) {
	over := &OverMount{Path: "/dev/hugepages/libvirt/qemu", Type: "tmpfs"}
	memfd := func(d Demand) Demand {
		d.Backends = slices.Clone(d.Backends)
		for i := range d.Backends {
			d.Backends[i].Memfd = true
		}
		return d
	}
	d := Guest(t, "strict:0", Cell(100, ""))
	hidden := Pages(10)
	hidden.Mounts[0].Over = over
	either := Pages(10)
	either.Mounts = append(either.Mounts, Mount{Path: "/other", PageKiB: 2048, Over: over})
	other := Pages(10)
	other.Mounts[1].Over = over
	for name, test := range map[string]struct {
		demand   Demand
		host     Setup
		decision Decision
		says     string
		backends int
	}{
		"hidden":         {d, hidden, Warn, "tmpfs is mounted over 2M pages at /dev/hugepages/libvirt/qemu: until it is unmounted, ram-node0 will lie on it, in ordinary memory", 0},
		"perhaps":        {d, either, Warn, "ram-node0 may lie on it", 0},
		"a memfd":        {memfd(d), hidden, Refuse, "100 needed", 1},
		"of other pages": {d, other, Refuse, "100 needed", 1},
	} {
		v := fix.Judge(test.demand, test.host.Host)
		if v.Decision != test.decision || !strings.Contains(words.Summary(v), test.says) || len(v.Demand) != test.backends {
			t.Errorf("%s: %s, %d backends: %s", name, v.Decision, len(v.Demand), words.Summary(v))
		}
	}
}

// TestShortage: which refusals other hooks could still prevent.
func TestShortage(t *testing.T) {
	v := Judge(Guest(t, "strict:0", Cell(100, "")), Pages(10, 10).Host)
	if !v.Shortage() {
		t.Errorf("no shortage: %s", summary(v))
	}
	w := v.Unless("somebody may make some")
	if w.Decision != Warn || w.Cause != "" || w.Waits() || w.Shortage() || !strings.HasSuffix(summary(w), "; somebody may make some") ||
		slices.ContainsFunc(w.Findings, func(f Finding) bool { return f.Severity == SeverityRefuse }) {
		t.Errorf("unless somebody does: %+v", w)
	}
	if v.Decision != Refuse || v.Findings[0].Severity != SeverityRefuse {
		t.Errorf("the verdict has changed: %+v", v)
	}
	unbound := Pages(10, 10)
	unbound.Nodes[0].HasMemory = false
	for name, v := range map[string]Verdict{
		"fits":          Judge(Guest(t, "strict:0", Cell(1, "")), Pages(10, 10).Host),
		"a binding":     Judge(Guest(t, "strict:0", Cell(100, "")), unbound.Host),
		"no such pages": Judge(Guest(t, "strict:0", Cell(100, "")), func() Setup { h := Pages(10); h.Sizes, h.Pools = []uint64{1 << 20}, nil; return h }().Host),
	} {
		if v.Shortage() {
			t.Errorf("%s is taken for a shortage: %s: %s", name, v.Decision, summary(v))
		}
	}
}
