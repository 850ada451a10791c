package guard

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hugeguard/testdata/cases"
)

const (
	mib = 1 << 10 // in KiB
	gib = 1 << 20
)

// surplus makes so many of a node's pages surplus ones.
func (h Host) surplus(node int, n uint64) Host {
	return h.Change(func(p *SizePool) {
		p.Nodes[node].Surplus += n
		p.Surplus += n
	})
}

// withMemory gives each node so much memory in KiB, of which all but used and the pools is free, in the largest blocks.
func (h Host) withMemory(totalKiB uint64, usedKiB ...uint64) Host {
	m := &Memory{Boot: Boot{PerNode: true}}
	for id, used := range usedKiB {
		n := NodeMemory{Node: id, TotalKiB: totalKiB}
		for _, p := range h.Pools {
			n.PoolsKiB += p.Node(id).Total * p.PageKiB
		}
		n.FreeKiB = minus(totalKiB, used+n.PoolsKiB)
		n.Blocks = make([]uint64, 11)
		n.Blocks[10] = n.FreeKiB / (4 << 10)
		m.Nodes = append(m.Nodes, n)
		m.AvailableKiB += n.FreeKiB
	}
	h.Memory = m
	return h
}

// inPieces breaks a node's free memory into blocks smaller than a page, but for some of 2 MiB.
func (h Host) inPieces(node int, left uint64) Host {
	m := *h.Memory
	m.Nodes = slices.Clone(m.Nodes)
	n := &m.Nodes[node]
	n.Blocks = make([]uint64, 11)
	n.Blocks[9] = left
	n.Blocks[3] = (n.FreeKiB - left*2048) / 32
	h.Memory = &m
	return h
}

// besideGiB puts all but 256 KiB of node 0's free memory into pages of 1 GiB, of which some are free and some of these
// promised.
func (h Host) besideGiB(total, free, reserved uint64) Host {
	m := *h.Memory
	m.Nodes = slices.Clone(m.Nodes)
	n := &m.Nodes[0]
	n.PoolsKiB, n.FreeKiB, n.Blocks, m.AvailableKiB = n.PoolsKiB+total*gib, 256, make([]uint64, 11), 256
	m.Others = []SizePool{{PageKiB: gib, Reserved: reserved, Nodes: []NodePool{{Node: 0, Total: total, Free: free}}}}
	h.Memory = &m
	return h
}

// asking has the kernel's command line ask for pages.
func (h Host) asking(pools ...BootPool) Host {
	m := *h.Memory
	m.Boot.Pools = pools
	h.Memory = &m
	return h
}

func (h Host) booted(change func(*Boot)) Host {
	m := *h.Memory
	change(&m.Boot)
	h.Memory = &m
	return h
}

// told has node 0's pool of 2 MiB pages have been told to grow, with all of today's memory unless it is said.
func (h Host) told(t Told) Host {
	m := *h.Memory
	t.PageKiB = 2048
	if t.AvailableKiB == 0 {
		t.AvailableKiB = m.AvailableKiB
	}
	m.Told = []Told{t}
	h.Memory = &m
	return h
}

// failing has the kernel have failed to make pages so often.
func (h Host) failing(n uint64) Host {
	m := *h.Memory
	m.Failures = n
	h.Memory = &m
	return h
}

// TestGrowth: pools grow by what the kernel will do: what is printed first, its price, and what else is named.
func TestGrowth(t *testing.T) {
	const write0 = "echo %d > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages"
	any512 := plain(t, 1024, "", twoMiB)
	bound := guest(t, "strict:0", cell{64, "strict:0"})
	giant := plain(t, 16<<10, "", "<hugepages><page size='1' unit='GiB'/></hugepages>")
	ofGiB := func(n uint64) Host {
		h := pages(0)
		h.Pools = []SizePool{{PageKiB: gib, Nodes: []NodePool{{Node: 0, Total: n, Free: n}}}}
		return h
	}
	for _, test := range []struct {
		name   string
		demand Demand
		host   Host
		has    []string
		lacks  []string
	}{
		{"there is memory, in pieces that are large enough", bound, pages(24, 0).withMemory(16*gib, 4*gib, 4*gib),
			[]string{fmt.Sprintf(write0, 64), "takes 80 MiB of the 12 GiB of memory available on node 0",
				"echo 'w /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages - - - - 64' > /etc/tmpfiles.d/hugepages-2048kB-node0.conf",
				"hugepagesz=2M hugepages=0:64"}, []string{"drop_caches", "reboot"}},
		{"one node: the sysctl is enough", any512, pages(256).withMemory(16*gib, 4*gib),
			[]string{fmt.Sprintf(write0, 512), "echo 'vm.nr_hugepages = 512' >> /etc/sysctl.d/90-hugepages.conf", "add hugepagesz=2M hugepages=512 to the kernel"}, []string{"tmpfiles"}},
		{"the pieces are too small", any512, pages(256).withMemory(16*gib, 4*gib).inPieces(0, 100),
			[]string{"echo 3 > /proc/sys/vm/drop_caches", "echo 1 > /proc/sys/vm/compact_memory", fmt.Sprintf(write0, 512), "hugepagesz=2M hugepages=512", "reboots this host"}, nil},
		{"the pieces are just large enough", any512, pages(256).withMemory(16*gib, 4*gib).inPieces(0, 256), []string{fmt.Sprintf(write0, 512)}, []string{"drop_caches"}},
		{"the host lives on the rest", any512, pages(256).withMemory(16*gib, 15*gib),
			[]string{"stop programs that use 256 MiB on node 0: it has 512 MiB of memory available, 256 more pages of 2M take 512 MiB, and 256 MiB must stay for the host"}, nil},
		{"what else runs has to do with less", plain(t, 6144, "", twoMiB), pages(256).withMemory(16*gib, 12*gib),
			[]string{"stop programs that use 2.2 GiB on node 0", "WARNING: everything else on node 0 uses 12 GiB now, and only 10 GiB is left for it after the reboot"}, nil},
		{"at boot there would be as little", any512, pages(0).withMemory(2*gib, 1800*mib), []string{"stop programs that use"}, []string{"reboot"}},
		{"both nodes together", any512, pages(0, 0).withMemory(4*gib, 3200*mib, 3200*mib),
			[]string{fmt.Sprintf(write0, 256), "echo 256 > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages"}, []string{"reboot"}},
		{"one node has less room than its share", any512, pages(0, 0).withMemory(4*gib, 3700*mib, 2900*mib),
			[]string{fmt.Sprintf(write0, 70), "echo 442 > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages"}, nil},
		{"the other node alone", any512, pages(0, 0).withMemory(4*gib, 4*gib, 1*gib),
			[]string{"echo 512 > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages"}, []string{"node0/hugepages"}},
		{"surplus pages become the pool's first", bound, pages(0, 0).heldBy(HolderGuest, "a", 7, 0, 100).surplus(0, 100).withMemory(16*gib, 4*gib, 4*gib),
			[]string{"all 100 pages there are surplus, which go back to the kernel when they are freed: the pool was made smaller while they were in use",
				fmt.Sprintf(write0, 164), "its 100 surplus pages, which else go back to the kernel when they are freed, are counted in first, so 64 (128 MiB) are new"}, []string{"ever set up"}},
		{"surplus pages in files", bound, pages(0, 0).leftBehind(0, 100, "/h/x").surplus(0, 100).withMemory(16*gib, 15*gib, 15*gib),
			[]string{fmt.Sprintf(write0, 64) + "\n  rm /h/x\n", "what is in the files is lost"}, []string{"ever set up", "takes "}},
		{"surplus pages in files that may be in use", bound, pages(0, 0).leftBehind(0, 100, "/h/x").surplus(0, 100).withMemory(16*gib, 4*gib, 4*gib).
			changed(func(h *Holders) { h.Unreadable = []Process{{Name: "a", PID: 5}} }), []string{fmt.Sprintf(write0, 164)}, []string{"rm "}},
		{"giant pages: the boot gave fewer than it was asked for", giant, ofGiB(15).withMemory(32*gib, 3*gib).inPieces(0, 0).asking(BootPool{PageKiB: gib, Pages: 16}),
			[]string{"the kernel command line asks for 16", "fix: give pc.ram only 15 GiB, which fits now", "change hugepagesz=1G hugepages=16 to hugepagesz=1G hugepages=17 in",
				"The last boot made 1 fewer than it was asked for", "a free block of 1 GiB is unlikely"}, []string{"echo"}},
		{"giant pages: memory is in large pieces", giant, ofGiB(15).withMemory(32*gib, 3*gib),
			[]string{"echo 16 > /sys/devices/system/node/node0/hugepages/hugepages-1048576kB/nr_hugepages", "cat /sys/devices/system/node/node0/hugepages/hugepages-1048576kB/nr_hugepages",
				"set the pool up at boot: 16 pages (16 GiB) on node 0\n  add hugepagesz=1G hugepages=16 to the kernel command line"}, nil},
		{"giant pages from memory set aside", giant, ofGiB(15).withMemory(32*gib, 3*gib).inPieces(0, 0).booted(func(b *Boot) { b.CMA = true }),
			[]string{"echo 16 > /sys/devices/system/node/node0/hugepages/hugepages-1048576kB/nr_hugepages"}, []string{"or: hugepagesz"}},
		{"the command line asks for as many already", bound, pages(24, 0).withMemory(16*gib, 4*gib, 4*gib).asking(BootPool{PageKiB: 2048, Pages: 128}),
			[]string{fmt.Sprintf(write0, 64), "nothing to do: the kernel command line asks for as many already", "(the kernel command line asks for 64)"}, []string{"tmpfiles"}},
		{"sysctl sets fewer than the command line", any512, pages(256).withMemory(16*gib, 4*gib).asking(BootPool{PageKiB: 2048, Pages: 600}).booted(func(b *Boot) { b.Set, b.Setting = 256, "/etc/sysctl.d/80-vpp.conf" }),
			[]string{"the kernel command line asks for 600, and /etc/sysctl.d/80-vpp.conf then sets 256",
				"sed -i 's|^[ -]*vm[./]nr_hugepages *=.*|vm.nr_hugepages = 512|' /etc/sysctl.d/80-vpp.conf"}, []string{"nothing to do", "or: change"}},
		{"sysctl sets as many", any512, pages(256).withMemory(16*gib, 4*gib).booted(func(b *Boot) { b.Set, b.Setting = 512, "/etc/sysctl.d/80-vpp.conf" }),
			[]string{"(/etc/sysctl.d/80-vpp.conf asks for 512)", "nothing to do: /etc/sysctl.d/80-vpp.conf asks for as many already"}, []string{"sed"}},
		{"a file of a package's sets fewer", any512, pages(256).withMemory(16*gib, 4*gib).booted(func(b *Boot) { b.Set, b.Setting = 256, "/usr/lib/sysctl.d/99-x.conf" }),
			[]string{"echo 'vm.nr_hugepages = 512' >> /etc/sysctl.d/zz-hugepages.conf"}, []string{"sed", "asks for 256"}},
		{"the kernel made fewer when it was told before", any512, pages(256).withMemory(16*gib, 4*gib).inPieces(0, 100).told(Told{Pages: 512, Had: 100}),
			[]string{"fix: boot with hugepagesz=2M hugepages=512", "was told to do so after an earlier refusal and made fewer pages"}, []string{"drop_caches", "echo 512"}},
		{"it was not told since", any512, pages(256).withMemory(16*gib, 4*gib).inPieces(0, 100).told(Told{Pages: 512, Had: 256}), []string{"drop_caches"}, []string{"earlier"}},
		{"it could make none when it was told", any512, pages(256).withMemory(16*gib, 4*gib).inPieces(0, 100).told(Told{Pages: 512, Had: 256}).failing(1),
			[]string{"fix: boot with"}, []string{"drop_caches"}},
		{"it was told to make fewer", any512, pages(256).withMemory(16*gib, 4*gib).inPieces(0, 100).told(Told{Pages: 256, Had: 100}), []string{"drop_caches"}, []string{"earlier"}},
		{"there is more memory since", any512, pages(256).withMemory(16*gib, 4*gib).inPieces(0, 100).told(Told{Pages: 512, Had: 100, AvailableKiB: 11 * gib}), []string{"drop_caches"}, []string{"earlier"}},
		{"there are large pieces since", any512, pages(256).withMemory(16*gib, 4*gib).told(Told{Pages: 512, Had: 100}), []string{fmt.Sprintf(write0, 512)}, []string{"drop_caches", "earlier"}},
		{"by grubby, and TuneD", any512, pages(256).withMemory(16*gib, 4*gib).booted(func(b *Boot) { b.Tool, b.Tuned = "grubby", "virtual-host" }),
			[]string{"grubby --update-kernel=ALL --args='hugepagesz=2M hugepages=512'\n", "or with TuneD: cmdline_hugepages=+hugepagesz=2M hugepages=512 in the [bootloader] section of a profile with include=virtual-host"}, nil},
		{"a kernel that spreads the pages evenly", bound, pages(24, 0).withMemory(16*gib, 4*gib, 4*gib).booted(func(b *Boot) { b.PerNode = false }),
			[]string{"tmpfiles", "hugepagesz=2M hugepages=128 to the"}, []string{"hugepages=0:"}},
		{"both nodes have the pages together", bound, pages(40, 24).withMemory(4*gib, 4*gib, 4*gib),
			[]string{"fix (domain): ", "bind ram-node0 to nodes 0-1"}, []string{"bind ram-node0 to node 1"}},
		{"both nodes together lack one page", bound, pages(40, 23).withMemory(4*gib, 4*gib, 4*gib), []string{"stop programs that use"}, []string{"bind ram-node0"}},
		{"the memory is in free pages of another size", any512, pages(0).withMemory(16*gib, 4*gib).besideGiB(12, 12, 4),
			[]string{"give back 2 pages of 1G (2 GiB) of node 0 that nobody uses, and make a 2M pool of 512 pages (1 GiB) on node 0",
				"echo 10 > /sys/devices/system/node/node0/hugepages/hugepages-1048576kB/nr_hugepages\n  " + fmt.Sprintf(write0, 512),
				"node 0 has 10 pages of 1G (10 GiB) in place of 12 for those who need pages of 1G"}, []string{"stop programs", "reboot"}},
		{"these were promised to others", any512, pages(0).withMemory(16*gib, 4*gib).besideGiB(12, 12, 11), []string{"stop programs"}, []string{"give back"}},
		{"these are in use", any512, pages(0).withMemory(16*gib, 4*gib).besideGiB(12, 1, 0), []string{"stop programs"}, []string{"give back"}},
		{"a kernel without NUMA", any512, func() Host { h := pages(256).withMemory(16*gib, 4*gib); h.Memory.NoNUMA = true; return h }(),
			[]string{"echo 512 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"}, []string{"node0/hugepages"}},
		{"nothing is known of memory", any512, pages(256), []string{fmt.Sprintf(write0, 512), "The last command must print 512: the kernel makes fewer where it finds no memory in one piece"}, []string{"reboot"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := JudgeAndFix(test.demand, test.host)
			text := Text(v)
			for _, want := range test.has {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not said in\n%s", want, text)
				}
			}
			for _, not := range test.lacks {
				if strings.Contains(text, not) {
					t.Errorf("%q is said in\n%s", not, text)
				}
			}
			if len(Summary(v)) > 600 {
				t.Errorf("the line has %d bytes: %s", len(Summary(v)), Summary(v))
			}
			Helps(t, test.demand, test.host, v)
		})
	}
}

// TestGrowthHelps: after any fix of pools and limits the kernel has what the launch needs, for any holders.
func TestGrowthHelps(t *testing.T) {
	all := cases.AtLeast(t, 1000)
	tried := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		d, host := drawLaunch(t)
		count := rapid.Uint64Range(0, 12)
		for i := range host.Nodes {
			kind := rapid.SampledFrom([]HolderKind{HolderGuest, HolderGuest, HolderFile, HolderProcess}).Draw(t, "kind")
			n := count.Draw(t, "held")
			if n == 0 {
				continue
			}
			held := Holder{Kind: kind, Name: "x", PageKiB: 2048, Pages: map[int]uint64{i: n}, Files: []string{"/h/x"}}
			host.Pools[0].Nodes[i].Total += n
			host.Holders = &Holders{List: append(holdersIn(host), held)}
			s := rapid.Uint64Range(0, n).Draw(t, "surplus")
			host.Pools[0].Nodes[i].Surplus += s
			host.Pools[0].Surplus += s
		}
		if rapid.Bool().Draw(t, "memory") {
			used := make([]uint64, len(host.Nodes))
			for i := range used {
				used[i] = rapid.Uint64Range(0, 20*gib).Draw(t, "used")
			}
			host = host.withMemory(32*gib, used...)
		}
		v := JudgeAndFix(d, host)
		if v.Decision != Refuse {
			return
		}
		tried[string(v.Cause)] += Helps(t, d, host, v)
	})
	t.Logf("tried: %v", tried)
	for _, cause := range []Cause{CausePoolMissing, CausePoolTooSmall, CauseGuests, CauseKernelReserved, CauseMountLimit, CauseCgroupLimit} {
		if all && tried[string(cause)] == 0 {
			t.Errorf("no fix of %s was tried", cause)
		}
	}
}

func holdersIn(h Host) []Holder {
	if h.Holders == nil {
		return nil
	}
	return h.Holders.List
}
