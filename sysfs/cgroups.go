package sysfs

import (
	"slices"
	"strings"
)

// CpusetMount returns where the control groups with the cpuset controller are
// mounted: a cgroup v1 hierarchy with it, else the cgroup v2 hierarchy if its
// root has it (cgroup.controllers). ok is false where there is none.
func (f FS) CpusetMount() (dir string, ok bool, err error) {
	text, err := f.ReadFile("proc/mounts", tableLimit)
	if err != nil {
		return "", false, err
	}
	v1, v2 := parseCgroupMounts(string(text))
	if v1 != "" || v2 == "" {
		return v1, v1 != "", nil
	}
	controllers, err := f.ReadFile(strings.TrimPrefix(v2, "/")+"/cgroup.controllers", counterLimit)
	if err != nil {
		return "", false, err
	}
	return v2, slices.Contains(strings.Fields(string(controllers)), "cpuset"), nil
}

// parseCgroupMounts returns the mount points of the cgroup v1 hierarchy with
// the cpuset controller and of cgroup v2, each "" without one. Of several it is
// the last, which is libvirt's (virCgroupV2DetectMounts).
func parseCgroupMounts(text string) (v1, v2 string) {
	for line := range lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) < 4:
		case fields[2] == "cgroup2":
			v2 = unescape(fields[1])
		case fields[2] == "cgroup" && slices.Contains(strings.Split(fields[3], ","), "cpuset"):
			v1 = unescape(fields[1])
		}
	}
	return v1, v2
}
