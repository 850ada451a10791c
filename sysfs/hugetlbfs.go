package sysfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrCut is that there was no time or no patience to look at everything; what comes with it is what was seen.
var ErrCut = errors.New("not all of it was looked at")

// maxDepth bounds a walk through a hugetlbfs mount: libvirt's files lie three folders deep.
const maxDepth = 8

// Files returns the files below a hugetlbfs mount point, until the deadline at the latest. No copy of a file
// has its pages: a captured host has them in MOUNT.files, as [File.String] writes them, one a line.
func (f FS) Files(mount string, deadline time.Time) ([]File, error) {
	name := strings.TrimPrefix(mount, "/") + ".files"
	if !f.Live() {
		return f.readFiles(name)
	}
	files, err := f.walk(mount, deadline)
	f.recordFiles(name, files, err)
	return files, err
}

// HugetlbDevice returns the device of the hugetlbfs that is mounted there, which all its mounts share, as
// /proc/PID/maps prints it; "" for what is no hugetlbfs. A captured host does not say.
func (f FS) HugetlbDevice(mount string) string {
	var stat syscall.Stat_t
	var on syscall.Statfs_t
	path := f.Path(strings.TrimPrefix(mount, "/"))
	if !f.Live() || lstatPath(path, &stat) != nil || syscall.Statfs(path, &on) != nil || on.Type != unix.HUGETLBFS_MAGIC {
		return ""
	}
	return device(stat.Dev)
}

func (f FS) walk(mount string, deadline time.Time) ([]File, error) {
	var root syscall.Stat_t
	err := lstatPath(f.Path(strings.TrimPrefix(mount, "/")), &root)
	if err != nil {
		return nil, err
	}
	w := walk{fs: f, device: uint64(root.Dev), deadline: deadline}
	err = w.folder(mount, 0)
	return w.files, err
}

type walk struct {
	fs       FS
	device   uint64 // of the mount: what is mounted below it is no part of it
	deadline time.Time
	seen     int
	files    []File
}

// folder looks at all that is in a folder. An error other than [ErrCut] is of one folder; the others were looked at.
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
			below := w.entry(strings.TrimSuffix(path, "/")+"/"+name, depth)
			if errors.Is(below, ErrCut) {
				return below
			}
			if below != nil && !errors.Is(below, fs.ErrNotExist) {
				failed = below
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

// entry looks at what is in a folder under a path.
func (w *walk) entry(path string, depth int) error {
	w.seen++
	if w.seen > maxFiles || time.Now().After(w.deadline) {
		return ErrCut
	}
	var stat syscall.Stat_t
	if lstatPath(w.fs.Path(path[1:]), &stat) != nil || uint64(stat.Dev) != w.device {
		return nil // gone meanwhile, or of another mount
	}
	if stat.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		return w.folder(path, depth+1)
	}
	file, ok := huge(path, &stat)
	if ok {
		w.files = append(w.files, file)
	}
	return nil
}

// HugetlbFree returns how many pages of a hugetlbfs mount with size= are not yet reserved or in use: f_bfree of
// statfs(2), which hugetlbfs_statfs counts in huge pages. ok is false where a captured host does not say.
//
// A captured host has beside the mount point, in a file of the same name with ".statfs" appended, what "stat -f -c '%b
// %f'" prints of it: f_blocks and f_bfree.
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
	pages, err = parseStatfs(string(text))
	if err != nil {
		return 0, false, fmt.Errorf("%s: %w", f.Path(name), err)
	}
	return pages, true, nil
}

// parseStatfs parses what a captured host has of statfs(2).
func parseStatfs(text string) (free uint64, err error) {
	blocks, digits, _ := strings.Cut(strings.TrimSpace(text), " ")
	_, err = parseNumber(blocks)
	if err != nil {
		return 0, err
	}
	return parseNumber(digits)
}
