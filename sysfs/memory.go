package sysfs

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// Memory is what is known of ordinary memory, in KiB.
type Memory struct {
	Total uint64
	Free  uint64
	Cache uint64 // file pages and slab memory that the kernel can take back
}

// NodeMemory returns the memory of a node, from nodeN/meminfo or, without NUMA, from /proc/meminfo; ok is false where the
// tree does not say.
func (f FS) NodeMemory(node int) (m Memory, ok bool, err error) {
	name := fmt.Sprintf("%s/node%d/meminfo", nodeDir, node)
	if !f.HasNodes() {
		name = meminfo
	}
	text, err := f.ReadFile(name, tableLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return Memory{}, false, nil
	}
	if err != nil {
		return Memory{}, false, err
	}
	m, ok, err = parseMemory(string(text))
	if err != nil {
		return Memory{}, false, fmt.Errorf("%s: %w", f.Path(name), err)
	}
	return m, ok, nil
}

// HasNodes reports whether the kernel was built with NUMA: else it has no files for each node.
func (f FS) HasNodes() bool { return f.Exists(nodeDir) }

// memoryKeys are what is read of meminfo, of a node's behind "Node 0 ".
var memoryKeys = []string{"MemTotal", "MemFree", "Active(file)", "Inactive(file)", "SReclaimable"}

func parseMemory(text string) (m Memory, ok bool, err error) {
	found := map[string]uint64{}
	for line := range lines(text) {
		key, value, _ := strings.Cut(line, ":")
		key = lastWord(key)
		if _, twice := found[key]; twice || !slices.Contains(memoryKeys, key) {
			continue
		}
		kib, err := parseKiB(key, value)
		if err != nil {
			return Memory{}, false, err
		}
		found[key] = kib
	}
	_, total := found["MemTotal"]
	_, free := found["MemFree"]
	m = Memory{found["MemTotal"], found["MemFree"], found["Active(file)"] + found["Inactive(file)"] + found["SReclaimable"]}
	return m, total && free, nil
}

// reduceMemory keeps what is read of a node's meminfo.
func reduceMemory(text []byte) ([]byte, error) {
	_, _, err := parseMemory(string(text))
	return keepMemory(string(text)), err
}

// keepMemory keeps what is read of memory, and lines with one of the other keys.
func keepMemory(text string, also ...string) []byte {
	kept := []byte{}
	for line := range lines(text) {
		key, _, ok := strings.Cut(line, ":")
		if ok && (slices.Contains(memoryKeys, lastWord(key)) || slices.Contains(also, key)) {
			kept = appendLine(kept, line)
		}
	}
	return kept
}

// lastWord returns what comes after the last space.
func lastWord(text string) string { return text[strings.LastIndexByte(text, ' ')+1:] }

// Available returns how much memory in KiB can be had without swapping, on all nodes: MemAvailable in /proc/meminfo. ok
// is false where the kernel does not say.
func (f FS) Available() (kib uint64, ok bool, err error) {
	text, err := f.ReadFile(meminfo, tableLimit)
	if err != nil {
		return 0, false, err
	}
	kib, ok, err = parseAvailable(string(text))
	if err != nil {
		return 0, false, fmt.Errorf("%s: %w", f.Path(meminfo), err)
	}
	return kib, ok, nil
}

func parseAvailable(text string) (kib uint64, ok bool, err error) {
	value, ok := parseField(text, "MemAvailable")
	if !ok {
		return 0, false, nil
	}
	kib, err = parseKiB("MemAvailable", value)
	return kib, err == nil, err
}

// FreeBlocks returns how many free blocks of each order (2^order ordinary pages) a node has, in all zones together:
// /proc/buddyinfo (Documentation/filesystems/proc.rst). It is nil where the tree does not say.
func (f FS) FreeBlocks() (map[int][]uint64, error) {
	const name = "proc/buddyinfo"
	text, err := f.ReadFile(name, tableLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	blocks, err := parseBlocks(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path(name), err)
	}
	return blocks, nil
}

// maxOrders bounds how many orders a line of buddyinfo has; the kernel's MAX_ORDER is 13 at the most.
const maxOrders = 32

// parseBlocks parses lines as "Node 0, zone   Normal  2  98 ...".
func parseBlocks(text string) (map[int][]uint64, error) {
	blocks := map[int][]uint64{}
	for line := range lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 5 || len(fields) > 4+maxOrders || fields[0] != "Node" || fields[2] != "zone" {
			return nil, fmt.Errorf("%s is not a zone's free blocks", quote(line))
		}
		node, err := strconv.Atoi(strings.TrimSuffix(fields[1], ","))
		if err != nil || node < 0 || node > maxNode {
			return nil, fmt.Errorf("%s is not a zone's free blocks", quote(line))
		}
		for order, field := range fields[4:] {
			n, err := strconv.ParseUint(field, 10, 40)
			if err != nil {
				return nil, fmt.Errorf("%s is not a count", quote(field))
			}
			if order == len(blocks[node]) {
				blocks[node] = append(blocks[node], 0)
			}
			blocks[node][order] += n
		}
	}
	return blocks, nil
}

// Boot is what the kernel's command line says of huge pages.
type Boot struct {
	DefaultKiB uint64 // default_hugepagesz in KiB, 0 where it is not said
	// Bare are the page sizes in KiB of hugepagesz= without hugepages= behind it, which asks for no pages.
	Bare  []uint64
	Pools []BootPool
	CMA   bool // hugetlb_cma: gigantic pages come from memory set aside for that, and none are made at boot
}

// BootPool is how many pages of a size were to be made at boot.
type BootPool struct {
	PageKiB uint64 // 0 for the default size
	Pages   uint64 // on all nodes
	Nodes   map[int]uint64
}

// Boot returns what /proc/cmdline says of huge pages (Documentation/admin-guide/kernel-parameters.txt); ok is false where
// the tree does not say.
func (f FS) Boot() (b Boot, ok bool, err error) {
	text, err := f.ReadFile("proc/cmdline", tableLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return Boot{}, false, nil
	}
	if err != nil {
		return Boot{}, false, err
	}
	return parseBoot(string(text)), true, nil
}

// parseBoot reads the words that the kernel takes, and skips those that it would ignore. What follows "--" is for init.
func parseBoot(text string) (b Boot) {
	known, size := true, uint64(0) // what hugepages= is about
	words := bootWords(text)
	for i, word := range words {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "default_hugepagesz":
			kib, err := parseBinarySize(value)
			known, size = err == nil, kib
			b.DefaultKiB = kib
		case "hugepagesz":
			kib, err := parseBinarySize(value)
			known, size = err == nil, kib
			if known && !strings.HasPrefix(after(words, i), "hugepages=") {
				b.Bare = append(b.Bare, kib)
			}
		case "hugepages":
			pool, ok := parseBootPool(value)
			pool.PageKiB = size
			twice := slices.ContainsFunc(b.Pools, func(p BootPool) bool { return p.PageKiB == size })
			if ok && known && !twice {
				b.Pools = append(b.Pools, pool)
			}
		case "hugetlb_cma":
			b.CMA = value != "" && value != "0"
		}
	}
	return b
}

// after returns the word that comes after one of several, "" after the last.
func after(words []string, i int) string {
	if i+1 < len(words) {
		return words[i+1]
	}
	return ""
}

// parseBootPool parses "512" and "0:512,1:512".
func parseBootPool(value string) (p BootPool, ok bool) {
	for part := range strings.SplitSeq(value, ",") {
		node, count, perNode := strings.Cut(part, ":")
		if !perNode {
			count = node
		}
		pages, err := strconv.ParseUint(count, 10, 40)
		if err != nil || !perNode && part != value {
			return BootPool{}, false
		}
		p.Pages += pages
		if !perNode {
			return p, true
		}
		id, err := strconv.ParseUint(node, 10, 32)
		if err != nil || id > maxNode {
			return BootPool{}, false
		}
		if p.Nodes == nil {
			p.Nodes = map[int]uint64{}
		}
		p.Nodes[int(id)] += pages
	}
	return p, true
}

// bootWords returns the words of a kernel's command line that are about huge pages.
func bootWords(text string) (words []string) {
	for _, word := range strings.Fields(text) {
		if word == "--" {
			break
		}
		switch key, _, _ := strings.Cut(word, "="); key {
		case "default_hugepagesz", "hugepagesz", "hugepages", "hugetlb_cma":
			words = append(words, word)
		}
	}
	return words
}

// reduceBoot keeps the words about huge pages.
func reduceBoot(text []byte) ([]byte, error) {
	return []byte(strings.Join(bootWords(string(text)), " ") + "\n"), nil
}

// KernelRelease returns the first two numbers of the running kernel's release, and the last part of its name, such as
// "amd64" or "generic"; ok is false where the tree does not say.
func (f FS) KernelRelease() (major, minor int, flavour string, ok bool) {
	text, err := f.ReadFile("proc/sys/kernel/osrelease", counterLimit)
	if err != nil {
		return 0, 0, "", false
	}
	name := strings.TrimSpace(string(text))
	n, _ := fmt.Sscanf(name, "%d.%d", &major, &minor)
	return major, minor, name[strings.LastIndex(name, "-")+1:], n == 2
}

// PoolMemory returns how much memory in KiB a node has in huge pages of some sizes, in use or not.
func (f FS) PoolMemory(node int, sizes []uint64) (kib uint64, err error) {
	dir := fmt.Sprintf("%s/node%d/hugepages", nodeDir, node)
	if !f.HasNodes() {
		dir = poolDir
	}
	for _, size := range sizes {
		n, err := f.readNumber(fmt.Sprintf("%s/hugepages-%dkB/nr_hugepages", dir, size))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a node without memory may have no pools
			return 0, err
		}
		kib += n * size
	}
	return kib, nil
}
