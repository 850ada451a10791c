package sysfs

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
)

// MountAge is what is known of when a hugetlbfs was mounted.
type MountAge string

// The ages of a mount.
const (
	MountKnown   MountAge = "known"   // the daemon knows it, or does not run
	MountLater   MountAge = "later"   // it was mounted after the daemon had started
	MountUnknown MountAge = "unknown" // neither can be told
)

// MountAge compares a hugetlbfs mount with a daemon that, when it starts, writes a pid file and makes a directory on
// each mount that it finds. A mount with that directory is known to the daemon. One without it is later than the daemon
// if its root is younger than the pid file.
//
// A captured host has the answer in a file named as the mount point with ".age" appended.
func (f FS) MountAge(mount, directory, pidFile string) (MountAge, error) {
	at := strings.TrimPrefix(mount, "/")
	name := at + ".age"
	if !f.Live() {
		text, err := f.readMade(name, counterLimit)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return MountUnknown, nil
		case err != nil:
			return MountUnknown, err
		}
		return parseAge(string(text))
	}
	age, err := f.mountAge(at, directory, pidFile)
	f.record(name, Entry{Data: []byte(age + "\n"), Made: true}, err)
	return age, err
}

// parseAge parses what a captured host has of a mount's age.
func parseAge(text string) (MountAge, error) {
	age := MountAge(strings.TrimSpace(text))
	if age != MountKnown && age != MountLater && age != MountUnknown {
		return MountUnknown, fmt.Errorf("%s is not the age of a mount", quote(string(age)))
	}
	return age, nil
}

func (f FS) mountAge(at, directory, pidFile string) (MountAge, error) {
	var root, made, daemon syscall.Stat_t
	err := lstatPath(f.Path(at), &root)
	if err != nil {
		return MountUnknown, err
	}
	err = lstatPath(f.Path(at+"/"+directory), &made)
	if err == nil {
		return MountKnown, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return MountUnknown, nil // a user's
	}
	err = statPath(f.Path(pidFile), &daemon)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return MountKnown, nil
	case err == nil && newer(root.Ctim, daemon.Mtim):
		return MountLater, nil
	}
	return MountUnknown, nil
}

// newer reports whether a is later than b.
func newer(a, b syscall.Timespec) bool {
	return a.Sec > b.Sec || a.Sec == b.Sec && a.Nsec > b.Nsec
}
