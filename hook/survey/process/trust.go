package process

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"hugeguard/sysfs"
)

// A Service is what tells a service that runs as a user of its own.
type Service struct {
	Units []string // parts of the names of its systemd units, of whole words
	Users []int    // in the images of its containers, whose own the numbers are
}

var (
	Nova = Service{
		Units: []string{"nova", "n-cpu"}, // the latter is devstack's
		Users: []int{42436, 42424},       // Kolla's, TripleO's and RHOSO's; openstack-helm's
	}
	OpenVSwitch = Service{
		Units: []string{"ovs", "ovsdb", "openvswitch"},
		Users: []int{42476, 42424}, // the same in turn
	}
)

// Trust is how far a process is believed to be what it calls itself.
type Trust int

// From none, each is worth more than the one before.
const (
	Untrusted   Trust = iota
	contained         // it is in a container, as the service's user
	roots             // it is root's
	inUnit            // it is in the service's unit
	rootsInUnit       // both
)

// Believed reports whether a process is what it calls itself. Its name and its arguments are its own choice, so that
// what counts is who has started it: root, or systemd in the service's own unit, or a container's engine, as the user
// that the service has in its images. Nothing in a user's session is believed, whoever's it is.
func Believed(root sysfs.FS, p sysfs.Process, s Service) bool {
	return Trusted(root, p, s) != Untrusted
}

// Trusted says how far a process is believed.
func Trusted(root sysfs.FS, p sysfs.Process, s Service) (t Trust) {
	place, err := root.Place(p.PID)
	if err != nil && (root.Live() || !errors.Is(err, fs.ErrNotExist)) || place.User {
		return Untrusted
	}
	own := p.UID == 0 || p.UID < 0 && !root.Live()
	switch unit := s.RunsIn(place.Unit); {
	case own && unit:
		t = rootsInUnit
	case unit:
		t = inUnit
	case own:
		t = roots
	case place.Container != "" && slices.Contains(s.Users, p.UID):
		t = contained
	default:
		return Untrusted
	}
	if !runsProgramOf(root, p, 0, p.UID) {
		return Untrusted
	}
	return t
}

// RunsIn says whether a unit is one of the service's: nova_compute.service is, and renovate.service is not.
func (s Service) RunsIn(unit string) bool {
	name, ok := strings.CutSuffix(unit, ".service")
	return ok && slices.ContainsFunc(s.Units, func(part string) bool {
		return strings.Contains(wordsOf(name), wordsOf(part))
	})
}

// wordsOf returns the words of a name, each with a blank before and behind.
func wordsOf(name string) string {
	return " " + strings.Join(strings.FieldsFunc(name, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}), " ") + " "
}

// runsProgramOf says whether the program that a process runs is one of these users', and not everybody's to write to.
func runsProgramOf(root sysfs.FS, p sysfs.Process, users ...int) bool {
	name := fmt.Sprintf("proc/%d/exe", p.PID)
	return root.Sure(name, func() bool {
		var stat syscall.Stat_t
		switch err := syscall.Stat(root.Path(name), &stat); err {
		case nil:
			return slices.Contains(users, int(stat.Uid)) && stat.Mode&0o002 == 0
		case syscall.EACCES, syscall.EPERM:
			return p.UID == 0 // a security module's, which root's own may keep secrets from
		}
		return false
	})
}

// InContainer reports whether a process has other mounts than this one, and than the
// host's first: a service of systemd's has its own, too, where it is confined.
func InContainer(root sysfs.FS, pid int) bool {
	mounts := func(of string) string {
		namespace, _ := root.Readlink("proc/" + of + "/ns/mnt")
		return namespace
	}
	own, other := mounts("self"), mounts(strconv.Itoa(pid))
	return own != "" && other != "" && other != own && other != mounts("1")
}
