package sysfs

import (
	"reflect"
	"testing"
)

// TestBoot: the command line is read as the kernel reads it, which ignores what it does not understand.
func TestBoot(t *testing.T) {
	pool := func(kib, pages uint64, nodes map[int]uint64) []BootPool { return []BootPool{{kib, pages, nodes}} }
	for _, test := range []struct {
		line string
		want Boot
	}{
		{"", Boot{}},
		{"quiet ro root=/dev/vda", Boot{}},
		{"hugepages=512", Boot{Pools: pool(0, 512, nil)}},
		{"default_hugepagesz=1G hugepagesz=1G hugepages=16", Boot{DefaultKiB: 1 << 20, Pools: pool(1<<20, 16, nil)}},
		{"default_hugepagesz=1G hugepages=16", Boot{DefaultKiB: 1 << 20, Pools: pool(1<<20, 16, nil)}},
		{"hugepages=7 hugepagesz=1G hugepages=0:1,1:3", Boot{Pools: []BootPool{{0, 7, nil}, {1 << 20, 4, map[int]uint64{0: 1, 1: 3}}}}},
		{"hugepagesz=2M hugepages=5 hugepages=6", Boot{Pools: pool(2048, 5, nil)}},
		{"hugepagesz=2M hugepages=0:512,512", Boot{}},
		{"hugepagesz=2M hugepages=x", Boot{}},
		{"hugepagesz=x hugepages=4", Boot{}},
		{"hugepagesz=2M hugepages=9999:4", Boot{}},
		{"hugetlb_cma=4G", Boot{CMA: true}},
		{"hugetlb_cma=0", Boot{}},
		{"rdinit=/x -- hugepages=4", Boot{}},
		{"hugepages=16 hugepagesz=1G quiet hugepagesz=2M hugepagesz=32M hugepages=1", Boot{Pools: []BootPool{{Pages: 16}, {PageKiB: 32 << 10, Pages: 1}}, Bare: []uint64{1 << 20, 2 << 10}}},
	} {
		if got := parseBoot(test.line + "\n"); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%q is read as %+v, want %+v", test.line, got, test.want)
		}
	}
}

// TestMemory: the memory of a node, and of a kernel without NUMA, where one of them is not said it is not known.
func TestMemory(t *testing.T) {
	for _, test := range []struct {
		text string
		want Memory
		ok   bool
	}{
		{"Node 1 MemTotal:       4029212 kB\nNode 1 MemFree:        2736152 kB\nNode 1 Active(file):      23232 kB\nNode 1 Inactive(file):    28692 kB\n" +
			"Node 1 FilePages:         52148 kB\nNode 1 SReclaimable:      11536 kB\nNode 1 HugePages_Total:    40\n", Memory{4029212, 2736152, 63460}, true},
		{"MemTotal: 100 kB\nMemFree: 50 kB\n", Memory{100, 50, 0}, true},
		{"MemTotal: 100 kB\n", Memory{100, 0, 0}, false},
		{"", Memory{}, false},
	} {
		got, ok, err := parseMemory(test.text)
		if err != nil || got != test.want || ok != test.ok {
			t.Errorf("%q is %+v, %t, %v, want %+v, %t", test.text, got, ok, err, test.want, test.ok)
		}
	}
	for _, wrong := range []string{"MemTotal: x kB\n", "Node 0 MemFree: 5\n", "MemFree: -1 kB\n"} {
		if got, _, err := parseMemory(wrong); err == nil {
			t.Errorf("%q is %+v", wrong, got)
		}
	}
}

// TestFreeBlocks: the free blocks of a node's zones together.
func TestFreeBlocks(t *testing.T) {
	const text = "Node 0, zone      DMA      0      0      0      0      0      0      0      0      0      1      3 \n" +
		"Node 0, zone   Normal      2     98     49     28     18      9      6      5      4      2    170 \n" +
		"Node 1, zone   Normal    875    833    507    273    128     70     15     14      8      3    695 \n"
	want := map[int][]uint64{0: {2, 98, 49, 28, 18, 9, 6, 5, 4, 3, 173}, 1: {875, 833, 507, 273, 128, 70, 15, 14, 8, 3, 695}}
	if got, err := parseBlocks(text); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	for _, wrong := range []string{"Node 0, zone DMA x\n", "Node x, zone DMA 1\n", "Node 0, zone DMA\n", "\n", "Node 0, zone DMA -1\n"} {
		if got, err := parseBlocks(wrong); err == nil {
			t.Errorf("%q is %v", wrong, got)
		}
	}
}

// FuzzMemory: whatever the kernel's files hold, reading them ends, with as many numbers as there can be.
func FuzzMemory(f *testing.F) {
	f.Add("Node 0 MemTotal: 9 kB\nNode 0 MemFree: 5 kB\n", "Node 0, zone Normal 1 2 3\n", "hugepagesz=1G hugepages=0:1,1:3 hugetlb_cma=4G\n")
	f.Fuzz(func(t *testing.T, memory, blocks, line string) {
		_, _, _ = parseMemory(memory)
		nodes, err := parseBlocks(blocks)
		if err == nil {
			for node, orders := range nodes {
				if node < 0 || node > maxNode || len(orders) == 0 || len(orders) > maxOrders {
					t.Errorf("%q is %v", blocks, nodes)
				}
			}
		}
		for _, pool := range parseBoot(line).Pools {
			var sum uint64
			for _, n := range pool.Nodes {
				sum += n
			}
			if pool.Nodes != nil && sum != pool.Pages {
				t.Errorf("%q is %+v", line, pool)
			}
		}
	})
}
