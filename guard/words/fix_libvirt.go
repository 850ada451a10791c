package words

import (
	"fmt"
	"strings"

	"hugeguard/guard"
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
func lateFix(r guard.RestartDaemon) Fix {
	f := onHost("restart libvirt's daemon, which then finds "+path(r.Path), restartDaemon(r.Daemon))
	f.short = "restart libvirt's daemon"
	f.Cost = daemonCost
	f.Lasting = []string{"have it in /etc/fstab, so that it is mounted before the daemon starts"}
	return f
}

// mountFix mounts a hugetlbfs, and does what else is to be done.
func mountFix(m guard.MountPages) Fix {
	size := mountOption(m.PageKiB)
	f := onHost(fmt.Sprintf("mount a hugetlbfs of %s pages and restart libvirt's daemon", guard.Size(m.PageKiB)))
	f.Commands = append(besides(m.Then),
		"mkdir -p "+m.Path,
		fmt.Sprintf("mount -t hugetlbfs -o pagesize=%s hugetlbfs %s", size, m.Path),
		restartDaemon(m.Daemon))
	f.short = fmt.Sprintf("mount hugetlbfs of %s pages at %s and restart libvirt's daemon", guard.Size(m.PageKiB), m.Path)
	if m.Then != nil {
		f.short += ", after " + f.Commands[0]
	}
	if m.Conf != nil {
		var quoted []string
		for _, p := range m.Conf {
			quoted = append(quoted, `"`+path(p)+`"`)
		}
		f.What += "; before that, have in /etc/libvirt/qemu.conf"
		f.Lines = []string{"hugetlbfs_mount = [" + strings.Join(quoted, ", ") + "]"}
	}
	f.Cost = daemonCost
	f.Lasting = append([]string{fmt.Sprintf("echo 'hugetlbfs %s hugetlbfs pagesize=%s 0 0' >> /etc/fstab", m.Path, size)}, lasting(m.Then)...)
	return f
}

// mountOption is a page size in KiB as mount(8) takes it.
func mountOption(kib uint64) string {
	size, unit, _ := strings.Cut(guard.Size(kib), " ")
	return size + unit[:1]
}

// pagesFix has the domain take pages of another size.
func pagesFix(c guard.ChangePages) Fix {
	line := fmt.Sprintf("give %s pages of %s (memoryBacking/hugepages, in a flavor hw:mem_page_size)", enumerate(c.Backends, 3), guard.Size(c.PageKiB))
	f := Fix{For: "domain", What: "change the domain, or what made it", Lines: []string{line}, short: line}
	if f.Commands = besides(c.Then); f.Commands != nil {
		f.What += ", and set up the pages (the commands)"
		f.Lasting = lasting(c.Then)
		f.short += ", and run " + f.Commands[0]
	}
	return f
}

// besides are the commands of a fix that is a part of another; nil where there is none.
func besides(then guard.Fix) []string {
	if then == nil {
		return nil
	}
	return say(then).Commands
}

// lasting is how a part of another fix is kept.
func lasting(then guard.Fix) []string {
	if then == nil {
		return nil
	}
	return say(then).Lasting
}
