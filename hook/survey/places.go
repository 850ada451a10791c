package survey

import (
	"cmp"
	"path"
	"slices"

	"hugeguard/guard"
	"hugeguard/sysfs"
)

// usualBackingDir is where libvirt has files of guests' memory (virQEMUDriverConfigNew).
const usualBackingDir = "/var/lib/libvirt/qemu/ram"

// places returns what the paths of a demand lie on. They are compared as they are written: on what another link leads
// is not looked at, as its file system may never answer.
func (s Surroundings) places(of Scope, host guard.Host) (places []guard.Place) {
	if of.demand == nil {
		return nil
	}
	for _, b := range of.demand.Backends {
		known := slices.ContainsFunc(places, func(p guard.Place) bool { return p.Path == b.Path })
		switch {
		case b.Path == "" || known:
		case b.Path == guard.BackingDir:
			places = append(places, s.backingDir(of, host))
		default:
			places = append(places, s.ownPath(b.Path, host))
		}
	}
	return places
}

// backingDir returns what the directory lies on that qemu.conf names.
func (s Surroundings) backingDir(of Scope, host guard.Host) guard.Place {
	place := guard.Place{Path: guard.BackingDir, At: usualBackingDir, Certain: s.libvirt.sure() || s.libvirt.conf.backing == nil}
	if s.libvirt.err != nil {
		place.Unread = true
		return place
	}
	if s.libvirt.conf.backing != nil {
		place.At = path.Clean(s.libvirt.conf.backing[0])
	}
	mount := s.under(place.At)
	if mount != nil {
		place.Mount = mounted(*mount, host)
		place.Mount.Over = hiding(*mount, place.At, of.domain().Name)
	}
	return place
}

// ownPath returns what a path lies on that a domain gives to QEMU. At the mount, and where libvirt has its files, QEMU
// makes one of its own; elsewhere there may be one already, with pages in it.
func (s Surroundings) ownPath(at string, host guard.Host) guard.Place {
	place := guard.Place{Path: at, At: path.Clean(at)}
	mount := s.under(place.At)
	if mount == nil {
		return place
	}
	for _, o := range mount.Over {
		if within(place.At, o.Path) && o.Type != "hugetlbfs" {
			return place
		}
	}
	place.Mount = mounted(*mount, host)
	place.Certain = place.At == mount.Path || place.At == path.Join(mount.Path, libvirtDir)
	return place
}

// under returns the hugetlbfs mount that a path is below, as far as no other file system lies over it.
func (s Surroundings) under(at string) (mount *sysfs.Mount) {
	for i, m := range s.mounts.Hugetlb {
		if within(at, m.Path) && (mount == nil || len(m.Path) >= len(mount.Path)) {
			mount = &s.mounts.Hugetlb[i]
		}
	}
	return mount
}

func mounted(m sysfs.Mount, host guard.Host) *guard.Mount {
	return &guard.Mount{Path: m.Path, PageKiB: cmp.Or(m.PageKiB, host.DefaultPageKiB), Minimum: m.Minimum}
}
