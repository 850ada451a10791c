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

// manager returns whose guest a domain is, or else who places guests on the host. A sign on the host tells less than a
// domain's own metadata: a host can have several managers, and Nova's containers run below a kubelet too.
func (h Host) manager(d Domain) Manager {
	switch {
	case d.Manager != "":
		return d.Manager
	case h.Nova != nil:
		return ManagerNova
	}
	for _, m := range []Manager{ManagerOVirt, ManagerKubeVirt, ManagerOpenNebula} {
		if h.Platform.Has(m) {
			return m
		}
	}
	return ""
}

// Manager returns who places guests on the host, which domain it is aside; "" for nobody of whom there are signs.
func (h Host) Manager() Manager { return h.manager(Domain{}) }

// inside returns what hugeguard runs in: where libvirt is KubeVirt's, always a pod.
func (h Host) inside(d Domain) Inside {
	if d.Manager == ManagerKubeVirt {
		return InsidePod
	}
	return h.Platform.Inside
}
