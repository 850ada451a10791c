package survey

import (
	"cmp"
	"path"
	"slices"

	"hugeguard/guard"
	"hugeguard/hook/survey/libvirt"
	"hugeguard/sysfs"
)

// follow follows the paths of a demand.
func (s *Surroundings) follow(of Scope) {
	if of.demand == nil {
		return
	}
	for _, b := range of.demand.Backends {
		if b.Path == "" {
			continue
		}
		at, err := s.fs.Leads(s.means(b.Path), s.mounts.Points())
		if err != nil {
			continue
		}
		if s.leads == nil {
			s.leads = map[string]string{}
		}
		s.leads[b.Path] = at
	}
}

// means returns the path that a backend's path stands for.
func (s Surroundings) means(of string) string {
	if of != guard.BackingDir {
		return of
	}
	dir, _ := s.libvirt.BackingDir()
	return dir
}

// Ordinary reports whether a demand is all in files that certainly lie on no hugetlbfs: then nothing else decides.
func (s Surroundings) Ordinary(demand guard.Demand) bool {
	if s.noMounts != nil || s.libvirt.Unread != nil || demand.TooMany.Count > 0 || len(demand.Unknown) > 0 {
		return false
	}
	for _, b := range demand.Backends {
		at, known := s.leads[b.Path]
		if b.Path == "" || !known || s.under(at) != nil {
			return false
		}
	}
	return true
}

// places returns what the paths of a demand lie on.
func (s Surroundings) places(of Scope, host guard.Host) (places []guard.Place) {
	if of.demand == nil {
		return nil
	}
	for _, b := range of.demand.Backends {
		known := slices.ContainsFunc(places, func(p guard.Place) bool { return p.Path == b.Path })
		switch {
		case b.Path == "" || known:
		case b.Path == guard.BackingDir && s.libvirt.Unread != nil:
			places = append(places, guard.Place{Path: b.Path, At: s.means(b.Path), Unread: "/" + libvirt.ConfPath})
		default:
			places = append(places, s.placeOf(b.Path, of, host))
		}
	}
	return places
}

// placeOf returns what the path of a backend lies on.
func (s Surroundings) placeOf(of string, scope Scope, host guard.Host) guard.Place {
	place := guard.Place{Path: of}
	var ok bool
	place.At, ok = s.leads[of]
	if !ok {
		place.At = path.Clean(s.means(of))
		place.Unread = place.At
		return place
	}
	mount := s.under(place.At)
	switch {
	case of == guard.BackingDir:
		_, place.Certain = s.libvirt.BackingDir()
		if mount != nil {
			place.Mount = mounted(*mount, host)
			place.Mount.Over = hiding(*mount, place.At, scope.domain())
		}
	case mount != nil && !covered(*mount, place.At):
		place.Mount = mounted(*mount, host)
		// At the mount, and where libvirt has its files, QEMU makes one of its own; elsewhere there may be one already,
		// with pages in it.
		place.Certain = place.At == mount.Path || place.At == path.Join(mount.Path, libvirtDir)
	}
	return place
}

// covered reports whether another file system lies over a path on a mount.
func covered(mount sysfs.Mount, at string) bool {
	return slices.ContainsFunc(mount.Over, func(o sysfs.OverMount) bool { return within(at, o.Path) && o.Type != "hugetlbfs" })
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
