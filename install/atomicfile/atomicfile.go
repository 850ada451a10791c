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

// Like is whose a file is, and who may read it.
type Like struct {
	UID, GID int
	Mode     fs.FileMode // permissions
	ACL      []byte      // system.posix_acl_access, nil for none
	Label    []byte      // security.selinux, nil for the one that the policy gives
}

// Of returns that of an open file.
func Of(f *os.File) (Like, error) {
	info, err := f.Stat()
	if err != nil {
		return Like{}, err
	}
	stat := info.Sys().(*syscall.Stat_t)
	l := Like{UID: int(stat.Uid), GID: int(stat.Gid), Mode: info.Mode().Perm()}
	if l.ACL, err = attribute(f, aclName); err != nil {
		return Like{}, err
	}
	l.Label, err = attribute(f, labelName)
	return l, err
}

const (
	aclName   = "system.posix_acl_access"
	labelName = "security.selinux"
)

// WriteLike is Write in a directory that is held open, for the readers of another file. Only its owner may write to it.
// Right before the file takes its place, it asks whether it may. Nothing is changed by its name, which others may have
// given to another file meanwhile.
func WriteLike(dir *os.Root, name string, data []byte, like Like, may func() error) error {
	temporary := "." + name + "." + rand.Text() + ".tmp"
	f, err := dir.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = like.give(f)
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = may()
	}
	if err == nil {
		err = dir.Rename(temporary, name)
	}
	if err != nil {
		return errors.Join(err, dir.Remove(temporary))
	}
	return SyncRoot(dir)
}

// give gives an open file the owner, and lets nobody read or write it who should not: a directory may have given it a list
// of its own. A file system without lists or labels has none to give.
func (l Like) give(f *os.File) error {
	if err := unix.Fremovexattr(int(f.Fd()), aclName); err != nil && !lacks(err) {
		return &fs.PathError{Op: "remove " + aclName + " of", Path: f.Name(), Err: err}
	}
	// The mode comes after the owner, which takes bits away.
	if err := errors.Join(f.Chown(l.UID, l.GID), f.Chmod(l.Mode&0o644)); err != nil {
		return err
	}
	for name, value := range map[string][]byte{aclName: readOnly(l.ACL), labelName: l.Label} {
		is, err := attribute(f, name)
		if err == nil && value != nil && !bytes.Equal(is, value) { // to set the same label takes a permission, too
			err = unix.Fsetxattr(int(f.Fd()), name, value, 0)
		}
		if err != nil && !lacks(err) {
			return &fs.PathError{Op: "set " + name + " of", Path: f.Name(), Err: err}
		}
	}
	return nil
}

// readOnly returns an access control list by which nobody but the owner can write, and nobody execute
// (linux/posix_acl_xattr.h: after the version, entries of a tag, permissions and an id).
func readOnly(acl []byte) []byte {
	const version, entry, userObj, read, write = 4, 8, 1, 4, 2
	acl = bytes.Clone(acl)
	for at := version; at+entry <= len(acl); at += entry {
		may := byte(read)
		if acl[at] == userObj {
			may |= write
		}
		acl[at+2] &= may
	}
	return acl
}

// attribute returns an extended attribute of an open file, nil if there is none.
func attribute(f *os.File, name string) ([]byte, error) {
	value := make([]byte, 64<<10) // XATTR_SIZE_MAX
	n, err := unix.Fgetxattr(int(f.Fd()), name, value)
	switch {
	case err == nil:
		return value[:n], nil
	case lacks(err):
		return nil, nil
	}
	return nil, &fs.PathError{Op: "read " + name + " of", Path: f.Name(), Err: err}
}

// lacks reports whether an error says that there is no such attribute.
func lacks(err error) bool { return errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP) }

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
