// Package sysfs reads what the Linux kernel says about huge pages: the nodes with memory, the pools per page size and
// node, the hugetlbfs mounts, and which process maps how many huge pages where.
//
// Everything is read below the root of an [FS], so that a captured host is read exactly like the running one. Nothing
// is written and nothing is cached. A reader of something that a kernel may lack returns a second value that reports
// whether this kernel has it.
//
// Each file of the kernel is read in one file of this package, which also says what a capture keeps of it: a parser
// and, beside it, a reduction, whose result the parser reads as it reads the whole. A [Reducer] knows them all.
package sysfs

import (
	"errors"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// FS is a tree that holds sys, proc, run and etc as a Linux host has them. The zero value is the running host.
type FS struct {
	root     string
	recorder Recorder // nil for most
	near     *near    // nil for most
}

// New returns the tree below root; "" and "/" are the running host.
func New(root string) FS {
	root = filepath.Clean("/" + root)
	if root == "/" {
		return FS{}
	}
	return FS{root: root}
}

// Live reports whether the tree is the running host rather than a captured one.
func (f FS) Live() bool { return f.root == "" }

// Root returns where the tree is, "" for the running host.
func (f FS) Root() string { return f.root }

// Path returns the path of the file that a host has as /name, for messages. The methods of FS follow no link out of a
// captured tree; opening this path would.
func (f FS) Path(name string) string { return f.root + "/" + name }

// Recorded returns the same tree; to is told of all that is read through it.
func (f FS) Recorded(to Recorder) FS {
	f.recorder = to
	return f
}

// Near returns the same tree, which opens nothing that may never answer, such as a file on a network file system whose
// server is gone: a process that waits for it cannot even be killed. It opens the kernel's own files, in proc and sys,
// and what lies in one of nearFolders without another mount on the way: without these a system does not run. Anything
// else is [ErrFar]; before Linux 5.6, which cannot look for a mount, so is everything but the kernel's files.
//
// Of a captured host everything is near.
func (f FS) Near() FS {
	if f.Live() {
		f.near = &near{folders: map[string]int{}}
	}
	return f
}

// Far reports whether a tree that is Near was asked for something that is not: another tree may answer differently.
func (f FS) Far() bool { return f.near != nil && f.near.far.Load() }

// Outer returns the tree of process 1, if that has another root than this program: in a container that has the host's
// processes this is the host. Otherwise, and if only others may see it, it is f. A tree that is [FS.Near] has it far.
func (f FS) Outer() (FS, error) {
	const outer = "/proc/1/root"
	if !f.Live() {
		return f, nil
	}
	var its, own syscall.Stat_t
	if syscall.Stat(outer+"/", &its) != nil || syscall.Stat("/", &own) != nil || its.Dev == own.Dev && its.Ino == own.Ino {
		return f, nil
	}
	if f.near != nil {
		return f, f.near.beyond(outer)
	}
	f.root = outer
	return f, nil
}

// record tells the recorder what was found, or why nothing was.
func (f FS) record(name string, found Entry, err error) {
	if f.recorder == nil {
		return
	}
	switch {
	case err == nil:
	case gone(err) || errors.Is(err, syscall.ESRCH):
		found = Entry{Gone: true, File: found.File, Chosen: found.Chosen}
	default:
		found = Entry{Err: err, File: found.File, Chosen: found.Chosen}
	}
	f.recorder(strings.TrimPrefix(path.Clean("/"+name), "/"), found)
}

// at returns the path of /name with every symbolic link of a captured tree resolved within the tree: reading a tree
// that others made reads nothing of this machine.
func (f FS) at(name string) (string, error) {
	if f.Live() {
		return f.Path(name), nil
	}
	return Resolve(f.root, name, true)
}
