package sysfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrTooLarge is what reading a file ends with that holds more than its reader allows; no kernel file of that kind is
// so large.
var ErrTooLarge = errors.New("file is larger than it can be")

// Limits of what is read of one file, in bytes.
const (
	counterLimit = 4 << 10 // a file of one number or one list
	tableLimit   = 1 << 20 // a file of lines: mounts, meminfo, status
)

// ReadFile returns the content of /name, at most limit bytes of it: a longer file is [ErrTooLarge]. Errors are
// *fs.PathError.
func (f FS) ReadFile(name string, limit int) ([]byte, error) {
	data, err := f.start(name, limit+1)
	data, err = f.within(limit, name, data, err)
	f.record(name, Entry{Data: data, File: true}, err)
	return data, err
}

// within returns data, or [ErrTooLarge] where it is longer than the limit.
func (f FS) within(limit int, name string, data []byte, err error) ([]byte, error) {
	if err == nil && len(data) > limit {
		return nil, &fs.PathError{Op: "read", Path: f.Path(name), Err: ErrTooLarge}
	}
	return data, err
}

// ReadStart returns the first limit bytes of /name, or all of a shorter file. Errors are *fs.PathError.
//
// It keeps the Go runtime's poller out of it: kernel files are always ready.
func (f FS) ReadStart(name string, limit int) ([]byte, error) {
	data, err := f.start(name, limit)
	f.record(name, Entry{Data: data, File: true}, err)
	return data, err
}

func (f FS) start(name string, limit int) ([]byte, error) {
	fd, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(fd)
	return readStart(fd, f.Path(name), limit)
}

func readStart(fd int, path string, limit int) ([]byte, error) {
	// Most files are short, and thousands are read.
	scratch := scratches.Get().(*[4096]byte)
	defer scratches.Put(scratch)
	buf := scratch[:0:min(limit, len(scratch))]
	for len(buf) < limit {
		if len(buf) == cap(buf) {
			grown := make([]byte, len(buf), min(limit, 4*cap(buf)))
			copy(grown, buf)
			buf = grown
		}
		n, err := retry(func() (int, error) { return syscall.Read(fd, buf[len(buf):cap(buf)]) })
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			break
		}
		buf = buf[:len(buf)+n]
	}
	if len(buf) > len(scratch) {
		return buf, nil
	}
	return append(make([]byte, 0, len(buf)), buf...), nil
}

// scratches are what [readStart] reads into first.
var scratches = sync.Pool{New: func() any { return new([4096]byte) }}

// open opens the file /name to read. It never waits for a writer, should somebody have put a FIFO there.
func (f FS) open(name string) (fd int, err error) {
	return f.openAs(name, syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NONBLOCK)
}

func (f FS) openAs(name string, flags int) (fd int, err error) {
	if !f.Live() {
		// Most files have no link on their way, which saves looking at each step.
		how := unix.OpenHow{Flags: uint64(flags), Resolve: unix.RESOLVE_NO_SYMLINKS}
		fd, err = retry(func() (int, error) { return unix.Openat2(unix.AT_FDCWD, f.root+filepath.Clean("/"+name), &how) })
		if err == nil {
			return fd, nil
		}
		if err == syscall.ENOENT && !strings.Contains(name, "..") { // no link was met on the way
			return -1, &fs.PathError{Op: "open", Path: f.Path(name), Err: err}
		}
	}
	if f.near != nil {
		return f.near.open(f.Path(name), flags)
	}
	path, err := f.at(name)
	if err != nil {
		return -1, err
	}
	fd, err = retry(func() (int, error) { return syscall.Open(path, flags, 0) })
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: f.Path(name), Err: err}
	}
	return fd, nil
}

// ReadDir returns the names in the directory /name, in no particular order.
func (f FS) ReadDir(name string) ([]string, error) {
	names, err := f.list(name)
	f.record(name, Entry{Dir: true}, err)
	return names, err
}

func (f FS) list(name string) ([]string, error) {
	dir, err := f.openDir(name)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Readdirnames(-1)
}

func (f FS) openDir(name string) (*os.File, error) {
	path, err := f.at(name)
	if err != nil {
		return nil, err
	}
	if f.near == nil {
		return os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	}
	fd, err := f.near.open(path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Stat describes the file or directory /name.
func (f FS) Stat(name string) (fs.FileInfo, error) {
	path, err := f.at(name)
	if err != nil {
		f.record(name, Entry{}, err)
		return nil, err
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		f.record(name, Entry{}, err)
	case info.IsDir():
		f.record(name, Entry{Dir: true}, nil)
	default:
		f.record(name, Entry{Changed: info.ModTime()}, nil)
	}
	return info, err
}

// Status is stat(2) of /name.
func (f FS) Status(name string, stat *syscall.Stat_t) error {
	if f.near == nil {
		path, err := f.at(name)
		if err != nil {
			return err
		}
		return statPath(path, stat)
	}
	fd, err := f.near.open(f.Path(name), unix.O_PATH|syscall.O_CLOEXEC)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	err = syscall.Fstat(fd, stat)
	if err != nil {
		return &fs.PathError{Op: "stat", Path: f.Path(name), Err: err}
	}
	return nil
}

// Exists reports whether the tree has /name.
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

// Readlink returns where the symbolic link /name leads.
func (f FS) Readlink(name string) (string, error) {
	path := f.Path(name)
	if !f.Live() {
		resolved, err := Resolve(f.root, name, false)
		if err != nil {
			return "", err
		}
		path = resolved
	}
	target, err := os.Readlink(path)
	f.record(name, Entry{Link: target}, err)
	return target, err
}
