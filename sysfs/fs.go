// Package sysfs reads what the Linux kernel says about huge pages: the nodes
// with memory, the pools per page size and node, the hugetlbfs mounts, and
// which process maps how many huge pages where.
//
// Everything is read below the root of an [FS], so that a captured host is
// read exactly like the running one. Nothing is written and nothing is
// cached. What a kernel may lack is told apart from zero: such readers return
// a second value that says whether the kernel has the thing.
package sysfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrTooLarge is what reading a file ends with that holds more than its
// reader allows; no kernel file of that kind is so large.
var ErrTooLarge = errors.New("file is larger than it can be")

// Limits of what is read of one file, in bytes.
const (
	counterLimit = 4 << 10 // a file of one number or one list
	tableLimit   = 1 << 20 // a file of lines: mounts, meminfo, status
)

// FS is a tree that holds sys, proc, run and etc as a Linux host has them.
// The zero value is the running host.
type FS struct {
	root     string
	recorder Recorder // nil for most
	near     *near    // nil for most
}

// New returns the tree below root; "" and "/" are the running host.
func New(root string) FS {
	if root = filepath.Clean("/" + root); root == "/" {
		root = ""
	}
	return FS{root: root}
}

// Live says whether the tree is the running host rather than a captured one.
func (f FS) Live() bool { return f.root == "" }

// Root returns where the tree is, "" for the running host.
func (f FS) Root() string { return f.root }

// Path returns the name of the file that a host has as /name, for messages. The
// methods of FS follow no link of a captured tree out of it, others would.
func (f FS) Path(name string) string { return f.root + "/" + name }

// ReadFile returns the content of /name, at most limit bytes of it: a longer
// file is [ErrTooLarge]. Errors are *fs.PathError.
func (f FS) ReadFile(name string, limit int) ([]byte, error) {
	data, err := f.ReadStart(name, limit+1)
	if err == nil && len(data) > limit {
		return nil, &fs.PathError{Op: "read", Path: f.Path(name), Err: ErrTooLarge}
	}
	return data, err
}

// ErrOthers is what others than root, and who runs this program, can have
// written.
var ErrOthers = errors.New("not a file of root's that nobody else can write to")

// ReadOwn is [FS.ReadFile] of a regular file that nobody but root or who runs
// this program can have written. A link is followed: what it leads to counts.
func (f FS) ReadOwn(name string, limit int) (data []byte, err error) {
	defer func() { f.record(name, Entry{Data: data}, err) }()
	path := f.Path(name)
	fd, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(fd)
	var stat syscall.Stat_t
	if err := syscall.Fstat(fd, &stat); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if stat.Mode&syscall.S_IFMT != syscall.S_IFREG || stat.Mode&0o022 != 0 || stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: ErrOthers}
	}
	data, err = readStart(fd, path, limit+1)
	if err == nil && len(data) > limit {
		return nil, &fs.PathError{Op: "read", Path: path, Err: ErrTooLarge}
	}
	return data, err
}

// ReadStart returns the first limit bytes of /name, or all of a shorter file.
// Errors are *fs.PathError.
//
// It keeps the Go runtime's poller out of it: kernel files are always ready.
func (f FS) ReadStart(name string, limit int) (data []byte, err error) {
	fd, err := f.open(name)
	if err == nil {
		data, err = readStart(fd, f.Path(name), limit)
		syscall.Close(fd)
	}
	f.record(name, Entry{Data: data}, err)
	return data, err
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

// open opens the file /name to read. It never waits for a writer, should
// somebody have put a FIFO there.
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

// retry repeats a system call that a signal interrupted, as the Go runtime's
// own preemption signals do.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != syscall.EINTR {
			return n, err
		}
	}
}

// ReadDir returns the names in the directory /name, in no particular order.
func (f FS) ReadDir(name string) ([]string, error) {
	names, err := f.list(name)
	f.record(name, Entry{Dir: true}, err)
	return names, err
}

func (f FS) list(name string) ([]string, error) {
	path, err := f.at(name)
	if err != nil {
		return nil, err
	}
	var dir *os.File
	if f.near != nil {
		var fd int
		if fd, err = f.near.open(path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC); err == nil {
			dir = os.NewFile(uintptr(fd), path)
		}
	} else {
		dir, err = os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Readdirnames(-1)
}

// errNoSysfs is that nothing of sysfs is there, so that nothing can be said of
// what the kernel lacks: sysfs is not mounted, or is hidden in a container.
var errNoSysfs = errors.New("there is no sysfs")

// lacks says why a reader finds nothing: nil where the kernel lacks the thing,
// errNoSysfs where that cannot be known.
func (f FS) lacks() error {
	for _, dir := range []string{poolDir, nodeDir} {
		if f.Exists(dir) {
			return nil
		}
	}
	return fmt.Errorf("%s: %w", f.Path("sys"), errNoSysfs)
}

// readNumber reads a file that holds one decimal number, as most files of
// sysfs do.
func (f FS) readNumber(name string) (uint64, error) {
	text, err := f.ReadFile(name, counterLimit)
	if err != nil {
		return 0, err
	}
	n, err := parseNumber(string(text))
	if err == nil {
		err = whole(text)
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", f.Path(name), err)
	}
	return n, nil
}

// errCutShort is a file without the newline that the kernel puts at its end:
// the number in it is a part of one.
var errCutShort = errors.New("the end of the file is missing")

// whole says whether a file is there to its end.
func whole(text []byte) error {
	if !bytes.HasSuffix(text, []byte("\n")) {
		return errCutShort
	}
	return nil
}

// parseNumber reads one decimal number with white space around it.
func parseNumber(text string) (uint64, error) {
	s := strings.TrimSpace(text)
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is not a count: %w", quote(s), errors.Unwrap(err))
	}
	return n, nil
}

// quote prints what a parser choked on, cut to a length that fits a message.
func quote(s string) string {
	const most = 40
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}

// lines yields the lines of text without their line ends.
func lines(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for len(text) > 0 {
			line, rest, _ := strings.Cut(text, "\n")
			if !yield(line) {
				return
			}
			text = rest
		}
	}
}
