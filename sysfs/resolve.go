package sysfs

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

// maxLinks is the kernel's own limit on symbolic links in one path (path_resolution(7)).
const maxLinks = 40

// Resolve returns where the file that is called name below root really is. It resolves every symbolic link as a chroot
// into the root would: none leads out of it. What does not exist is kept as it stands. Without last, the last element
// is not followed. An error is [syscall.ELOOP], or tells of a link that cannot be read.
func Resolve(root, name string, last bool) (string, error) {
	at, err := Follow(name, last, func(at string) (string, error) { return os.Readlink(root + at) })
	if err == errLinks {
		err = &fs.PathError{Op: "resolve", Path: root + "/" + strings.TrimPrefix(name, "/"), Err: syscall.ELOOP}
	}
	if err != nil {
		return "", err
	}
	return root + at, nil
}

var errLinks = errors.New("too many symbolic links")

// Follow follows the symbolic links of a path, the last element's only with last, and returns where it leads: an absolute
// path without links. readlink reads a link. Of what is no link, or does not exist, it returns [syscall.EINVAL] or
// [fs.ErrNotExist]; another error ends it.
func Follow(name string, last bool, readlink func(at string) (string, error)) (at string, err error) {
	at, rest := "/", strings.Split(name, "/")
	for links := 0; len(rest) > 0; {
		elem := rest[0]
		rest = rest[1:]
		if elem == "" || elem == "." {
			continue
		}
		at = path.Join(at, elem) // Join keeps ".." at or below the root
		if elem == ".." || len(rest) == 0 && !last {
			continue
		}
		target, err := readlink(at)
		switch {
		case errors.Is(err, syscall.EINVAL), errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return "", err
		}
		links++
		if links > maxLinks {
			return "", errLinks
		}
		at = path.Dir(at)
		if path.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return at, nil
}
