package fix

import (
	"slices"

	"hugeguard/guard"
)

// raising returns what helps against limits: to raise them and, where pages are missing besides, to make pools larger.
func (l launch) raising() []Fix {
	var limits []Limit
	for _, f := range l.must {
		switch why := f.Reason.(type) {
		case guard.MountFull:
			limits = append(limits, Limit{why.Path, f.PageKiB, why.Used + f.Needed, true})
		case guard.GroupFull:
			limits = append(limits, Limit{why.File, f.PageKiB, why.Used + f.Needed, false})
		}
	}
	raised := l.on(raised(l.host, limits))
	if raised.must == nil {
		return []Fix{RaiseLimits{limits}}
	}
	return raised.growth(limits)
}

// raised returns the host with limits as they are to be. A mount's is that of another mount over it.
func raised(h guard.Host, limits []Limit) guard.Host {
	h.Mounts, h.Cgroups = slices.Clone(h.Mounts), slices.Clone(h.Cgroups)
	for _, l := range limits {
		for i, m := range h.Mounts {
			if l.Mount && m.Path == l.Path && m.Limit != nil {
				h.Mounts[i].Limit = &guard.PageLimit{PageKiB: l.PageKiB, Reserved: true, Pages: l.Pages, Used: m.Limit.Used}
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
