package sysfs

import (
	"errors"
	"io/fs"
	"syscall"
	"time"
)

// Recorder is told what a recorded tree answers: the entry that another tree needs under that name to give the same
// answer; "" is the root. A name that is asked for again comes again. Several goroutines call it at once.
type Recorder func(name string, e Entry)

// Entry is what was found under a name. At most one of Gone, Dir, Data, Link, Changed and Err is set; none of them says
// only that something is there.
type Entry struct {
	Gone    bool      // there is nothing
	Dir     bool      // a directory
	Data    []byte    // what was read of a file, not nil
	Link    string    // where a symbolic link leads, which was not followed
	Changed time.Time // when a file was last modified; another entry has what it holds
	Err     error     // it is there, and could not be read

	File   bool // a file was to be read, whatever came of it
	Made   bool // Data is in no host's file: this package made it
	Chosen bool // the file lies where somebody chose, so that its name says nothing of what it holds: see [FS.ReadOf]
	Cut    bool // Data is whole lines from the beginning of a file that has more
}

// gone reports whether an error says that a file is not there: of control groups also that theirs lacks the controller,
// or was removed just now.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENODEV)
}
