package sysfs

import (
	"fmt"
	"strconv"
	"strings"
)

// Mount is one hugetlbfs mount.
type Mount struct {
	Path    string // where it is mounted
	PageKiB uint64 // its page size in KiB; 0 where the kernel does not print it: the default size
	Minimum bool   // pages are set aside for it (min_size=): reserved, but free to its files
}

// HugetlbMounts returns the hugetlbfs mounts in the order of /proc/mounts,
// which is the order in which libvirt looks for one (virFileFindHugeTLBFS).
func (f FS) HugetlbMounts() ([]Mount, error) {
	const name = "proc/mounts"
	text, err := f.ReadFile(name, tableLimit)
	if err != nil {
		return nil, err
	}
	mounts, err := parseHugetlbMounts(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path(name), err)
	}
	return mounts, nil
}

func parseHugetlbMounts(text string) ([]Mount, error) {
	var mounts []Mount
	for line := range lines(text) {
		// device, mount point, type, options, two numbers
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[2] != "hugetlbfs" {
			continue
		}
		mount := Mount{Path: unescape(fields[1])}
		for _, option := range strings.Split(fields[3], ",") {
			value, ok := strings.CutPrefix(option, "pagesize=")
			if !ok {
				mount.Minimum = mount.Minimum || strings.HasPrefix(option, "min_size=")
				continue
			}
			kib, err := parseBinarySize(value)
			if err != nil {
				return nil, fmt.Errorf("hugetlbfs at %s: pagesize: %w", quote(mount.Path), err)
			}
			mount.PageKiB = kib
		}
		mounts = append(mounts, mount)
	}
	return mounts, nil
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
