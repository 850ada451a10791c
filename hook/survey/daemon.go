package survey

import (
	"slices"
	"strings"

	"hugeguard/guard"
	"hugeguard/hook/survey/libvirt"
	"hugeguard/sysfs"
)

// libvirtDir is what libvirt's daemon makes on each hugetlbfs mount that it knows (qemuHugepageMakeBasedir).
const libvirtDir = "libvirt/qemu"

var awareness = map[sysfs.MountAge]guard.Awareness{
	sysfs.MountKnown:   guard.Aware,
	sysfs.MountLater:   guard.Unaware,
	sysfs.MountUnknown: guard.Untold,
}

// addDaemon adds which unit libvirt's daemon is, and which mounts it knows. Where qemu.conf names the mounts it knows
// these. It goes by paths, so that it may know a mount by one that this hides.
func addDaemon(root sysfs.FS, host *guard.Host) {
	host.Daemon = daemonUnit(root)
	mounts, _ := root.Mounts() // the host has been read by them
	for i := range host.Mounts {
		m := &host.Mounts[i]
		if host.Configured {
			m.Daemon = guard.Aware
			continue
		}
		replaces := slices.ContainsFunc(mounts.Hugetlb, func(seen sysfs.Mount) bool { return seen.Path == m.Path && seen.Replaces })
		if replaces {
			m.Daemon = guard.Untold
			continue
		}
		age, err := root.MountAge(m.Path, libvirtDir, libvirt.DriverPID)
		if err != nil {
			age = sysfs.MountUnknown
		}
		m.Daemon = awareness[age]
	}
}

// daemonUnit returns the unit of the daemon that runs QEMU, "" where that is not known.
func daemonUnit(root sysfs.FS) string {
	pid, err := root.ReadPID(libvirt.DriverPID)
	if err != nil {
		return ""
	}
	place, err := root.Place(pid)
	if err != nil || place.Container != "" || !strings.HasSuffix(place.Unit, ".service") {
		return ""
	}
	return place.Unit
}

// CopyDaemon adds to a host what [Full] has found out of libvirt's daemon on the same one.
func CopyDaemon(host *guard.Host, seen guard.Host) {
	host.Daemon = seen.Daemon
	for i := range host.Mounts {
		same := slices.IndexFunc(seen.Mounts, func(m guard.Mount) bool { return m.Path == host.Mounts[i].Path })
		if same >= 0 {
			host.Mounts[i].Daemon = seen.Mounts[same].Daemon
		}
	}
}
