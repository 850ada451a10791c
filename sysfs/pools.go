package sysfs

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Pool is the huge pages of one size. All counts are in pages of that size.
type Pool struct {
	PageKiB    uint64 // the size of a page in KiB
	Total      uint64 // nr_hugepages, surplus ones included
	Free       uint64 // free_hugepages, reserved ones included
	Reserved   uint64 // resv_hugepages: promised to mappings that have not touched them
	Surplus    uint64 // surplus_hugepages: above what was set up, gone when freed
	Overcommit uint64 // nr_overcommit_hugepages: how far surplus may go
	Nodes      []NodePool
}

// NodePool is one node's share of a [Pool]. The kernel keeps no reservation and no overcommit per node.
type NodePool struct {
	Node    int
	Total   uint64
	Free    uint64
	Surplus uint64
}

// PageSizes returns the huge page sizes of this kernel in KiB, ascending; none on a kernel without huge pages.
func (f FS) PageSizes() ([]uint64, error) {
	names, err := f.ReadDir(poolDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, f.lacks()
	}
	if err != nil {
		return nil, err
	}
	var sizes []uint64
	for _, name := range names {
		if kib, ok := parsePoolName(name); ok {
			sizes = append(sizes, kib)
		}
	}
	slices.Sort(sizes)
	return sizes, nil
}

// parsePoolName reads the size out of "hugepages-2048kB".
func parsePoolName(name string) (kib uint64, ok bool) {
	digits, ok := strings.CutPrefix(name, "hugepages-")
	if !ok {
		return 0, false
	}
	digits, ok = strings.CutSuffix(digits, "kB")
	if !ok {
		return 0, false
	}
	kib, err := strconv.ParseUint(digits, 10, 64)
	return kib, err == nil && kib > 0
}

// poolReads bounds how often [FS.Pool] starts over on a pool that changes while it reads.
const poolReads = 5

// Pool returns the huge pages of one size in KiB; ok is false where the kernel has no such size. Nodes without memory
// have an empty pool or, with Linux 5.10, none and are left out.
//
// The kernel gives each counter in a file of its own, so a process that takes pages in between would make the counts
// contradict each other. The global ones are therefore read before and after the nodes', and all again when they
// changed or are not the nodes' sum, a few times at the most; on a pool that never rests the last reading counts.
func (f FS) Pool(kib uint64, nodes []Node) (pool Pool, ok bool, err error) {
	return steady(
		func() (Pool, bool, error) { return f.globalPool(kib) },
		func(global Pool) ([]NodePool, error) { return f.nodePools(kib, nodes, global) })
}

// steady reads a pool until it did not change meanwhile.
func steady(global func() (Pool, bool, error), perNode func(Pool) ([]NodePool, error)) (pool Pool, ok bool, err error) {
	before, ok, err := global()
	if err != nil || !ok {
		return Pool{}, ok, err
	}
	for range poolReads {
		nodes, err := perNode(before)
		if err != nil {
			return Pool{}, false, err
		}
		pool, ok, err = global()
		if err != nil || !ok {
			return Pool{}, ok, err
		}
		pool.Nodes = nodes
		if before.Free == pool.Free && before.Reserved == pool.Reserved && before.Total == pool.Total && pool.addsUp() {
			break
		}
		before = pool
	}
	return pool, true, nil
}

// addsUp reports whether the nodes have as many pages together as the whole: not if one gave pages back and another
// took as many while they were read.
func (p Pool) addsUp() bool {
	var total, free uint64
	for _, n := range p.Nodes {
		total += n.Total
		free += n.Free
	}
	return total == p.Total && free == p.Free
}

func (f FS) globalPool(kib uint64) (pool Pool, ok bool, err error) {
	pool.PageKiB = kib
	ok, err = f.readCounters(fmt.Sprintf("%s/hugepages-%dkB", poolDir, kib), []counter{
		{"nr_hugepages", &pool.Total},
		{"free_hugepages", &pool.Free},
		{"resv_hugepages", &pool.Reserved},
		{"surplus_hugepages", &pool.Surplus},
		{"nr_overcommit_hugepages", &pool.Overcommit},
	})
	if pool.Reserved > math.MaxInt64 {
		// Below zero: kernels before 6.15 lose count when a mount with min_size= cannot give all that is asked of it
		// (hugepage_subpool_put_pages). They reckon with a signed number.
		pool.Reserved = 0
	}
	return pool, ok, err
}

// nodePools reads the nodes' shares. A node without memory may have none; a kernel without NUMA has the global counters
// alone, which are then node 0's.
func (f FS) nodePools(kib uint64, nodes []Node, global Pool) ([]NodePool, error) {
	pools := make([]NodePool, 0, len(nodes))
	for _, node := range nodes {
		pool := NodePool{Node: node.ID}
		ok, err := f.readCounters(fmt.Sprintf("%s/node%d/hugepages/hugepages-%dkB", nodeDir, node.ID, kib), []counter{
			{"nr_hugepages", &pool.Total},
			{"free_hugepages", &pool.Free},
			{"surplus_hugepages", &pool.Surplus},
		})
		if err != nil {
			return nil, err
		}
		if !ok && len(nodes) == 1 {
			ok, pool = true, NodePool{Node: node.ID, Total: global.Total, Free: global.Free, Surplus: global.Surplus}
		}
		if ok {
			pools = append(pools, pool)
		}
	}
	return pools, nil
}

// counter is a file of one number and where the number goes.
type counter struct {
	file string
	into *uint64
}

// readCounters reads the files of a pool's folder; ok is false where there is no such folder, and so no such pool.
func (f FS) readCounters(dir string, counters []counter) (ok bool, err error) {
	for i, c := range counters {
		n, err := f.readNumber(dir + "/" + c.file)
		if i == 0 && errors.Is(err, fs.ErrNotExist) && !f.Exists(dir) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		*c.into = n
	}
	return true, nil
}
