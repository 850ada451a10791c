package sysfs

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

const (
	// nodeDir is described in Documentation/ABI/stable/sysfs-devices-node.
	nodeDir = "sys/devices/system/node"
	// poolDir is described in Documentation/admin-guide/mm/hugetlbpage.rst.
	poolDir = "sys/kernel/mm/hugepages"
)

// errNoSysfs is that nothing of sysfs is there, so that nothing can be said of what the kernel lacks: sysfs is not
// mounted, or is hidden in a container.
var errNoSysfs = errors.New("there is no sysfs")

// lacks returns why a reader finds nothing: nil where the kernel lacks the thing, errNoSysfs where that cannot be
// known.
func (f FS) lacks() error {
	for _, dir := range []string{poolDir, nodeDir} {
		if f.Exists(dir) {
			return nil
		}
	}
	return fmt.Errorf("%s: %w", f.Path("sys"), errNoSysfs)
}

// Node is one online NUMA node.
type Node struct {
	ID        int
	HasMemory bool // it has memory, so pages may lie on it
	HasCPU    bool // a CPU belongs to it; CXL and HBM nodes have none
}

// Nodes returns the online NUMA nodes in ascending order; the numbering may have holes. On a kernel without NUMA, which
// has no node directory, it is node 0 alone with memory and CPUs.
func (f FS) Nodes() ([]Node, error) {
	online, err := f.readNodes(nodeDir + "/online")
	if errors.Is(err, fs.ErrNotExist) {
		return []Node{{ID: 0, HasMemory: true, HasCPU: true}}, f.lacks()
	}
	if err != nil {
		return nil, err
	}
	memory, err := f.readNodes(nodeDir + "/has_memory")
	if err != nil {
		return nil, err
	}
	cpu, err := f.readNodes(nodeDir + "/has_cpu")
	if err != nil {
		return nil, err
	}
	if len(memory) == 0 {
		return nil, fmt.Errorf("%s: no node has memory", f.Path(nodeDir+"/has_memory"))
	}
	if len(online) == 0 {
		return nil, fmt.Errorf("%s: no node is online", f.Path(nodeDir+"/online"))
	}
	nodes := make([]Node, len(online))
	for i, id := range online {
		_, hasMemory := slices.BinarySearch(memory, id)
		_, hasCPU := slices.BinarySearch(cpu, id)
		nodes[i] = Node{ID: id, HasMemory: hasMemory, HasCPU: hasCPU}
	}
	return nodes, nil
}

// CPUs returns the online CPUs of a node, from nodeN/cpulist; ok is false where the tree does not say, as without NUMA.
func (f FS) CPUs(node int) (cpus []int, ok bool, err error) {
	cpus, err = f.readCPUs(fmt.Sprintf("%s/node%d/cpulist", nodeDir, node))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	return cpus, err == nil, err
}

// Distances returns how far each online node is from node (10 is itself), in the order of [FS.Nodes], from
// nodeN/distance.
func (f FS) Distances(node int) ([]int, error) {
	name := fmt.Sprintf("%s/node%d/distance", nodeDir, node)
	text, err := f.ReadFile(name, counterLimit)
	if errors.Is(err, fs.ErrNotExist) {
		_, noNUMA := f.ReadFile(nodeDir+"/online", counterLimit)
		if errors.Is(noNUMA, fs.ErrNotExist) {
			return []int{10}, nil
		}
	}
	if err != nil {
		return nil, err
	}
	distances, err := parseDistances(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path(name), err)
	}
	return distances, nil
}

func parseDistances(text string) ([]int, error) {
	fields := strings.Fields(text)
	distances := make([]int, len(fields))
	for i, field := range fields {
		d, err := strconv.ParseUint(field, 10, 8)
		if err != nil {
			return nil, fmt.Errorf("%s is not a node distance", quote(field))
		}
		distances[i] = int(d)
	}
	return distances, nil
}
