package sysfs

import (
	"fmt"
	"slices"
	"strings"
)

// Place is where a process belongs, by its control group.
type Place struct {
	// Unit is the systemd unit, "vpp.service": the outermost, as a unit chooses the names of the groups below its own.
	// "" where there is none.
	Unit string
	// Container is the first digits of the id of the container that it is in, "3f2a9c1b2d4e", the outermost; "" where
	// there is none, or where that is not certain: a user's own is none.
	Container string
	// Engine is the program that stops the container, by the name of its control group: docker, podman or crictl; ""
	// where that cannot be told, and where the process is in another container within.
	Engine string
	// User says that it is in a user's session, or was started by a user's systemd.
	User bool
	// Pod says that it is in a pod of Kubernetes.
	Pod bool
	// Outside says that its control group is not below the topmost that this process sees, as that of a process outside
	// of this one's container (cgroup_namespaces(7)).
	Outside bool
	// Top says that its control group of version 2 is the topmost that it sees. Only [FS.OwnPlace] sets it.
	Top bool
}

// String returns the container ("container 3f2a9c1b2d4e"), else the unit; "" where neither can be told.
func (p Place) String() string {
	if p.Container != "" {
		return "container " + p.Container
	}
	return p.Unit
}

// Place returns where a process belongs, by /proc/PID/cgroup (cgroups(7)).
func (f FS) Place(pid int) (Place, error) {
	text, err := f.ReadFile(fmt.Sprintf("proc/%d/cgroup", pid), tableLimit)
	if err != nil {
		return Place{}, err
	}
	return parsePlace(string(text)), nil
}

// OwnPlace returns where this process belongs, which may be told by any hierarchy: a container may see its own for the
// root of some.
func (f FS) OwnPlace() (Place, error) {
	text, err := f.ReadFile("proc/self/cgroup", tableLimit)
	if err != nil {
		return Place{}, err
	}
	return parseOwnPlace(string(text)), nil
}

func parseOwnPlace(text string) Place {
	var p Place
	for line := range lines(text) {
		if group, ok := parseCgroupLine(line); ok {
			p.Top = p.Top || group.hierarchy == "0" && group.path == "/"
			p.add(group.path)
		}
	}
	return p
}

func parsePlace(text string) Place {
	var p Place
	for line := range lines(text) {
		group, ok := parseCgroupLine(line)
		if ok && group.tellsPlace() {
			p.add(group.path)
		}
	}
	return p
}

// tellsPlace reports whether a hierarchy is version 2 (0::PATH) or systemd's own of version 1, which has the path where
// both are mounted.
func (g cgroupLine) tellsPlace() bool {
	return g.hierarchy == "0" || slices.Contains(g.controllers, "name=systemd")
}

// add takes in the path of a control group. It is believed as far as systemd and the engines of containers have made the
// groups: below a unit, or in a user's session, anybody may name one like a container of somebody else's.
func (p *Place) add(path string) {
	p.Outside = p.Outside || strings.HasPrefix(path, "/../")
	systemds, roots := true, true // so far: only systemd, or one of the engines, has made any of these groups
	parent, container := "", ""
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		slice := strings.HasSuffix(name, ".slice")
		p.Pod = p.Pod || strings.HasPrefix(name, "kubepods") // and kubepods.slice, kubepods-burstable.slice
		p.User = p.User || name == "user.slice" || slice && strings.HasPrefix(name, "user-")
		id := containerID(name)
		switch {
		case id != "" && container != "":
			p.Engine = "" // which would stop the outer one
		case id != "" && roots && !p.User:
			container = id
			p.Container, p.Engine = id[:12], p.engine(name, parent)
		}
		unit := strings.TrimPrefix(name, "_") // systemd puts a _ before what would be a file of the kernel's
		if systemds && isUnit(unit) {
			p.Unit = unit
		}
		systemds = systemds && slice
		roots = roots && (slice || p.isParent(name))
		parent = name
	}
}

// isParent reports whether a group is one in which the engines put containers: Docker and Podman without systemd, and
// kubelet, which has groups of its own for pods. ".." leads out of the groups that this process sees.
func (p *Place) isParent(name string) bool {
	if p.Pod && (name == "burstable" || name == "besteffort" || strings.HasPrefix(name, "pod")) {
		return true
	}
	return slices.Contains([]string{"docker", "libpod_parent", "kubepods", ".."}, name)
}

// isUnit reports whether a name can be that of a unit with processes (unit_name_is_valid in systemd's unit-name.c).
func isUnit(name string) bool {
	const valid = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:-_.\\@"
	return (strings.HasSuffix(name, ".service") || strings.HasSuffix(name, ".scope")) && len(name) < 256 && strings.Trim(name, valid) == ""
}

// containerID returns the 64 hexadecimal digits by which container engines name their control groups: docker-ID.scope,
// libpod-ID.scope, crio-ID.scope, cri-containerd-ID.scope, libpod_parent/libpod-ID, or the ID alone.
func containerID(name string) string {
	name = strings.TrimSuffix(name, ".scope")
	name = name[strings.LastIndexByte(name, '-')+1:]
	if len(name) != 64 || strings.Trim(name, "0123456789abcdef") != "" {
		return ""
	}
	return name
}

// engine returns the program that rules over a container whose control group has that name, in that of its parent.
func (p *Place) engine(name, parent string) string {
	switch {
	case strings.HasPrefix(name, "libpod-"):
		return "podman"
	case p.Pod, strings.HasPrefix(name, "crio-"), strings.HasPrefix(name, "cri-containerd-"):
		return "crictl"
	case strings.HasPrefix(name, "docker-"), parent == "docker":
		return "docker"
	}
	return ""
}

// reducePlace keeps the control groups that tell the place.
func reducePlace(text []byte) ([]byte, error) {
	kept := []byte{}
	for line := range lines(string(text)) {
		group, ok := parseCgroupLine(line)
		if ok && group.tellsPlace() {
			kept = appendLine(kept, line)
		}
	}
	return kept, nil
}
