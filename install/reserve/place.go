package reserve

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"hugeguard/install/atomicfile"
	"hugeguard/sysfs"
)

// A place is where a file is, or is to be: its directory, which is held open. Nova's account owns some directories of
// its configuration. It can put other directories and links in their places at any time, and yet has root write to no
// directory but its own.
type place struct {
	dir  *os.Root
	name string // in the directory
	file string // on this host, for messages
}

// find returns the place that a name below the root leads to.
func find(root, name string) (place, error) {
	at, err := follow(root, name)
	if err != nil {
		return place{}, err
	}
	dir, err := hold(root, path.Dir(at))
	return place{dir, path.Base(at), root + at}, err
}

// follow returns where a name below the root leads to. It follows symbolic links of root and of who asks alone.
func follow(root, name string) (string, error) {
	return sysfs.Follow(name, true, func(at string) (string, error) { return readlink(root, at) })
}

// hold opens a directory, the names above which are no links.
func hold(root, name string) (*os.Root, error) {
	dir, err := os.OpenRoot(root + "/")
	if err != nil {
		return nil, err
	}
	for elem := range strings.SplitSeq(strings.Trim(name, "/"), "/") {
		if elem == "" {
			break // the root
		}
		below, err := enter(dir, elem)
		dir.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", root+name, err)
		}
		dir = below
	}
	return dir, nil
}

// enter opens a directory in another one, which must not be a link.
func enter(dir *os.Root, name string) (*os.Root, error) {
	is, err := dir.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !is.IsDir() {
		return nil, &fs.PathError{Op: "enter", Path: name, Err: syscall.ENOTDIR}
	}
	below, err := dir.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	opened, err := below.Stat(".")
	if err == nil && !os.SameFile(is, opened) {
		err = &fs.PathError{Op: "enter", Path: name, Err: errors.New("another directory was put in its place")}
	}
	if err != nil {
		below.Close()
		return nil, err
	}
	return below, nil
}

// readlink reads a symbolic link. In a directory that others can write to it is an error that there is one.
func readlink(root, name string) (string, error) {
	dir, err := hold(root, path.Dir(name))
	if err != nil {
		return "", err
	}
	defer dir.Close()
	info, err := dir.Lstat(path.Base(name))
	if err != nil {
		return "", err
	}
	if info.Mode()&fs.ModeSymlink == 0 {
		return "", syscall.EINVAL
	}
	above, err := dir.Stat(".")
	if err != nil {
		return "", err
	}
	uid := int(above.Sys().(*syscall.Stat_t).Uid)
	if uid != 0 && uid != os.Geteuid() || above.Mode()&0o022 != 0 {
		return "", fmt.Errorf("%s: it is a symbolic link in a directory that others than root can write to: "+
			"put the file there itself", root+name)
	}
	return dir.Readlink(path.Base(name))
}

// open opens the file to be read.
func (p place) open() (*os.File, error) {
	f, err := p.dir.OpenFile(p.name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO does not keep it waiting
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() > most) {
		err = fmt.Errorf("%s: it must be a regular file of at most %d MiB", p.file, most>>20)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// read returns what the file says.
func (p place) read() (string, error) {
	f, err := p.open()
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most))
	return string(text), err
}

// makeDir makes a directory there with the owner, the mode and the label of the one in which a file is, and returns the
// place of a file in it.
func (p place) makeDir(name string, like place) (place, error) {
	if err := p.dir.Mkdir(p.name, 0o700); err != nil {
		return place{}, err
	}
	dir, err := enter(p.dir, p.name)
	if err != nil {
		return place{}, err
	}
	made, err := dir.Open(".")
	if err != nil {
		return place{}, err
	}
	defer made.Close()
	above, err := like.dir.Open(".")
	if err != nil {
		return place{}, err
	}
	defer above.Close()
	return place{dir, name, p.file + "/" + name}, atomicfile.Liken(made, above, 0o755)
}
