package survey

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

// service is what tells a service that runs as a user of its own.
type service struct {
	units []string // parts of the names of its systemd units, of whole words
	users []int    // in the images of its containers, whose own the numbers are
}

var (
	novaService = service{
		units: []string{"nova", "n-cpu"}, // the latter is devstack's
		users: []int{42436, 42424},       // Kolla's, TripleO's and RHOSO's; openstack-helm's
	}
	ovsService = service{
		units: []string{"ovs", "ovsdb", "openvswitch"},
		users: []int{42476, 42424}, // the same in turn
	}
)

// trust is how far a process is believed to be what it calls itself.
type trust int

// From none, each is worth more than the one before.
const (
	untrusted   trust = iota
	contained         // it is in a container, as the service's user
	roots             // it is root's
	inUnit            // it is in the service's unit
	rootsInUnit       // both
)

// believed says whether a process is what it calls itself. Its name and its
// arguments are its own choice, so that what counts is who has started it: root, or
// systemd in the service's own unit, or a container's engine, as the user that the
// service has in its images. Nothing in a user's session is believed, whoever's it is.
func believed(root sysfs.FS, p sysfs.Process, s service) bool {
	return trusted(root, p, s) != untrusted
}

// trusted says how far a process is believed.
func trusted(root sysfs.FS, p sysfs.Process, s service) (t trust) {
	place, err := root.Place(p.PID)
	if err != nil && (root.Live() || !errors.Is(err, fs.ErrNotExist)) || place.User {
		return untrusted
	}
	own := p.UID == 0 || p.UID < 0 && !root.Live()
	switch unit := s.runsIn(place.Unit); {
	case own && unit:
		t = rootsInUnit
	case unit:
		t = inUnit
	case own:
		t = roots
	case place.Container != "" && slices.Contains(s.users, p.UID):
		t = contained
	default:
		return untrusted
	}
	if !runsProgramOf(root, p, 0, p.UID) {
		return untrusted
	}
	return t
}

// runsIn says whether a unit is one of the service's: nova_compute.service is, and
// renovate.service is not.
func (s service) runsIn(unit string) bool {
	name, ok := strings.CutSuffix(unit, ".service")
	return ok && slices.ContainsFunc(s.units, func(part string) bool {
		return strings.Contains(wordsOf(name), wordsOf(part))
	})
}

// wordsOf returns the words of a name, each with a blank before and behind.
func wordsOf(name string) string {
	return " " + strings.Join(strings.FieldsFunc(name, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}), " ") + " "
}

// runsProgramOf says whether the program that a process runs is one of these users',
// and not everybody's to write to.
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

// container says whether a process has other mounts than this one, and than the
// host's first: a service of systemd's has its own, too, where it is confined.
func container(root sysfs.FS, pid int) bool {
	mounts := func(of string) string {
		namespace, _ := root.Readlink("proc/" + of + "/ns/mnt")
		return namespace
	}
	own, other := mounts("self"), mounts(strconv.Itoa(pid))
	return own != "" && other != "" && other != own && other != mounts("1")
}
