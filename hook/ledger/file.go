package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"hugeguard/sysfs"
)

const (
	// Dir holds the ledger, below the root. Its lock is what may change the ledger.
	Dir = "run/hugeguard"
	// Path is the ledger's file, below the root.
	Path = Dir + "/" + fileName

	fileName = "claims"
	newName  = fileName + ".new" // until it is complete
	// olderName is where releases before this one have theirs, which is not understood.
	olderName = "claims.json"
)

var (
	// ErrBusy is that others kept the lock for too long.
	ErrBusy = errors.New("locked by another start for too long")
	// errNotOurs is that somebody else could write there.
	errNotOurs = errors.New("it must be owned by root, and only root may write to it")
)

// Locked is the ledger with its lock held.
type Locked struct {
	Ledger
	Stored bool // there is a file

	path string
	dir  int // the directory's descriptor, which has the lock
	boot string
}

// lockFile locks the ledger, within patience, and reads its text, which is nil
// where there is none. What cannot be read is told as unread.
func lockFile(root sysfs.FS, patience time.Duration) (l *Locked, text []byte, unread, err error) {
	path := root.Path(Dir)
	dir, err := openDir(path)
	if err != nil {
		return nil, nil, nil, err
	}
	l = &Locked{path: path, dir: dir}
	defer func() {
		if err != nil {
			unix.Close(dir)
			l = nil
		}
	}()
	if err := lock(dir, patience); err != nil {
		return l, nil, nil, &fs.PathError{Op: "lock", Path: path, Err: err}
	}
	l.boot, err = root.BootID()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return l, nil, nil, err
	}
	text, unread = readAt(dir, fileName)
	if unread == unix.ENOENT {
		return l, nil, l.forgetOlder(), nil
	}
	l.Stored = true
	return l, text, l.unread(unread), nil
}

// openDir opens a directory of ours, which it makes if it is not there.
func openDir(path string) (dir int, err error) {
	if err := unix.Mkdir(path, 0o700); err != nil && err != unix.EEXIST {
		return -1, &fs.PathError{Op: "mkdir", Path: path, Err: err}
	}
	dir, err = unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == nil {
		err = ours(dir, unix.S_IFDIR)
		if err == nil {
			return dir, nil
		}
		unix.Close(dir)
	}
	return -1, &fs.PathError{Op: "open", Path: path, Err: err}
}

// forgetOlder removes the ledger of an older release, and tells of it.
func (l *Locked) forgetOlder() error {
	err := unix.Unlinkat(l.dir, olderName, 0)
	switch err {
	case unix.ENOENT:
		return nil
	case nil:
		err = errForeign
	}
	return &fs.PathError{Op: "read", Path: l.path + "/" + olderName, Err: err}
}

// unread is an error of reading the file; nil for none.
func (l *Locked) unread(err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: "read", Path: l.path + "/" + fileName, Err: err}
}

// Open locks the ledger, within patience, and reads it. One that makes no sense is an empty one, and told as unread.
func Open(root sysfs.FS, patience time.Duration) (l *Locked, unread, err error) {
	l, text, unread, err := lockFile(root, patience)
	if err != nil {
		return nil, nil, err
	}
	l.Ledger = Ledger{Boot: l.boot}
	if unread == nil && l.Stored {
		l.Ledger, err = Parse(text, l.boot)
		unread = l.unread(err)
	}
	return l, unread, nil
}

// Close gives the lock back.
func (l *Locked) Close() { unix.Close(l.dir) }

// Save stores the ledger.
func (l *Locked) Save() error {
	if len(l.Claims) == 0 {
		return l.store(nil)
	}
	return l.store(l.Text())
}

// store puts a ledger's text in place of what is there: at every instant the old one or the new one is there in full.
// One without claims is no file, so that it costs next to nothing to see that there is none.
func (l *Locked) store(text []byte) error {
	if len(text) == 0 {
		if err := unix.Unlinkat(l.dir, fileName, 0); err != nil && err != unix.ENOENT {
			return &fs.PathError{Op: "remove", Path: l.path + "/" + fileName, Err: err}
		}
		return nil
	}
	if len(text) > Limit {
		return fmt.Errorf("%s/%s: %w", l.path, fileName, sysfs.ErrTooLarge)
	}
	if err := replace(l.dir, fileName, newName, text); err != nil {
		return &fs.PathError{Op: "write", Path: l.path + "/" + fileName, Err: err}
	}
	return nil
}

// keep puts a text in place of a file of one of our directories, without the lock: of those who do so at once, the last
// one's stays.
func keep(path, name string, text []byte) error {
	dir, err := openDir(path)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	if err := replace(dir, name, fmt.Sprintf("%s.%d.new", name, os.Getpid()), text); err != nil {
		return &fs.PathError{Op: "write", Path: path + "/" + name, Err: err}
	}
	return nil
}

// replace makes a file of an open directory hold a text, which is in another file until it is complete: nobody sees a
// part of it.
func replace(dir int, name, newName string, text []byte) error {
	// One that a killed hook has left is nobody's.
	if err := unix.Unlinkat(dir, newName, 0); err != nil && err != unix.ENOENT {
		return err
	}
	fd, err := unix.Openat(dir, newName, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), newName)
	_, err = file.Write(text)
	err = errors.Join(err, file.Close())
	if err == nil {
		err = unix.Renameat(dir, newName, dir, name)
	}
	if err != nil {
		_ = unix.Unlinkat(dir, newName, 0) // the next one does it, too
	}
	return err
}

// lock takes the lock of an open directory, within patience. The kernel gives it to those who wait in their order, and
// takes it back when its holder ends, however that happens.
func lock(dir int, patience time.Duration) error {
	if err := unix.Flock(dir, unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
		return err
	}
	// Should it come too late, it goes back with the last descriptor: the caller closes its own.
	waiting, err := unix.FcntlInt(uintptr(dir), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	locked := make(chan error, 1)
	go func() {
		defer unix.Close(waiting)
		var err error = unix.EINTR
		for err == unix.EINTR {
			err = unix.Flock(waiting, unix.LOCK_EX)
		}
		locked <- err
	}()
	select {
	case err := <-locked:
		return err
	case <-time.After(patience):
		return ErrBusy
	}
}

// readAt reads a file of a directory. It waits for no writer, should somebody
// have put a FIFO there, and follows no link.
func readAt(dir int, name string) ([]byte, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	if err := ours(fd, unix.S_IFREG); err != nil {
		return nil, err
	}
	var text bytes.Buffer
	text.Grow(16 << 10) // nearly always that is all
	if _, err := text.ReadFrom(io.LimitReader(file, Limit+1)); err != nil {
		return nil, err
	}
	if text.Len() > Limit {
		return nil, sysfs.ErrTooLarge
	}
	return text.Bytes(), nil
}

// ours says what keeps an open file from being one of a kind that nobody but we ourselves can have written.
func ours(fd int, kind uint32) error {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	if stat.Mode&unix.S_IFMT != kind || int(stat.Uid) != os.Geteuid() || stat.Mode&0o022 != 0 {
		return errNotOurs
	}
	return nil
}

// Read reads the ledger without its lock, for those who only look.
func Read(root sysfs.FS) (Ledger, error) {
	boot, err := root.BootID()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Ledger{}, err
	}
	read := root.ReadOwn
	if !root.Live() {
		read = root.ReadFile // whose it was is not captured
	}
	text, err := read(Path, Limit)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
		if root.Exists(Dir + "/" + olderName) {
			err = &fs.PathError{Op: "read", Path: root.Path(Dir + "/" + olderName), Err: errForeign}
		}
		return Ledger{Boot: boot}, err
	}
	if err != nil {
		return Ledger{Boot: boot}, err
	}
	l, err := Parse(text, boot)
	if err != nil {
		err = fmt.Errorf("%s: %w", root.Path(Path), err)
	}
	return l, err
}

// End ends the claim of a domain whose start is over, in the file, waiting for its lock within patience. Without any
// there is nothing to do, which is seen without a lock. At the event started, that of a guest that is being moved here by
// post-copy stays.
func End(root sysfs.FS, name, event string, patience time.Duration) error {
	if !root.Exists(Path) {
		return nil
	}
	l, text, unread, err := lockFile(root, patience)
	if err != nil {
		return err
	}
	defer l.Close()
	if unread != nil {
		return unread // a start replaces it
	}
	rest := Without(text, l.boot, name)
	if bytes.Equal(rest, text) && len(rest) > 0 {
		return nil
	}
	if event == "started" && len(rest) < len(text) && arrives(root, name) {
		rest = staying(text, l.boot, name)
	}
	return l.store(rest)
}
