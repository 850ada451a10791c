package sysfs

import "errors"

// Mapping is one mapping of huge pages in a process.
type Mapping struct {
	Start   uint64         // its first address
	End     uint64         // the address after its last; 0 where the mapping went away while it was read
	File    string         // the mapped file; memory without one is /memfd:NAME, /anon_hugepage or /SYSVkey with " (deleted)"
	Device  string         // the file's device, "major:minor"; "" where the mapping went away while it was read
	Inode   uint64         // the file's inode; with Device it tells that two processes map the same pages
	Offset  uint64         // where in the file it begins, in bytes
	PageKiB uint64         // the size of its pages in KiB; 0 where it has none yet, unless Reservations looked
	Private bool           // MAP_PRIVATE: the pages that it writes to are copies of its own
	Anon    uint64         // how many of its pages are copies
	MapMax  uint64         // the most page tables that have one of its pages; 0 and 1 are its own alone
	Bound   []int          // the nodes that its policy binds it to, ascending; nil for another policy or one that is not understood
	Reserve bool           // its pages were promised to it, no MAP_NORESERVE; only Reservations looks
	Pages   map[int]uint64 // pages that this process has touched, by node
}

// Touched returns how many pages of the mapping its process has touched.
func (m Mapping) Touched() uint64 {
	var pages uint64
	for _, n := range m.Pages {
		pages += n
	}
	return pages
}

// Size returns how many pages the mapping has room for; 0 where that is not known.
func (m Mapping) Size() uint64 {
	if m.PageKiB == 0 || m.End < m.Start {
		return 0
	}
	return (m.End - m.Start) / 1024 / m.PageKiB
}

// ErrManyMappings is what reading the mappings of a process ends with that has more of them than its reader keeps.
var ErrManyMappings = errors.New("it has too many mappings")

func byStart(mappings []Mapping) map[uint64]*Mapping {
	found := make(map[uint64]*Mapping, len(mappings))
	for i := range mappings {
		found[mappings[i].Start] = &mappings[i]
	}
	return found
}
