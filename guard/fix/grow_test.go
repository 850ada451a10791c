package fix_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hugeguard/guard"
	"hugeguard/guard/fix"
	. "hugeguard/guard/guardtest"
	"hugeguard/guard/words"
	"hugeguard/testdata/cases"
)

const (
	mib = 1 << 10 // in KiB
	gib = 1 << 20
)

// TestGrowth: pools grow by what the kernel will do: what is printed first, its price, and what else is named.
func TestGrowth(t *testing.T) {
	const write0 = "echo %d > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages"
	any512 := Plain(t, 1024, "", TwoMiB)
	bound := Guest(t, "strict:0", Cell(64, "strict:0"))
	giant := Plain(t, 16<<10, "", "<hugepages><page size='1' unit='GiB'/></hugepages>")
	ofGiB := func(n uint64) Setup {
		h := Pages(0)
		h.Pools = []guard.SizePool{{PageKiB: gib, Nodes: []guard.NodePool{{Node: 0, Total: n, Free: n}}}}
		return h
	}
	for _, test := range []struct {
		name   string
		demand guard.Demand
		host   Setup
		has    []string
		lacks  []string
	}{
		{"there is memory, in pieces that are large enough", bound, Pages(24, 0).WithMemory(16*gib, 4*gib, 4*gib),
			[]string{fmt.Sprintf(write0, 64), "takes 80 MiB of the 12 GiB of memory available on node 0",
				"echo 'w /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages - - - - 64' > /etc/tmpfiles.d/hugepages-2048kB-node0.conf",
				"hugepagesz=2M hugepages=0:64"}, []string{"drop_caches", "reboot"}},
		{"one node: the sysctl is enough", any512, Pages(256).WithMemory(16*gib, 4*gib),
			[]string{fmt.Sprintf(write0, 512), "echo 'vm.nr_hugepages = 512' >> /etc/sysctl.d/90-hugepages.conf", "add hugepagesz=2M hugepages=512 to the kernel"}, []string{"tmpfiles"}},
		{"the pieces are too small", any512, Pages(256).WithMemory(16*gib, 4*gib).InPieces(0, 100),
			[]string{"echo 3 > /proc/sys/vm/drop_caches", "echo 1 > /proc/sys/vm/compact_memory", fmt.Sprintf(write0, 512), "hugepagesz=2M hugepages=512", "reboots this host"}, nil},
		{"the pieces are just large enough", any512, Pages(256).WithMemory(16*gib, 4*gib).InPieces(0, 256), []string{fmt.Sprintf(write0, 512)}, []string{"drop_caches"}},
		{"the host lives on the rest", any512, Pages(256).WithMemory(16*gib, 15*gib),
			[]string{"stop programs that use 256 MiB on node 0: it has 512 MiB of memory available, 256 more pages of 2M take 512 MiB, and 256 MiB must stay for the host"}, nil},
		{"what else runs has to do with less", Plain(t, 6144, "", TwoMiB), Pages(256).WithMemory(16*gib, 12*gib),
			[]string{"stop programs that use 2.2 GiB on node 0", "WARNING: after the reboot everything else on node 0 has 10 GiB, and it uses 12 GiB now"}, nil},
		{"at boot there would be as little", any512, Pages(0).WithMemory(2*gib, 1800*mib), []string{"stop programs that use"}, []string{"reboot"}},
		{"both nodes together", any512, Pages(0, 0).WithMemory(4*gib, 3200*mib, 3200*mib),
			[]string{fmt.Sprintf(write0, 256), "echo 256 > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages"}, []string{"reboot"}},
		{"both nodes together have less than each of them seems to", any512,
			Pages(0, 0).WithMemory(4*gib, 3200*mib, 3200*mib).Remembering(func(m *guard.Memory) { m.AvailableKiB = 1200 * mib }),
			[]string{"stop programs that use 384 MiB on node 0"}, []string{"fix: echo"}},
		{"one node has less room than its share", any512, Pages(0, 0).WithMemory(4*gib, 3700*mib, 2900*mib),
			[]string{fmt.Sprintf(write0, 70), "echo 442 > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages"}, nil},
		{"the other node alone", any512, Pages(0, 0).WithMemory(4*gib, 4*gib, 1*gib),
			[]string{"echo 512 > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages"}, []string{"node0/hugepages"}},
		{"surplus pages become the pool's first", bound, Pages(0, 0).Holding(guard.HolderGuest, "a", 7, 0, 100).WithSurplus(0, 100).WithMemory(16*gib, 4*gib, 4*gib),
			[]string{"all 100 pages there are surplus, which go back to the kernel when they are freed: the pool was made smaller while they were in use",
				fmt.Sprintf(write0, 164), "its 100 surplus pages, which else go back to the kernel when they are freed, are counted in first, so 64 (128 MiB) are new"}, []string{"ever set up"}},
		{"surplus pages in files", bound, Pages(0, 0).LeftBehind(0, 100, "/h/x").WithSurplus(0, 100).WithMemory(16*gib, 15*gib, 15*gib),
			[]string{fmt.Sprintf(write0, 64) + "\n  rm /h/x\n", "what is in the files is lost", "The last command must print 64 or more"}, []string{"ever set up", "takes "}},
		{"surplus pages in files that may be in use", bound, Pages(0, 0).LeftBehind(0, 100, "/h/x").WithSurplus(0, 100).WithMemory(16*gib, 4*gib, 4*gib).
			Looked(func(h *guard.Holders) { h.Unreadable = []guard.Process{{Name: "a", PID: 5}} }), []string{fmt.Sprintf(write0, 164)}, []string{"rm "}},
		{"giant pages: the boot gave fewer than it was asked for", giant, ofGiB(15).WithMemory(32*gib, 3*gib).InPieces(0, 0).Asking(guard.BootPool{PageKiB: gib, Pages: 16}),
			[]string{"the kernel command line asks for 16", "fix: give the guest 15 GiB, which fits: 15728640 KiB in memory and currentMemory", "change hugepagesz=1G hugepages=16 to hugepagesz=1G hugepages=17 in",
				"The last boot made 1 fewer than it was asked for", "a free block of 1 GiB is unlikely"}, []string{"echo"}},
		{"giant pages: memory is in large pieces", giant, ofGiB(15).WithMemory(32*gib, 3*gib),
			[]string{"echo 16 > /sys/devices/system/node/node0/hugepages/hugepages-1048576kB/nr_hugepages", "cat /sys/devices/system/node/node0/hugepages/hugepages-1048576kB/nr_hugepages",
				"set the pool up at boot: 16 pages (16 GiB) on node 0\n  add hugepagesz=1G hugepages=16 to the kernel command line"}, nil},
		{"giant pages from memory set aside", giant, ofGiB(15).WithMemory(32*gib, 3*gib).InPieces(0, 0).Booted(func(b *guard.Boot) { b.CMA = true }),
			[]string{"echo 16 > /sys/devices/system/node/node0/hugepages/hugepages-1048576kB/nr_hugepages"}, []string{"or: hugepagesz"}},
		{"the command line asks for as many already", bound, Pages(24, 0).WithMemory(16*gib, 4*gib, 4*gib).Asking(guard.BootPool{PageKiB: 2048, Pages: 128}),
			[]string{fmt.Sprintf(write0, 64), "nothing to do: the kernel command line asks for as many already", "(the kernel command line asks for 64)"}, []string{"tmpfiles"}},
		{"sysctl sets fewer than the command line", any512, Pages(256).WithMemory(16*gib, 4*gib).Asking(guard.BootPool{PageKiB: 2048, Pages: 600}).Booted(func(b *guard.Boot) { b.Set, b.Setting = 256, "/etc/sysctl.d/80-vpp.conf" }),
			[]string{"the kernel command line asks for 600, and /etc/sysctl.d/80-vpp.conf then sets 256",
				"sed -i 's|^[[:blank:]-]*vm[./]nr_hugepages[[:blank:]]*=.*|vm.nr_hugepages = 512|' /etc/sysctl.d/80-vpp.conf"}, []string{"nothing to do", "or: change"}},
		{"sysctl sets as many", any512, Pages(256).WithMemory(16*gib, 4*gib).Booted(func(b *guard.Boot) { b.Set, b.Setting = 512, "/etc/sysctl.d/80-vpp.conf" }),
			[]string{"(/etc/sysctl.d/80-vpp.conf asks for 512)", "nothing to do: /etc/sysctl.d/80-vpp.conf asks for as many already"}, []string{"sed"}},
		{"a file of a package's sets fewer", any512, Pages(256).WithMemory(16*gib, 4*gib).Booted(func(b *guard.Boot) { b.Set, b.Setting = 256, "/usr/lib/sysctl.d/99-x.conf" }),
			[]string{"echo 'vm.nr_hugepages = 512' >> /etc/sysctl.d/zz-hugepages.conf"}, []string{"sed", "asks for 256"}},
		{"the kernel made fewer when it was told before", any512, Pages(256).WithMemory(16*gib, 4*gib).InPieces(0, 100).Told(guard.Told{Pages: 512, Had: 100}),
			[]string{"fix: boot with hugepagesz=2M hugepages=512", "was told to do so after an earlier refusal and made fewer pages"}, []string{"drop_caches", "echo 512"}},
		{"the same, and the kernel spreads pages evenly", bound,
			Pages(24, 0).WithMemory(16*gib, 4*gib, 4*gib).InPieces(0, 10).Booted(func(b *guard.Boot) { b.PerNode = false }).Told(guard.Told{Pages: 64, Had: 10}),
			[]string{"hugepagesz=2M hugepages=128", "takes 80 MiB more of each node's memory, as this kernel spreads the pages"}, []string{"of node 0's memory"}},
		{"it was not told since", any512, Pages(256).WithMemory(16*gib, 4*gib).InPieces(0, 100).Told(guard.Told{Pages: 512, Had: 256}), []string{"drop_caches"}, []string{"earlier"}},
		{"it was told to make fewer", any512, Pages(256).WithMemory(16*gib, 4*gib).InPieces(0, 100).Told(guard.Told{Pages: 256, Had: 100}), []string{"drop_caches"}, []string{"earlier"}},
		{"there is more memory since", any512, Pages(256).WithMemory(16*gib, 4*gib).InPieces(0, 100).Told(guard.Told{Pages: 512, Had: 100, AvailableKiB: 11 * gib}), []string{"drop_caches"}, []string{"earlier"}},
		{"there are large pieces since", any512, Pages(256).WithMemory(16*gib, 4*gib).Told(guard.Told{Pages: 512, Had: 100}), []string{fmt.Sprintf(write0, 512)}, []string{"drop_caches", "earlier"}},
		{"by grubby, and TuneD", any512, Pages(256).WithMemory(16*gib, 4*gib).Booted(func(b *guard.Boot) { b.Tool, b.Tuned = "grubby", "virtual-host" }),
			[]string{"grubby --update-kernel=ALL --args='hugepagesz=2M hugepages=512'\n", "or with TuneD: cmdline_hugepages=+hugepagesz=2M hugepages=512 in the [bootloader] section of a profile with include=virtual-host"}, nil},
		{"a kernel that spreads the pages evenly", bound, Pages(24, 0).WithMemory(16*gib, 4*gib, 4*gib).Booted(func(b *guard.Boot) { b.PerNode = false }),
			[]string{"tmpfiles", "hugepagesz=2M hugepages=128 to the"}, []string{"hugepages=0:"}},
		{"both nodes have the pages together", bound, Pages(40, 24).WithMemory(4*gib, 4*gib, 4*gib),
			[]string{"fix (domain): ", "bind ram-node0 to nodes 0-1"}, []string{"bind ram-node0 to node 1"}},
		{"both nodes together lack one page", bound, Pages(40, 23).WithMemory(4*gib, 4*gib, 4*gib), []string{"stop programs that use"}, []string{"bind ram-node0"}},
		{"the memory is in free pages of another size", any512, Pages(0).WithMemory(16*gib, 4*gib).BesideGiB(12, 12, 4),
			[]string{"give back 2 pages of 1G (2 GiB) of node 0 that nobody uses, and make a 2M pool of 512 pages (1 GiB) on node 0",
				"echo 10 > /sys/devices/system/node/node0/hugepages/hugepages-1048576kB/nr_hugepages\n  " + fmt.Sprintf(write0, 512),
				"node 0 has 10 pages of 1G (10 GiB) in place of 12 for those who need pages of 1G"}, []string{"stop programs", "reboot"}},
		{"these were promised to others", any512, Pages(0).WithMemory(16*gib, 4*gib).BesideGiB(12, 12, 11), []string{"stop programs"}, []string{"give back"}},
		{"these are in use", any512, Pages(0).WithMemory(16*gib, 4*gib).BesideGiB(12, 1, 0), []string{"stop programs"}, []string{"give back"}},
		{"a kernel without NUMA", any512, func() Setup { h := Pages(256).WithMemory(16*gib, 4*gib); h.Memory.NoNUMA = true; return h }(),
			[]string{"echo 512 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"}, []string{"node0/hugepages"}},
		{"nothing is known of memory", any512, Pages(256), []string{fmt.Sprintf(write0, 512), "The last command must print 512. If it prints fewer, the kernel finds no more memory in one piece"}, []string{"reboot"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := fix.Judge(test.demand, test.host.Host)
			text := words.Text(v)
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
			if len(words.Summary(v)) > 600 {
				t.Errorf("the line has %d bytes: %s", len(words.Summary(v)), words.Summary(v))
			}
			helps(t, test.demand, test.host.Host, v)
		})
	}
}

// TestGrowthHelps: after any fix of pools and limits the kernel has what the launch needs, for any holders.
func TestGrowthhelps(t *testing.T) {
	all := cases.AtLeast(t, 1000)
	tried := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		d, host := DrawLaunch(t)
		count := rapid.Uint64Range(0, 12)
		for i := range host.Nodes {
			kind := rapid.SampledFrom([]guard.HolderKind{guard.HolderGuest, guard.HolderGuest, guard.HolderFile, guard.HolderProcess}).Draw(t, "kind")
			n := count.Draw(t, "held")
			if n == 0 {
				continue
			}
			held := guard.Holder{Kind: kind, Name: "x", PageKiB: 2048, Pages: map[int]uint64{i: n}, Files: []string{"/h/x"}}
			host.Pools[0].Nodes[i].Total += n
			host.Holders = &guard.Holders{List: append(holdersIn(host), held)}
			s := rapid.Uint64Range(0, n).Draw(t, "surplus")
			host.Pools[0].Nodes[i].Surplus += s
			host.Pools[0].Surplus += s
		}
		if rapid.Bool().Draw(t, "memory") {
			used := make([]uint64, len(host.Nodes))
			for i := range used {
				used[i] = rapid.Uint64Range(0, 20*gib).Draw(t, "used")
			}
			host = host.WithMemory(32*gib, used...)
		}
		v := fix.Judge(d, host.Host)
		if v.Decision != guard.Refuse {
			return
		}
		tried[string(v.Cause)] += helps(t, d, host.Host, v)
	})
	t.Logf("tried: %v", tried)
	for _, cause := range []guard.Cause{guard.CausePoolMissing, guard.CausePoolTooSmall, guard.CauseGuests, guard.CauseKernelReserved, guard.CauseMountLimit, guard.CauseCgroupLimit} {
		if all && tried[string(cause)] == 0 {
			t.Errorf("no fix of %s was tried", cause)
		}
	}
}

func holdersIn(h Setup) []guard.Holder {
	if h.Holders == nil {
		return nil
	}
	return h.Holders.List
}
