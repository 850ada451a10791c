// Package atomicfile replaces files as a whole: a program that opens one finds the old or the new, never a part.
package atomicfile

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
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

// WriteLike is Write with the owner and the mode of another file.
func WriteLike(name string, data []byte, like fs.FileInfo) error {
	dir, base := filepath.Split(name)
	temporary := filepath.Join(dir, "."+base+"."+rand.Text()+".tmp")
	err := Create(temporary, data, 0o600)
	if stat, ok := like.Sys().(*syscall.Stat_t); ok && err == nil {
		err = os.Chown(temporary, int(stat.Uid), int(stat.Gid))
	}
	if err == nil {
		err = os.Chmod(temporary, like.Mode().Perm()) // after the owner, which takes bits away
	}
	if err == nil {
		err = Rename(temporary, name)
	}
	if err != nil {
		os.Remove(temporary)
	}
	return err
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
