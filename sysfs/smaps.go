package sysfs

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
)

// smaps returns the mappings of huge pages of a process on a kernel that has no nodes to tell apart, from
// /proc/PID/smaps.
func (f FS) smaps(pid, most int) ([]Mapping, error) {
	return parseLines(f, fmt.Sprintf("proc/%d/smaps", pid), func(in io.Reader) ([]Mapping, error) {
		return parseSmaps(in, most)
	})
}

// Reservations fills in what [FS.Mappings] leaves open: the page size of mappings that have no page yet, and whether
// their pages were promised. The kernel walks all page tables of the process once more for it.
func (f FS) Reservations(pid int, mappings []Mapping) error {
	_, err := parseLines(f, fmt.Sprintf("proc/%d/smaps", pid), func(in io.Reader) (none struct{}, err error) {
		return none, addReservations(mappings, in)
	})
	return err
}

func addReservations(mappings []Mapping, in io.Reader) error {
	asked := byStart(mappings)
	s := newSmapsScanner(in)
	for s.Scan() {
		m := asked[s.mapping.Start]
		if m != nil && m.End == s.mapping.End {
			m.PageKiB, m.Reserve = s.mapping.PageKiB, s.mapping.Reserve
		}
	}
	return s.err
}

// parseSmaps returns the mappings of huge pages.
func parseSmaps(in io.Reader, most int) ([]Mapping, error) {
	var mappings []Mapping
	s := newSmapsScanner(in)
	for s.Scan() {
		if len(mappings) == most {
			return nil, ErrManyMappings
		}
		m := s.mapping
		m.File, m.Device = strings.Clone(m.File), strings.Clone(m.Device) // the line itself is not kept
		mappings = append(mappings, m)
	}
	if s.err != nil {
		return nil, s.err
	}
	return mappings, nil
}

// reduceSmaps keeps the mappings of huge pages, and returns where they begin.
func reduceSmaps(text []byte) (kept []byte, starts []uint64, err error) {
	kept = []byte{}
	s := newSmapsScanner(bytes.NewReader(text))
	for s.Scan() {
		kept = appendLine(append(kept, s.text...), s.lines.Text())
		starts = append(starts, s.mapping.Start)
	}
	return kept, starts, s.err
}

// smapsScanner goes through the mappings of smaps whose VmFlags have ht, huge pages
// (Documentation/filesystems/proc.rst).
type smapsScanner struct {
	mapping Mapping
	text    []byte // its lines that were made use of, but VmFlags, which is the last
	err     error

	lines *bufio.Scanner
	kib   uint64 // that the mapping has touched
}

func newSmapsScanner(in io.Reader) *smapsScanner { return &smapsScanner{lines: newScanner(in)} }

// Scan advances to the next mapping of huge pages. It reports whether there is one.
func (s *smapsScanner) Scan() bool {
	// The mapping before is over: VmFlags once more, as a captured host can have it, are none of its.
	s.mapping, s.kib, s.text = Mapping{}, 0, s.text[:0]
	for s.lines.Scan() {
		huge, err := s.line(s.lines.Text())
		if err != nil {
			s.err = err
			return false
		}
		if huge {
			return true
		}
	}
	s.err = s.lines.Err()
	return false
}

// line takes in a line, and reports whether it is the last of a mapping of huge pages.
func (s *smapsScanner) line(line string) (huge bool, err error) {
	key, value, ok := strings.Cut(line, ":")
	if !ok || strings.Contains(key, " ") {
		// An address range, which is what begins a mapping, has a colon no earlier than in its device.
		s.mapping, err = parseMapsLine(line)
		s.kib, s.text = 0, appendLine(s.text[:0], line)
		return false, err
	}
	switch key {
	case "VmFlags":
		return s.flags(strings.Fields(value)), nil
	case "KernelPageSize", "Private_Hugetlb", "Shared_Hugetlb":
		s.text = appendLine(s.text, line)
		return false, s.size(key, value)
	}
	return false, nil
}

// size takes in one of the sizes that are made use of.
func (s *smapsScanner) size(key, value string) error {
	kib, err := parseKiB(key, value)
	switch {
	case err != nil:
		return err
	case key == "KernelPageSize":
		s.mapping.PageKiB = kib
		return nil
	case key == "Shared_Hugetlb" && kib > 0:
		s.mapping.MapMax = 2 // several page tables have these, whatever sort of mapping it is
	}
	s.kib += kib
	return nil
}

// flags takes in VmFlags: ht is huge pages, nr is MAP_NORESERVE.
func (s *smapsScanner) flags(flags []string) (huge bool) {
	m := &s.mapping
	if !slices.Contains(flags, "ht") || m.PageKiB == 0 {
		return false
	}
	m.Reserve = !slices.Contains(flags, "nr")
	if pages := s.kib / m.PageKiB; pages > 0 {
		m.Pages = map[int]uint64{0: pages}
		if m.Private {
			m.Anon = pages
		}
	}
	return true
}
