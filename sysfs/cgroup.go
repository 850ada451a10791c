package sysfs

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"slices"
	"strings"
	"syscall"
)

// CgroupMounts is where the hierarchies of control groups are mounted, "" for
// those that are not. A controller belongs to one hierarchy only.
type CgroupMounts struct {
	Unified string // of version 2
	Cpuset  string // of version 1 with the cpuset controller
	Hugetlb string // of version 1 with the hugetlb controller
}

// add takes in a line of /proc/mounts. Of several mounts of a hierarchy the
// last counts, which is libvirt's (virCgroupV2DetectMounts).
func (m *CgroupMounts) add(mount, version, options string) {
	if version == "cgroup2" {
		m.Unified = mount
		return
	}
	controllers := strings.Split(options, ",")
	if slices.Contains(controllers, "cpuset") {
		m.Cpuset = mount
	}
	if slices.Contains(controllers, "hugetlb") {
		m.Hugetlb = mount
	}
}

// CpusetMount returns where the control groups with the cpuset controller are
// mounted: a version 1 hierarchy with it, else that of version 2 if its root
// has it (cgroup.controllers). ok is false where there is none.
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

// Exists says whether the tree has /name.
func (f FS) Exists(name string) bool {
	if f.recorder != nil {
		_, err := f.Stat(name)
		return err == nil
	}
	if f.near != nil {
		return f.Status(name, new(syscall.Stat_t)) == nil
	}
	path, err := f.at(name)
	return err == nil && syscall.Access(path, 0) == nil
}

// CpusetNodes reads a list of nodes such as cpuset.mems from the control group
// dir; ok is false where the group is not there or lacks the controller.
func (f FS) CpusetNodes(dir, file string) (nodes []int, ok bool, err error) {
	nodes, err = f.readList(strings.TrimPrefix(dir, "/") + "/" + file)
	if noCgroup(err) {
		return nil, false, nil
	}
	return nodes, err == nil, err
}

// CpusetCPUs reads a list of CPUs such as cpuset.cpus in the same way.
func (f FS) CpusetCPUs(dir, file string) (cpus []int, ok bool, err error) {
	cpus, err = f.readCPUs(strings.TrimPrefix(dir, "/") + "/" + file)
	if noCgroup(err) {
		return nil, false, nil
	}
	return cpus, err == nil, err
}

// noCgroup says that a control group is not there: it lacks the controller, or
// it was removed just now.
func noCgroup(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENODEV)
}

// HugetlbLimit is how much of one page size the processes of a control group
// and of those below it can have together, in bytes.
type HugetlbLimit struct {
	File string // that holds the limit
	// Reserved: the limit is met when pages are mapped, and counts them as
	// long as they are; otherwise it is met when they are touched.
	Reserved    bool
	Limit, Used uint64
}

// HugetlbLimits reads the limits that a control group has on pages of kib KiB
// (Documentation/admin-guide/cgroup-v2.rst, and cgroup-v1/hugetlb.rst for
// legacy). It opens one file where the group lacks the controller.
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
		name := strings.TrimPrefix(l.File, "/")
		text, err := f.ReadFile(name, counterLimit)
		if noCgroup(err) {
			break
		}
		if err != nil {
			return nil, err
		}
		if strings.TrimSpace(string(text)) == "max" {
			continue
		}
		if l.Limit, err = parseNumber(string(text)); err == nil {
			err = whole(text)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Path(name), err)
		}
		if l.Limit > math.MaxInt64/2 {
			continue // version 1's word for none: all that the kernel can count
		}
		if l.Used, err = f.readNumber(strings.TrimPrefix(counter, "/") + used); err != nil {
			return nil, err
		}
		limits = append(limits, l)
	}
	return limits, nil
}

// hugetlbName is the kernel's name of a page size in the names of files
// (mem_fmt in mm/hugetlb_cgroup.c).
func hugetlbName(kib uint64) string {
	switch {
	case kib >= 1<<20:
		return fmt.Sprintf("%dGB", kib>>20)
	case kib >= 1<<10:
		return fmt.Sprintf("%dMB", kib>>10)
	}
	return fmt.Sprintf("%dKB", kib)
}

// OwnCgroup returns the control group of this process in the version 1
// hierarchy that has a controller, or in that of version 2 for "", as a path
// below the hierarchy's mount; "/" where /proc/self/cgroup does not say.
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
		// number of the hierarchy, its controllers, path
		fields := strings.SplitN(line, ":", 3)
		if len(fields) == 3 && slices.Contains(strings.Split(fields[1], ","), controller) {
			return path.Join("/", fields[2])
		}
	}
	return "/"
}
