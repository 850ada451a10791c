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

// ErrOthers is that others than root, and the user who runs this program, can have written a file.
var ErrOthers = errors.New("must be a regular file, owned by root and not writable by others")

// ReadOwn is [FS.ReadFile] of a regular file that nobody but root and the user who runs this program can have written.
// A link is followed: what it leads to counts.
func (f FS) ReadOwn(name string, limit int) ([]byte, error) {
	data, err := f.readOwn(name, limit)
	f.record(name, Entry{Data: data, File: true}, err)
	return data, err
}

func (f FS) readOwn(name string, limit int) ([]byte, error) {
	path := f.Path(name)
	fd, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(fd)
	var stat syscall.Stat_t
	err = syscall.Fstat(fd, &stat)
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if stat.Mode&syscall.S_IFMT != syscall.S_IFREG || stat.Mode&0o022 != 0 || stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: ErrOthers}
	}
	data, err := readStart(fd, path, limit+1)
	return f.within(limit, name, data, err)
}

// What others than root may have put somewhere is looked at before it is opened: a FIFO loses what is read, a device
// may do anything, and so do some of the kernel's files.
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

// From fs/configfs/mount.c and fs/fuse/control.c.
const (
	configFS = 0x62656570
	fuseCtl  = 0x65735543
)

// Kernels reports whether an open file is one of the kernel's own, which may do anything when it is read.
func Kernels(fd int) (bool, error) {
	var on syscall.Statfs_t
	err := syscall.Fstatfs(fd, &on)
	return slices.Contains(kernels, int64(on.Type)), err
}

var openat2 = unix.Openat2 // tests have that of an older kernel

// OpenPath opens /base/name with O_PATH, which does nothing to what is there. A base that is not empty is another root,
// such as proc/812/root, and no link leads out of it.
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
	if err == syscall.ENOSYS || err == syscall.EPERM { // an older container says the latter
		if !f.Live() || isRoot(root) {
			return f.openAs(Below(base, name), flags)
		}
		err = errInside
	}
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: f.Path(Below(base, name)), Err: err}
	}
	return fd, nil
}

// Below returns the name of /base/name, from which no .. in it leads above the base.
func Below(base, name string) string {
	return strings.TrimPrefix(base+path.Clean("/"+name), "/")
}

// isRoot reports whether an open directory is this program's own root.
func isRoot(fd int) bool {
	var it, own syscall.Stat_t
	return syscall.Fstat(fd, &it) == nil && syscall.Stat("/", &own) == nil && it.Dev == own.Dev && it.Ino == own.Ino
}

// reopen opens for reading what is open with O_PATH, if it is a file of that kind that belongs to root or another of
// the owners; without owners, to anybody.
func (f FS) reopen(there int, path string, kind uint32, owners []int) (fd int, stat syscall.Stat_t, err error) {
	err = syscall.Fstat(there, &stat)
	own, statfsErr := Kernels(there)
	if err = errors.Join(err, statfsErr); err != nil {
		return -1, stat, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	switch {
	case stat.Mode&syscall.S_IFMT != kind && kind == syscall.S_IFDIR:
		err = syscall.ENOTDIR
	case stat.Mode&syscall.S_IFMT != kind:
		err = errNotRegular
	case !f.Live():
	case own:
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

// ReadOf is [FS.ReadFile] of /base/name, as [FS.OpenPath] finds it, and when it was last changed: its ctime, since what
// replaces a file may bring an older mtime with it; of a captured host, what the capture says. It must be a regular
// file that belongs to root or another of the owners, by their user ids; without owners, to anybody. Nothing else is
// opened. Of a captured host it is not known whose a file was.
//
// It is for files that lie where somebody chose: a recorder is told so.
func (f FS) ReadOf(base, name string, limit int, owners ...int) (data []byte, changed time.Time, err error) {
	full := Below(base, name)
	data, changed, err = f.readOf(base, name, limit, owners)
	f.record(full, Entry{Data: data, File: true, Chosen: true}, err)
	if err == nil {
		f.record(full, Entry{Changed: changed}, nil)
	}
	return data, changed, err
}

func (f FS) readOf(base, name string, limit int, owners []int) (data []byte, changed time.Time, err error) {
	full := Below(base, name)
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
	data, err = f.within(limit, full, data, err)
	if err != nil {
		return nil, changed, err
	}
	return data, f.changed(stat), nil
}

// changed returns when a file was changed. Unpacking a capture sets its mtime alone.
func (f FS) changed(stat syscall.Stat_t) time.Time {
	if f.Live() {
		return time.Unix(stat.Ctim.Unix())
	}
	return time.Unix(stat.Mtim.Unix())
}

// ReadDirOf returns the names in the directory /base/name, which must belong to one of the owners as for [FS.ReadOf].
// If it has more names than most, or reading continues after the deadline, that is [ErrCut]. changed is when a file
// was last added or removed; the zero time of a captured host, which does not say.
func (f FS) ReadDirOf(base, name string, most int, deadline time.Time, owners ...int) (names []string, changed time.Time, err error) {
	names, changed, err = f.readDirOf(base, name, most, deadline, owners)
	f.record(Below(base, name), Entry{Dir: true}, err)
	return names, changed, err
}

func (f FS) readDirOf(base, name string, most int, deadline time.Time, owners []int) (names []string, changed time.Time, err error) {
	path := f.Path(Below(base, name))
	there, err := f.OpenPath(base, name)
	if err != nil {
		return nil, changed, err
	}
	defer syscall.Close(there)
	fd, stat, err := f.reopen(there, path, syscall.S_IFDIR, owners)
	if err != nil {
		return nil, changed, err
	}
	if f.Live() {
		changed = time.Unix(stat.Mtim.Unix())
	}
	dir := os.NewFile(uintptr(fd), path)
	defer dir.Close()
	for {
		some, err := dir.Readdirnames(256)
		names = append(names, some...)
		if len(names) > most || time.Now().After(deadline) {
			return nil, changed, &fs.PathError{Op: "read", Path: path, Err: ErrCut}
		}
		if err == io.EOF {
			return names, changed, nil
		}
		if err != nil {
			return nil, changed, err
		}
	}
}

// ReadStartOfRoots is [FS.ReadStart] of a regular file, no link to one, that belongs to root and that nobody else can
// write to. Nothing else is opened. Of a captured host it is not known whose a file was.
func (f FS) ReadStartOfRoots(name string, limit int) ([]byte, error) {
	data, err := f.readStartOfRoots(name, limit)
	f.record(name, Entry{Data: data, File: true}, err)
	return data, err
}

func (f FS) readStartOfRoots(name string, limit int) ([]byte, error) {
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
