package guard

import "slices"

// launch is what a domain asks for, with the host's part settled.
type launch struct {
	backends []Backend
	cpuset   Cpuset
}

// asSaved is the launch with the sizes that the XML has, as a restore and an incoming migration take them; differs says
// whether that is fewer pages.
func (l launch) asSaved() (saved launch, differs bool) {
	saved = launch{slices.Clone(l.backends), l.cpuset}
	for i := range saved.backends {
		b := &saved.backends[i]
		b.Bytes = b.ExactBytes
		if pages := b.pages(); pages < b.Pages {
			b.Pages, differs = pages, true
		}
	}
	return saved, differs
}

// sure returns the launch without the backends that are [Backend.Unsure].
func (l launch) sure() launch {
	return launch{slices.DeleteFunc(slices.Clone(l.backends), func(b Backend) bool { return b.Unsure }), l.cpuset}
}
