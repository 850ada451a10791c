package sysfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

// Leads returns the path to which an absolute path leads. It follows every symbolic link on the way, as the kernel does,
// but none on hugetlbfs, which is mounted at some points. What does not exist is kept as it stands. In a captured tree
// no link leads out of the tree.
//
// A capture has the answer in a file named as the path with ".leads" appended, unless the path leads to itself.
func (f FS) Leads(name string, hugetlb MountPoints) (string, error) {
	made := strings.TrimPrefix(path.Clean("/"+name), "/") + ".leads"
	if !f.Live() {
		text, err := f.readMade(made, pathLimit)
		if err == nil {
			return parseLeads(string(text))
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	at, err := Follow(name, true, links{f, hugetlb}.read)
	if err == errLinks {
		err = &fs.PathError{Op: "follow", Path: f.Path(made), Err: syscall.ELOOP}
	}
	if err != nil || at != path.Clean("/"+name) {
		f.record(made, Entry{Data: []byte(at + "\n"), Made: true}, err)
	}
	return at, err
}

// parseLeads parses what a captured host has of a path.
func parseLeads(text string) (string, error) {
	at := strings.TrimSuffix(text, "\n")
	if !path.IsAbs(at) || path.Clean(at) != at {
		return "", fmt.Errorf("%s is not where a path leads", quote(at))
	}
	return at, nil
}

// links reads the symbolic links of a tree, but for those on hugetlbfs.
type links struct {
	FS
	hugetlb MountPoints
}

func (l links) read(at string) (string, error) {
	switch {
	case l.hugetlb.hold(at + "/"):
		return "", syscall.EINVAL
	case l.near != nil:
		return l.near.readlink(at)
	}
	return os.Readlink(l.root + at)
}
