package guard

import "slices"

// RaiseLimits lets a mount, or a control group, have more pages.
type RaiseLimits struct{ Limits []Limit }

// Limit is how many pages a limit is to be.
type Limit struct {
	Path    string // of the mount, or of the control group's file
	PageKiB uint64
	Pages   uint64
	Mount   bool
}

// raising returns what helps against limits: to raise them and, where pages are missing besides, to make pools larger.
func (l launch) raising(host Host, limits []Limit) []Fix {
	raised := host.raised(limits)
	must, _ := l.play(raised)
	if must == nil {
		return []Fix{RaiseLimits{limits}}
	}
	return l.growth(raised, must, limits)
}

// raised returns the host with limits as they are to be. A mount's is that of another mount over it.
func (h Host) raised(limits []Limit) Host {
	h.Mounts, h.Cgroups = slices.Clone(h.Mounts), slices.Clone(h.Cgroups)
	for _, l := range limits {
		for i, m := range h.Mounts {
			if l.Mount && m.Path == l.Path && m.Limit != nil {
				h.Mounts[i].Limit = &PageLimit{PageKiB: l.PageKiB, Reserved: true, Pages: l.Pages, Used: m.Limit.Used}
			}
		}
		for i, c := range h.Cgroups {
			h.Cgroups[i].Limits = slices.Clone(c.Limits)
			for k, limit := range c.Limits {
				if !l.Mount && limit.File == l.Path {
					h.Cgroups[i].Limits[k].Pages = l.Pages
				}
			}
		}
	}
	return h
}
