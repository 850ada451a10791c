package main

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"hugeguard/guard"
	guarddomain "hugeguard/guard/domain"
)

// TestParser compares what the guard reads out of a domain's XML with what the
// domain was made of.
func TestParser(t *testing.T) {
	m := &machine{kernel: 6_001_000, nodes: []int{0, 1, 2}, allNodes: []int{0, 1, 2}, allCPUs: []int{0, 1, 2}, cpusByID: map[int]unix.CPUSet{}}
	host := guard.Host{Mounts: []guard.Mount{{Path: hugeMount, PageKiB: pageKiB}}, Cgroups: []guard.Cgroup{{Path: machineSlice}}, Pools: []guard.SizePool{{PageKiB: pageKiB, Overcommit: 4}}}
	for _, n := range m.nodes {
		host.Pools[0].Nodes = append(host.Pools[0].Nodes, guard.NodePool{Node: n, Total: 8, Free: 8})
	}
	policies := map[string]guard.Policy{"": guard.PolicyDefault, "restrictive": guard.PolicyDefault,
		"strict": guard.PolicyBind, "preferred": guard.PolicyPreferred, "interleave": guard.PolicyInterleave}
	for number := range 5000 {
		d := m.dice(1, number).domain(host)
		xml := d.xml("case")
		demand, err := guarddomain.Parse(xml)
		if err != nil {
			t.Fatalf("%v\n%s", err, xml)
		}
		want := d.backends(nil)
		// Whether 4 KiB is a huge page, and memory_backing_dir on hugetlbfs, is for the host to say.
		demand.Backends = slices.DeleteFunc(demand.Backends, func(b guard.Backend) bool { return b.PageKiB == 4 || b.Path != "" })
		if len(demand.Backends) != len(want) {
			t.Fatalf("case %d: %d backends, want %d\n%s", number, len(demand.Backends), len(want), xml)
		}
		auto := d.Memory != nil && d.Memory.Auto
		for i, b := range demand.Backends {
			w := want[i]
			policy, nodes := policies[w.mode], w.nodes
			if auto && nodes == nil {
				policy = policies[d.Memory.mode()]
			}
			if w.mode == "restrictive" {
				nodes = nil
			}
			if b.ID != w.id || b.Bytes != uint64(w.mib)<<20 || b.Policy != policy || b.HostNodes.String() != nodes.String() ||
				b.Memfd != (d.Source == "memfd") || b.Auto != (auto && w.nodes == nil) {
				t.Fatalf("case %d: %+v, want %+v\n%s", number, b, w, xml)
			}
		}
		for _, v := range []variant{{Cpuset: cpusetMemory}, {Cpuset: cpusetUnion}} {
			if auto {
				continue
			}
			got := demand.Cpuset.Nodes
			if v.Cpuset == cpusetUnion {
				got = demand.Cpuset.Union
			}
			if nodes, _, _ := d.confinement(v); nodes.String() != got.String() {
				t.Fatalf("case %d: cpuset %s, want %s\n%s", number, got, nodes, xml)
			}
		}
	}
}

// TestVariants: every release is played, in every way that it goes about it.
func TestVariants(t *testing.T) {
	m := &machine{kernel: 6_001_000, nodes: []int{0, 1}, allNodes: []int{0, 1}, allCPUs: []int{0, 1}}
	host := guard.Host{Mounts: []guard.Mount{{Path: hugeMount, PageKiB: pageKiB}}, Cgroups: []guard.Cgroup{{Path: machineSlice}},
		Pools: []guard.SizePool{{PageKiB: pageKiB, Nodes: []guard.NodePool{{Node: 0, Free: 8}, {Node: 1, Free: 8}}}}}
	played := map[string]int{}
	for number := range 1000 {
		d := m.dice(1, number)
		sc := scene{Domain: d.domain(host)}
		sc.Domain.Pin = d.pin(sc.Group)
		for _, v := range d.variants(sc) {
			played[v.Releases.Libvirt.Version.String()+" "+v.Releases.QEMU.Version.String()]++
			for way, is := range map[string]bool{string(v.Order): true, string(v.Cpuset): true, "exact": v.Exact, "threads": v.Pinned,
				"restrictive threads": v.Restrictive, "advice": v.Advice != nil, "without cpuset": !*v.Releases.Cpuset} {
				if is {
					played[way]++
				}
			}
			if v.Order != apart && !v.Pinned {
				t.Errorf("case %d: side by side without threads: %s", number, v)
			}
		}
	}
	if want := len(libvirts)*len(qemus) + 3 + 3 + 5; len(played) != want {
		t.Errorf("%d releases and ways are played, of %d: %v", len(played), want, played)
	}
}
