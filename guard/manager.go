package guard

import "slices"

// Manager is a product that defines and starts guests through libvirt, or that a host belongs to. "" is nobody but
// libvirt's own administrators.
type Manager string

// The managers.
const (
	ManagerNova       Manager = "nova"
	ManagerOVirt      Manager = "ovirt"
	ManagerKubeVirt   Manager = "kubevirt" // of a host: a kubelet places pods on it
	ManagerOpenNebula Manager = "opennebula"
	ManagerStarlingX  Manager = "starlingx" // of a host alone: guests are Nova's
	ManagerProxmox    Manager = "proxmox"   // of a host alone: its own guests are not libvirt's
)

// Platform is what a host is part of, as far as there are signs of it.
type Platform struct {
	Managers []Manager // without Nova, of which [Host.Nova] tells
	Inside   Inside    // what hugeguard itself runs in
}

// Inside is what a process runs in.
type Inside string

// What hugeguard can run in. There root's commands are not the host's.
const (
	InsideHost      Inside = ""
	InsideContainer Inside = "container"
	InsidePod       Inside = "pod" // a container of Kubernetes
)

// Has reports whether there are signs of a manager.
func (p Platform) Has(m Manager) bool { return slices.Contains(p.Managers, m) }
