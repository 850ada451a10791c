package survey

import (
	"slices"
	"strings"

	"hugeguard/guard"
	"hugeguard/hook/survey/process"
	"hugeguard/sysfs"
)

// signs are what tells that a host belongs to a manager: one of these files, or one of these processes, which are of the
// service. Files that may lie on a file system that never answers are not among them, such as Proxmox's /etc/pve.
var signs = []struct {
	guard.Manager
	files, processes []string
	process.Service
}{
	{guard.ManagerOVirt, []string{"etc/vdsm/vdsm.conf", "usr/share/vdsm/vdsmd"}, []string{"vdsmd"}, process.Service{Units: []string{"vdsmd"}}},
	{guard.ManagerKubeVirt, []string{"var/lib/kubelet", "usr/bin/kubelet", "usr/local/bin/kubelet"}, []string{"kubelet", "kubelite", "k3s-server", "k3s-agent"}, process.Service{}},
	{guard.ManagerOpenNebula, []string{"var/tmp/one", "etc/one"}, nil, process.Service{}}, // the first is where its drivers are on every host
	{guard.ManagerStarlingX, []string{"etc/platform/platform.conf"}, nil, process.Service{}},
	{guard.ManagerProxmox, []string{"var/lib/pve-cluster", "usr/bin/pvesh"}, nil, process.Service{}},
}

// platform returns what a host is part of, with the processes that were seen on it.
func platform(root sysfs.FS, processes []sysfs.Process) guard.Platform {
	host := guard.Platform{Inside: inside(root)}
	for _, sign := range signs {
		seen := slices.ContainsFunc(sign.files, root.Exists) || slices.ContainsFunc(processes, func(p sysfs.Process) bool {
			return slices.Contains(sign.processes, p.Name) && process.Believed(root, p, sign.Service)
		})
		if seen {
			host.Managers = append(host.Managers, sign.Manager)
		}
	}
	return host
}

// IsManager reports whether a process of that name tells a manager.
func IsManager(name string) bool {
	for _, sign := range signs {
		if slices.Contains(sign.processes, name) {
			return true
		}
	}
	return false
}

// inside returns what this process runs in: by its control group, where that shows it, else by what kubelet, Podman and
// Docker put into every container. Docker's file is also left in disks that were made of its images: those are no overlay,
// and systemd gives every process a control group.
func inside(root sysfs.FS) guard.Inside {
	place, err := root.OwnPlace()
	switch {
	case place.Pod, root.Exists("dev/termination-log"), root.Exists("run/secrets/kubernetes.io"):
		return guard.InsidePod
	case place.Container != "", root.Exists("run/.containerenv"), err == nil && place.Top && root.Exists(".dockerenv") && onOverlay(root):
		return guard.InsideContainer
	}
	return guard.InsideHost
}

// alone reports whether only the processes of this container can be seen: the first process is one of them. That of the
// host is in no container, or in a control group that this one's namespace does not have.
func alone(root sysfs.FS) bool {
	own, _ := root.OwnPlace()
	first, err := root.Place(1)
	return err != nil || !first.Outside && (own.Container == "" || first.Container != "")
}

// onOverlay reports whether the root file system is an overlay, as a container's is.
func onOverlay(root sysfs.FS) bool {
	mounts, err := root.ReadOwn("proc/self/mounts", 64<<10)
	return err == nil && strings.HasPrefix(string(mounts), "overlay / overlay ")
}
