package hook

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"hugeguard/guard"
	"hugeguard/guard/claims"
	"hugeguard/sysfs"
)

// LedgerDir holds the ledger of the starts in flight, below the root. Its lock
// is what may change the ledger.
const LedgerDir = "run/hugeguard"

const (
	ledgerName = "claims.json"
	ledgerNew  = ledgerName + ".new" // until it is complete
)

var (
	// errLockHeld is that others kept the lock for too long.
	errLockHeld = errors.New("locked by another start for too long")
	// errNotOurs is that somebody else could write there.
	errNotOurs = errors.New("not a directory or file of root's alone")
)

// ledgerFile is the ledger with its lock held.
type ledgerFile struct {
	path string
	dir  int // the directory's descriptor, which has the lock
	boot string
	claims.Ledger
	stored bool // there is a file with claims
}

// lockLedger locks the ledger, within patience, and reads its text, which is nil
// where there is none. What cannot be read is told as unread.
func lockLedger(root sysfs.FS, patience time.Duration) (l *ledgerFile, text []byte, unread, err error) {
	path := root.Path(LedgerDir)
	if err := unix.Mkdir(path, 0o700); err != nil && err != unix.EEXIST {
		return nil, nil, nil, &fs.PathError{Op: "mkdir", Path: path, Err: err}
	}
	dir, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	l = &ledgerFile{path: path, dir: dir}
	defer func() {
		if err != nil {
			unix.Close(dir)
			l = nil
		}
	}()
	if err := ours(dir, unix.S_IFDIR); err != nil {
		return l, nil, nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	if err := lock(dir, patience); err != nil {
		return l, nil, nil, &fs.PathError{Op: "lock", Path: path, Err: err}
	}
	if l.boot, err = root.BootID(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return l, nil, nil, err
	}
	text, unread = readAt(dir, ledgerName)
	if unread == unix.ENOENT {
		return l, nil, nil, nil
	}
	l.stored = true
	return l, text, l.unread(unread), nil
}

// unread is an error of reading the file; nil for none.
func (l *ledgerFile) unread(err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: "read", Path: l.path + "/" + ledgerName, Err: err}
}

// openLedger locks the ledger, within patience, and reads it. One that makes no
// sense is an empty one, and told as unread.
func openLedger(root sysfs.FS, patience time.Duration) (l *ledgerFile, unread, err error) {
	l, text, unread, err := lockLedger(root, patience)
	if err != nil {
		return nil, nil, err
	}
	l.Ledger = claims.New(l.boot)
	if unread == nil && l.stored {
		l.Ledger, err = claims.Parse(text, l.boot)
		unread = l.unread(err)
	}
	return l, unread, nil
}

// close gives the lock back.
func (l *ledgerFile) close() { unix.Close(l.dir) }

// save stores the ledger.
func (l *ledgerFile) save() error {
	if len(l.Claims) == 0 {
		return l.store(nil)
	}
	return l.store(l.Text())
}

// store puts a ledger's text in place of what is there: at every instant the old
// one or the new one is there in full. One without claims is no file, so that it
// costs next to nothing to see that there is none.
func (l *ledgerFile) store(text []byte) error {
	if len(text) == 0 {
		if err := unix.Unlinkat(l.dir, ledgerName, 0); err != nil && err != unix.ENOENT {
			return &fs.PathError{Op: "remove", Path: l.path + "/" + ledgerName, Err: err}
		}
		return nil
	}
	if len(text) > claims.Limit {
		return fmt.Errorf("%s/%s: %w", l.path, ledgerName, sysfs.ErrTooLarge)
	}
	if err := l.replace(text); err != nil {
		return &fs.PathError{Op: "write", Path: l.path + "/" + ledgerName, Err: err}
	}
	return nil
}

func (l *ledgerFile) replace(text []byte) error {
	// One that a killed hook has left is nobody's.
	if err := unix.Unlinkat(l.dir, ledgerNew, 0); err != nil && err != unix.ENOENT {
		return err
	}
	fd, err := unix.Openat(l.dir, ledgerNew, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), ledgerNew)
	_, err = file.Write(text)
	if err = errors.Join(err, file.Close()); err == nil {
		err = unix.Renameat(l.dir, ledgerNew, l.dir, ledgerName)
	}
	if err != nil {
		_ = unix.Unlinkat(l.dir, ledgerNew, 0) // the next one does it, too
	}
	return err
}

// flock waits for a lock. Tests have it wait in their own time.
var flock = unix.Flock

// lock takes the lock of an open directory, within patience. The kernel gives
// it to those who wait in their order, and takes it back when its holder ends,
// however that happens.
func lock(dir int, patience time.Duration) error {
	if err := unix.Flock(dir, unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
		return err
	}
	// Should it come too late, it goes back with the last descriptor: the
	// caller closes its own.
	waiting, err := unix.FcntlInt(uintptr(dir), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	locked := make(chan error, 1)
	go func() {
		defer unix.Close(waiting)
		var err error = unix.EINTR
		for err == unix.EINTR {
			err = flock(waiting, unix.LOCK_EX)
		}
		locked <- err
	}()
	select {
	case err := <-locked:
		return err
	case <-time.After(patience):
		return errLockHeld
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
	if _, err := text.ReadFrom(io.LimitReader(file, claims.Limit+1)); err != nil {
		return nil, err
	}
	if text.Len() > claims.Limit {
		return nil, sysfs.ErrTooLarge
	}
	return text.Bytes(), nil
}

// ours says what keeps an open file from being one of a kind that nobody but
// we ourselves can have written.
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

// readLedger reads the ledger without its lock, for those who only look.
func readLedger(root sysfs.FS) (claims.Ledger, error) {
	boot, err := root.BootID()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return claims.Ledger{}, err
	}
	read := root.ReadOwn
	if !root.Live() {
		read = root.ReadFile // whose it was is not captured
	}
	text, err := read(LedgerDir+"/"+ledgerName, claims.Limit)
	if errors.Is(err, fs.ErrNotExist) {
		return claims.New(boot), nil
	}
	if err != nil {
		return claims.New(boot), err
	}
	l, err := claims.Parse(text, boot)
	if err != nil {
		err = fmt.Errorf("%s: %w", root.Path(LedgerDir+"/"+ledgerName), err)
	}
	return l, err
}

// endPatience is how long the end of a start waits for the lock. A start waits
// for a half of its deadline, and an eighth if only to be entered.
const endPatience = time.Second

// openLedger returns the ledger, locked, or nil: the launch is judged without
// it then, and never refused for it.
func (c *call) openLedger(patience time.Duration) *ledgerFile {
	if !c.privileged || !c.config.Claims {
		return nil
	}
	l, unread, err := openLedger(c.fs, patience)
	c.ledgerBusy = errors.Is(err, errLockHeld)
	switch {
	case err != nil:
		c.noteLedger("this start is judged without those in flight: " + oneLine(err))
	case unread != nil:
		c.noteLedger("those in flight were forgotten: " + oneLine(unread))
	}
	return l
}

// noteLedger warns once of trouble with the ledger.
func (c *call) noteLedger(message string) {
	if !c.ledgerNoted {
		c.ledgerNoted = true
		c.note(entry{Message: message, Priority: warning})
	}
}

// keepLedger enters a launch that is let go on, and saves what has changed.
func (c *call) keepLedger(l *ledgerFile, v guard.Verdict, changed bool) {
	var err error
	if c.letsGoOn(v) {
		var own claims.Claim
		if own, err = claimOf(c.fs, v); err == nil {
			err = own.Check()
		}
		switch {
		case err != nil:
			changed = l.Drop(v.Domain.Name) || changed
		case len(own.Parts) > 0:
			l.Put(own)
			changed = true
		}
	} else if l.Drop(v.Domain.Name) {
		changed = true // of an earlier attempt
	}
	if changed || l.stored && len(l.Claims) == 0 {
		err = errors.Join(err, l.save())
	}
	if err != nil {
		c.noteLedger("starts that follow will not know of this one: " + oneLine(err))
	}
}

// ended ends the claim of the domain whose start is over. Without any there is
// nothing to do, which is seen without a lock.
func (c *call) ended() {
	if !c.privileged || !c.fs.Exists(LedgerDir+"/"+ledgerName) {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			c.noteLedger(oneLine(defect(r)))
		}
	}()
	l, text, unread, err := lockLedger(c.fs, endPatience)
	if err == nil {
		defer l.close()
		err = unread // by a start it is replaced
	}
	if err == nil {
		if rest := claims.Without(text, l.boot, c.args[1]); !bytes.Equal(rest, text) || len(rest) == 0 {
			err = l.store(rest)
		}
	}
	if err != nil {
		c.noteLedger("the end of this start is not noted: " + oneLine(err))
	}
}
