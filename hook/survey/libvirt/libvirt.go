// Package libvirt reads how the system's libvirt is configured, and which releases of libvirt and QEMU serve a domain,
// without asking the daemon or running anything. What is not certain stays unknown.
package libvirt

import (
	"hugeguard/sysfs"
)

// Libvirt is what is known of libvirt's configuration.
type Libvirt struct {
	root    sysfs.FS
	conf    Conf
	certain bool // it goes by that

	// Unread is why qemu.conf could not be read, nil where it could.
	Unread error
}

// Read reads libvirt's configuration.
func Read(root sysfs.FS) Libvirt {
	l := Libvirt{root: root}
	l.conf, l.certain, l.Unread = readQEMUConf(root)
	return l
}

// sure reports whether it is known what libvirt goes by.
func (l Libvirt) sure() bool { return l.Unread == nil && l.certain }

// Mounts returns where libvirt was told to look for hugetlbfs (hugetlbfs_mount); nil if it looks for the mounts itself,
// or if that is not known.
func (l Libvirt) Mounts() []string {
	if !l.sure() {
		return nil
	}
	return l.conf.mounts
}

// usualBackingDir is where libvirt has files of guests' memory (virQEMUDriverConfigNew).
const usualBackingDir = "/var/lib/libvirt/qemu/ram"

// BackingDir returns where libvirt has files of guests' memory (memory_backing_dir), and whether that is certain.
func (l Libvirt) BackingDir() (dir string, certain bool) {
	if l.conf.backing == nil {
		return usualBackingDir, true
	}
	return l.conf.backing[0], l.sure()
}

// Ungoverned reports whether libvirt uses no control groups at all.
func (l Libvirt) Ungoverned() bool {
	return l.sure() && l.conf.controllers != nil && len(l.conf.controllers) == 0
}
