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

// beyond returns the error for a file that is not near.
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
		fd, err = n.openBelow(folder, rest, flags)
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

// openBelow opens a file in a folder of the root that is on the same mount.
func (n *near) openBelow(folder, name string, flags int) (fd int, err error) {
	dir, err := n.folder(folder)
	if err != nil {
		return -1, err
	}
	how := unix.OpenHow{Flags: uint64(flags), Resolve: unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_MAGICLINKS}
	return retry(func() (int, error) { return unix.Openat2(dir, name, &how) })
}

// readlink returns where a symbolic link that is near leads: [syscall.EINVAL] for what is none. What is above it must be
// known to be no link. Where something is mounted there is no link, so that file system need not be near.
func (n *near) readlink(name string) (string, error) {
	folder, rest, below := strings.Cut(name[1:], "/")
	if !below || folder != "dev" && !slices.Contains(nearFolders, folder) {
		folder, rest = "", name[1:]
	}
	fd, err := n.openBelow(folder, rest, unix.O_PATH|syscall.O_NOFOLLOW|syscall.O_CLOEXEC)
	if err == syscall.EXDEV && n.sees(folder, path.Dir(rest)) {
		return "", syscall.EINVAL
	}
	if err != nil && err != syscall.ENOENT {
		return "", n.beyond(name)
	}
	if err != nil {
		return "", err
	}
	defer syscall.Close(fd)
	var target [pathLimit]byte
	length, err := unix.Readlinkat(fd, "", target[:])
	if err == syscall.ENOENT { // what the kernel says of no link there
		err = syscall.EINVAL
	}
	return string(target[:max(length, 0)]), err
}

// sees reports whether nothing is mounted on the way from a folder of the root to what is below it.
func (n *near) sees(folder, name string) bool {
	fd, err := n.openBelow(folder, name, unix.O_PATH|syscall.O_CLOEXEC)
	if err == nil {
		syscall.Close(fd)
	}
	return err == nil
}

// folder returns a folder of the root, open.
func (n *near) folder(name string) (fd int, err error) {
	n.lock.Lock()
	defer n.lock.Unlock()
	fd, ok := n.folders[name]
	if ok {
		return fd, nil
	}
	fd, err = syscall.Open("/"+name, unix.O_PATH|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err == nil {
		n.folders[name] = fd
	}
	return fd, err
}

// pathLimit is more than the kernel takes of a path (PATH_MAX), in bytes.
const pathLimit = 8 << 10
