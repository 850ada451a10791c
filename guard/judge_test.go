package guard

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// pages is a host with one size of pages, 2 MiB, and so many free on each node; nothing is held, reserved or
// overcommitted.
func pages(free ...uint64) Host {
	host := Host{BasePageKiB: 4, DefaultPageKiB: 2048, Sizes: []uint64{2048, 1 << 20},
		Mounts: []Mount{{Path: "/dev/hugepages", PageKiB: 2048}, {Path: "/dev/hugepages1G", PageKiB: 1 << 20}}}
	pool := SizePool{PageKiB: 2048}
	for id, n := range free {
		host.Nodes = append(host.Nodes, Node{ID: id, HasMemory: true, HasCPU: true})
		pool.Nodes = append(pool.Nodes, NodePool{Node: id, Total: n, Free: n})
	}
	host.Pools = []SizePool{pool}
	return host
}

// pooled changes the host's only pool.
func (h Host) pooled(f func(*SizePool)) Host { return h.Change(f) }

// heldBy has somebody take pages of a node, which had them on top of its free ones.
func (h Host) heldBy(kind HolderKind, name string, pid int, node int, n uint64) Host {
	h = h.Change(func(p *SizePool) { p.Nodes[node].Total += n })
	holders := Holders{}
	if h.Holders != nil {
		holders = *h.Holders
	}
	holders.List = append(slices.Clone(holders.List), Holder{Kind: kind, Name: name, PID: pid, PageKiB: 2048, Pages: map[int]uint64{node: n}})
	h.Holders = &holders
	return h
}

// cell is a guest cell of so many 2 MiB pages, bound as libvirt would say it: "" or "MODE:NODES".
type cell struct {
	pages   uint64
	memnode string
}

// guest writes the XML of a guest of cells; memory is numatune/memory as "MODE:NODES", or "".
func guest(t *testing.T, memory string, cells ...cell) Demand {
	t.Helper()
	return parse(t, guestXML(memory, cells...))
}

// guestXML is what [guest] reads.
func guestXML(memory string, cells ...cell) string {
	var numa, tune strings.Builder
	if mode, nodes, ok := strings.Cut(memory, ":"); ok {
		fmt.Fprintf(&tune, "<memory mode='%s' nodeset='%s'/>", mode, nodes)
	}
	for i, c := range cells {
		fmt.Fprintf(&numa, "<cell id='%d' cpus='%d' memory='%d' unit='MiB'/>", i, i, 2*c.pages)
		if mode, nodes, ok := strings.Cut(c.memnode, ":"); ok {
			fmt.Fprintf(&tune, "<memnode cellid='%d' mode='%s' nodeset='%s'/>", i, mode, nodes)
		}
	}
	return fmt.Sprintf(`<domain type='kvm'><name>g</name><memory unit='MiB'>1</memory>
		<memoryBacking><hugepages><page size='2' unit='MiB'/></hugepages></memoryBacking>
		<numatune>%s</numatune><os><type arch='x86_64'>hvm</type></os><cpu><numa>%s</numa></cpu></domain>`, &tune, &numa)
}

// plain is a guest without cells of so many MiB.
func plain(t *testing.T, mib int, memory, backing string) Demand {
	t.Helper()
	tune := ""
	if mode, nodes, ok := strings.Cut(memory, ":"); ok {
		tune = fmt.Sprintf("<numatune><memory mode='%s' nodeset='%s'/></numatune>", mode, nodes)
	}
	return parse(t, fmt.Sprintf(`<domain type='kvm'><name>g</name><memory unit='MiB'>%d</memory>
		<memoryBacking>%s</memoryBacking>%s<os><type arch='x86_64'>hvm</type></os></domain>`, mib, backing, tune))
}

// withVirtioMem is a guest of one cell of 10 pages, and a virtio-mem device of so many pages, of which the guest gets
// some first.
func withVirtioMem(t *testing.T, pages, requested int) Demand {
	t.Helper()
	device := fmt.Sprintf(`<devices><memory model='virtio-mem'><target><size unit='MiB'>%d</size><node>0</node>
		<block unit='MiB'>2</block><requested unit='MiB'>%d</requested></target></memory></devices></domain>`, 2*pages, 2*requested)
	return parse(t, strings.Replace(guestXML("", cell{pages: 10}), "</domain>", device, 1))
}

// withDIMM is a guest of one cell of 10 pages, and a DIMM of so many pages with a nodemask.
func withDIMM(t *testing.T, memory string, pages int, nodemask string) Demand {
	t.Helper()
	dimm := fmt.Sprintf(`<devices><memory model='dimm'><source><nodemask>%s</nodemask></source>
		<target><size unit='MiB'>%d</size><node>0</node></target></memory></devices></domain>`, nodemask, 2*pages)
	return parse(t, strings.Replace(guestXML(memory, cell{pages: 10}), "</domain>", dimm, 1))
}

func parse(t *testing.T, xml string) Demand {
	t.Helper()
	d, err := ParseDomain([]byte(xml))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// auto is a guest of so many MiB in each of some cells, which numad places.
func auto(t *testing.T, mode string, mib, cells int) Demand {
	t.Helper()
	return parse(t, fmt.Sprintf(`<domain><memory unit='MiB'>1</memory><memoryBacking>%s</memoryBacking><os><type arch='x86_64'>hvm</type></os>
		<numatune><memory mode='%s' placement='auto'/></numatune><cpu><numa>%s</numa></cpu></domain>`,
		twoMiB, mode, strings.Repeat(fmt.Sprintf("<cell memory='%d' unit='MiB'/>", mib), cells)))
}

const twoMiB = "<hugepages><page size='2' unit='MiB'/></hugepages>"

// withGiB adds a pool of 1 GiB pages on node 0.
func withGiB(h Host, free uint64) Host {
	h.Pools = append(slices.Clone(h.Pools), SizePool{PageKiB: 1 << 20, Nodes: []NodePool{{Node: 0, Total: free, Free: free}}})
	return h
}

// unmounted leaves only the mount of 1 GiB pages.
func unmounted(h Host) Host {
	h.Mounts = h.Mounts[1:]
	return h
}

// setAside gives the mount of 2 MiB pages a min_size.
func setAside(h Host) Host {
	h.Mounts = []Mount{{Path: "/dev/hugepages", PageKiB: 2048, Minimum: true}}
	return h
}

// TestJudge plays launches whose outcome was measured on a two-node machine with libvirt 9.0, QEMU 7.2 and Linux 6.1
// (and with libvirt 11.3, QEMU 10.0 and Linux 6.12 where they differ).
func TestJudge(t *testing.T) {
	incident := pages(0, 512).heldBy(HolderOVS, "ovs-vswitchd", 702, 0, 512).
		heldBy(HolderGuest, "a", 11, 0, 256).heldBy(HolderGuest, "b", 12, 0, 256)
	overcommit := func(h Host, n uint64) Host {
		return h.pooled(func(p *SizePool) { p.Overcommit = n })
	}
	reserved := func(h Host, n uint64) Host {
		return h.pooled(func(p *SizePool) { p.Reserved = n })
	}
	noCPU := pages(100, 100)
	noCPU.Nodes[1].HasCPU = false
	noMemory := pages(100, 100)
	noMemory.Nodes = append(noMemory.Nodes, Node{ID: 2, HasCPU: true})
	nowhere := pages(0)
	nowhere.Nodes[0].HasMemory = false
	for _, test := range []struct {
		name   string
		demand Demand
		host   Host
		want   Decision
		cause  Cause
		code   string // of the first finding
		says   string // in the summary
	}{
		// Enough, to the page.
		{"unbound over both nodes", plain(t, 400, "", twoMiB), pages(100, 100), Allow, "", "", "it fits"},
		{"unbound, one page short", plain(t, 402, "", twoMiB), pages(100, 100), Refuse, CausePoolTooSmall, codeNodeShort, "this host has too few 2M pages: 200 of 200 free, 201 needed"},
		{"strict, exactly enough", guest(t, "", cell{100, "strict:0"}), pages(100, 0), Allow, "", "", ""},
		{"strict, one page short", guest(t, "", cell{101, "strict:0"}), pages(100, 500), Refuse, CausePoolTooSmall, codeNodeShort, "node 0 has too few 2M pages: 100 of 100 free, 101 needed"},
		{"strict over two nodes is the sum", guest(t, "strict:0-1", cell{200, ""}), pages(100, 100, 50), Allow, "", "", ""},
		{"strict over two nodes, one short", guest(t, "strict:0-1", cell{201, ""}), pages(100, 100, 50), Refuse, CausePoolTooSmall, codeNodeShort, "nodes 0-1 have too few 2M pages: 200 of 200 free, 201 needed"},
		{"two cells on one node add up", guest(t, "strict:0", cell{60, "strict:0"}, cell{60, "strict:0"}), pages(100, 500), Refuse, CausePoolTooSmall, codeNodeShort, "node 0 has too few 2M pages: 100 of 100 free, 120 needed"},
		{"three cells are told together", guest(t, "", cell{60, "strict:0"}, cell{60, "strict:0"}, cell{60, "strict:0"}), pages(100, 500), Refuse, CausePoolTooSmall, codeNodeShort, "node 0 has too few 2M pages: 100 of 100 free, 180 needed"},
		{"unbound cells are told together", guest(t, "", cell{60, ""}, cell{60, ""}, cell{60, ""}), pages(0, 0), Refuse, CausePoolMissing, codeNodeShort, "this host has no 2M pages at all: 180 needed"},
		{"two cells on their own nodes", guest(t, "strict:0-1", cell{100, "strict:0"}, cell{100, "strict:1"}), pages(100, 100), Allow, "", "", ""},
		{"a missing pool", guest(t, "", cell{10, "strict:1"}), pages(100, 0), Refuse, CausePoolMissing, codeNodeShort, "node 1 has no 2M pages at all: 10 needed (20 MiB)"},

		// Softness.
		{"preferred spills", guest(t, "", cell{150, "preferred:0"}), pages(100, 100), Warn, "", codeSpill, "will spill from node 0: only 100 of the 150 pages (300 MiB) of ram-node0 "},
		{"preferred that fits", guest(t, "", cell{100, "preferred:0"}), pages(100, 100), Allow, "", "", ""},
		{"preferred with nowhere to go", guest(t, "", cell{201, "preferred:0"}), pages(100, 100), Refuse, CausePoolTooSmall, codeNodeShort, ""},
		{"interleave with less than a share", guest(t, "", cell{20, "interleave:0-1"}), pages(5, 35), Warn, "", codeSpill, ""},
		{"interleave that fits", guest(t, "", cell{20, "interleave:0-1"}), pages(10, 35), Allow, "", "", ""},
		{"preferred under strict is reserved on its nodes", guest(t, "strict:0", cell{101, "preferred:0"}), pages(100, 500), Refuse, CausePoolTooSmall, codeNodeShort, "node 0 has too few 2M pages: 100 of 100 free, 101 needed"},
		{"interleave under strict, kept by a policy, may go elsewhere", guest(t, "strict:1", cell{1, ""}, cell{2, "interleave:1"}), pages(1, 2), Warn, "", codeSome, "it fails with some releases of libvirt and QEMU"},
		{"restrictive is kept by the cpuset alone", plain(t, 202, "restrictive:0", twoMiB), pages(100, 100), Warn, "", codeSome, "where libvirt may use the cpuset controller"},
		{"restrictive with nowhere to go", plain(t, 402, "restrictive:0", twoMiB), pages(100, 100), Refuse, CausePoolTooSmall, codeNodeShort, ""},

		// The other cell's pages.
		{"a soft cell may go elsewhere", guest(t, "", cell{100, "strict:0"}, cell{100, ""}), pages(100, 100), Warn, "", codeOrder, "may lack node 0's 2M pages: ram-node0 fits there only if"},
		{"overlapping sets, no assignment", guest(t, "", cell{60, "strict:0"}, cell{60, "strict:0"}, cell{90, "strict:0-1"}), pages(100, 100), Refuse, CausePoolTooSmall, codeNodeShort, "node 0 has too few 2M pages: 100 of 100 free, 120 needed"},
		{"overlapping sets, an assignment", guest(t, "", cell{100, "strict:0"}, cell{90, "strict:0-1"}), pages(100, 100), Warn, "", codeOrder, ""},

		// Reservations protect no node, and bind all.
		{"reserved by others", plain(t, 512, "", twoMiB), reserved(pages(300, 900), 1000), Refuse, CauseKernelReserved, codeReserved, "promises hold this host's 2M pages: 1200 of 1200 free, 1000 of them promised, 200 usable, 256 needed"},
		{"reserved, with room", plain(t, 400, "", twoMiB), reserved(pages(300, 900), 1000), Allow, "", "", ""},
		{"a reservation elsewhere does not save the node", guest(t, "", cell{10, "strict:1"}), reserved(pages(20, 20), 30), Allow, "", "", ""},

		// Surplus pages may rescue, and are promised to nobody.
		{"overcommit may rescue", guest(t, "", cell{30, "strict:0"}), overcommit(pages(20, 20), 20), Warn, "", codeOvercommit, "surplus"},
		{"overcommit is too little", guest(t, "", cell{45, "strict:0"}), overcommit(pages(20, 20), 20), Refuse, CausePoolTooSmall, codeNodeShort, ""},
		{"overcommit does not help under a cpuset", guest(t, "strict:0", cell{30, "strict:0"}), overcommit(pages(20, 20), 20), Refuse, CausePoolTooSmall, codeNodeShort, ""},
		{"overcommit helps a cpuset of all nodes", guest(t, "strict:0-1", cell{50, "strict:0-1"}), overcommit(pages(20, 20), 20), Warn, "", codeOvercommit, ""},
		{"overcommit helps a cpuset whose first cell reserves the rest", guest(t, "strict:0", cell{1, ""}, cell{2, ""}), overcommit(pages(1, 1), 2), Warn, "", codeOvercommit, ""},
		{"overcommit is used up", guest(t, "", cell{30, "strict:0"}), pages(20, 20).pooled(func(p *SizePool) { p.Overcommit, p.Surplus = 20, 15 }), Refuse, CauseUnaccounted, codeNodeShort, ""},

		{"no node has memory", plain(t, 20, "", twoMiB), nowhere, Refuse, CausePoolMissing, codeNodeShort, "10 needed"},

		// Bindings that fail whatever is free.
		{"a memnode outside memory", guest(t, "strict:0", cell{10, "strict:1"}), pages(100, 100), Warn, "", codeSome, "before 9.5"},
		{"a node without memory", guest(t, "", cell{10, "strict:2"}), noMemory, Refuse, CauseBindingImpossible, codeBinding, "no memory belongs there"},
		{"preferred towards a node without memory", guest(t, "", cell{10, "preferred:2"}), noMemory, Refuse, CauseBindingImpossible, codeBinding, ""},
		{"interleave over one that has some", guest(t, "", cell{10, "interleave:1-2"}), noMemory, Allow, "", "", ""},
		{"a node without CPUs", guest(t, "", cell{10, "strict:1"}), noCPU, Warn, "", codeSome, "no CPU belongs there"},
		{"nodes one of which has CPUs", guest(t, "", cell{10, "strict:0-1"}), noCPU, Allow, "", "", ""},
		{"a node that does not exist is libvirt's", guest(t, "", cell{10, "strict:7"}), pages(100, 100), Warn, "", codeLeftToOthers, "no NUMA node 7"},

		// Sizes.
		{"no multiple, unbound", plain(t, 21, "", twoMiB), pages(100, 100), Warn, "", codeSome, "with QEMU 9.1 or later"},
		{"no multiple, unbound, and short", plain(t, 501, "", twoMiB), pages(100, 100), Refuse, CausePoolTooSmall, codeNodeShort, "251 needed"},
		{"no multiple, bound", plain(t, 21, "strict:0", twoMiB), pages(100, 100), Refuse, CauseSizeMismatch, codeSize, "size is no multiple of 2M pages: pc.ram is 21 MiB, so the kernel cannot bind it to node 0"},
		{"no multiple, memfd", plain(t, 21, "", twoMiB+"<source type='memfd'/>"), pages(100, 100), Refuse, CauseSizeMismatch, codeSize, ""},
		{"no multiple, bound by numad", auto(t, "preferred", 21, 1), pages(100, 100), Refuse, CauseSizeMismatch, codeSize, "so the kernel cannot bind it to the nodes that numad chooses"},
		{"no multiple, kept by numad's cpuset alone", auto(t, "restrictive", 21, 1), pages(100, 100), Warn, "", codeSome, "with QEMU 9.1 or later"},
		{"less than a page", plain(t, 512, "", "<hugepages><page size='1' unit='GiB'/></hugepages>"), pages(1000), Refuse, CauseSizeMismatch, codeSize, "size is less than one 1G page: pc.ram is 512 MiB"},
		{"a size the kernel lacks, in a memfd", plain(t, 512, "", "<hugepages><page size='16' unit='MiB'/></hugepages><source type='memfd'/>"), pages(1000), Refuse, CausePageSizeUnsupported, codePageSize, "this kernel has no 16M pages: it has 2M and 1G, and pc.ram needs 32 pages (512 MiB)"},
		{"a size without a mount is libvirt's", plain(t, 512, "", "<hugepages><page size='16' unit='MiB'/></hugepages>"), pages(1), Warn, "", codeLeftToOthers, "no hugetlbfs of 16M pages is mounted"},
		{"no size, short of the default and of the other", plain(t, 512, "", "<hugepages/>"), pages(100), Refuse, CausePoolTooSmall, codeNodeShort, "node 0 has too few 2M pages: 100 of 100 free, 256 needed"},
		{"no size, short of the default alone", plain(t, 1024, "", "<hugepages/>"), withGiB(pages(100), 1), Warn, "", codeDefault, "it fails if libvirt takes 2M pages"},
		{"no size, the default not mounted", plain(t, 1024, "", "<hugepages/>"), unmounted(withGiB(pages(600), 0)), Refuse, CausePoolMissing, codeNodeShort, "node 0 has no 1G pages at all: 1 needed"},
		{"reserved for the mount itself", plain(t, 400, "", twoMiB), setAside(reserved(pages(300), 200)), Warn, "", codeReserved, "min_size"},
		{"not huge", plain(t, 512, "", "<hugepages><page size='4' unit='KiB'/></hugepages>"), pages(0), Allow, "", "", "it needs no huge pages"},

		// Who holds them.
		{"the incident", guest(t, "strict:0", cell{256, "strict:0"}), incident, Refuse, CauseOVS, codeNodeShort,
			"OVS-DPDK holds node 0's 2M pages: 0 of 1024 free, 256 needed"},
		{"the incident, on the other node", guest(t, "strict:1", cell{256, "strict:1"}), incident, Allow, "", "", ""},
		{"too large even without Open vSwitch", guest(t, "strict:0", cell{600, "strict:0"}), incident, Refuse, CauseGuests, codeNodeShort, "guest a has 256, guest b has 256, ovs-vswitchd (pid 702) has 512"},
		{"guests hold the pages", guest(t, "strict:0", cell{64, "strict:0"}), pages(0, 9).heldBy(HolderGuest, "a", 1, 0, 64), Refuse, CauseGuests, codeNodeShort, "guests fill node 0's 2M pages: 0 of 64 free, 64 needed (128 MiB); guest a has 64"},
		{"another process holds them", guest(t, "strict:0", cell{64, "strict:0"}), pages(0, 9).heldBy(HolderProcess, "vpp_main", 5, 0, 64), Refuse, CauseOtherHolder, codeNodeShort, "vpp_main holds node 0's 2M pages: 0 of 64 free, 64 needed (128 MiB); vpp_main (pid 5) has 64; fix: echo 128 > "},
		{"Open vSwitch holds pages elsewhere", guest(t, "strict:0", cell{64, "strict:0"}), pages(0, 0).heldBy(HolderGuest, "a", 1, 0, 64).heldBy(HolderOVS, "ovs-vswitchd", 2, 1, 64), Refuse, CauseGuests, codeNodeShort, ""},
		{"nobody visible holds them", guest(t, "strict:0", cell{64, "strict:0"}), pages(0, 0).heldBy(HolderGuest, "a", 1, 0, 3).pooled(func(p *SizePool) { p.Nodes[0].Total = 100 }), Refuse, CauseUnaccounted, codeNodeShort, "unexplained use of node 0's 2M pages: 0 of 100 free, 64 needed (128 MiB); for 97 of the 100 no holder was found"},
		{"nobody looked", guest(t, "strict:0", cell{64, "strict:0"}), pages(0, 0).pooled(func(p *SizePool) { p.Nodes[0].Total = 100 }), Refuse, CauseUnaccounted, codeNodeShort, "node 0 is short of 2M pages: 0 of 100 free, 64 needed (128 MiB); holders were not examined"},
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
			if strings.Contains(Summary(v), "\n") || len(Line(v)) > 780 {
				t.Errorf("the summary does not fit libvirt's error: %q", Summary(v))
			}
		})
	}
}

// TestJudgeRestored: a restore and an incoming migration take sizes as they are, which makes a difference where pages
// are smaller than what a cold start rounds to.
func TestJudgeRestored(t *testing.T) {
	small := func(free uint64) Host {
		host := pages(free).pooled(func(p *SizePool) { p.PageKiB = 64 })
		host.Sizes, host.Mounts = []uint64{64}, []Mount{{Path: "/dev/hugepages", PageKiB: 64}}
		return host
	}
	ppc64 := func(kib int) Demand {
		return parse(t, fmt.Sprintf(`<domain type='kvm'><name>g</name><memory>%d</memory><memoryBacking>%s</memoryBacking><os><type arch='ppc64le'>hvm</type></os></domain>`, kib, twoMiB))
	}
	const sixtyFour = "<hugepages><page size='64'/></hugepages>"
	guest := func(kib int, tune string) Demand {
		return parse(t, fmt.Sprintf(`<domain type='kvm'><name>g</name><memory>%d</memory><memoryBacking>%s</memoryBacking>%s<os><type arch='aarch64'>hvm</type></os></domain>`, kib, sixtyFour, tune))
	}
	for _, test := range []struct {
		name   string
		demand Demand
		host   Host
		want   Decision
		code   string
	}{
		{"enough for a cold start", guest(1088, ""), small(32), Allow, ""},
		{"enough as it is", guest(1088, ""), small(31), Warn, codeRestore},
		{"just enough as it is", guest(1088, ""), small(17), Warn, codeRestore},
		{"too little in any case", guest(1088, ""), small(16), Refuse, codeNodeShort},
		{"enough as it is, but no multiple", guest(1089, "<numatune><memory nodeset='0'/></numatune>"), small(31), Refuse, codeNodeShort},
		{"rounded to 256 MiB", ppc64(300 << 10), pages(200), Warn, codeRestore},
		{"rounding makes no page more", plain(t, 3, "", twoMiB), pages(1), Refuse, codeNodeShort},
	} {
		v := JudgeAndFix(test.demand, test.host)
		code := ""
		if len(v.Findings) > 0 {
			code = v.Findings[0].Code
		}
		if v.Decision != test.want || code != test.code {
			t.Errorf("%s: %s %q %s, want %s %q", test.name, v.Decision, code, Summary(v), test.want, test.code)
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
		d := parse(t, `<domain type='kvm'><name>g</name><memory unit='MiB'>200</memory><vcpu placement='auto'>2</vcpu>
			<memoryBacking>`+twoMiB+`</memoryBacking>`+rest+`</domain>`)
		for _, test := range []struct {
			host Host
			want Decision
		}{
			{pages(100, 100), Allow},
			{pages(100, 99), Warn},
			{pages(50, 50), Warn}, // numad may advise both nodes
			{pages(50, 49), Refuse},
		} {
			if v := JudgeAndFix(d, test.host); v.Decision != test.want {
				t.Errorf("%s, free %v: %s (%s), want %s", name, test.host.Pools[0].Nodes, v.Decision, Summary(v), test.want)
			}
		}
	}
}

// TestJudgeAutoCells: numad may choose one node for all cells.
func TestJudgeAutoCells(t *testing.T) {
	d := auto(t, "strict", 2, 2)
	for _, test := range []struct {
		host Host
		want Decision
	}{{pages(2, 2), Allow}, {pages(1, 1), Warn}, {pages(1, 0), Refuse}} {
		if v := JudgeAndFix(d, test.host); v.Decision != test.want {
			t.Errorf("free %v: %s (%s), want %s", test.host.Pools[0].Nodes, v.Decision, Summary(v), test.want)
		}
	}
}

// TestJudgeAutoCPUs: numad may choose nodes from which memory cannot be prepared.
func TestJudgeAutoCPUs(t *testing.T) {
	noCPU := twoCPUs(10, 10)
	noCPU.Nodes[1].HasCPU = false
	kept := below(twoCPUs(10, 10), runningOn(0))
	for _, test := range []struct {
		mode string
		host Host
		want Decision
	}{
		{"strict", twoCPUs(10, 10), Allow},
		{"strict", noCPU, Warn},
		{"strict", kept, Warn},
		{"preferred", kept, Warn},
		{"strict", kept.serving(9_000_000, 7_001_000), Allow},
		{"restrictive", kept.serving(9_000_000, 7_002_000), Allow},
		{"restrictive", kept.serving(9_002_000, 7_002_000), Warn},
		{"strict", below(twoCPUs(10, 10), runningOn(0, 2)), Allow},
	} {
		v := JudgeAndFix(auto(t, test.mode, 2, 1), test.host)
		if v.Decision != test.want || test.want == Warn && !strings.Contains(Summary(v), "numad may choose node 1: it chooses after this check, and QEMU cannot prepare memory from CPUs there") {
			t.Errorf("%s, %+v, %s: %s, %s", test.mode, test.host.Nodes, test.host.Releases, v.Decision, Summary(v))
		}
	}
}

// TestJudgeAutoStrays: a device with nodes of its own may lie outside of those that numad chooses for QEMU.
func TestJudgeAutoStrays(t *testing.T) {
	for _, test := range []struct {
		mode, nodes string
		host        Host
		want        Decision
	}{
		{"strict", "0", pages(10, 10), Warn},
		{"strict", "0-1", pages(10, 10), Allow},
		{"strict", "0", pages(10), Allow},
		{"strict", "0", below(pages(10, 10), confinedTo(0)), Warn}, // numad does not know of it
		{"preferred", "0", pages(10, 10), Allow},
		{"restrictive", "0", pages(10, 10).serving(11_010_000, 0), Allow}, // QEMU is told no nodes
		{"restrictive", "0", pages(10, 10), Warn},
	} {
		v := JudgeAndFix(parse(t, fmt.Sprintf(`<domain><name>g</name><memory unit='MiB'>4</memory><memoryBacking>%s</memoryBacking>
			<numatune><memory mode='%s' placement='auto'/></numatune><cpu><numa><cell memory='2' unit='MiB'/></numa></cpu>
			<devices><memory model='dimm'><source><nodemask>%s</nodemask><pagesize unit='MiB'>2</pagesize></source>
			<target><size unit='MiB'>2</size><node>0</node></target></memory></devices></domain>`, twoMiB, test.mode, test.nodes)), test.host)
		if v.Decision != test.want {
			t.Errorf("%+v: %s", test, Text(v))
		}
	}
}

// TestJudgeVirtioMem: QEMU starts without the device's memory.
func TestJudgeVirtioMem(t *testing.T) {
	d := parse(t, `<domain type='kvm'><name>g</name><memory unit='MiB'>1</memory><memoryBacking>`+twoMiB+`</memoryBacking>
		<cpu><numa><cell id='0' cpus='0' memory='20' unit='MiB'/></numa></cpu>
		<devices><memory model='virtio-mem'><target><size unit='MiB'>100</size><node>0</node>
		<block unit='MiB'>2</block><requested unit='MiB'>80</requested></target></memory></devices></domain>`)
	for free, want := range map[uint64]Decision{50: Allow, 49: Warn, 10: Warn, 9: Refuse} {
		if v := JudgeAndFix(d, pages(free).serving(0, 6_001_000)); v.Decision != want {
			t.Errorf("%d free: %s (%s), want %s", free, v.Decision, Summary(v), want)
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
		d := parse(t, fmt.Sprintf(`<domain type='kvm'><name>g</name><memory unit='GiB'>1</memory><cpu><numa><cell id='0' cpus='0' memory='20' unit='MiB'/></numa></cpu>
			<devices><memory model='virtio-mem'><source><pagesize unit='MiB'>%d</pagesize></source><target><size unit='MiB'>%d</size><node>0</node>
			<block unit='MiB'>%d</block><requested unit='MiB'>0</requested></target></memory></devices></domain>`, test.page, test.size, test.block))
		v := JudgeAndFix(d, withGiB(pages(1000), 2).serving(0, 6_001_000))
		if v.Decision != test.want || !strings.Contains(Summary(v), test.says) || v.Decision == Refuse && v.Cause != CauseSizeMismatch {
			t.Errorf("%+v: %s %s (%s)", test, v.Decision, v.Cause, Summary(v))
		}
	}
}

// TestSummaryIsBounded: libvirt cuts errors at 1024 bytes, and names are other people's.
func TestSummaryIsBounded(t *testing.T) {
	host := pages(0, 9)
	for pid := range 200 {
		host = host.heldBy(HolderGuest, strings.Repeat("\x1b[31m\n", 300), pid, 0, 1)
	}
	v := JudgeAndFix(guest(t, "", cell{64, "strict:0"}), host)
	if v.Cause != CauseGuests || len(Summary(v)) > 600 || strings.ContainsAny(Summary(v), "\n\x1b") {
		t.Errorf("%s, %d bytes: %q", v.Cause, len(Summary(v)), Summary(v))
	}
	if text := Text(v); strings.ContainsRune(text, 0x1b) || len(text) > 20000 {
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
	v := JudgeAndFix(guest(t, "", cell{10, "strict:0"}, cell{30, "strict:1"}, cell{5, "strict:0"}), pages(4, 0))
	want := []string{"node 0 is short of 2M pages: 4 of 4 free, 15 needed (30 MiB)", "node 1 is short of 2M pages: 30 needed (60 MiB)"}
	for i, f := range v.Findings {
		if len(v.Findings) != len(want) || Message(f) != want[i] || f.Severity != SeverityRefuse {
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
	d := guest(t, "strict:0", cell{100, ""})
	hidden := pages(10)
	hidden.Mounts[0].Over = over
	either := pages(10)
	either.Mounts = append(either.Mounts, Mount{Path: "/other", PageKiB: 2048, Over: over})
	other := pages(10)
	other.Mounts[1].Over = over
	for name, test := range map[string]struct {
		demand   Demand
		host     Host
		decision Decision
		says     string
		backends int
	}{
		"hidden":         {d, hidden, Warn, "tmpfs is mounted over 2M pages at /dev/hugepages/libvirt/qemu: until it is unmounted, ram-node0 will lie on it, in ordinary memory", 0},
		"perhaps":        {d, either, Warn, "ram-node0 may lie on it", 0},
		"a memfd":        {memfd(d), hidden, Refuse, "100 needed", 1},
		"of other pages": {d, other, Refuse, "100 needed", 1},
	} {
		v := JudgeAndFix(test.demand, test.host)
		if v.Decision != test.decision || !strings.Contains(Summary(v), test.says) || len(v.Demand) != test.backends {
			t.Errorf("%s: %s, %d backends: %s", name, v.Decision, len(v.Demand), Summary(v))
		}
	}
}

// TestShortage: which refusals other hooks could still prevent.
func TestShortage(t *testing.T) {
	v := JudgeAndFix(guest(t, "strict:0", cell{100, ""}), pages(10, 10))
	if !v.Shortage() {
		t.Errorf("no shortage: %s", Summary(v))
	}
	w := v.Unless("somebody may make some")
	if w.Decision != Warn || w.Cause != "" || w.Waits() || w.Shortage() || !strings.HasSuffix(Summary(w), "; somebody may make some") ||
		slices.ContainsFunc(w.Findings, func(f Finding) bool { return f.Severity == SeverityRefuse }) {
		t.Errorf("unless somebody does: %+v", w)
	}
	if v.Decision != Refuse || v.Findings[0].Severity != SeverityRefuse {
		t.Errorf("the verdict has changed: %+v", v)
	}
	unbound := pages(10, 10)
	unbound.Nodes[0].HasMemory = false
	for name, v := range map[string]Verdict{
		"fits":          JudgeAndFix(guest(t, "strict:0", cell{1, ""}), pages(10, 10)),
		"a binding":     JudgeAndFix(guest(t, "strict:0", cell{100, ""}), unbound),
		"no such pages": JudgeAndFix(guest(t, "strict:0", cell{100, ""}), func() Host { h := pages(10); h.Sizes, h.Pools = []uint64{1 << 20}, nil; return h }()),
	} {
		if v.Shortage() {
			t.Errorf("%s is taken for a shortage: %s: %s", name, v.Decision, Summary(v))
		}
	}
}
