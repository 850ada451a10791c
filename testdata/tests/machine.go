package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A machine is what the tests have to do with.
type machine struct {
	release   string            // of the distribution
	kernel    string            // its release
	cpus      int               // that this process may run on
	load      float64           // processes that could run, over the last minute
	total     uint64            // memory in KiB
	available uint64            // KiB of it that can be had without swapping
	disk      uint64            // KiB that are free where temporary files lie
	nodes     int               // of NUMA
	pools     map[uint64]string // by page size in KiB, the pages that there are and those that are free
	installed []string          // what of the product, and of a site's hooks, lies on the machine
}

// The memory that tiers take, in KiB: the two-node machine, and the others, of which one runs beside it.
const (
	boxKiB    = 11 << 20
	othersKiB = 2 << 20
)

// lookAtMachine reads what there is to know.
func lookAtMachine() (machine, error) {
	m := machine{release: "an unknown system", cpus: runtime.NumCPU(), pools: map[uint64]string{}}
	if text, err := os.ReadFile("/etc/os-release"); err == nil {
		for _, line := range strings.Split(string(text), "\n") {
			if name, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
				m.release = strings.Trim(name, `"`)
			}
		}
	}
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return m, err
	}
	m.kernel = strings.TrimSpace(string(text))
	if text, err = os.ReadFile("/proc/loadavg"); err != nil {
		return m, err
	}
	if _, err := fmt.Sscan(string(text), &m.load); err != nil {
		return m, fmt.Errorf("/proc/loadavg: %q: %w", text, err)
	}
	if text, err = os.ReadFile("/proc/meminfo"); err != nil {
		return m, err
	}
	for _, line := range strings.Split(string(text), "\n") {
		for name, to := range map[string]*uint64{"MemTotal:": &m.total, "MemAvailable:": &m.available} {
			if value, ok := strings.CutPrefix(line, name); ok {
				if _, err := fmt.Sscan(value, to); err != nil {
					return m, fmt.Errorf("/proc/meminfo: %q: %w", line, err)
				}
			}
		}
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(os.TempDir(), &disk); err != nil {
		return m, fmt.Errorf("statfs %s: %w", os.TempDir(), err)
	}
	m.disk = disk.Bavail * uint64(disk.Bsize) >> 10
	nodes, err := filepath.Glob("/sys/devices/system/node/node[0-9]*")
	if err != nil {
		return m, err
	}
	m.nodes = max(1, len(nodes)) // a kernel without NUMA has no such directory
	sizes, err := filepath.Glob("/sys/kernel/mm/hugepages/hugepages-*kB")
	if err != nil {
		return m, err
	}
	for _, dir := range sizes {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(dir), "hugepages-"), "kB")
		kib, err := strconv.ParseUint(name, 10, 64)
		if err != nil {
			return m, fmt.Errorf("%s: %w", dir, err)
		}
		total, _ := os.ReadFile(dir + "/nr_hugepages")
		free, _ := os.ReadFile(dir + "/free_hugepages")
		m.pools[kib] = fmt.Sprintf("%s of %s free", strings.TrimSpace(string(free)), strings.TrimSpace(string(total)))
	}
	for _, pattern := range []string{"/etc/hugeguard.conf", "/etc/libvirt/hooks/*", "/etc/libvirt/hooks/qemu.d/*", "/var/lib/hugeguard",
		"/run/hugeguard", "/usr/bin/hugeguard", "/etc/nova"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			return m, err
		}
		m.installed = append(m.installed, names...)
	}
	return m, nil
}

// describe says what the machine is and what the tests do because of it.
func (m machine) describe(w io.Writer) {
	fmt.Fprintf(w, "this machine: %s, kernel %s, %d CPUs, load %.1f, NUMA nodes: %d\n", m.release, m.kernel, m.cpus, m.load, m.nodes)
	fmt.Fprintf(w, "memory: %s available of %s; disk: %s free below %s\n", gib(m.available), gib(m.total), gib(m.disk), os.TempDir())
	var pools []string
	for kib := range m.pools {
		pools = append(pools, fmt.Sprintf("%d KiB (%s)", kib, m.pools[kib]))
	}
	slices.Sort(pools)
	fmt.Fprintf(w, "huge pages: %s\n", strings.Join(pools, ", "))
	if _, ok := m.pools[1<<20]; !ok {
		fmt.Fprintln(w, "  no pages of 1 GiB here: "+without1GiB)
	}
	if m.nodes < 2 {
		fmt.Fprintln(w, "  one NUMA node here: what takes two is played on the two-node machine")
	}
	if m.load > float64(2*m.cpus) {
		fmt.Fprintln(w, "  others keep the CPUs busy: the tests take longer, no result depends on it")
	}
	if len(m.installed) > 0 {
		fmt.Fprintf(w, "  installed here, hidden from the tests: %s\n", strings.Join(m.installed, " "))
	}
}

// without1GiB is what the tests do on a machine that has no such pages.
const without1GiB = "the live host proves the same with the sizes that there are, the two-node machine has both"

// enough returns an error if the machine surely lacks what a tier needs, before half an hour is spent on the others.
func (m machine) enough(lanes [][]string) error {
	tiers := slices.Concat(lanes...)
	for _, tier := range tiers {
		need := uint64(boxKiB)
		if len(lanes) > 1 {
			need += othersKiB
		}
		switch {
		case slices.Contains([]string{"packagetest", "livehost", "modular", "numabox"}, tier) && os.Geteuid() != 0:
			return fmt.Errorf("make %s needs root", tier)
		case (tier == "livehost" || tier == "modular") && m.pools[2048] == "":
			return fmt.Errorf("make %s needs huge pages of 2 MiB, which this kernel does not have", tier)
		case tier == "numabox" && m.available < need:
			return fmt.Errorf("make %s needs %s of memory, %s are available", strings.Join(tiers, " "), gib(need), gib(m.available))
		}
	}
	return nil
}

// gib prints KiB for people.
func gib(kib uint64) string { return fmt.Sprintf("%.1f GiB", float64(kib)/(1<<20)) }
