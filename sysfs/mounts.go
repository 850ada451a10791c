package sysfs

import (
	"errors"
	"fmt"
	"math"
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
	// Replaces says that it hides another of the same path and page size.
	Replaces bool
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
	mounts, err := f.mounts("proc/mounts", math.MaxInt)
	if err == nil && !mounts.any {
		err = fmt.Errorf("%s: nothing is mounted", f.Path("proc/mounts"))
	}
	return mounts, err
}

// MountsOf reads /proc/PID/mounts: a process in a container has huge pages by other paths than the host. It is an error
// if it has more than a thousand hugetlbfs mounts: any user can mount the host's once more, in a namespace of his own.
func (f FS) MountsOf(pid int) (Mounts, error) {
	return f.mounts(fmt.Sprintf("proc/%d/mounts", pid), mostMounts)
}

// mostMounts is how many hugetlbfs mounts a process may have that is no part of the host.
const mostMounts = 1000

var errManyMounts = errors.New("it has too many hugetlbfs mounts")

func (f FS) mounts(name string, most int) (Mounts, error) {
	text, err := f.ReadFile(name, tableLimit)
	if err != nil {
		return Mounts{}, err
	}
	mounts, err := parseMounts(string(text), most)
	if err != nil {
		return Mounts{}, fmt.Errorf("%s: %w", f.Path(name), err)
	}
	return mounts, nil
}

// parseMounts parses a file of mounts, with most of hugetlbfs at the most.
func parseMounts(text string, most int) (Mounts, error) {
	all := newMountList()
	for line := range lines(text) {
		entry, err := parseMountLine(line)
		if err == nil {
			_, err = all.add(entry)
		}
		if err == nil && len(all.Hugetlb) > most {
			err = errManyMounts
		}
		if err != nil {
			return Mounts{}, err
		}
	}
	if all.any {
		return all.Mounts, whole([]byte(text))
	}
	return all.Mounts, nil
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

// mountList takes in mounts one after the other. Somebody may have made thousands of them: the time for one does not
// grow with how many there are.
type mountList struct {
	Mounts
	at      map[string]int // where in Hugetlb a path is
	lengths map[int]bool   // of these paths: only what has one of them needs to be looked for
}

func newMountList() *mountList { return &mountList{at: map[string]int{}, lengths: map[int]bool{}} }

// add takes in a mount, which lies over what was mounted before. It reports whether that is hugetlbfs.
func (l *mountList) add(e mountEntry) (hides bool, err error) {
	l.any = true
	over := OverMount{Path: e.path, Type: e.kind}
	switch e.kind {
	case "hugetlbfs":
		mount, err := parseHugetlbMount(e.path, e.options)
		if err != nil {
			return false, err
		}
		over.PageKiB = mount.PageKiB
		hides = l.hide(over)
		i, ok := l.at[e.path]
		if ok {
			hidden := l.Hugetlb[i]
			mount.Replaces = hidden.Replaces || hidden.PageKiB == mount.PageKiB
			l.Hugetlb[i] = mount
			return hides, nil
		}
		l.at[e.path], l.lengths[len(e.path)] = len(l.Hugetlb), true
		l.Hugetlb = append(l.Hugetlb, mount)
		return hides, nil
	case "cgroup", "cgroup2":
		l.Cgroup.add(e)
	}
	return l.hide(over), nil
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

// hide notes a mount with those that it lies over, or over a part of: those at its path or above. It reports whether
// there are any.
func (l *mountList) hide(over OverMount) (hides bool) {
	for end := range len(over.Path) + 1 {
		if end < len(over.Path) && over.Path[end] != '/' || !l.lengths[end] {
			continue
		}
		i, ok := l.at[over.Path[:end]]
		if ok {
			l.Hugetlb[i].Over = append(l.Hugetlb[i].Over, over)
			hides = true
		}
	}
	return hides
}

// MountPoints tells by a file's name whether it is on one of some mounts, in a time that hardly grows with how many
// there are: sorted, each with a slash at its end, and none below another.
type MountPoints []string

// Points returns where hugetlbfs is mounted.
func (m Mounts) Points() MountPoints {
	points := make(MountPoints, len(m.Hugetlb))
	for i, h := range m.Hugetlb {
		points[i] = strings.TrimSuffix(h.Path, "/") + "/"
	}
	slices.Sort(points)
	kept := points[:0]
	for _, point := range points {
		if len(kept) == 0 || !strings.HasPrefix(point, kept[len(kept)-1]) {
			kept = append(kept, point)
		}
	}
	return kept
}

// hold reports whether a file is below one of them.
func (p MountPoints) hold(file string) bool {
	// Nothing comes between a point and what is below it.
	i, ok := slices.BinarySearch(p, file)
	return ok || i > 0 && strings.HasPrefix(file, p[i-1])
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
// do and which file system they are. There are most of huge pages at the most.
func reduceMounts(text []byte, most int) (kept []byte, points MountPoints, err error) {
	all, err := parseMounts(string(text), most)
	if err != nil {
		return nil, nil, err
	}
	kept = []byte{}
	before := newMountList()
	for line := range lines(string(text)) {
		entry, _ := parseMountLine(line) // all of them are known to be right
		hides, _ := before.add(entry)
		switch {
		case slices.Contains([]string{"hugetlbfs", "cgroup", "cgroup2"}, entry.kind):
			kept = appendLine(kept, line)
		case hides:
			fields := strings.Fields(line)
			kept = fmt.Appendf(kept, "none %s %s rw 0 0\n", fields[1], fields[2])
		}
	}
	if len(kept) == 0 && all.any {
		kept = []byte("none / rootfs rw 0 0\n") // there is a root in any case
	}
	return kept, all.Points(), nil
}
