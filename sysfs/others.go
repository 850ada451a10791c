package sysfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What others than root may have put somewhere is looked at before it is opened: a FIFO
// loses what is read, a device may do anything, and so do some of the kernel's files.
var (
	errNotRegular = errors.New("not a regular file")
	errForeign    = errors.New("owned by another user than it must be")
	errWritable   = errors.New("others than its owner can write to it")
	errKernels    = errors.New("on a file system of the kernel's own")
	errInside     = errors.New("before Linux 5.6 nothing can be read inside another root")
)

// kernels are the file systems whose files are the kernel's own.
var kernels = []int64{
	unix.BINFMTFS_MAGIC, unix.BPF_FS_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.CGROUP_SUPER_MAGIC, configFS, unix.DEBUGFS_MAGIC,
	unix.DEVPTS_SUPER_MAGIC, unix.EFIVARFS_MAGIC, fuseCtl, unix.NSFS_MAGIC, unix.PROC_SUPER_MAGIC, unix.PSTOREFS_MAGIC,
	unix.RDTGROUP_SUPER_MAGIC, unix.SECURITYFS_MAGIC, unix.SELINUX_MAGIC, unix.SMACK_MAGIC, unix.SYSFS_MAGIC,
	unix.TRACEFS_MAGIC, unix.XENFS_SUPER_MAGIC,
}

// Of fs/configfs/mount.c and fs/fuse/control.c.
const (
	configFS = 0x62656570
	fuseCtl  = 0x65735543
)

var openat2 = unix.Openat2 // tests have that of an older kernel

// OpenPath opens /base/name with O_PATH, which does nothing to what is there. Where base
// is not empty it is another root, such as proc/812/root, and no link leads out of it.
func (f FS) OpenPath(base, name string) (fd int, err error) {
	const flags = unix.O_PATH | syscall.O_CLOEXEC
	if base == "" {
		return f.openAs(name, flags)
	}
	root, err := f.openAs(base, flags|syscall.O_DIRECTORY)
	if err != nil {
		return -1, err
	}
	defer syscall.Close(root)
	how := unix.OpenHow{Flags: flags, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err = retry(func() (int, error) { return openat2(root, path.Clean("/"+name), &how) })
	if err == syscall.ENOSYS || err == syscall.EPERM { // the latter is an older container's
		if !f.Live() || isRoot(root) {
			return f.openAs(below(base, name), flags)
		}
		err = errInside
	}
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: f.Path(below(base, name)), Err: err}
	}
	return fd, nil
}

// below returns the name of /base/name, from which no .. in it leads above the base.
func below(base, name string) string {
	return strings.TrimPrefix(base+path.Clean("/"+name), "/")
}

// isRoot says whether an open directory is this program's own root.
func isRoot(fd int) bool {
	var it, own syscall.Stat_t
	return syscall.Fstat(fd, &it) == nil && syscall.Stat("/", &own) == nil && it.Dev == own.Dev && it.Ino == own.Ino
}

// reopen opens what is open with O_PATH to read, if it is a file of that kind of root's
// or of another of the owners; without any, of anybody's.
func (f FS) reopen(there int, path string, kind uint32, owners []int) (fd int, stat syscall.Stat_t, err error) {
	var on syscall.Statfs_t
	if err = syscall.Fstat(there, &stat); err == nil {
		err = syscall.Fstatfs(there, &on)
	}
	if err != nil {
		return -1, stat, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	switch {
	case stat.Mode&syscall.S_IFMT != kind && kind == syscall.S_IFDIR:
		err = syscall.ENOTDIR
	case stat.Mode&syscall.S_IFMT != kind:
		err = errNotRegular
	case !f.Live():
	case slices.Contains(kernels, int64(on.Type)):
		err = errKernels
	case len(owners) > 0 && stat.Uid != 0 && !slices.Contains(owners, int(stat.Uid)):
		err = errForeign
	}
	if err != nil {
		return -1, stat, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	fd, err = retry(func() (int, error) {
		return syscall.Open("/proc/self/fd/"+strconv.Itoa(there), syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	})
	if err != nil {
		return -1, stat, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, stat, nil
}

// ReadOf is [FS.ReadFile] of /base/name, as [FS.OpenPath] finds it, and when it was last
// modified. It must be a regular file of root's or of another of the owners, by their
// user ids; without any, of anybody's. What else there is is not opened. Of a captured
// host it is not known whose a file was.
func (f FS) ReadOf(base, name string, limit int, owners ...int) (data []byte, changed time.Time, err error) {
	full := below(base, name)
	defer func() {
		f.record(full, Entry{Data: data}, err)
		if err == nil {
			f.record(full, Entry{Changed: changed}, nil)
		}
	}()
	path := f.Path(full)
	there, err := f.OpenPath(base, name)
	if err != nil {
		return nil, changed, err
	}
	defer syscall.Close(there)
	fd, stat, err := f.reopen(there, path, syscall.S_IFREG, owners)
	if err != nil {
		return nil, changed, err
	}
	defer syscall.Close(fd)
	data, err = readStart(fd, path, limit+1)
	if err == nil && len(data) > limit {
		return nil, changed, &fs.PathError{Op: "read", Path: path, Err: ErrTooLarge}
	}
	return data, time.Unix(stat.Mtim.Unix()), err
}

// ReadDirOf returns the names in the directory /base/name, which must be one of the
// owners', as with [FS.ReadOf]: most of them at the most, until the deadline at the
// latest. Otherwise it is [ErrCut].
func (f FS) ReadDirOf(base, name string, most int, deadline time.Time, owners ...int) (names []string, err error) {
	full := below(base, name)
	defer func() { f.record(full, Entry{Dir: true}, err) }()
	path := f.Path(full)
	there, err := f.OpenPath(base, name)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(there)
	fd, _, err := f.reopen(there, path, syscall.S_IFDIR, owners)
	if err != nil {
		return nil, err
	}
	dir := os.NewFile(uintptr(fd), path)
	defer dir.Close()
	for {
		some, err := dir.Readdirnames(256)
		names = append(names, some...)
		if len(names) > most || time.Now().After(deadline) {
			return nil, &fs.PathError{Op: "read", Path: path, Err: ErrCut}
		}
		if err == io.EOF {
			return names, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// ReadStartOfRoots is [FS.ReadStart] of a regular file, no link to one, that is root's
// and that nobody else can write to. What else there is is not opened. Of a captured
// host it is not known whose a file was.
func (f FS) ReadStartOfRoots(name string, limit int) (data []byte, err error) {
	defer func() { f.record(name, Entry{Data: data}, err) }()
	path := f.Path(name)
	there, err := f.openAs(name, unix.O_PATH|syscall.O_NOFOLLOW|syscall.O_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(there)
	fd, stat, err := f.reopen(there, path, syscall.S_IFREG, []int{0})
	if err != nil {
		return nil, err
	}
	defer syscall.Close(fd)
	if f.Live() && stat.Mode&0o022 != 0 {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errWritable}
	}
	return readStart(fd, path, limit)
}
