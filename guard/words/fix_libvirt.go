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
	return "systemctl restart " + shellWord(unit)
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

// mountOption is a page size in KiB as mount(8) takes it.
func mountOption(kib uint64) string {
	size, unit, _ := strings.Cut(guard.Size(kib), " ")
	return size + unit[:1]
}

// pagesFix has the domain take pages of another size.
func pagesFix(c fix.ChangePages) Fix {
	line := fmt.Sprintf("give %s %s pages (%s)", enumerate(c.Backends, 3), pageName(c.PageKiB), pageSetting(c.Manager, c.PageKiB))
	return Fix{For: "domain", What: "change " + maker(c.Manager), Lines: []string{line}, short: line}
}
