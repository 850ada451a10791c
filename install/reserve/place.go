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

	"golang.org/x/sys/unix"

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
	target, err := dir.Readlink(path.Base(name))
	if err != nil || !strings.Contains(target, "/") && target != ".." {
		return target, err // to a file beside it
	}
	above, err := dir.Stat(".")
	if err != nil {
		return "", err
	}
	if uid := owner(above).Uid; uid != 0 && int(uid) != os.Geteuid() || above.Mode()&0o022 != 0 {
		return "", fmt.Errorf("%s: it is a symbolic link in a directory that others than root can write to: "+
			"put the file there itself", root+name)
	}
	return target, nil
}

func owner(of fs.FileInfo) *syscall.Stat_t { return of.Sys().(*syscall.Stat_t) }

// open opens the file to be read. What it is shows before: to open a device or a FIFO may do anything. A file with another
// name elsewhere may be another's.
func (p place) open() (*os.File, error) {
	there, err := p.dir.OpenFile(p.name, unix.O_PATH, 0)
	if err != nil {
		return nil, err
	}
	defer there.Close()
	info, err := there.Stat()
	if err != nil {
		return nil, err
	}
	kernels, err := sysfs.Kernels(int(there.Fd()))
	switch {
	case err != nil:
		return nil, &fs.PathError{Op: "statfs", Path: p.file, Err: err}
	case kernels || !info.Mode().IsRegular() || owner(info).Nlink > 1 || info.Size() > most:
		return nil, fmt.Errorf("%s: it must be a regular file of at most %d MiB, with one name", p.file, most>>20)
	}
	return os.Open(fmt.Sprintf("/proc/self/fd/%d", there.Fd()))
}

// read returns what the file says.
func (p place) read() (string, error) {
	f, err := p.open()
	if err != nil {
		return "", err
	}
	defer f.Close()
	return text(f)
}

func text(f *os.File) (string, error) {
	all, err := io.ReadAll(io.LimitReader(f, most))
	return string(all), err
}

// unchanged returns an error if the place has another file than f, or none, or f was written to since it was opened.
// Without f it is one if there is a file.
func (p place) unchanged(f *os.File, opened fs.FileInfo) error {
	is, err := p.dir.Lstat(p.name)
	switch {
	case f == nil && errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case f == nil || !os.SameFile(is, opened) || is.Size() != opened.Size() || !is.ModTime().Equal(opened.ModTime()):
		return fmt.Errorf("%s was changed meanwhile: run it again", p.file)
	}
	return nil
}

// makeDir makes a directory there, with the owner and the mode of the one in which it is, and returns the place of a file
// in it.
func (p place) makeDir(name string) (made place, err error) {
	above, err := p.dir.Stat(".")
	if err != nil {
		return place{}, err
	}
	if err := p.dir.Mkdir(p.name, 0o700); err != nil {
		return place{}, err
	}
	dir, err := enter(p.dir, p.name)
	if err == nil {
		err = give(dir, above)
	}
	if err == nil {
		return place{dir, name, p.file + "/" + name}, nil
	}
	if dir != nil {
		dir.Close()
	}
	return place{}, errors.Join(err, p.dir.Remove(p.name))
}

// give gives a directory that was just made another's owner and mode. If it is not as it was made, somebody has put
// another one in its place.
func give(dir *os.Root, like fs.FileInfo) error {
	d, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	info, err := d.Stat()
	if err != nil {
		return err
	}
	if _, err := d.ReadDir(1); err != io.EOF || int(owner(info).Uid) != os.Geteuid() || info.Mode().Perm() != 0o700 {
		return fmt.Errorf("%s: another directory was put in its place", dir.Name())
	}
	return errors.Join(d.Chown(int(owner(like).Uid), int(owner(like).Gid)), d.Chmod(like.Mode().Perm()&0o755))
}
