package sysfs

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// addFiles fills in from /proc/PID/maps (Documentation/filesystems/proc.rst) what numa_maps does not have, joined by
// address. A mapping that came or went between the two readings keeps none.
func (f FS) addFiles(pid int, mappings []Mapping) ([]Mapping, error) {
	return parseLines(f, fmt.Sprintf("proc/%d/maps", pid), func(in io.Reader) ([]Mapping, error) {
		return mappings, addFiles(mappings, in)
	})
}

func addFiles(mappings []Mapping, in io.Reader) error {
	asked := byStart(mappings)
	scanner := newScanner(in)
	for scanner.Scan() {
		mapped, err := parseMapsLine(scanner.Text())
		if err != nil {
			return err
		}
		if m := asked[mapped.Start]; m != nil {
			// The line itself is not kept.
			m.File, m.Device = strings.Clone(mapped.File), strings.Clone(mapped.Device)
			m.End, m.Inode, m.Offset, m.Private = mapped.End, mapped.Inode, mapped.Offset, mapped.Private
		}
	}
	return scanner.Err()
}

// parseMapsLine parses a line of /proc/PID/maps, which is also what begins a mapping in smaps: start-end permissions
// offset device inode path.
func parseMapsLine(line string) (m Mapping, err error) {
	addresses, rest, _ := strings.Cut(line, " ")
	permissions, rest, _ := strings.Cut(rest, " ")
	offset, rest, _ := strings.Cut(rest, " ")
	device, rest, ok := strings.Cut(rest, " ")
	inode, file, _ := strings.Cut(rest, " ")
	if !ok {
		return m, fmt.Errorf("%s is not a mapping", quote(line))
	}
	start, end, _ := strings.Cut(addresses, "-")
	m.Start, err = strconv.ParseUint(start, 16, 64)
	if err != nil {
		return m, fmt.Errorf("%s does not begin with an address", quote(line))
	}
	m.End, err = strconv.ParseUint(end, 16, 64)
	if err != nil || m.End < m.Start {
		return m, fmt.Errorf("%s does not begin with a range of addresses", quote(line))
	}
	m.Private = strings.HasSuffix(permissions, "p")
	m.Offset, err = strconv.ParseUint(offset, 16, 64)
	if err != nil {
		return m, fmt.Errorf("%s: offset: %w", quote(line), err)
	}
	m.Device = device
	m.Inode, err = parseNumber(inode)
	if err != nil {
		return m, fmt.Errorf("%s: inode: %w", quote(line), err)
	}
	m.File = strings.ReplaceAll(strings.TrimLeft(file, " "), `\012`, "\n")
	return m, nil
}

// MapsHuge reports whether a process may map huge pages, touched or not, by its /proc/PID/maps, for which the kernel
// walks no page tables.
func (f FS) MapsHuge(pid int, mounts ...MountPoints) (bool, error) {
	return parseLines(f, fmt.Sprintf("proc/%d/maps", pid), func(in io.Reader) (bool, error) {
		return mapsHuge(in, mounts)
	})
}

func mapsHuge(in io.Reader, mounts []MountPoints) (bool, error) {
	scanner := newScanner(in)
	for scanner.Scan() {
		if isHugeLine(scanner.Bytes(), mounts) {
			return true, nil
		}
	}
	return false, scanner.Err()
}

// isHugeLine reports whether a line of maps may be of huge pages. Thousands are looked at for one that is: they are not
// parsed.
func isHugeLine(line []byte, mounts []MountPoints) bool {
	at := bytes.IndexByte(line, '/')
	return at >= 0 && mayMapHuge(string(line[at:]), mounts)
}

// mayMapHuge reports whether a mapping whose file /proc/PID/maps names so may be of huge pages.
func mayMapHuge(file string, mounts []MountPoints) bool {
	return strings.HasPrefix(file, "/anon_hugepage") || strings.HasPrefix(file, "/SYSV") || mayBeHuge(file, mounts)
}

// mayBeHuge reports whether a file that a process has open or maps may be of huge pages.
func mayBeHuge(file string, mounts []MountPoints) bool {
	return strings.HasPrefix(file, "/memfd:") || slices.ContainsFunc(mounts, func(p MountPoints) bool { return p.hold(file) })
}

// reduceMaps keeps the mappings that begin where mappings of huge pages do, and those that may be huge. In place of a
// line that is no mapping is another that is none.
func reduceMaps(text []byte, huge map[uint64]bool, mounts []MountPoints) ([]byte, error) {
	kept := []byte{}
	scanner := newScanner(bytes.NewReader(text))
	for scanner.Scan() {
		m, err := parseMapsLine(scanner.Text())
		switch {
		case isHugeLine(scanner.Bytes(), mounts), err == nil && huge[m.Start]:
			kept = appendLine(kept, scanner.Text())
		case err != nil:
			kept = appendLine(kept, "?")
		}
	}
	return kept, scanner.Err()
}
