package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"hugeguard/guard"
)

// group is what the control groups above QEMU's leave to it; pages of nil are
// no limit.
type group struct {
	Nodes    guard.NodeSet `json:",omitempty"` // of the domain's partition, nil for all
	CPUs     guard.CPUSet  `json:",omitempty"` // the same
	Max      *int          `json:",omitempty"` // pages, hugetlb.2MB.max
	Reserved *int          `json:",omitempty"` // pages, hugetlb.2MB.rsvd.max
	// Inner: the limits are on the partition's group, which nobody else is
	// in, rather than on the one above it, where the holders are.
	Inner bool `json:",omitempty"`
}

func (g group) String() string {
	var parts []string
	if g.Nodes != nil {
		parts = append(parts, "nodes "+g.Nodes.String())
	}
	if g.CPUs != nil {
		parts = append(parts, "CPUs "+guard.NodeSet(g.CPUs).String())
	}
	for name, pages := range map[string]*int{"max": g.Max, "rsvd.max": g.Reserved} {
		if pages != nil {
			parts = append(parts, fmt.Sprintf("%s of %d pages in %s", name, *pages, g.limited()))
		}
	}
	return strings.Join(parts, ", ")
}

// partition is the resource partition of a domain in the group, "" for
// libvirt's own.
func (g group) partition() string {
	if g.Nodes == nil && g.CPUs == nil && !g.Inner {
		return ""
	}
	text := "/machine/all"
	for _, n := range g.Nodes {
		text += ".n" + strconv.Itoa(n)
	}
	for _, n := range g.CPUs {
		text += ".c" + strconv.Itoa(n)
	}
	return text
}

// limited is the group that has the limits.
func (g group) limited() string {
	if g.Inner {
		return partitionDir(g.partition())
	}
	return machineSlice
}

const machineSlice = cgroupDir + "/machine.slice"

// partitionDir is where systemd has the slice of that partition.
func partitionDir(partition string) string {
	name, ok := strings.CutPrefix(partition, "/machine/")
	if !ok {
		return machineSlice
	}
	return machineSlice + "/machine-" + name + ".slice"
}

// mount is what limits hugetlbfs; pages of nil are no limit.
type mount struct {
	Size    *int `json:",omitempty"`
	Minimum *int `json:",omitempty"` // set aside
}

func (m mount) options() string {
	text := "pagesize=2M"
	if m.Size != nil {
		text += fmt.Sprintf(",size=%d", *m.Size*pageBytes)
	}
	if m.Minimum != nil {
		text += fmt.Sprintf(",min_size=%d", *m.Minimum*pageBytes)
	}
	return text
}

// makeGroup makes a control group whose groups can have cpusets and limits.
func makeGroup(dir string) error {
	if err := unix.Mkdir(dir, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return writeFile(dir+"/cgroup.subtree_control", "+cpuset +hugetlb")
}

// partition makes the group of a partition.
func (m *machine) partition(g group) (dir string, err error) {
	dir = partitionDir(g.partition())
	if err := makeGroup(dir); err != nil {
		return "", err
	}
	return dir, m.confine(dir, g.Nodes, g.CPUs)
}

// unlimit takes away all limits that a scene had.
func (m *machine) unlimit() error {
	var files []string
	for _, pattern := range []string{"/hugetlb.2MB.max", "/hugetlb.2MB.rsvd.max", "/*/hugetlb.2MB.max", "/*/hugetlb.2MB.rsvd.max"} {
		found, err := filepath.Glob(machineSlice + pattern)
		if err != nil {
			return err
		}
		files = append(files, found...)
	}
	for _, file := range files {
		if err := writeFile(file, "max"); err != nil {
			return err
		}
	}
	if m.covered {
		if err := unix.Unmount(hugeMount, 0); err != nil {
			return fmt.Errorf("%s: %w", hugeMount, err)
		}
		m.covered = false
	}
	return nil
}

// cover mounts a limited hugetlbfs over the other. What cannot be set aside is
// not; the survey sees what is.
func (m *machine) cover(of mount) error {
	if of == (mount{}) {
		return nil
	}
	err := unix.Mount("hugetlbfs", hugeMount, "hugetlbfs", 0, of.options())
	if errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EINVAL) {
		of.Minimum = nil
		err = unix.Mount("hugetlbfs", hugeMount, "hugetlbfs", 0, of.options())
	}
	if err != nil {
		return fmt.Errorf("%s with %s: %w", hugeMount, of.options(), err)
	}
	m.covered = true
	return nil
}

// limit gives the groups above a domain's their limits. One that is below what
// is used already the kernel does not take; the survey sees which it has.
func (m *machine) limit(g group) error {
	if _, err := m.partition(g); err != nil {
		return err
	}
	for file, pages := range map[string]*int{"max": g.Max, "rsvd.max": g.Reserved} {
		if pages == nil {
			continue
		}
		err := writeFile(g.limited()+"/hugetlb.2MB."+file, strconv.Itoa(*pages*pageBytes))
		if err != nil && !errors.Is(err, unix.EBUSY) {
			return err
		}
	}
	return nil
}

// pretendMachined is what tells libvirt, and the survey, that systemd-machined
// can be had: then domains are in slices.
func pretendMachined() error {
	const file = "/usr/share/dbus-1/system-services/org.freedesktop.machine1.service"
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, nil, 0o644)
}

// limits makes the limits of a scene.
func (d dice) limits(s *scene, total int) {
	about := func() *int {
		pages := d.between(0, total+2)
		return &pages
	}
	if d.chance(25) {
		s.Mount.Size = about()
	}
	if d.late && d.chance(40) {
		s.Mount.Minimum = about()
		if s.Mount.Size != nil && *s.Mount.Minimum > *s.Mount.Size {
			s.Mount.Minimum = s.Mount.Size
		}
	}
	if d.chance(30) {
		all := d.m.nodes
		s.Group.Nodes = pick(d, guard.NodeSet(all[:1]), guard.NodeSet(all[len(all)-1:]), guard.NodeSet(all[1:]))
	}
	if d.chance(15) {
		s.Group.CPUs = guard.CPUSet{pick(d, d.m.allCPUs...)}
	}
	if d.chance(20) {
		s.Group.Max = about()
	}
	if d.chance(20) {
		s.Group.Reserved = about()
	}
	s.Group.Inner = (s.Group.Max != nil || s.Group.Reserved != nil) && d.chance(40)
}
