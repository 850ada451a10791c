package sysfs

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Mounts is what a host has mounted, as far as huge pages depend on it.
type Mounts struct {
	// Hugetlb are the hugetlbfs mounts in the order of /proc/mounts, which is
	// the order in which libvirt looks for one (virFileFindHugeTLBFS). A mount
	// that hides another of the same path takes its place, as libvirt goes by
	// the path.
	Hugetlb []Mount
	Cgroup  CgroupMounts
	any     bool // something is mounted
}

// Mount is one hugetlbfs mount.
type Mount struct {
	Path    string // where it is mounted
	PageKiB uint64 // its page size in KiB; 0 where the kernel does not print it: the default size
	Minimum bool   // pages are set aside for it (min_size=): reserved, but free to its files
	// Limited says that its files cannot have more than Size bytes together
	// (size=), reserved pages included.
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

// Mounts reads /proc/mounts, in which there is at least the root.
func (f FS) Mounts() (Mounts, error) {
	mounts, err := f.mounts("proc/mounts")
	if err == nil && !mounts.any {
		err = fmt.Errorf("%s: nothing is mounted", f.Path("proc/mounts"))
	}
	return mounts, err
}

// MountsOf reads /proc/PID/mounts: a process in a container has huge pages by
// other paths than the host.
func (f FS) MountsOf(pid int) (Mounts, error) { return f.mounts(fmt.Sprintf("proc/%d/mounts", pid)) }

func (f FS) mounts(name string) (Mounts, error) {
	text, err := f.ReadFile(name, tableLimit)
	if err != nil {
		return Mounts{}, err
	}
	mounts, err := parseMounts(string(text))
	if err == nil && len(text) > 0 {
		err = whole(text)
	}
	if err != nil {
		return Mounts{}, fmt.Errorf("%s: %w", f.Path(name), err)
	}
	return mounts, nil
}

func parseMounts(text string) (Mounts, error) {
	var all Mounts
	for line := range lines(text) {
		// device, mount point, type, options, two numbers
		fields := strings.Fields(line)
		if len(fields) < 4 {
			return Mounts{}, fmt.Errorf("%s is not a mount", quote(line))
		}
		all.any = true
		path := unescape(fields[1])
		over := OverMount{Path: path, Type: fields[2]}
		switch fields[2] {
		case "hugetlbfs":
			mount, err := parseHugetlbMount(path, fields[3])
			if err != nil {
				return Mounts{}, err
			}
			over.PageKiB = mount.PageKiB
			all.hide(over)
			if i := slices.IndexFunc(all.Hugetlb, func(m Mount) bool { return m.Path == path }); i >= 0 {
				all.Hugetlb[i] = mount
			} else {
				all.Hugetlb = append(all.Hugetlb, mount)
			}
		case "cgroup", "cgroup2":
			all.Cgroup.add(path, fields[2], fields[3])
			all.hide(over)
		default:
			all.hide(over)
		}
	}
	return all, nil
}

// hide notes a mount with those that it lies over.
func (m *Mounts) hide(over OverMount) {
	for i := range m.Hugetlb {
		if h := &m.Hugetlb[i]; over.Path == h.Path || strings.HasPrefix(over.Path, h.Path+"/") {
			h.Over = append(h.Over, over)
		}
	}
}

func parseHugetlbMount(path, options string) (Mount, error) {
	mount := Mount{Path: path}
	for _, option := range strings.Split(options, ",") {
		key, value, _ := strings.Cut(option, "=")
		var err error
		switch key {
		case "pagesize":
			mount.PageKiB, err = parseBinarySize(value)
		case "min_size":
			mount.Minimum = true
		case "size":
			// In bytes. What else kernels before 4.13 print, as the admin wrote
			// it, is not understood, and is no limit then.
			if bytes, notBytes := parseNumber(value); notBytes == nil {
				mount.Limited, mount.Size = true, bytes
			}
		}
		if err != nil {
			return Mount{}, fmt.Errorf("hugetlbfs at %s: %s: %w", quote(path), key, err)
		}
	}
	return mount, nil
}

// HugetlbFree returns how many pages of a hugetlbfs mount with size= are not
// yet reserved or in use: f_bfree of statfs(2), which hugetlbfs_statfs counts
// in huge pages. ok is false where a captured host does not say.
//
// A captured host has beside the mount point, in a file of the same name with
// ".statfs" appended, what "stat -f -c '%b %f'" prints of it: f_blocks and
// f_bfree.
func (f FS) HugetlbFree(mount string) (pages uint64, ok bool, err error) {
	name := strings.TrimPrefix(mount, "/") + ".statfs"
	if f.near != nil {
		// Another file system may be mounted over it.
		return 0, false, f.near.beyond(mount)
	}
	if f.Live() {
		var st syscall.Statfs_t
		_, err := retry(func() (int, error) { return 0, syscall.Statfs(mount, &st) })
		f.record(name, Entry{Data: fmt.Appendf(nil, "%d %d\n", st.Blocks, st.Bfree), Made: true}, err)
		if err != nil {
			return 0, false, &fs.PathError{Op: "statfs", Path: mount, Err: err}
		}
		return st.Bfree, true, nil
	}
	text, err := f.readMade(name, counterLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	_, free, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	if pages, err = parseNumber(free); err != nil {
		return 0, false, fmt.Errorf("%s: %w", f.Path(name), err)
	}
	return pages, true, nil
}

// parseBinarySize reads a size such as the kernel prints for pagesize= ("64K",
// "2M", "1024M", "16G") and returns KiB.
func parseBinarySize(text string) (kib uint64, err error) {
	digits, factor := text, uint64(0)
	if n := len(text); n > 0 {
		digits = text[:n-1]
		switch text[n-1] {
		case 'K', 'k':
			factor = 1
		case 'M', 'm':
			factor = 1 << 10
		case 'G', 'g':
			factor = 1 << 20
		}
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || factor == 0 || n == 0 {
		return 0, fmt.Errorf("%s is not a size", quote(text))
	}
	return n * factor, nil
}

// unescape undoes the octal escapes that the kernel puts into the paths of
// /proc/mounts: \040 for a space, \134 for a backslash.
func unescape(path string) string {
	if !strings.Contains(path, `\`) {
		return path
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '\\' && i+3 < len(path) {
			if c, err := strconv.ParseUint(path[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(path[i])
	}
	return b.String()
}
