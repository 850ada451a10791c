package sysfs

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"slices"
	"strings"
)

// CpusetMount returns where the control groups with the cpuset controller are mounted: a version 1 hierarchy with it,
// else that of version 2 if its root has it (cgroup.controllers). ok is false where there is none.
func (f FS) CpusetMount() (dir string, ok bool, err error) {
	mounts, err := f.Mounts()
	if err != nil {
		return "", false, err
	}
	m := mounts.Cgroup
	if m.Cpuset != "" || m.Unified == "" {
		return m.Cpuset, m.Cpuset != "", nil
	}
	controllers, err := f.ReadFile(strings.TrimPrefix(m.Unified, "/")+"/cgroup.controllers", counterLimit)
	if err != nil {
		return "", false, err
	}
	return m.Unified, slices.Contains(strings.Fields(string(controllers)), "cpuset"), nil
}

// CpusetNodes reads a list of nodes such as cpuset.mems from the control group dir; ok is false where the group is not
// there or lacks the controller.
func (f FS) CpusetNodes(dir, file string) (nodes []int, ok bool, err error) {
	nodes, err = f.readNodes(strings.TrimPrefix(dir, "/") + "/" + file)
	if gone(err) {
		return nil, false, nil
	}
	return nodes, err == nil, err
}

// CpusetCPUs reads a list of CPUs such as cpuset.cpus in the same way.
func (f FS) CpusetCPUs(dir, file string) (cpus []int, ok bool, err error) {
	cpus, err = f.readCPUs(strings.TrimPrefix(dir, "/") + "/" + file)
	if gone(err) {
		return nil, false, nil
	}
	return cpus, err == nil, err
}

// HugetlbLimit is how much of one page size the processes of a control group and of those below it can have together,
// in bytes.
type HugetlbLimit struct {
	File string // that holds the limit
	// Reserved says that the limit is met when pages are mapped, and counts them as long as they are. The other is met
	// when they are touched.
	Reserved    bool
	Limit, Used uint64
}

// HugetlbLimits reads the limits that a control group has on pages of kib KiB (Documentation/admin-guide/cgroup-v2.rst,
// and cgroup-v1/hugetlb.rst for legacy). It opens one file where the group lacks the controller.
func (f FS) HugetlbLimits(dir string, kib uint64, legacy bool) ([]HugetlbLimit, error) {
	limit, used := "max", "current"
	if legacy {
		limit, used = "limit_in_bytes", "usage_in_bytes"
	}
	var limits []HugetlbLimit
	for _, reserved := range []bool{false, true} {
		counter := path.Join(dir, "hugetlb."+hugetlbName(kib)+".")
		if reserved {
			counter += "rsvd." // since Linux 5.7
		}
		l := HugetlbLimit{File: counter + limit, Reserved: reserved}
		limited, err := f.readLimit(&l, counter+used)
		if gone(err) {
			break
		}
		if err != nil {
			return nil, err
		}
		if limited {
			limits = append(limits, l)
		}
	}
	return limits, nil
}

// readLimit reads a limit, and how much of it is used; limited is false where there is none.
func (f FS) readLimit(l *HugetlbLimit, used string) (limited bool, err error) {
	name := strings.TrimPrefix(l.File, "/")
	text, err := f.ReadFile(name, counterLimit)
	if err != nil {
		return false, err
	}
	if strings.TrimSpace(string(text)) == "max" {
		return false, nil
	}
	l.Limit, err = parseWholeNumber(text)
	if err != nil {
		return false, fmt.Errorf("%s: %w", f.Path(name), err)
	}
	if l.Limit > math.MaxInt64/2 {
		return false, nil // version 1's word for none: all that the kernel can count
	}
	l.Used, err = f.readNumber(strings.TrimPrefix(used, "/"))
	return err == nil, err
}

// hugetlbName returns the kernel's name of a page size in the names of files (mem_fmt in mm/hugetlb_cgroup.c).
func hugetlbName(kib uint64) string {
	switch {
	case kib >= 1<<20:
		return fmt.Sprintf("%dGB", kib>>20)
	case kib >= 1<<10:
		return fmt.Sprintf("%dMB", kib>>10)
	}
	return fmt.Sprintf("%dKB", kib)
}

// OwnCgroup returns the control group of this process in the version 1 hierarchy that has a controller, or in that of
// version 2 for "", as a path below the hierarchy's mount; "/" where /proc/self/cgroup (cgroups(7)) does not say.
func (f FS) OwnCgroup(controller string) (string, error) {
	text, err := f.ReadFile("proc/self/cgroup", tableLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return "/", nil
	}
	if err != nil {
		return "", err
	}
	return parseOwnCgroup(string(text), controller), nil
}

func parseOwnCgroup(text, controller string) string {
	for line := range lines(text) {
		group, ok := parseCgroupLine(line)
		if ok && slices.Contains(group.controllers, controller) {
			return path.Join("/", group.path)
		}
	}
	return "/"
}

// cgroupLine is a line of /proc/PID/cgroup: the control group of a process in one hierarchy.
type cgroupLine struct {
	hierarchy   string
	controllers []string
	path        string
}

func parseCgroupLine(line string) (group cgroupLine, ok bool) {
	hierarchy, rest, _ := strings.Cut(line, ":")
	controllers, path, ok := strings.Cut(rest, ":")
	if !ok || strings.Trim(hierarchy, "0123456789") != "" || !strings.HasPrefix(path, "/") {
		return cgroupLine{}, false
	}
	return cgroupLine{hierarchy, strings.Split(controllers, ","), path}, true
}

// reduceOwnCgroup keeps the control groups of this process.
func reduceOwnCgroup(text []byte) ([]byte, error) {
	kept := []byte{}
	for line := range lines(string(text)) {
		_, ok := parseCgroupLine(line)
		if ok {
			kept = appendLine(kept, line)
		}
	}
	return kept, nil
}
