package sysfs_test

import (
	"path/filepath"
	"slices"
	"testing"

	"hugeguard/sysfs"
	"hugeguard/sysfs/sysfstest"
)

// kernels are the captured kernels, each with what makes it another one.
var kernels = map[string]struct {
	base, dflt uint64 // page sizes in KiB
	sizes      []uint64
	nodes      []sysfs.Node
}{
	"x86_64-two-nodes":       {4, 2048, []uint64{2048, 1 << 20}, []sysfs.Node{{0, true, true}, {1, true, true}}},
	"x86_64-numa-off":        {4, 1 << 20, []uint64{2048, 1 << 20}, []sysfs.Node{{0, true, true}}},
	"x86_64-sparse":          {4, 2048, []uint64{2048, 1 << 20}, []sysfs.Node{{0, true, true}, {2, true, true}, {3, false, true}, {4, true, false}}},
	"x86_64-sparse-6.12":     {4, 2048, []uint64{2048, 1 << 20}, []sysfs.Node{{0, true, true}, {2, true, true}, {3, false, true}, {4, true, false}}},
	"x86_64-memoryless-5.10": {4, 2048, []uint64{2048, 1 << 20}, []sysfs.Node{{0, true, true}, {1, false, true}, {2, true, true}, {3, false, true}, {4, true, false}}},
	"ppc64le-no-hugepages":   {64, 0, nil, []sysfs.Node{{0, true, true}, {1, true, false}}},
	"arm64-4k":               {4, 2048, []uint64{64, 2048, 32 << 10, 1 << 20}, []sysfs.Node{{0, true, true}, {1, true, true}}},
	"arm64-16k":              {16, 32 << 10, []uint64{2048, 32 << 10, 1 << 20}, []sysfs.Node{{0, true, true}, {1, true, true}}},
	"ppc64le-radix":          {64, 2048, []uint64{2048, 1 << 20}, []sysfs.Node{{0, true, true}, {1, true, true}}},
	"ppc64le-hash":           {64, 16 << 10, []uint64{16 << 10}, []sysfs.Node{{0, true, true}, {1, true, true}}},
	"mips64el-no-numa":       {4, 2048, []uint64{2048}, []sysfs.Node{{0, true, true}}},
}

func TestKernels(t *testing.T) {
	files, err := filepath.Glob("../testdata/kernels/*.txtar")
	if err != nil || len(files) != len(kernels) {
		t.Errorf("%d archives for %d kernels: %v", len(files), len(kernels), err)
	}
	for name, want := range kernels {
		t.Run(name, func(t *testing.T) {
			fs := sysfstest.Archive(t, "../testdata/kernels/"+name+".txtar").FS()
			nodes, err := fs.Nodes()
			if err != nil {
				t.Fatal(err)
			}
			check(t, "nodes", nodes, want.nodes)
			checkNodeCPUs(t, fs, nodes)
			sizes, err := fs.PageSizes()
			if err != nil {
				t.Fatal(err)
			}
			check(t, "sizes", sizes, want.sizes)
			base, _, err := fs.BasePageKiB()
			if err != nil || base != want.base {
				t.Errorf("base page %d KiB, %v, want %d", base, err, want.base)
			}
			dflt, _, err := fs.DefaultPageKiB()
			if err != nil || dflt != want.dflt {
				t.Errorf("default page %d KiB, %v, want %d", dflt, err, want.dflt)
			}
			for _, kib := range sizes {
				checkSums(t, fs, kib, nodes)
			}
			if len(sizes) > 0 {
				checkMounts(t, fs)
				checkMapped(t, fs)
			}
		})
	}
}

func checkNodeCPUs(t *testing.T, fs sysfs.FS, nodes []sysfs.Node) {
	t.Helper()
	for _, n := range nodes {
		if cpus, ok, err := fs.CPUs(n.ID); err != nil || ok && len(cpus) > 0 != n.HasCPU {
			t.Errorf("node %d has CPUs %v: %v", n.ID, cpus, err)
		}
	}
}

// checkSums: a pool is what its nodes have together.
func checkSums(t *testing.T, fs sysfs.FS, kib uint64, nodes []sysfs.Node) {
	t.Helper()
	pool, ok, err := fs.Pool(kib, nodes)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	var total, free, surplus uint64
	for _, n := range pool.Nodes {
		total, free, surplus = total+n.Total, free+n.Free, surplus+n.Surplus
	}
	if total != pool.Total || free != pool.Free || surplus != pool.Surplus {
		t.Errorf("the nodes do not add up to %+v", pool)
	}
}

// checkMounts: those that the kernels were captured with are found, by their odd names.
func checkMounts(t *testing.T, fs sysfs.FS) {
	t.Helper()
	mounts, err := fs.Mounts()
	if err != nil || len(mounts.Hugetlb) == 0 {
		t.Fatal(mounts, err)
	}
	var paths []string
	for _, m := range mounts.Hugetlb {
		paths = append(paths, m.Path)
	}
	for _, path := range []string{"/dev/hugepages", "/mnt/huge pages", "/mnt/tab\tback\\slash#hash"} {
		if !slices.Contains(paths, path) {
			t.Errorf("%q is not among the mounts %q", path, paths)
		}
	}
}

// checkMapped: what a process maps is what it has by its own account of it (HugetlbPages).
func checkMapped(t *testing.T, fs sysfs.FS) {
	t.Helper()
	pids, err := fs.Processes()
	if err != nil {
		t.Fatal(err)
	}
	var all uint64
	for _, pid := range pids {
		p, err := fs.Process(pid)
		if err != nil {
			t.Fatal(err)
		}
		mappings, err := fs.Mappings(pid, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		var mapped uint64
		for _, m := range mappings {
			if m.Device == "" || m.End <= m.Start {
				t.Errorf("no file: %+v", m)
			}
			if m.PageKiB > 0 && m.Anon > 0 != (m.Private && len(m.Pages) > 0) {
				t.Errorf("copies of its own in %+v", m)
			}
			mapped += m.Touched() * m.PageKiB
		}
		if mapped != p.HugetlbKiB {
			t.Errorf("%s (%d) maps %d KiB by its mappings, %d by its status", p.Name, pid, mapped, p.HugetlbKiB)
		}
		all += mapped
	}
	if all == 0 {
		t.Error("no process maps huge pages")
	}
}
