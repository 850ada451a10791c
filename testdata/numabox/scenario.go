package main

import "fmt"

// An outcome is what becomes of a launch, in classes of QEMU's words.
type outcome string

const (
	starts  outcome = "starts"
	atMmap  outcome = "mmap"    // the pages cannot be reserved
	atTouch outcome = "touch"   // a page is not where it has to be
	atBind  outcome = "bind"    // mbind() refuses the nodes, or the length
	noCPUs  outcome = "no CPUs" // no CPU belongs to the nodes, or none that QEMU may run on
	badSize outcome = "size"    // not a whole number of pages, or not one
	noPage  outcome = "page"    // the kernel has no such pages
	libvirt outcome = "libvirt" // libvirt refuses it itself, after prepare

	unplayed outcome = "unplayed" // it did not come to that
)

// A scenario is a launch on a host in a certain state.
type scenario struct {
	name  string
	guest guest
	// pools are the pages of 2 MiB of each node, 20 and 20 if not given. Of 1 GiB each node has one, since boot.
	pools        [2]int
	none         bool // no pages of 2 MiB at all
	overcommit   int
	holders      []holder
	beside       *guest // another guest, which runs already
	setup, reset string // scripts that change something else, and change it back
	later        string // a script that runs last, with the holders and the other guest there
	way          way    // how the guest comes in
	plays        int    // how often it is launched, once if not given
	want         []outcome
	older        []outcome // what Debian 11 makes of it, where that differs
	newer        []outcome // what Debian 13 and all later make of it, where that differs
	newest       []outcome // what libvirt since 12.0 makes of it, where that differs
	// known says why the guard is wrong in this case, where that is settled.
	known string
}

// A holder is a process that maps huge pages, or a file that none maps.
type holder struct {
	node, pages, touch int
	giant              bool   // pages of 1 GiB
	file               string // in place of a memfd; it stays, and nobody maps it
	how                string // in place of a memfd: "anonymous" memory, or a segment of "sysv" shared memory
}

// causes are what the guard has to give as the cause of some refusals: of each cause that a scenario makes happen,
// one at least. The incident is Open vSwitch's.
var causes = map[string]string{
	"any-short":              "pool-too-small",
	"no-pool":                "pool-missing",
	"beside-holder-short":    "other-holder",
	"beside-anonymous-short": "other-holder",
	"beside-sysv-short":      "other-holder",
	"beside-guest-short":     "guests",
	"beside-file-short":      "leftover-files",
	"reserved-one-too-many":  "kernel-reserved",
	"mount-limit-short":      "mount-limit",
	"cgroup-max-short":       "cgroup-limit",
	"cgroup-rsvd.max-short":  "cgroup-limit",
	"odd-memfd":              "size-mismatch",
	"page-unknown-memfd":     "page-size-unsupported",
	"no-cpus-strict":         "binding-impossible",
	"slice-elsewhere":        "binding-impossible",
}

var (
	only0   = strict("0") + memnode(0, "strict", "0") // as Nova binds a guest of one cell
	nodes   = []string{"0", "1", "0-1"}
	justTwo = func(mode0, nodes0, mode1, nodes1 string) string {
		return memnode(0, mode0, nodes0) + memnode(1, mode1, nodes1)
	}
)

// scenarios are the families of semantics with their boundaries: what fits exactly, and one page short.
var scenarios = func() []scenario {
	var all []scenario
	add := func(name string, g guest, want outcome, with ...scenario) {
		s := scenario{}
		if with != nil {
			s = with[0]
		}
		s.name, s.guest = name, g
		if s.want == nil {
			s.want = []outcome{want}
		}
		if s.pools == [2]int{} && !s.none {
			s.pools = [2]int{20, 20}
		}
		all = append(all, s)
	}
	// edge adds a family whose guest has so many pages at the boundary.
	edge := func(name string, exact int, g func(pages int) guest, short outcome, with ...scenario) {
		add(name+"-exact", g(exact), starts, with...)
		add(name+"-short", g(exact+1), short, with...)
	}
	ram := func(g guest) func(int) guest {
		return func(n int) guest { g.ram = n; return g }
	}

	// No binding: any node will do, and the reservation decides.
	edge("any", 40, ram(guest{}), atMmap)
	edge("any-uneven", 40, ram(guest{}), atMmap, scenario{pools: [2]int{5, 35}})
	edge("any-default-size", 40, ram(guest{pages: " "}), atMmap)
	edge("any-memfd", 40, ram(guest{backing: "<source type='memfd'/>"}), atMmap)
	edge("any-shared", 40, ram(guest{backing: "<access mode='shared'/>"}), atMmap)
	edge("any-memfd-private", 40, ram(guest{backing: "<source type='memfd'/><access mode='private'/>"}), atMmap)
	edge("any-of-many-cells", 19, func(n int) guest { return guest{cells: []int{5, 4, 3, 2, 1, 1, 5, n}} }, atMmap)
	add("any-discard-locked-pinned", guest{ram: 40, backing: "<nosharepages/><discard/>", cpus: " placement='static' cpuset='1'"}, starts)

	// strict
	for _, n := range nodes[:2] {
		edge("strict-node"+n, 20, ram(guest{tune: strict(n)}), atMmap)
	}
	edge("strict-both", 40, ram(guest{tune: strict("0-1")}), atMmap)
	edge("strict-memfd-shared", 20, ram(guest{tune: strict("0"), backing: "<source type='memfd'/><access mode='shared'/>"}), atMmap)
	edge("nova-one-cell", 20, func(n int) guest { return guest{cells: []int{n}, tune: only0} }, atMmap)
	edge("nova-two-cells", 20, func(n int) guest {
		return guest{cells: []int{20, n}, tune: strict("0-1") + justTwo("strict", "0", "strict", "1")}
	}, atMmap)
	edge("nova-first-cell", 20, func(n int) guest {
		return guest{cells: []int{n, 5}, tune: strict("0-1") + justTwo("strict", "0", "strict", "1")}
	}, atTouch, scenario{pools: [2]int{20, 30}})
	oneNode := func(n int) guest {
		return guest{cells: []int{20, n}, tune: strict("1") + justTwo("strict", "1", "strict", "1")}
	}
	add("two-cells-one-node-exact", oneNode(20), starts, scenario{pools: [2]int{30, 40}})
	add("two-cells-one-node-short", oneNode(21), atMmap, scenario{pools: [2]int{30, 40}, newer: []outcome{atTouch}})
	edge("memnode-alone", 20, func(n int) guest {
		return guest{cells: []int{n}, tune: memnode(0, "strict", "0")}
	}, atTouch)
	// Later QEMUs touch the cell that is bound last.
	add("memnode-for-one-cell-exact", guest{cells: []int{20, 20}, tune: memnode(0, "strict", "0")}, starts,
		scenario{plays: 2, newer: []outcome{starts, atTouch}})
	add("memnode-for-one-cell-short", guest{cells: []int{20, 21}, tune: memnode(0, "strict", "0")}, atMmap)
	add("memnode-outside-memory", guest{cells: []int{20}, tune: strict("0") + memnode(0, "strict", "1")}, atBind,
		scenario{newer: []outcome{starts}})
	add("memnode-outside-memory-short", guest{cells: []int{21}, tune: strict("0") + memnode(0, "strict", "1")}, atMmap,
		scenario{newer: []outcome{atTouch}})

	edge("nova-three-cells", 20, func(n int) guest {
		return guest{cells: []int{12, 8, n}, tune: strict("0-1") + justTwo("strict", "0", "strict", "0") + memnode(2, "strict", "1")}
	}, atMmap)
	edge("memnode-in-wider-memory", 20, func(n int) guest {
		return guest{cells: []int{n}, tune: strict("0-1") + memnode(0, "strict", "1")}
	}, atTouch)
	edge("memnode-in-preferred-memory", 20, func(n int) guest {
		return guest{cells: []int{n}, tune: memory("preferred", "0") + memnode(0, "strict", "1")}
	}, atTouch)
	pinned := scenario{older: []outcome{starts}, newer: []outcome{starts}} // before QEMU 7.2 there is no thread-context
	add("pinned-elsewhere", guest{ram: 20, tune: strict("1"), pin: "0"}, noCPUs, pinned)
	add("pinned-elsewhere-memnode", guest{cells: []int{20}, tune: memnode(0, "strict", "1"), pin: "0"}, noCPUs, pinned)
	add("pinned-elsewhere-by-cpus", guest{ram: 20, tune: strict("1"), cpus: " placement='static' cpuset='0'"}, noCPUs, pinned)
	add("pinned-elsewhere-restrictive", guest{ram: 20, tune: memory("restrictive", "1"), pin: "0"}, starts)
	add("pinned-to-both", guest{ram: 20, tune: strict("1"), pin: "0-1"}, starts)

	// A guest that comes in with its memory has the sizes that it had.
	for _, way := range []way{restored, managed, migrated} {
		edge(string(way), 20, ram(guest{tune: strict("0")}), atMmap, scenario{way: way})
		edge(string(way)+"-memnode", 20, func(n int) guest { return guest{cells: []int{n}, tune: memnode(0, "strict", "1")} }, atTouch, scenario{way: way})
	}

	// Sets that overlap: the order decides, and what CPU touches first.
	overlapping := func(n int) guest {
		return guest{cells: []int{20, n}, tune: strict("0-1") + justTwo("strict", "0-1", "strict", "0")}
	}
	add("overlap-fits-in-sum", overlapping(20), starts, scenario{plays: 3, want: []outcome{starts, atTouch}})
	add("overlap-short", overlapping(21), atMmap, scenario{newer: []outcome{atTouch, atMmap}})
	add("overlap-roomy", guest{cells: []int{20, 20}, tune: strict("0-1") + justTwo("strict", "0-1", "strict", "0")}, starts,
		scenario{pools: [2]int{40, 20}})

	add("preferred-before-strict", guest{cells: []int{20, 20}, tune: justTwo("preferred", "0", "strict", "0")}, atTouch,
		scenario{plays: 3, want: []outcome{atTouch}, newer: []outcome{starts, atTouch}})
	add("preferred-after-strict", guest{cells: []int{20, 20}, tune: justTwo("strict", "0", "preferred", "0")}, starts,
		scenario{plays: 3, newer: []outcome{starts, atTouch}})
	add("interleave-before-strict", guest{cells: []int{20, 10}, tune: justTwo("interleave", "0-1", "strict", "0")}, starts,
		scenario{plays: 2})
	add("interleave-before-strict-short", guest{cells: []int{20, 11}, tune: justTwo("interleave", "0-1", "strict", "0")}, atTouch,
		scenario{plays: 3, newer: []outcome{starts, atTouch}})

	// preferred and interleave choose where to begin and no more.
	add("preferred-there", guest{ram: 20, tune: memory("preferred", "0")}, starts)
	add("preferred-spills", guest{ram: 30, tune: memory("preferred", "0")}, starts)
	edge("preferred", 40, ram(guest{tune: memory("preferred", "0")}), atMmap)
	edge("preferred-memnode", 40, func(n int) guest { return guest{cells: []int{n}, tune: memnode(0, "preferred", "1")} }, atMmap)
	edge("preferred-in-strict", 20, func(n int) guest {
		return guest{cells: []int{n}, tune: strict("0") + memnode(0, "preferred", "0")}
	}, atMmap)
	edge("interleave", 40, ram(guest{tune: memory("interleave", "0-1")}), atMmap)
	add("interleave-uneven", guest{ram: 30, tune: memory("interleave", "0-1")}, starts, scenario{pools: [2]int{5, 35}})
	add("interleave-spills", guest{ram: 30, tune: memory("interleave", "1")}, starts)

	add("interleave-trimmed", guest{cells: []int{20}, tune: strict("0") + memnode(0, "interleave", "0-1")}, starts)
	add("interleave-trimmed-short", guest{cells: []int{21}, tune: strict("0") + memnode(0, "interleave", "0-1")}, atMmap,
		scenario{newer: []outcome{starts}})
	add("preferred-outside-memory", guest{cells: []int{20}, tune: strict("0") + memnode(0, "preferred", "1")}, atBind,
		scenario{newer: []outcome{starts}})

	// restrictive is kept by the cpuset alone.
	edge("restrictive", 20, ram(guest{tune: memory("restrictive", "0")}), atMmap)
	edge("restrictive-both", 40, ram(guest{tune: memory("restrictive", "0-1")}), atMmap)
	edge("restrictive-memnode", 40, func(n int) guest {
		return guest{cells: []int{n}, tune: memory("restrictive", "0-1") + memnode(0, "restrictive", "0")}
	}, atMmap)

	// numad chooses.
	auto := guest{cpus: " placement='auto'", tune: "<memory mode='strict' placement='auto'/>"}
	add("auto-fits-anywhere", ram(auto)(20), starts)
	add("auto-fits-nowhere", ram(auto)(41), atMmap)

	// Memory devices: after the cells, and each with a say of its own.
	inherits := func(n int) guest { return guest{ram: 20, tune: only0, devices: dimm(n, "")} }
	add("dimm-inherits-exact", inherits(20), starts, scenario{pools: [2]int{40, 30}})
	add("dimm-inherits-short", inherits(21), atMmap, scenario{pools: [2]int{40, 30}, newer: []outcome{atTouch}})
	edge("dimm-nodemask", 20, func(n int) guest {
		return guest{ram: 20, tune: memnode(0, "strict", "0"), devices: dimm(n, "<nodemask>1</nodemask>")}
	}, atMmap)
	edge("dimm-nodemask-touch", 20, func(n int) guest {
		return guest{ram: 20, tune: memnode(0, "strict", "0"), devices: dimm(n, "<nodemask>1</nodemask>")}
	}, atTouch, scenario{pools: [2]int{30, 20}})
	edge("dimm-alone-on-huge-pages", 20, func(n int) guest {
		return guest{ram: 20, pages: "none", devices: dimm(n, "<pagesize unit='KiB'>2048</pagesize><nodemask>0</nodemask>")}
	}, atTouch)
	add("dimm-nodemask-outside-strict", guest{ram: 20, tune: strict("0"), devices: dimm(20, "<nodemask>1</nodemask>")}, atBind, scenario{pools: [2]int{40, 20}})
	add("dimm-nodemask-preferred", guest{ram: 20, tune: memory("preferred", "0"), devices: dimm(25, "<nodemask>0</nodemask>")}, starts,
		scenario{pools: [2]int{20, 30}, newest: []outcome{atTouch}})
	// Since libvirt 12.0 this set is strict whatever the mode is.
	for _, mode := range []string{"restrictive", "interleave"} {
		add("dimm-nodemask-"+mode, guest{ram: 10, tune: memory(mode, "0-1"), devices: dimm(25, "<nodemask>0</nodemask>")}, starts,
			scenario{pools: [2]int{20, 40}, newest: []outcome{atTouch}})
	}
	add("dimm-nodemask-preferred-cell", guest{ram: 10, tune: memnode(0, "preferred", "1"), devices: dimm(25, "<nodemask>0</nodemask>")}, starts,
		scenario{pools: [2]int{20, 40}, newest: []outcome{atTouch}})
	add("dimm-nodemask-restrictive-outside", guest{ram: 10, tune: memory("restrictive", "1"), devices: dimm(10, "<nodemask>0</nodemask>")}, starts,
		scenario{pools: [2]int{20, 40}, newest: []outcome{atBind}})
	add("dimm-smaller-than-page", guest{ram: 20, devices: dimm(256, "<pagesize unit='KiB'>1048576</pagesize>")}, badSize)
	twoDIMMs := func(n int) guest {
		return guest{ram: 20, tune: only0, devices: dimm(10, "") + dimm(n, "")}
	}
	add("two-dimms-exact", twoDIMMs(10), starts, scenario{pools: [2]int{40, 30}})
	add("two-dimms-short", twoDIMMs(11), atMmap, scenario{pools: [2]int{40, 30}, newer: []outcome{atTouch}})
	const oddDIMM = "<memory model='dimm'><target><size unit='KiB'>41984</size><node>0</node></target></memory>" // 20.5 pages
	add("dimm-rounded-exact", guest{ram: 20, devices: oddDIMM}, starts, scenario{pools: [2]int{41, 0}})
	add("dimm-rounded-short", guest{ram: 20, devices: oddDIMM}, atMmap, scenario{pools: [2]int{40, 0}})
	giantDIMM := dimm(512, "<pagesize unit='KiB'>1048576</pagesize><nodemask>0</nodemask>")
	add("dimm-giant-exact", guest{ram: 20, devices: giantDIMM}, starts)
	add("dimm-giant-short", guest{ram: 20, devices: giantDIMM}, atTouch, scenario{holders: []holder{{giant: true, node: 0, pages: 1, touch: 1}}})
	virtioMem := `<memory model='virtio-mem'><source><pagesize unit='KiB'>2048</pagesize></source><target><size unit='KiB'>81920</size>` +
		`<node>0</node><block unit='KiB'>2048</block><requested unit='KiB'>81920</requested></target></memory>`
	add("virtio-mem-fits", guest{ram: 20, devices: virtioMem}, starts, scenario{pools: [2]int{40, 40}})
	add("virtio-mem-short", guest{ram: 41, devices: virtioMem}, atMmap)
	add("virtio-mem-cannot-grow", guest{ram: 20, devices: virtioMem}, starts)

	// Sizes that are no whole number of pages.
	add("odd-file-exact", guest{kib: 41 << 10}, starts, scenario{pools: [2]int{21, 0}, newer: []outcome{badSize}})
	add("odd-file-short", guest{kib: 41 << 10}, atMmap, scenario{pools: [2]int{20, 0}})
	add("odd-file-bound", guest{kib: 41 << 10, tune: memnode(0, "strict", "0")}, atBind, scenario{pools: [2]int{30, 30}, newer: []outcome{badSize}})
	add("odd-file-preferred", guest{kib: 41 << 10, tune: memory("preferred", "0")}, atBind, scenario{pools: [2]int{30, 30}, newer: []outcome{badSize}})
	add("odd-memfd", guest{kib: 41 << 10, backing: "<source type='memfd'/>"}, badSize, scenario{pools: [2]int{30, 30}})
	const page1G = "<page size='1048576' unit='KiB'/>"
	add("less-than-a-page", guest{ram: 256, pages: page1G}, badSize)
	add("page-without-mount", guest{ram: 256, pages: "<page size='524288' unit='KiB'/>"}, libvirt)
	add("page-unknown-memfd", guest{ram: 256, pages: "<page size='524288' unit='KiB'/>", backing: "<source type='memfd'/>"}, noPage)

	// More than one size.
	giant := func(tune string, cells ...int) guest {
		return guest{cells: cells, tune: tune, pages: "<page size='1048576' unit='KiB' nodeset='0'/><page size='2048' unit='KiB' nodeset='1'/>"}
	}
	taken := scenario{holders: []holder{{giant: true, node: 0, pages: 1, touch: 1}}}
	twoSizes := strict("0-1") + justTwo("strict", "0", "strict", "1")
	add("giant-exact", guest{ram: 512, pages: page1G, tune: strict("0")}, starts)
	add("giant-short", guest{ram: 512, pages: page1G, tune: strict("0")}, atMmap, taken)
	add("giant-elsewhere", guest{cells: []int{512}, pages: page1G, tune: memnode(0, "strict", "0")}, atTouch, taken)
	add("two-sizes-exact", giant(twoSizes, 512, 20), starts)
	add("two-sizes-2m-short", giant(twoSizes, 512, 21), atTouch)
	add("two-sizes-1g-short", giant(twoSizes, 512, 20), atTouch, taken)
	edge("page-for-one-cell", 20, func(n int) guest {
		return guest{cells: []int{n, 20}, tune: justTwo("strict", "0", "strict", "0"), pages: "<page size='2048' unit='KiB' nodeset='0'/>"}
	}, atTouch)
	edge("page-for-other-cell", 20, func(n int) guest {
		return guest{cells: []int{20, n}, tune: justTwo("strict", "0", "strict", "1"), pages: "<page size='2048' unit='KiB' nodeset='1'/>"}
	}, atTouch)
	edge("page-for-the-rest", 20, func(n int) guest {
		return guest{cells: []int{512, n}, tune: justTwo("strict", "0", "strict", "1"), pages: "<page size='1048576' unit='KiB' nodeset='0'/>" + page2M}
	}, atTouch)
	add("ordinary-pages", guest{ram: 20, pages: "<page size='4' unit='KiB'/>"}, starts, scenario{none: true})
	add("no-huge-pages", guest{ram: 20, pages: "none"}, starts, scenario{none: true})
	add("no-pool", guest{ram: 20}, atMmap, scenario{none: true})
	add("no-such-node", guest{ram: 20, tune: strict("7")}, libvirt)

	// Others hold pages: touched, only reserved, in a file, in guests.
	edge("beside-holder", 20, ram(guest{tune: strict("0")}), atMmap,
		scenario{pools: [2]int{30, 20}, holders: []holder{{node: 0, pages: 10, touch: 10}}})
	edge("beside-reservation", 25, ram(guest{}), atMmap, scenario{holders: []holder{{pages: 15}}})
	add("takes-reserved-node", guest{cells: []int{20}, tune: memnode(0, "strict", "0")}, starts, scenario{holders: []holder{{node: 0, pages: 20}}})
	add("reserved-one-too-many", guest{cells: []int{20}, tune: memnode(0, "strict", "0")}, atMmap, scenario{holders: []holder{{node: 1, pages: 21}}})
	edge("half-touched", 22, ram(guest{}), atMmap, scenario{holders: []holder{{node: 1, pages: 18, touch: 9}}})
	edge("beside-file", 20, ram(guest{tune: strict("0")}), atMmap,
		scenario{pools: [2]int{30, 20}, holders: []holder{{node: 0, pages: 10, touch: 10, file: "rtemap_0"}}})
	for _, how := range []string{"anonymous", "sysv"} {
		edge("beside-"+how, 20, ram(guest{tune: strict("0")}), atMmap,
			scenario{pools: [2]int{30, 20}, holders: []holder{{node: 0, pages: 10, touch: 10, how: how}}})
	}
	edge("pool-shrunk", 20, ram(guest{}), atMmap, scenario{beside: &guest{ram: 20, tune: strict("0")},
		later: "echo 10 >/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages"})
	edge("beside-guest", 20, ram(guest{tune: strict("0")}), atMmap, scenario{pools: [2]int{40, 20}, beside: &guest{ram: 20, tune: strict("0")}})
	edge("beside-spilling-guest", 20, func(n int) guest { return guest{cells: []int{n}, tune: memnode(0, "strict", "1")} }, atMmap,
		scenario{pools: [2]int{20, 30}, beside: &guest{ram: 30, tune: memory("preferred", "0")}})

	// Overcommit may rescue what is bound, but for a cpuset.
	edge("overcommit-any", 50, ram(guest{}), atMmap, scenario{overcommit: 10})
	edge("overcommit-bound", 30, func(n int) guest { return guest{cells: []int{n}, tune: memnode(0, "strict", "0")} }, atTouch, scenario{overcommit: 10})
	add("overcommit-confined", guest{ram: 21, tune: strict("0")}, atMmap, scenario{overcommit: 10})
	edge("overcommit-confined-to-both", 50, ram(guest{tune: strict("0-1")}), atMmap, scenario{overcommit: 10})
	add("overcommit-gathered-elsewhere", guest{cells: []int{41}, tune: memnode(0, "strict", "0")}, starts,
		scenario{overcommit: 30, plays: 3, want: []outcome{starts, atTouch}})

	edge("overcommit-used-up", 10, ram(guest{}), atMmap,
		scenario{pools: [2]int{20, 10}, overcommit: 10, holders: []holder{{node: 0, pages: 30, touch: 30}}})

	// Limits besides the pools.
	slice := func(nodes string) scenario {
		return scenario{setup: "systemctl start machine.slice; systemctl set-property --runtime machine.slice AllowedMemoryNodes=" + nodes,
			reset: "systemctl set-property --runtime machine.slice AllowedMemoryNodes="}
	}
	confined := slice("1")
	add("slice-exact", guest{ram: 20}, starts, confined)
	add("slice-short", guest{ram: 21}, atMmap, confined)
	add("slice-elsewhere", guest{ram: 20, tune: strict("0")}, atBind, confined)
	onCPU0 := scenario{setup: "systemctl start machine.slice; systemctl set-property --runtime machine.slice AllowedCPUs=0",
		reset: "systemctl set-property --runtime machine.slice AllowedCPUs="}
	add("slice-cpus-there", guest{ram: 20, tune: strict("0")}, starts, onCPU0)
	onCPU0.newer = []outcome{noCPUs}
	add("slice-cpus-restrictive", guest{ram: 20, tune: memory("restrictive", "1")}, starts, onCPU0)
	onCPU0.older, onCPU0.newer = []outcome{libvirt}, []outcome{libvirt} // which begins by putting QEMU on the CPUs of strict
	add("slice-cpus-elsewhere", guest{ram: 20, tune: strict("1")}, noCPUs, onCPU0)
	limited := scenario{setup: "mount -t hugetlbfs -o pagesize=2M,size=40M hugetlbfs /dev/hugepages", reset: "umount /dev/hugepages"}
	add("mount-limit-exact", guest{ram: 20}, starts, limited)
	setAside := scenario{setup: "mount -t hugetlbfs -o pagesize=2M,min_size=40M hugetlbfs /dev/hugepages", reset: "umount /dev/hugepages"}
	add("mount-minimum-exact", guest{ram: 40}, starts, setAside)
	add("mount-minimum-short", guest{ram: 41}, atMmap, setAside)
	other := scenario{setup: "mkdir -p /mnt/huge; mount -t hugetlbfs -o pagesize=2M,size=10M hugetlbfs /mnt/huge", reset: "umount /mnt/huge"}
	add("other-mount-limit", guest{ram: 20}, starts, other)
	add("mount-limit-memfd", guest{ram: 21, backing: "<source type='memfd'/>"}, starts, limited)
	add("mount-limit-short", guest{ram: 21}, atMmap, limited)
	for limit, short := range map[string]outcome{"max": atTouch, "rsvd.max": atMmap} {
		cgroup := scenario{
			setup: fmt.Sprintf("systemctl start machine.slice; echo +hugetlb >/sys/fs/cgroup/cgroup.subtree_control; echo 40M >/sys/fs/cgroup/machine.slice/hugetlb.2MB.%s", limit),
			reset: fmt.Sprintf("echo max >/sys/fs/cgroup/machine.slice/hugetlb.2MB.%s; echo -hugetlb >/sys/fs/cgroup/cgroup.subtree_control", limit)}
		add("cgroup-"+limit+"-exact", guest{ram: 20}, starts, cgroup)
		add("cgroup-"+limit+"-short", guest{ram: 21}, short, cgroup)
	}

	// A node without CPUs, as CXL memory is.
	offline := scenario{setup: "echo 0 >/sys/devices/system/cpu/cpu1/online", reset: "echo 1 >/sys/devices/system/cpu/cpu1/online"}
	strictOffline := offline
	strictOffline.older, strictOffline.newer = []outcome{libvirt}, []outcome{noCPUs, libvirt} // libvirt may stumble over it first
	add("no-cpus-strict", guest{ram: 20, tune: strict("1")}, noCPUs, strictOffline)
	preferredOffline := offline
	preferredOffline.older = []outcome{starts}
	add("no-cpus-preferred", guest{ram: 20, tune: memory("preferred", "1")}, noCPUs, preferredOffline)
	add("no-cpus-both", guest{ram: 20, tune: strict("0-1")}, starts, offline)
	offline.newer = []outcome{noCPUs}
	add("no-cpus-restrictive", guest{ram: 20, tune: memory("restrictive", "1")}, starts, offline)

	// libvirt without the cpuset controller; the last of them gives it back.
	const conf = "/etc/libvirt/qemu.conf"
	without := scenario{setup: "grep -q '^cgroup_c' " + conf + " || { echo 'cgroup_controllers = [\"cpu\", \"memory\"]' >>" + conf + "; systemctl restart libvirtd; }"}
	add("no-cpuset-strict-exact", guest{ram: 20, tune: strict("0")}, starts, without)
	add("no-cpuset-strict-short", guest{ram: 21, tune: strict("0")}, atMmap, without)
	add("no-cpuset-pinned-elsewhere", guest{ram: 20, tune: strict("1"), pin: "0"}, starts, without)
	without.reset = "sed -i /^cgroup_c/d " + conf + "; systemctl restart libvirtd"
	add("no-cpuset-restrictive", guest{ram: 21, tune: memory("restrictive", "0")}, starts, without)
	return all
}()
