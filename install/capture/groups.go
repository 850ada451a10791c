package capture

import (
	"path"
	"strings"

	"hugeguard/guard"
	"hugeguard/sysfs"
)

// maxGroups bounds the control groups for domains.
const maxGroups = 500

// partitionsOf returns the resource partitions that have control groups on a host. libvirt makes those below
// machine.slice, or of the name with ".partition".
func partitionsOf(host sysfs.FS, mounts sysfs.CgroupMounts) map[string]bool {
	p := partitions{host: host, all: map[string]bool{}}
	for _, top := range []string{mounts.Cpuset, mounts.Unified} {
		if top != "" {
			p.look(strings.TrimPrefix(top, "/"), "")
			break
		}
	}
	return p.all
}

// partitions collects the resource partitions of a host.
type partitions struct {
	host sysfs.FS
	all  map[string]bool
}

// look looks at the control groups below one, itself below the hierarchy's mount.
func (p *partitions) look(mount, below string) {
	names, _ := p.host.ReadDir(mount + "/" + below)
	for _, name := range names {
		if len(p.all) > maxGroups {
			return
		}
		partition, ok := partitionOf(below, name)
		if ok {
			p.all[partition] = true
			p.look(mount, path.Join(below, name))
		}
	}
}

// partitionOf returns the resource partition that a control group is of.
func partitionOf(below, name string) (partition string, ok bool) {
	unit, slice := strings.CutSuffix(name, ".slice")
	part, partitioned := strings.CutSuffix(name, ".partition")
	switch {
	case slice && (unit == "machine" || strings.HasPrefix(unit, "machine-")):
		parts := strings.Split(unit, "-")
		for i := range parts {
			parts[i] = guard.UnescapeUnit(parts[i])
		}
		return "/" + strings.Join(parts, "/"), true
	case partitioned, below == "" && name == "machine":
		return path.Join("/", strings.ReplaceAll(below, ".partition", ""), part), true
	}
	return "", false
}
