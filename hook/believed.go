package hook

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"hugeguard/sysfs"
)

// Parts of the names of the systemd units in which a service runs as a user of its own.
var (
	novaUnits = []string{"nova", "n-cpu"} // the latter is devstack's
	ovsUnits  = []string{"ovs", "openvswitch"}
)

// believed says whether a process is what it calls itself. Its name and its
// arguments are its own choice, so that what counts is who has started it: root, or
// systemd or a container's engine, in the service's own unit or in a container, as
// the service's own user. Nothing in a user's session is believed, whoever's it is.
func believed(root sysfs.FS, p sysfs.Process, units []string) bool {
	place, err := root.Place(p.PID)
	if err != nil && (root.Live() || !errors.Is(err, fs.ErrNotExist)) || place.User {
		return false
	}
	if p.UID != 0 && (p.UID > 0 || root.Live()) && place.Container == "" &&
		!slices.ContainsFunc(units, func(part string) bool {
			return strings.HasSuffix(place.Unit, ".service") && strings.Contains(place.Unit, part)
		}) {
		return false
	}
	return runsProgramOf(root, p, 0, p.UID)
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
