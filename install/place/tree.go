package place

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"hugeguard/install/atomicfile"
	"hugeguard/install/confine"
	"hugeguard/install/daemon"
	"hugeguard/sysfs"
)

// A tree is a file system below a root directory; "" is the host's own. Names inside it are absolute (/etc/libvirt),
// whatever the root.
type tree struct {
	root string
	proc string // the root whose /proc shows the processes, if not this one
	// kernel answers for the kernel of this host; nil for the running one.
	kernel confine.Kernel
	// known is the hook program of this command, by which a part of it is known; nil where it is not found.
	known *program
}

// treeAt returns the tree below root; "" and "/" are the host's own. The root is the caller's to choose, links and all.
func treeAt(root string) (tree, error) {
	if root == "" {
		return tree{}, nil
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return tree{}, err
	}
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	return tree{root: strings.TrimSuffix(root, "/")}, nil
}

// dir returns where the directory name really is, every symbolic link resolved as a chroot into the root would: none
// leads out of it. What does not exist is kept as it stands.
func (t tree) dir(name string) (string, error) { return sysfs.Resolve(t.root, name, true) }

// file is dir for a file, of which the last element is not followed.
func (t tree) file(name string) (string, error) { return sysfs.Resolve(t.root, name, false) }

// read returns what is in the small file called name, which lies in the tree whatever links lead to it.
func (t tree) read(name string) ([]byte, error) {
	const limit = 1 << 20
	return sysfs.New(t.root).ReadFile(strings.TrimPrefix(name, "/"), limit)
}

// daemons returns the host in the tree, as far as it has libvirt daemons.
func (t tree) daemons() daemon.Host {
	return daemon.Host{Files: sysfs.New(t.root), Proc: sysfs.New(cmp.Or(t.proc, t.root))}
}

// tempName is what a file is called until it is whole. libvirt runs every file that lies in qemu.d, and nothing else in
// the hook directory but the names it knows: in qemu.d it is a directory, with the file in it.
const tempName = ".hugeguard-install.tmp"

// place makes data the content of dst: old or new at any moment, never a part. The file is written in tempDir, or in a
// directory beside dst if that is on another file system.
func place(dst, tempDir string, data []byte, mode fs.FileMode) error {
	return placeFinished(dst, tempDir, data, mode, func(string) error { return nil })
}

// placeFinished is place with a last step on the file before it gets its name.
func placeFinished(dst, tempDir string, data []byte, mode fs.FileMode, finish func(name string) error) error {
	err := placeFrom(tempDir, dst, data, mode, finish)
	if errors.Is(err, syscall.EXDEV) {
		return placeBeside(dst, data, mode, finish)
	}
	return err
}

func placeBeside(dst string, data []byte, mode fs.FileMode, finish func(name string) error) error {
	beside := filepath.Join(filepath.Dir(dst), tempName)
	if err := os.RemoveAll(beside); err != nil { // of a run that was interrupted
		return err
	}
	if err := os.Mkdir(beside, 0o700); err != nil {
		return err
	}
	defer os.Remove(beside)
	return placeFrom(beside, dst, data, mode, finish)
}

func placeFrom(tempDir, dst string, data []byte, mode fs.FileMode, finish func(name string) error) error {
	tmp := filepath.Join(tempDir, tempName)
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := atomicfile.Create(tmp, data, mode)
	if err == nil && os.Geteuid() == 0 {
		err = os.Lchown(tmp, 0, 0) // a directory with the set-group-ID bit gives it another group
	}
	if err == nil {
		err = finish(tmp)
	}
	if err == nil {
		err = atomicfile.Rename(tmp, dst)
	}
	if err != nil {
		os.Remove(tmp)
	}
	return err
}

// remove removes a file, not a directory, and brings the directory to the disk. Its error does not name the file.
func remove(name string) error {
	if err := syscall.Unlink(name); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(name))
}

// mkdir creates one directory with mode 0755 whatever the umask: what a root with a strict umask could not list for
// anybody else would look like a missing hook.
func mkdir(name string) error {
	if err := os.Mkdir(name, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(name, 0o755); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(name))
}

// rmdir removes name if it is an empty directory; one that is in use, mounted over or gone is left alone.
func rmdir(name string) error {
	switch err := syscall.Rmdir(name); err {
	case nil:
		return atomicfile.SyncDir(filepath.Dir(name))
	case syscall.ENOTEMPTY, syscall.EEXIST, syscall.ENOENT, syscall.ENOTDIR, syscall.EBUSY:
		return nil
	default:
		return &fs.PathError{Op: "rmdir", Path: name, Err: err}
	}
}

// there returns where the file called name is, and whether anything is.
func (t tree) there(name string) (path string, there bool, err error) {
	path, err = t.file(name)
	if err != nil {
		return "", false, err
	}
	_, err = os.Lstat(path)
	return path, err == nil, nil
}

// A directory is one in a tree: its name there, and where it really is.
type directory struct{ name, path string }

// missing lists which of the directories do not exist, in their order.
func (t tree) missing(names []string) (gone []directory, err error) {
	for _, name := range names {
		real, err := t.dir(name)
		if err != nil {
			return nil, err
		}
		fi, err := os.Stat(real)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			link, there, err := t.there(name)
			if err != nil {
				return nil, err
			}
			if there {
				return nil, fmt.Errorf("%s is a symbolic link to a missing file", link)
			}
			gone = append(gone, directory{name, real})
		case err != nil:
			return nil, err
		case !fi.IsDir():
			return nil, &fs.PathError{Op: "open", Path: real, Err: syscall.ENOTDIR}
		}
	}
	return gone, nil
}

// owner returns the user and group that own a file.
func owner(fi fs.FileInfo) (uid, gid int) {
	st := fi.Sys().(*syscall.Stat_t)
	return int(st.Uid), int(st.Gid)
}
