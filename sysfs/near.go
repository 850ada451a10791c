package sysfs

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrFar is what a tree that is [FS.Near] does not open.
var ErrFar = errors.New("on a file system that may not answer")

// nearFolders are the root's folders that may be mounts and are near all the same.
var nearFolders = []string{"etc", "run", "usr", "var"}

// near is what a tree that is Near has found.
type near struct {
	far     atomic.Bool
	lock    sync.Mutex
	folders map[string]int // of the root, open; they stay so
}

// Near returns the same tree, which opens nothing that may never answer, as a
// network file system does whose server is gone: who waits for such an answer
// cannot even be killed. That leaves the kernel's own files, in proc and sys, and
// what lies in one of nearFolders with no mount on the way from there:
// without these a system does not run. All else is [ErrFar]; so is all but
// the kernel's before Linux 5.6, which cannot look for a mount.
//
// Of a captured host everything is near.
func (f FS) Near() FS {
	if f.Live() {
		f.near = &near{folders: map[string]int{}}
	}
	return f
}

// Far says whether a tree that is Near was asked for what is not: the answers
// of another may be different.
func (f FS) Far() bool { return f.near != nil && f.near.far.Load() }

// beyond is the error of what is not near.
func (n *near) beyond(name string) error {
	n.far.Store(true)
	return &fs.PathError{Op: "open", Path: name, Err: ErrFar}
}

// open opens a file that is near.
func (n *near) open(name string, flags int) (fd int, err error) {
	name = path.Clean(name)
	folder, rest, below := strings.Cut(name[1:], "/")
	switch {
	case folder == "proc" || folder == "sys":
		fd, err = retry(func() (int, error) { return syscall.Open(name, flags, 0) })
	case !below || !slices.Contains(nearFolders, folder):
		return -1, n.beyond(name)
	default:
		var dir int
		if dir, err = n.folder(folder); err != nil {
			break
		}
		how := unix.OpenHow{Flags: uint64(flags), Resolve: unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_MAGICLINKS}
		fd, err = retry(func() (int, error) { return unix.Openat2(dir, rest, &how) })
		switch err {
		case nil, syscall.ENOENT, syscall.ENOTDIR, syscall.EACCES, syscall.ELOOP:
		default: // EXDEV; ENOSYS or EPERM where there is no such call; EAGAIN where something was renamed meanwhile
			return -1, n.beyond(name)
		}
	}
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return fd, nil
}

// folder returns a folder of the root, open.
func (n *near) folder(name string) (fd int, err error) {
	n.lock.Lock()
	defer n.lock.Unlock()
	fd, ok := n.folders[name]
	if !ok {
		if fd, err = syscall.Open("/"+name, unix.O_PATH|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0); err == nil {
			n.folders[name] = fd
		}
	}
	return fd, err
}

// Status is stat(2) of /name.
func (f FS) Status(name string, stat *syscall.Stat_t) error {
	if f.near == nil {
		path, err := f.at(name)
		if err != nil {
			return err
		}
		if _, err := retry(func() (int, error) { return 0, syscall.Stat(path, stat) }); err != nil {
			return &fs.PathError{Op: "stat", Path: path, Err: err}
		}
		return nil
	}
	fd, err := f.near.open(f.Path(name), unix.O_PATH|syscall.O_CLOEXEC)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	if err := syscall.Fstat(fd, stat); err != nil {
		return &fs.PathError{Op: "stat", Path: f.Path(name), Err: err}
	}
	return nil
}
