package sysfs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Mounts is what a host has mounted, as far as huge pages depend on it.
type Mounts struct {
	// Hugetlb are the hugetlbfs mounts in the order of /proc/mounts, which is the order in which libvirt looks for one
	// (virFileFindHugeTLBFS). A mount that hides another of the same path takes its place, as libvirt goes by the path.
	Hugetlb []Mount
	Cgroup  CgroupMounts
	any     bool // something is mounted
}

// Mount is one hugetlbfs mount.
type Mount struct {
	Path    string // where it is mounted
	PageKiB uint64 // its page size in KiB; 0 where the kernel does not print it: the default size
	Minimum bool   // pages are set aside for it (min_size=): reserved, but free to its files
	// Limited says that its files cannot have more than Size bytes together (size=), reserved pages included.
	Limited bool
	Size    uint64
	// Over are the later mounts at the same path or below it, in the order of /proc/mounts: they hide what is there.
	Over []OverMount
}

// OverMount is a mount that lies over a hugetlbfs mount, or over a part of it.
type OverMount struct {
	Path    string
	Type    string // its file system, such as "tmpfs"
	PageKiB uint64 // of hugetlbfs, as of [Mount]
}

// CgroupMounts is where the hierarchies of control groups are mounted, "" for those that are not. A controller belongs
// to one hierarchy only.
type CgroupMounts struct {
	Unified string // of version 2
	Cpuset  string // of version 1 with the cpuset controller
	Hugetlb string // of version 1 with the hugetlb controller
}

// Mounts reads /proc/mounts, in which there is at least the root.
//
// It is this file, and not mountinfo, for which there are libraries, because libvirt goes by it, as do captured hosts:
// the order, and which of two mounts of a path counts, are libvirt's. The library would also cost a tenth of the hook's
// start.
func (f FS) Mounts() (Mounts, error) {
	mounts, err := f.mounts("proc/mounts")
	if err == nil && !mounts.any {
		err = fmt.Errorf("%s: nothing is mounted", f.Path("proc/mounts"))
	}
	return mounts, err
}

// MountsOf reads /proc/PID/mounts: a process in a container has huge pages by other paths than the host.
func (f FS) MountsOf(pid int) (Mounts, error) { return f.mounts(fmt.Sprintf("proc/%d/mounts", pid)) }

func (f FS) mounts(name string) (Mounts, error) {
	text, err := f.ReadFile(name, tableLimit)
	if err != nil {
		return Mounts{}, err
	}
	mounts, err := parseMounts(string(text))
	if err != nil {
		return Mounts{}, fmt.Errorf("%s: %w", f.Path(name), err)
	}
	return mounts, nil
}

func parseMounts(text string) (Mounts, error) {
	var all Mounts
	for line := range lines(text) {
		entry, err := parseMountLine(line)
		if err == nil {
			err = all.add(entry)
		}
		if err != nil {
			return Mounts{}, err
		}
	}
	if all.any {
		return all, whole([]byte(text))
	}
	return all, nil
}

// mountEntry is a line of /proc/mounts as fstab(5) has it, without the device and two numbers.
type mountEntry struct {
	path, kind, options string
}

func parseMountLine(line string) (mountEntry, error) {
	fields := strings.Fields(line)
	if len(fields) < 4 {
		return mountEntry{}, fmt.Errorf("%s is not a mount", quote(line))
	}
	return mountEntry{unescape(fields[1]), fields[2], fields[3]}, nil
}

// add takes in a mount, which lies over what was mounted before.
func (m *Mounts) add(e mountEntry) error {
	m.any = true
	over := OverMount{Path: e.path, Type: e.kind}
	switch e.kind {
	case "hugetlbfs":
		mount, err := parseHugetlbMount(e.path, e.options)
		if err != nil {
			return err
		}
		over.PageKiB = mount.PageKiB
		m.hide(over)
		i := slices.IndexFunc(m.Hugetlb, func(m Mount) bool { return m.Path == e.path })
		if i >= 0 {
			m.Hugetlb[i] = mount
		} else {
			m.Hugetlb = append(m.Hugetlb, mount)
		}
	case "cgroup", "cgroup2":
		m.Cgroup.add(e)
		m.hide(over)
	default:
		m.hide(over)
	}
	return nil
}

// add takes in a mount of control groups. Of several mounts of a hierarchy the last counts, which is libvirt's
// (virCgroupV2DetectMounts).
func (m *CgroupMounts) add(e mountEntry) {
	if e.kind == "cgroup2" {
		m.Unified = e.path
		return
	}
	controllers := strings.Split(e.options, ",")
	if slices.Contains(controllers, "cpuset") {
		m.Cpuset = e.path
	}
	if slices.Contains(controllers, "hugetlb") {
		m.Hugetlb = e.path
	}
}

// hide notes a mount with those that it lies over.
func (m *Mounts) hide(over OverMount) {
	for i := range m.Hugetlb {
		h := &m.Hugetlb[i]
		if h.isUnder(over.Path) {
			h.Over = append(h.Over, over)
		}
	}
}

// isUnder reports whether a later mount at a path lies over the mount, or over a part of it.
func (m Mount) isUnder(path string) bool {
	return path == m.Path || strings.HasPrefix(path, m.Path+"/")
}

func parseHugetlbMount(path, options string) (Mount, error) {
	mount := Mount{Path: path}
	for option := range strings.SplitSeq(options, ",") {
		key, value, _ := strings.Cut(option, "=")
		var err error
		switch key {
		case "pagesize":
			mount.PageKiB, err = parseBinarySize(value)
		case "min_size":
			mount.Minimum = true
		case "size":
			// In bytes. What else kernels before 4.13 print, as the admin wrote it, is not understood, and is no limit
			// then.
			bytes, notBytes := parseNumber(value)
			if notBytes == nil {
				mount.Limited, mount.Size = true, bytes
			}
		}
		if err != nil {
			return Mount{}, fmt.Errorf("hugetlbfs at %s: %s: %w", quote(path), key, err)
		}
	}
	return mount, nil
}

// unescape undoes the octal escapes that the kernel puts into the paths of /proc/mounts: \040 for a space, \134 for a
// backslash.
func unescape(path string) string {
	if !strings.Contains(path, `\`) {
		return path
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '\\' && i+3 < len(path) {
			c, err := strconv.ParseUint(path[i+1:i+4], 8, 8)
			if err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(path[i])
	}
	return b.String()
}

// reduceMounts keeps the mounts of huge pages and of control groups and, of those that lie over huge pages, where they
// do and which file system they are.
func reduceMounts(text []byte) (kept []byte, hugetlb []Mount, err error) {
	all, err := parseMounts(string(text))
	if err != nil {
		return nil, nil, err
	}
	kept = []byte{}
	var before Mounts
	for line := range lines(string(text)) {
		entry, _ := parseMountLine(line) // all of them are known to be right
		under := slices.ContainsFunc(before.Hugetlb, func(m Mount) bool { return m.isUnder(entry.path) })
		switch {
		case slices.Contains([]string{"hugetlbfs", "cgroup", "cgroup2"}, entry.kind):
			kept = appendLine(kept, line)
		case under:
			fields := strings.Fields(line)
			kept = fmt.Appendf(kept, "none %s %s rw 0 0\n", fields[1], fields[2])
		}
		_ = before.add(entry)
	}
	if len(kept) == 0 && all.any {
		kept = []byte("none / rootfs rw 0 0\n") // there is a root in any case
	}
	return kept, all.Hugetlb, nil
}
