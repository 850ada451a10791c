package sysfs

import (
	"fmt"
	"strings"
)

// Place is where a process belongs, by its control group.
type Place struct {
	// Unit is the systemd unit, "vpp.service": the outermost, as what it calls
	// the groups below its own is its own choice. "" where there is none.
	Unit string
	// Container is the first digits of the id of the container that it is in,
	// "3f2a9c1b2d4e"; "" where there is none.
	Container string
	// User says that it is in a user's session, or was started by a user's systemd.
	User bool
}

// String is the container ("container 3f2a9c1b2d4e"), else the unit; "" where
// neither can be told.
func (p Place) String() string {
	if p.Container != "" {
		return "container " + p.Container
	}
	return p.Unit
}

// Place returns where a process belongs.
func (f FS) Place(pid int) (Place, error) {
	text, err := f.ReadFile(fmt.Sprintf("proc/%d/cgroup", pid), tableLimit)
	if err != nil {
		return Place{}, err
	}
	return parsePlace(string(text)), nil
}

// parsePlace looks in the control group of version 2 (0::PATH) or, with version 1,
// in systemd's own hierarchy, which has the path where both are mounted.
func parsePlace(text string) Place {
	var p Place
	for line := range lines(text) {
		// hierarchy:controllers:path
		parts := strings.SplitN(line, ":", 3)
		if len(parts) < 3 || parts[0] != "0" && parts[1] != "name=systemd" {
			continue
		}
		slices := true // so far: nobody but systemd has made any of these groups
		for _, name := range strings.Split(strings.Trim(parts[2], "/"), "/") {
			p.User = p.User || name == "user.slice" || strings.HasPrefix(name, "user-") && strings.HasSuffix(name, ".slice")
			if id := containerID(name); id != "" && p.Container == "" {
				p.Container = id[:12]
			}
			if unit := strings.TrimPrefix(name, "_"); slices && isUnit(unit) { // systemd puts a _ before what would be a file of the kernel's
				p.Unit = unit
			}
			slices = slices && strings.HasSuffix(name, ".slice")
		}
	}
	return p
}

// isUnit says whether a name can be that of a unit with processes (unit_name_is_valid
// in systemd's unit-name.c).
func isUnit(name string) bool {
	const valid = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:-_.\\@"
	return (strings.HasSuffix(name, ".service") || strings.HasSuffix(name, ".scope")) && len(name) < 256 && strings.Trim(name, valid) == ""
}

// containerID returns the 64 hexadecimal digits by which container engines name
// their control groups: docker-ID.scope, libpod-ID.scope, crio-ID.scope,
// cri-containerd-ID.scope, libpod_parent/libpod-ID, or the ID alone.
func containerID(name string) string {
	name = strings.TrimSuffix(name, ".scope")
	name = name[strings.LastIndexByte(name, '-')+1:]
	if len(name) != 64 || strings.Trim(name, "0123456789abcdef") != "" {
		return ""
	}
	return name
}
