package sysfs

import (
	"fmt"
	"io"
	"strings"
)

// smaps returns the mappings of huge pages of a process on a kernel that has
// no nodes to tell apart.
func (f FS) smaps(pid, most int) ([]Mapping, error) {
	return parseLines(f, fmt.Sprintf("proc/%d/smaps", pid), func(in io.Reader) ([]Mapping, error) {
		return parseSmaps(in, most)
	})
}

// Reservations fills in what [FS.Mappings] leaves open: the page size of those
// that have no page yet, and whether their pages were promised. The kernel walks all page tables of the process once more for it.
func (f FS) Reservations(pid int, mappings []Mapping) error {
	asked := byStart(mappings)
	_, err := parseLines(f, fmt.Sprintf("proc/%d/smaps", pid), func(in io.Reader) (none struct{}, err error) {
		return none, eachSmap(in, func(k Mapping) error {
			if m := asked[k.Start]; m != nil && m.End == k.End {
				m.PageKiB, m.Reserve = k.PageKiB, k.Reserve
			}
			return nil
		})
	})
	return err
}

// parseSmaps returns what eachSmap goes through.
func parseSmaps(in io.Reader, most int) (mappings []Mapping, err error) {
	err = eachSmap(in, func(m Mapping) error {
		if len(mappings) == most {
			return ErrManyMappings
		}
		mappings = append(mappings, m)
		return nil
	})
	return mappings, err
}

// eachSmap goes through the mappings whose VmFlags have ht, huge pages; nr among
// them is MAP_NORESERVE (Documentation/filesystems/proc.rst). Private_Hugetlb
// and Shared_Hugetlb tell how many page tables have the pages, whatever sort of
// mapping it is.
func eachSmap(in io.Reader, do func(Mapping) error) error {
	var m Mapping
	var kib uint64 // that it has touched
	scanner := newScanner(in)
	for scanner.Scan() {
		line := scanner.Text()
		key, value, ok := strings.Cut(line, ":")
		if !ok || strings.Contains(key, " ") {
			// An address range, which is what begins a mapping, has a
			// colon no earlier than in its device.
			var err error
			if m, err = parseMapsLine(line); err != nil {
				return err
			}
			kib = 0
			continue
		}
		switch key {
		case "KernelPageSize", "Private_Hugetlb", "Shared_Hugetlb":
			n, _, err := parseKiBField(line, key)
			if err != nil {
				return err
			}
			switch key {
			case "KernelPageSize":
				m.PageKiB = n
			case "Shared_Hugetlb":
				kib += n
				if n > 0 {
					m.MapMax = 2
				}
			default:
				kib += n
			}
		case "VmFlags":
			flags := " " + value + " "
			if !strings.Contains(flags, " ht ") || m.PageKiB == 0 {
				continue
			}
			m.Reserve = !strings.Contains(flags, " nr ")
			if pages := kib / m.PageKiB; pages > 0 {
				m.Pages = map[int]uint64{0: pages}
				if m.Private {
					m.Anon = pages
				}
			}
			if err := do(m); err != nil {
				return err
			}
		}
	}
	return scanner.Err()
}
