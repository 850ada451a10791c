package sysfs

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// File is a file of huge pages, on a hugetlbfs mount or a memfd, as stat(2) shows it. Only a process that maps it and
// has touched its pages tells on which nodes they lie.
type File struct {
	Path    string // as the host has it, without the tree's root
	Device  string // "major:minor" as /proc/PID/maps prints it
	Inode   uint64
	PageKiB uint64 // the size of its pages in KiB (st_blksize)
	Pages   uint64 // how many it has (st_blocks); private copies are not among them
}

// maxFiles bounds the files of a hugetlbfs mount. DPDK makes one for each page where it makes files at all.
const maxFiles = 20000

// huge makes a File of what stat says of a file on a hugetlbfs; ok is false for what is no regular file.
func huge(path string, stat *syscall.Stat_t) (file File, ok bool) {
	if stat.Mode&syscall.S_IFMT != syscall.S_IFREG || stat.Blksize < 1024 || stat.Blocks < 0 {
		return File{}, false
	}
	file = File{
		Path:    path,
		Device:  device(stat.Dev),
		Inode:   stat.Ino,
		PageKiB: uint64(stat.Blksize) / 1024,
		Pages:   uint64(stat.Blocks) * 512 / uint64(stat.Blksize),
	}
	return file, true
}

// device returns a device as /proc/PID/maps prints it.
func device[N int32 | uint32 | int64 | uint64](number N) string {
	return fmt.Sprintf("%02x:%02x", unix.Major(uint64(number)), unix.Minor(uint64(number)))
}

// String returns a file on one line: device, inode, page size in KiB, pages and the path, quoted as Go does.
func (f File) String() string {
	return fmt.Sprintf("%s %d %d %d %q", f.Device, f.Inode, f.PageKiB, f.Pages, f.Path)
}

// parseFile parses what [File.String] returns.
func parseFile(line string) (file File, err error) {
	words := strings.SplitN(line, " ", 5)
	if len(words) < 5 || strings.Trim(words[0], "0123456789abcdef:") != "" {
		return File{}, fmt.Errorf("%s is not a file of huge pages", quote(line))
	}
	file.Device = words[0]
	for i, n := range []*uint64{&file.Inode, &file.PageKiB, &file.Pages} {
		*n, err = parseNumber(words[i+1])
		if err != nil {
			return File{}, fmt.Errorf("%s: %w", quote(line), err)
		}
	}
	file.Path, err = strconv.Unquote(words[4])
	if err != nil || file.PageKiB == 0 {
		return File{}, fmt.Errorf("%s is not a file of huge pages", quote(line))
	}
	return file, nil
}
