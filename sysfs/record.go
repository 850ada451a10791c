package sysfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"
)

// Recorder is told what a recorded tree answers: the entry that another tree
// needs under that name, "" being its root, to give the same answer. A
// name that is asked for again comes again. Several goroutines call it at once.
type Recorder func(name string, e Entry)

// Entry is what was found under a name. Of the fields one is set at the most, Made
// and Cut aside; none is that something is there.
type Entry struct {
	Gone    bool      // there is nothing
	Dir     bool      // a directory
	Data    []byte    // what was read of a file, not nil
	Made    bool      // Data is of no host's file, but of this package's own making
	Cut     bool      // Data is whole lines from the beginning of a file that has more
	Link    string    // where a symbolic link leads, which was not followed
	Changed time.Time // when a file was last modified; another entry has what is in it
	Err     error     // it is there, and could not be read
}

// Recorded returns the same tree; to is told of all that is read through it.
func (f FS) Recorded(to Recorder) FS {
	f.recorder = to
	return f
}

// record tells the recorder what was found, or why nothing.
func (f FS) record(name string, found Entry, err error) {
	if f.recorder == nil {
		return
	}
	switch {
	case err == nil:
	case noCgroup(err) || errors.Is(err, syscall.ESRCH):
		found = Entry{Gone: true}
	default:
		found = Entry{Err: err}
	}
	f.recorder(strings.TrimPrefix(path.Clean("/"+name), "/"), found)
}

// recordFiles records files that no copy has the pages of, as capturedFiles reads
// them.
func (f FS) recordFiles(name string, files []File, err error) {
	if f.recorder == nil {
		return
	}
	var text strings.Builder
	for _, file := range files {
		fmt.Fprintln(&text, file)
	}
	if len(files) > 0 && err != nil {
		fmt.Fprintln(&text, "and others:", err)
		err = nil
	}
	f.record(name, Entry{Data: []byte(text.String()), Made: true}, err)
}

// readMade reads what a captured host has in place of what no copy can tell.
func (f FS) readMade(name string, limit int) ([]byte, error) {
	unrecorded := f
	unrecorded.recorder = nil
	data, err := unrecorded.ReadFile(name, limit)
	f.record(name, Entry{Data: data, Made: true}, err)
	return data, err
}

// Sure asks the running host what no copy of /name can tell of it, and takes
// yes for the answer of a captured host, unless it has a file /name.unsure.
func (f FS) Sure(name string, ask func() bool) bool {
	unsure := name + ".unsure"
	if !f.Live() {
		return !f.Exists(unsure)
	}
	sure := ask()
	if sure {
		f.record(unsure, Entry{Gone: true}, nil)
	} else {
		f.record(unsure, Entry{Data: []byte{}, Made: true}, nil)
	}
	return sure
}

// Stat describes the file or directory /name.
func (f FS) Stat(name string) (fs.FileInfo, error) {
	path, err := f.at(name)
	if err != nil {
		f.record(name, Entry{}, err)
		return nil, err
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		f.record(name, Entry{}, err)
	case info.IsDir():
		f.record(name, Entry{Dir: true}, nil)
	default:
		f.record(name, Entry{Changed: info.ModTime()}, nil)
	}
	return info, err
}

// Readlink returns where the symbolic link /name leads.
func (f FS) Readlink(name string) (string, error) {
	path := f.Path(name)
	if !f.Live() {
		var err error
		if path, err = Resolve(f.root, name, false); err != nil {
			return "", err
		}
	}
	target, err := os.Readlink(path)
	f.record(name, Entry{Link: target}, err)
	return target, err
}

// at returns the path of /name, every symbolic link of a captured tree resolved
// within the tree: who reads one that others made reads nothing of the own host.
func (f FS) at(name string) (string, error) {
	if f.Live() {
		return f.Path(name), nil
	}
	return Resolve(f.root, name, true)
}

// maxLinks is the kernel's own limit on symbolic links in one path
// (path_resolution(7)).
const maxLinks = 40

// Resolve returns where the file really is that is called name below root, every
// symbolic link resolved as a chroot into the root would: none leads out of it.
// What does not exist is kept as it stands. Without last the last element is not
// followed. An error is [syscall.ELOOP], or of a link that cannot be read.
func Resolve(root, name string, last bool) (string, error) {
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
		target, err := os.Readlink(root + at)
		switch {
		case errors.Is(err, syscall.EINVAL), errors.Is(err, fs.ErrNotExist):
			continue // no link
		case err != nil:
			return "", err
		}
		if links++; links > maxLinks {
			return "", &fs.PathError{Op: "resolve", Path: root + "/" + strings.TrimPrefix(name, "/"), Err: syscall.ELOOP}
		}
		at = path.Dir(at)
		if path.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return root + at, nil
}
