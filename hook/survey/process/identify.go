// Package process tells which of a host's processes run, and who each is: a guest's QEMU, Open vSwitch, nova-compute, or
// any other. A process chooses its name and its arguments, so that who started it decides whether it is believed.
package process

import (
	"path"
	"strings"

	"hugeguard/guard"
	"hugeguard/sysfs"
)

// Identify returns what kind of holder a process is and how it is called; guests are the running ones by pid. By its
// name and its arguments one is taken for a service's or for a guest only if it is believed; any other is a process of
// that name.
func Identify(root sysfs.FS, p sysfs.Process, guests map[int]string) (kind guard.HolderKind, name string) {
	if name, ok := guests[p.PID]; ok {
		return guard.HolderGuest, name
	}
	// Before Linux 4.17 the arguments can lie on a file system that does not answer
	// (proc_pid_cmdline_read): only those that matter are read.
	program := path.Base(root.Program(p.PID))
	if isQEMU(program) && runsProgramOf(root, p, 0) || program == "." && !root.Live() {
		a := ArgumentsOf(root, p.PID)
		if a.IsGuest {
			return guard.HolderGuest, a.Guest
		}
	}
	if Believed(root, p, OpenVSwitch) && (IsOVS(p.Name) || IsOVS(program) || ArgumentsOf(root, p.PID).OVS) {
		return guard.HolderOVS, p.Name
	}
	return guard.HolderProcess, p.Name
}

// IsQEMU reports whether a process may be a QEMU, started by anybody.
func IsQEMU(root sysfs.FS, p sysfs.Process) bool {
	return isQEMU(p.Name) || isQEMU(path.Base(root.Program(p.PID)))
}

// isQEMU recognises QEMU by its program's name: qemu-system-x86_64, qemu-kvm, kvm-spice.
func isQEMU(program string) bool {
	return strings.Contains(program, "qemu") || strings.Contains(program, "kvm")
}

// IsOVS recognises Open vSwitch's daemon by its program's name, which Debian
// lengthens (ovs-vswitchd-dpdk) and the kernel cuts to 15 bytes.
func IsOVS(program string) bool { return strings.HasPrefix(program, "ovs-vswitchd") }

// Guests returns the names of libvirt's running guests by pid, from the
// pid files of its QEMU driver. driver.pid among them is the daemon's own.
func Guests(root sysfs.FS) map[int]string {
	const dir = "run/libvirt/qemu"
	guests := map[int]string{}
	files, _ := root.ReadDir(dir) // no guests, or no libvirt
	for _, file := range files {
		name, ok := strings.CutSuffix(file, ".pid")
		if !ok || name == "driver" {
			continue
		}
		if pid, err := root.ReadPID(dir + "/" + file); err == nil {
			guests[pid] = name
		}
	}
	return guests
}
