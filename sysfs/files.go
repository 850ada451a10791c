package sysfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// File is a file of huge pages, on a hugetlbfs mount or a memfd, as stat(2)
// shows it. Nothing tells on which nodes its pages lie but a process that maps
// and has touched them.
type File struct {
	Path    string // as the host has it, without the tree's root
	Device  string // "major:minor" as /proc/PID/maps prints it
	Inode   uint64
	PageKiB uint64 // the size of its pages in KiB (st_blksize)
	Pages   uint64 // how many it has (st_blocks); private copies are not among them
}

// huge makes a File of what stat says of a file on a hugetlbfs; ok is false for
// what is no regular file.
func huge(path string, stat *syscall.Stat_t) (file File, ok bool) {
	if stat.Mode&syscall.S_IFMT != syscall.S_IFREG || stat.Blksize < 1024 || stat.Blocks < 0 {
		return File{}, false
	}
	file = File{
		Path:    path,
		Device:  fmt.Sprintf("%02x:%02x", unix.Major(uint64(stat.Dev)), unix.Minor(uint64(stat.Dev))),
		Inode:   stat.Ino,
		PageKiB: uint64(stat.Blksize) / 1024,
		Pages:   uint64(stat.Blocks) * 512 / uint64(stat.Blksize),
	}
	return file, true
}

// ErrCut is that there was no time or no patience to look at everything; what
// comes with it is what was seen.
var ErrCut = errors.New("not all of it was looked at")

// Bounds of a walk through a hugetlbfs mount. libvirt's files lie three folders
// deep; DPDK makes a file for each page where it makes files at all.
const (
	maxDepth = 8
	maxFiles = 20000
)

// Files returns the files with pages below a hugetlbfs mount point, until the
// deadline at the latest. No copy of a file has its pages: a captured host has
// them in MOUNT.files, as [File.String] writes them, one a line.
func (f FS) Files(mount string, deadline time.Time) ([]File, error) {
	name := strings.TrimPrefix(mount, "/") + ".files"
	if !f.Live() {
		return f.capturedFiles(name)
	}
	var root syscall.Stat_t
	err := lstat(f.Path(strings.TrimPrefix(mount, "/")), &root)
	w := walk{fs: f, device: uint64(root.Dev), deadline: deadline}
	if err == nil {
		err = w.folder(mount, 0)
	}
	f.recordFiles(name, w.files, err)
	return w.files, err
}

// String is a file on one line: device, inode, page size in KiB, pages and the
// path, quoted as Go does.
func (f File) String() string {
	return fmt.Sprintf("%s %d %d %d %q", f.Device, f.Inode, f.PageKiB, f.Pages, f.Path)
}

func (f FS) capturedFiles(name string) ([]File, error) {
	text, err := f.readMade(name, maxFiles*capturedLine)
	if err != nil {
		return nil, err
	}
	var files []File
	for line := range lines(string(text)) {
		file, err := parseFile(line)
		if err != nil {
			return files, fmt.Errorf("%s: %w", f.Path(name), err)
		}
		files = append(files, file)
	}
	return files, nil
}

// capturedLine is more than most lines of captured files have, in bytes.
const capturedLine = 512

// parseFile reads what [File.String] writes.
func parseFile(line string) (file File, err error) {
	words := strings.SplitN(line, " ", 5)
	if len(words) < 5 {
		return File{}, fmt.Errorf("%s is not a file of huge pages", quote(line))
	}
	file.Device = words[0]
	for i, n := range []*uint64{&file.Inode, &file.PageKiB, &file.Pages} {
		if *n, err = parseNumber(words[i+1]); err != nil {
			return File{}, fmt.Errorf("%s: %w", quote(line), err)
		}
	}
	if file.Path, err = strconv.Unquote(words[4]); err != nil || file.PageKiB == 0 {
		return File{}, fmt.Errorf("%s is not a file of huge pages", quote(line))
	}
	return file, nil
}

type walk struct {
	fs       FS
	device   uint64 // of the mount: what is mounted below it is no part of it
	deadline time.Time
	seen     int
	files    []File
}

func (w *walk) folder(path string, depth int) error {
	if depth > maxDepth {
		return ErrCut
	}
	dir, err := os.Open(w.fs.Path(strings.TrimPrefix(path, "/")))
	if err != nil {
		return err
	}
	defer dir.Close()
	var failed error
	for {
		names, err := dir.Readdirnames(256)
		for _, name := range names {
			if w.seen++; w.seen > maxFiles || time.Now().After(w.deadline) {
				return ErrCut
			}
			below := strings.TrimSuffix(path, "/") + "/" + name
			var stat syscall.Stat_t
			if lstat(w.fs.Path(below[1:]), &stat) != nil || uint64(stat.Dev) != w.device {
				continue // gone meanwhile, or of another mount
			}
			if stat.Mode&syscall.S_IFMT == syscall.S_IFDIR {
				if err := w.folder(below, depth+1); errors.Is(err, ErrCut) {
					return err
				} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
					failed = err
				}
			} else if file, ok := huge(below, &stat); ok && file.Pages > 0 {
				w.files = append(w.files, file)
			}
		}
		if err == io.EOF {
			return failed
		}
		if err != nil {
			return err
		}
	}
}

func lstat(path string, stat *syscall.Stat_t) error {
	if _, err := retry(func() (int, error) { return 0, syscall.Lstat(path, stat) }); err != nil {
		return &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	return nil
}

// MappedFile returns the file of a shared mapping, by /proc/PID/map_files, which wants
// CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE. ok is false for one without pages. A
// captured host has the file in its place as [File.String] writes it.
func (f FS) MappedFile(pid int, m Mapping) (file File, ok bool, err error) {
	name := fmt.Sprintf("proc/%d/map_files/%x-%x", pid, m.Start, m.End)
	if !f.Live() {
		files, err := f.capturedFiles(name)
		if err != nil || len(files) != 1 {
			return File{}, false, err
		}
		return files[0], true, nil
	}
	var stat syscall.Stat_t
	if _, err := retry(func() (int, error) { return 0, syscall.Stat(f.Path(name), &stat) }); err != nil {
		return File{}, false, &fs.PathError{Op: "stat", Path: f.Path(name), Err: err}
	}
	if file, ok = huge(m.File, &stat); ok && file.Pages > 0 {
		f.recordFiles(name, []File{file}, nil)
	}
	return file, ok && file.Pages > 0, nil
}

// OpenFiles returns the files of huge pages that a process has open, mapped or
// not: memfds, and files below one of the hugetlbfs mount points. Some may have
// no page yet. A captured host has them in /proc/PID/fd.files, as
// [File.String] writes them.
func (f FS) OpenFiles(pid int, mounts []Mount) (files []File, err error) {
	dir := fmt.Sprintf("proc/%d/fd", pid)
	if !f.Live() {
		return f.capturedFiles(dir + ".files")
	}
	defer func() { f.recordFiles(dir+".files", files, err) }()
	names, err := f.list(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		link := f.Path(dir + "/" + name)
		target, err := os.Readlink(link)
		if err != nil || !mayBeHuge(target, mounts) {
			continue // closed meanwhile, or none of ours
		}
		// Only what may be huge is asked: the file system of another file
		// may not answer.
		var stat syscall.Stat_t
		var statfs syscall.Statfs_t
		if syscall.Stat(link, &stat) != nil || syscall.Statfs(link, &statfs) != nil || statfs.Type != unix.HUGETLBFS_MAGIC {
			continue
		}
		if file, ok := huge(target, &stat); ok {
			files = append(files, file)
		}
	}
	return files, nil
}

func mayBeHuge(path string, mounts []Mount) bool {
	if strings.HasPrefix(path, "/memfd:") {
		return true
	}
	for _, m := range mounts {
		if strings.HasPrefix(path, strings.TrimSuffix(m.Path, "/")+"/") {
			return true
		}
	}
	return false
}

// MapsHuge says whether a process may map huge pages, touched or not, by its
// /proc/PID/maps, for which the kernel walks no page tables.
func (f FS) MapsHuge(pid int, mounts []Mount) (bool, error) {
	return parseLines(f, fmt.Sprintf("proc/%d/maps", pid), func(maps io.Reader) (bool, error) {
		scanner := newScanner(maps)
		for scanner.Scan() {
			_, path, ok := bytes.Cut(scanner.Bytes(), []byte("/"))
			if ok && MayMapHuge("/"+string(path), mounts) {
				return true, nil
			}
		}
		return false, scanner.Err()
	})
}

// MayMapHuge says whether a mapping whose file /proc/PID/maps names so may be of huge pages.
func MayMapHuge(path string, mounts []Mount) bool {
	return strings.HasPrefix(path, "/anon_hugepage") || strings.HasPrefix(path, "/SYSV") || mayBeHuge(path, mounts)
}

// Segment is a System V shared memory segment.
type Segment struct {
	ID       uint64 // what ipcrm -m takes, and the inode of those who map it
	Creator  int    // pid of the process that made it
	Attached uint64 // how many mappings it has
	Bytes    uint64
	Resident uint64 // how many bytes of it have memory, as the kernel says: see Pages
}

// Pages is how many pages of a size in KiB a segment has, if it is made of
// such; ok is false where it cannot be. baseKiB is the ordinary page size.
//
// The kernel multiplies what it counts by the page's size (shm_add_rss_swap),
// and counts huge pages up to Linux 6.6, ordinary ones since. Where both can
// be meant the smaller number is returned, but for a segment that is full.
func (s Segment) Pages(pageKiB, baseKiB uint64) (pages uint64, ok bool) {
	page := pageKiB * 1024
	if page == 0 || s.Resident == 0 || s.Resident%page != 0 {
		return 0, false
	}
	size := s.Bytes / page
	if s.Bytes%page != 0 {
		size++
	}
	pages = s.Resident / page
	if each := pageKiB / max(baseKiB, 1); pages != size && each > 0 && pages%each == 0 {
		pages /= each
	}
	return pages, pages <= size
}

// Huge says that a segment can only be of pages of a size in KiB: since Linux
// 6.7 it shows more memory than it is large.
func (s Segment) Huge(pageKiB uint64) bool {
	page := pageKiB * 1024
	return page > 0 && s.Resident > s.Bytes && s.Resident-s.Bytes >= page
}

// Segments returns the System V shared memory segments of this IPC namespace,
// from /proc/sysvipc/shm (ipc/shm.c). Nothing in there tells which of them are
// of huge pages. A kernel without them has none.
func (f FS) Segments() ([]Segment, error) {
	segments, err := parseLines(f, "proc/sysvipc/shm", parseSegments)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return segments, err
}

// parseSegments reads a table whose first line names the columns.
func parseSegments(in io.Reader) ([]Segment, error) {
	var segments []Segment
	scanner := newScanner(in)
	scanner.Scan()
	columns := strings.Fields(scanner.Text())
	for scanner.Scan() {
		line := scanner.Text()
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) != len(columns) {
			return nil, fmt.Errorf("%s has not the columns that the first line names", quote(line))
		}
		var s Segment
		for i, column := range columns {
			var err error
			switch column {
			case "shmid":
				s.ID, err = parseNumber(words[i])
			case "size":
				s.Bytes, err = parseNumber(words[i])
			case "cpid":
				s.Creator, err = strconv.Atoi(words[i])
			case "nattch":
				s.Attached, err = parseNumber(words[i])
			case "rss":
				s.Resident, err = parseNumber(words[i])
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", quote(line), column, err)
			}
		}
		segments = append(segments, s)
	}
	return segments, scanner.Err()
}

// Program returns the file that a process runs, by /proc/PID/exe, without the
// " (deleted)" of one that was replaced; "" where it may not be seen.
func (f FS) Program(pid int) string {
	target, err := f.Readlink(fmt.Sprintf("proc/%d/exe", pid))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(target, " (deleted)")
}
