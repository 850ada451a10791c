package survey

import (
	"path"
	"slices"
	"strings"

	"hugeguard/guard"
	"hugeguard/sysfs"
)

// machined is how D-Bus knows that it can start systemd-machined, which
// decides where libvirt puts a domain (virSystemdHasMachined).
const machined = "usr/share/dbus-1/system-services/org.freedesktop.machine1.service"

// cgroups returns the control groups below which libvirt may start a domain of a resource partition, with the nodes and
// the huge pages of the given sizes in KiB that they leave to it (virDomainCgroupInitCgroup, which does the same in
// libvirt 9.0 and 11.3). The domain's own groups are made again below them, and have no limits but numatune's.
//
// With systemd-machined it is the partition's slice (virCgroupNewMachineSystemd), otherwise a directory of the
// partition's name (virCgroupNewMachineManual). Where both can be, both are returned; and where libvirt may use no
// controller at all, that of its daemon, which runs the hook.
func cgroups(fs sysfs.FS, mounts sysfs.CgroupMounts, byMachined, ungoverned bool, partition string, sizes []uint64) ([]guard.Cgroup, error) {
	top := mounts.Cpuset
	if top == "" {
		top = mounts.Unified
	}
	if top == "" && mounts.Hugetlb == "" {
		return nil, nil
	}
	if partition == "" {
		partition = "/machine"
	}
	slice, dir := sliceOf(partition), dirOf(partition)
	places := []string{slice, dir}
	if byMachined && fs.Exists(path.Join(top, slice)) {
		places = places[:1]
	}
	if ungoverned {
		controller := "" // version 2 names none
		if mounts.Cpuset != "" {
			controller = "cpuset"
		}
		own, err := fs.OwnCgroup(controller)
		if err != nil {
			return nil, err
		}
		places = append(places, own)
	}
	var all []guard.Cgroup
	for _, place := range places {
		c, err := readCgroup(fs, mounts, place, sizes)
		if err != nil {
			return nil, err
		}
		same := func(other guard.Cgroup) bool {
			return slices.Equal(c.Nodes, other.Nodes) && slices.Equal(c.CPUs, other.CPUs) && slices.Equal(c.Limits, other.Limits)
		}
		if !slices.ContainsFunc(all, same) {
			all = append(all, c)
		}
	}
	return all, nil
}

// readCgroup reads what the group at place, a path below the mounts of the hierarchies, leaves to QEMU. Groups of it
// that are not there yet will be made, and have then what the nearest that is there has.
//
// Of version 1, libvirt knows the cpuset controller, but not the hugetlb one, and neither does systemd: there QEMU
// stays where libvirt's daemon is, which runs the hook.
func readCgroup(fs sysfs.FS, mounts sysfs.CgroupMounts, place string, sizes []uint64) (guard.Cgroup, error) {
	var c guard.Cgroup
	hierarchy, effective := mounts.Unified, ".effective"
	if mounts.Cpuset != "" {
		c.Legacy = true
		hierarchy, effective = mounts.Cpuset, ""
	}
	c.Path = path.Join(hierarchy, place)
	dirs := upwards(hierarchy, place)
	nearest := func(read func(dir, file string) ([]int, bool, error), file string) ([]int, string, error) {
		for _, dir := range dirs {
			list, ok, err := read(dir, file)
			if err != nil || ok && len(list) > 0 {
				return list, path.Join(dir, file), err
			}
		}
		return nil, "", nil
	}
	nodes, file, err := nearest(fs.CpusetNodes, "cpuset.mems"+effective)
	if err != nil {
		return c, err
	}
	c.Nodes, c.NodesFile = nodes, file
	cpus, file, err := nearest(fs.CpusetCPUs, "cpuset.cpus"+effective)
	if err != nil {
		return c, err
	}
	c.CPUs, c.CPUsFile = cpus, file
	hierarchy = mounts.Unified
	if mounts.Hugetlb != "" {
		own, err := fs.OwnCgroup("hugetlb")
		if err != nil {
			return c, err
		}
		hierarchy, place = mounts.Hugetlb, own
	}
	for _, dir := range upwards(hierarchy, place) {
		for _, kib := range sizes {
			limits, err := fs.HugetlbLimits(dir, kib, mounts.Hugetlb != "")
			if err != nil {
				return c, err
			}
			page := kib * 1024
			for _, l := range limits {
				c.Limits = append(c.Limits, guard.PageLimit{PageKiB: kib, File: l.File, Reserved: l.Reserved, Pages: l.Limit / page, Used: l.Used / page})
			}
		}
	}
	return c, nil
}

// addConfining adds which control groups themselves leave out nodes with memory.
func addConfining(root sysfs.FS, host *guard.Host) {
	all := host.MemoryNodes()
	host.Cgroups = slices.Clone(host.Cgroups)
	for i, c := range host.Cgroups {
		if c.Nodes == nil || len(all.Without(c.Nodes)) == 0 {
			continue
		}
		for dir := c.Path; strings.HasPrefix(dir, "/") && dir != "/"; dir = path.Dir(dir) {
			nodes, ok, err := root.CpusetNodes(dir, "cpuset.mems")
			if err == nil && ok && len(nodes) > 0 && len(all.Without(nodes)) > 0 {
				host.Cgroups[i].Confining = slices.Insert(host.Cgroups[i].Confining, 0, guard.GroupNodes{Dir: dir, Nodes: nodes})
			}
		}
	}
}

// upwards returns a group's directory and those above it as far as the mount
// of the hierarchy; none where that is not mounted.
func upwards(hierarchy, place string) (dirs []string) {
	if hierarchy == "" {
		return nil
	}
	for place = path.Join("/", place); place != "/"; place = path.Dir(place) {
		dirs = append(dirs, hierarchy+place)
	}
	return append(dirs, hierarchy)
}

// sliceOf returns the path of a partition's slice: virSystemdMakeSliceName turns /machine/prod into machine-prod.slice,
// which systemd puts into machine.slice.
func sliceOf(partition string) string {
	dir, name := "", ""
	for i, part := range strings.Split(strings.Trim(partition, "/"), "/") {
		if i > 0 {
			name += "-"
		}
		name += escapeUnit(part, i == 0)
		dir = path.Join(dir, name+".slice")
	}
	return dir
}

// escapeUnit follows virSystemdEscapeName.
func escapeUnit(part string, first bool) string {
	const plain = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:_."
	const hex = "0123456789abcdef"
	var b strings.Builder
	for i := range len(part) {
		if c := part[i]; strings.IndexByte(plain, c) < 0 || first && i == 0 && c == '.' {
			b.WriteString(`\x` + hex[c>>4:c>>4+1] + hex[c&15:c&15+1])
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// dirOf returns the path of a partition's directory: virCgroupSetPartitionSuffix
// turns /machine/prod into machine/prod.partition.
func dirOf(partition string) string {
	parts := strings.Split(strings.Trim(partition, "/"), "/")
	for i, part := range parts {
		if i == 0 && (part == "machine" || part == "system" || part == "user") {
			continue
		}
		if part != "" && !strings.Contains(part, ".") {
			part += ".partition"
		}
		controller, _, _ := strings.Cut(part, ".")
		if strings.HasPrefix(part, "_") || slices.Contains(controllers, controller) {
			part = "_" + part
		}
		parts[i] = part
	}
	return path.Join(parts...)
}

// controllers are the names that cannot begin a group's name (virCgroupPartitionNeedsEscaping, which has them from
// /proc/cgroups); "" is for a name that begins with a dot.
var controllers = []string{"", "cgroup", "blkio", "cpu", "cpuacct", "cpuset", "debug", "devices", "freezer", "hugetlb",
	"io", "memory", "misc", "net_cls", "net_prio", "perf_event", "pids", "rdma"}
