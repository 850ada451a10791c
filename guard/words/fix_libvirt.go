package words

import (
	"fmt"
	"strings"

	"hugeguard/guard"
	"hugeguard/guard/fix"
)

// daemonCost is what a restart of libvirt's daemon does to others.
const daemonCost = "restarts libvirt's daemon: guests run on, its clients connect again"

// restartDaemon is the command that restarts libvirt's daemon.
func restartDaemon(unit string) string {
	if unit == "" {
		return "systemctl restart libvirtd    # virtqemud where libvirt is modular"
	}
	return "systemctl restart " + ShellWord(unit)
}

// lateFix has the daemon find a mount.
func lateFix(r fix.RestartDaemon) Fix {
	f := onHost("restart libvirt's daemon, which then finds "+path(r.Path), restartDaemon(r.Daemon))
	f.short = "restart libvirt's daemon"
	f.Cost = daemonCost
	f.Lasting = []string{"have it in /etc/fstab, so that it is mounted before the daemon starts"}
	return f
}

// mountFix mounts a hugetlbfs.
func mountFix(m fix.MountPages) Fix {
	size := mountOption(m.PageKiB)
	f := onHost(fmt.Sprintf("mount a hugetlbfs of %s pages and restart libvirt's daemon", pageName(m.PageKiB)),
		"mkdir -p "+m.Path,
		fmt.Sprintf("mount -t hugetlbfs -o pagesize=%s hugetlbfs %s", size, m.Path),
		restartDaemon(m.Daemon))
	f.short = fmt.Sprintf("mount hugetlbfs of %s pages at %s and restart libvirt's daemon", pageName(m.PageKiB), m.Path)
	if m.Conf != nil {
		var quoted []string
		for _, p := range m.Conf {
			quoted = append(quoted, `"`+path(p)+`"`)
		}
		f.What = "have this in /etc/libvirt/qemu.conf, then " + f.What
		f.Lines = []string{"hugetlbfs_mount = [" + strings.Join(quoted, ", ") + "]"}
	}
	f.Cost = daemonCost
	f.Lasting = []string{fmt.Sprintf("echo 'hugetlbfs %s hugetlbfs pagesize=%s 0 0' >> /etc/fstab", m.Path, size)}
	if _, boots := m.Then.(fix.BootPools); boots {
		f.What = fmt.Sprintf("have a hugetlbfs of %s pages mounted at boot", guard.Size(m.PageKiB))
		f.Commands, f.Lasting, f.Cost, f.short = f.Lasting, nil, "", "add the mount to /etc/fstab"
	}
	return f
}

// mountInside has the container in which libvirt runs be given a hugetlbfs: one that is mounted in it by hand is gone
// when it is made again, and one that the host mounts meanwhile it does not see.
func mountInside(m fix.MountPages, inside guard.Inside, alone bool) Fix {
	f := Fix{For: "host", Lines: []string{"docker or podman: -v " + m.Path + ":" + m.Path + " (mount it on the host first if it is missing there)"},
		Cost:  "makes the container again: " + containerCost(alone),
		What:  fmt.Sprintf("make this container again with the host's hugetlbfs of %s pages in it", pageName(m.PageKiB)),
		short: fmt.Sprintf("give this container the host's hugetlbfs of %s pages (-v %s:%s)", pageName(m.PageKiB), m.Path, m.Path)}
	if inside == guard.InsidePod {
		f.For, f.Cost = "pod", "the pod is made again: its guests stop"
		f.What = fmt.Sprintf("declare the pod in which libvirt runs with a volume of %s pages", pageName(m.PageKiB))
		f.Lines = []string{"volumes: [{name: hugepages, emptyDir: {medium: HugePages-" + quantity(m.PageKiB) + "}}]", "volumeMounts: [{name: hugepages, mountPath: " + m.Path + "}]"}
		f.short = "give the pod a volume of medium HugePages-" + quantity(m.PageKiB)
	}
	return f
}

// containerCost says what becomes of the guests of a container that ends: their QEMUs are its own processes, unless it has
// those of the host.
func containerCost(alone bool) string {
	if alone {
		return "its guests stop, as it does not have the host's processes (--pid=host)"
	}
	return "its guests run on, as it has the host's processes (--pid=host)"
}

// restartInside has libvirt's daemon in a container find a mount.
func restartInside(r fix.RestartDaemon, inside guard.Inside, alone bool) Fix {
	f := Fix{For: "host", What: "restart this container: libvirt's daemon then finds " + path(r.Path), Lines: []string{"docker restart, or podman restart, and its name"},
		Cost: "restarts the container: " + containerCost(alone), short: "restart this container"}
	if inside == guard.InsidePod {
		f.For, f.Cost = "pod", "the pod is made again: its guests stop"
		f.What, f.Lines, f.short = "delete this pod, so that it is made again: libvirt's daemon then finds "+path(r.Path), []string{"kubectl delete pod, and its name"}, "delete this pod, so that it is made again"
	}
	return f
}

// mountOption is a page size in KiB as mount(8) takes it.
func mountOption(kib uint64) string {
	size, unit, _ := strings.Cut(guard.Size(kib), " ")
	return size + unit[:1]
}

// pagesFix has the domain take pages of another size.
func pagesFix(c fix.ChangePages) Fix {
	line := fmt.Sprintf("give %s %s pages (%s)", enumerate(c.Backends, 3), pageName(c.PageKiB), pageSetting(c.Manager, c.PageKiB))
	f := Fix{For: "domain", What: "change " + maker(c.Manager), Lines: []string{line}, short: line}
	if c.Smaller {
		f.Cost = "the guest is somewhat slower with smaller pages"
	}
	return f
}
