package sysfs

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// nodeDir is described in Documentation/ABI/stable/sysfs-devices-node.
const nodeDir = "sys/devices/system/node"

// maxNode bounds a node's number: the kernel's CONFIG_NODES_SHIFT is 10 at
// the most. maxCPU bounds a CPU's: CONFIG_NR_CPUS is 8192 at the most.
const (
	maxNode = 1023
	maxCPU  = 8191
)

// Node is one online NUMA node.
type Node struct {
	ID        int
	HasMemory bool // it has memory, so pages may lie on it
	HasCPU    bool // a CPU belongs to it; CXL and HBM nodes have none
}

// Nodes returns the online NUMA nodes in ascending order; the numbering may
// have holes. On a kernel without NUMA, which has no node directory, it is
// node 0 alone with memory and CPUs.
func (f FS) Nodes() ([]Node, error) {
	online, err := f.readList(nodeDir + "/online")
	if errors.Is(err, fs.ErrNotExist) {
		return []Node{{ID: 0, HasMemory: true, HasCPU: true}}, f.lacks()
	}
	if err != nil {
		return nil, err
	}
	memory, err := f.readList(nodeDir + "/has_memory")
	if err != nil {
		return nil, err
	}
	cpu, err := f.readList(nodeDir + "/has_cpu")
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

// CPUs returns the online CPUs of a node, from nodeN/cpulist; ok is false where
// the tree does not say, as without NUMA.
func (f FS) CPUs(node int) (cpus []int, ok bool, err error) {
	cpus, err = f.readCPUs(fmt.Sprintf("%s/node%d/cpulist", nodeDir, node))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	return cpus, err == nil, err
}

// Distances returns how far each online node is from node (10 is itself), in
// the order of [FS.Nodes], from nodeN/distance.
func (f FS) Distances(node int) ([]int, error) {
	name := fmt.Sprintf("%s/node%d/distance", nodeDir, node)
	text, err := f.ReadFile(name, counterLimit)
	if errors.Is(err, fs.ErrNotExist) {
		if _, noNUMA := f.ReadFile(nodeDir+"/online", counterLimit); errors.Is(noNUMA, fs.ErrNotExist) {
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

// readList reads a list of nodes.
func (f FS) readList(name string) ([]int, error) {
	return f.readNumbers(name, counterLimit, "nodes", maxNode)
}

// readCPUs reads a list of CPUs.
func (f FS) readCPUs(name string) ([]int, error) {
	return f.readNumbers(name, tableLimit, "CPUs", maxCPU)
}

func (f FS) readNumbers(name string, limit int, of string, most uint64) ([]int, error) {
	text, err := f.ReadFile(name, limit)
	if err != nil {
		return nil, err
	}
	list, err := parseList(string(text), most)
	if err != nil {
		return nil, fmt.Errorf("%s: %w of %s", f.Path(name), err, of)
	}
	if err := whole(text); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path(name), err)
	}
	return list, nil
}

// parseList reads the kernel's list format ("0-1,8"), which
// Documentation/admin-guide/cputopology.rst describes, into ascending numbers
// up to most.
func parseList(text string, most uint64) ([]int, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	var list []int
	for _, part := range strings.Split(text, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		low, errLow := strconv.ParseUint(first, 10, 32)
		high, errHigh := strconv.ParseUint(last, 10, 32)
		if errLow != nil || errHigh != nil || high < low || high > most {
			return nil, fmt.Errorf("%s is not a list", quote(text))
		}
		for n := low; n <= high; n++ {
			list = append(list, int(n))
		}
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}
