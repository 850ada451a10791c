// Package atomicfile replaces files as a whole: a program that opens one finds the old or the new, never a part.
package atomicfile

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Write makes data the content of a file. Runs at the same time do not disturb each other.
func Write(name string, data []byte, mode fs.FileMode) error {
	dir, base := filepath.Split(name)
	temporary := filepath.Join(dir, "."+base+"."+rand.Text()+".tmp")
	err := Create(temporary, data, mode)
	if err == nil {
		err = Rename(temporary, name)
	}
	if err != nil {
		os.Remove(temporary)
	}
	return err
}

// WriteLike is Write in a directory that is held open, with the owner, the mode, the access control list and the label of
// another file. Of the mode it takes no more than [WidestMode]. Nothing is changed by its name, which others may have given
// to another file meanwhile.
func WriteLike(dir *os.Root, name string, data []byte, like *os.File) error {
	temporary := "." + name + "." + rand.Text() + ".tmp"
	f, err := dir.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = Liken(f, like, WidestMode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = dir.Rename(temporary, name)
	}
	if err != nil {
		return errors.Join(err, dir.Remove(temporary))
	}
	return SyncRoot(dir)
}

// WidestMode is what a file may allow that is written in the place of another: only its owner writes to it.
const WidestMode = 0o644

// Liken gives an open file the owner, the access control list and the label of another, and what widest has of its mode.
// What the file system does not know is left out.
func Liken(f, like *os.File, widest fs.FileMode) error {
	info, err := like.Stat()
	if err != nil {
		return err
	}
	stat := info.Sys().(*syscall.Stat_t)
	// The mode comes after the owner, which takes bits away.
	if err := errors.Join(f.Chown(int(stat.Uid), int(stat.Gid)), f.Chmod(info.Mode().Perm()&widest)); err != nil {
		return err
	}
	for _, name := range []string{"system.posix_acl_access", "security.selinux"} {
		value, err := attribute(like, name)
		is, _ := attribute(f, name)
		if err == nil && !bytes.Equal(is, value) { // to set the same label takes a permission, too
			err = unix.Fsetxattr(int(f.Fd()), name, value, 0)
		}
		if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.EOPNOTSUPP) {
			return &fs.PathError{Op: "copy " + name + " to", Path: f.Name(), Err: err}
		}
	}
	return nil
}

// attribute returns an extended attribute of an open file.
func attribute(f *os.File, name string) ([]byte, error) {
	value := make([]byte, 64<<10) // XATTR_SIZE_MAX
	n, err := unix.Fgetxattr(int(f.Fd()), name, value)
	return value[:max(n, 0)], err
}

// Create makes a file that is not there, in no other mode before it is whole, and brings it to the disk.
func Create(name string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Rename moves old over new and brings the directory to the disk.
func Rename(old, new string) error {
	if err := os.Rename(old, new); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(new))
}

// SyncDir brings a directory to the disk.
func SyncDir(name string) error {
	d, err := os.Open(name)
	return syncDir(d, err)
}

// SyncRoot is SyncDir of a directory that is held open.
func SyncRoot(dir *os.Root) error {
	d, err := dir.Open(".")
	return syncDir(d, err)
}

func syncDir(d *os.File, err error) error {
	if err != nil {
		return err
	}
	defer d.Close()
	// EINVAL: a file system that does not sync directories.
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}
