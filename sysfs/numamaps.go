package sysfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Mappings returns the mappings of huge pages of a process, from /proc/PID/numa_maps
// (Documentation/filesystems/proc.rst and numa(7)) and /proc/PID/maps, which has the files. Of a process that has more
// than most it is [ErrManyMappings]. The kernel walks the process's page tables for it, and wants the right to trace
// the process. A kernel without NUMA has no numa_maps; there /proc/PID/smaps tells, and all pages lie on node 0.
func (f FS) Mappings(pid, most int) ([]Mapping, error) {
	mappings, err := parseLines(f, fmt.Sprintf("proc/%d/numa_maps", pid), func(in io.Reader) ([]Mapping, error) {
		return parseNUMAMaps(in, most)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return f.smaps(pid, most)
	}
	if err != nil || len(mappings) == 0 {
		return nil, err
	}
	return f.addFiles(pid, mappings)
}

// parseNUMAMaps returns the mappings of huge pages, without their files: numa_maps names these, too, but does not
// escape backslashes.
func parseNUMAMaps(in io.Reader, most int) ([]Mapping, error) {
	var mappings []Mapping
	scanner := newScanner(in)
	for scanner.Scan() {
		m, huge, err := parseNUMALine(scanner.Bytes())
		if err != nil {
			return nil, err
		}
		if !huge {
			continue
		}
		if n := len(mappings); n > 0 && maps.Equal(m.Pages, mappings[n-1].Pages) {
			m.Pages = mappings[n-1].Pages // a program that maps its pages one by one has thousands
		}
		if len(mappings) == most {
			return nil, ErrManyMappings
		}
		mappings = append(mappings, m)
	}
	return mappings, scanner.Err()
}

// parseNUMALine parses a line of numa_maps; huge is false for mappings of ordinary pages. The memory policy may hold
// spaces ("prefer (many):0") but not the word huge, and the kernel escapes white space and = in the file's name, so
// words are safe to look for.
func parseNUMALine(text []byte) (m Mapping, huge bool, err error) {
	if !bytes.Contains(text, []byte(" huge")) {
		return m, false, nil
	}
	line := string(text)
	words := strings.Fields(line)
	if !slices.Contains(words[1:], "huge") {
		return m, false, nil
	}
	m.Start, err = strconv.ParseUint(words[0], 16, 64)
	if err != nil {
		return m, false, fmt.Errorf("%s does not begin with an address", quote(line))
	}
	policy, nodes, ok := strings.Cut(words[1], ":")
	if ok && (policy == "bind" || strings.HasPrefix(policy, "bind=")) {
		m.Bound, _ = parseList(nodes, maxNode)
	}
	for _, word := range words[1:] {
		key, value, ok := strings.Cut(word, "=")
		if !ok {
			continue
		}
		err = m.addWord(key, value)
		if err != nil {
			return m, false, fmt.Errorf("%s: %w", quote(line), err)
		}
	}
	return m, true, nil
}

// addWord takes in what a word of numa_maps says of a mapping.
func (m *Mapping) addWord(key, value string) (err error) {
	switch {
	case key == "anon":
		m.Anon, err = parseNumber(value)
	case key == "mapmax":
		m.MapMax, err = parseNumber(value)
	case key == "kernelpagesize_kB":
		m.PageKiB, err = parseNumber(value)
	case isNodeKey(key):
		err = m.addPages(key[1:], value)
	}
	return err
}

// isNodeKey reports whether a key of numa_maps is a node's page count: N0, N12.
func isNodeKey(key string) bool {
	return len(key) > 1 && key[0] == 'N' && strings.Trim(key[1:], "0123456789") == ""
}

func (m *Mapping) addPages(node, count string) error {
	id, err := parseNumber(node)
	if err != nil || id > maxNode {
		return fmt.Errorf("%s is not a node", quote(node))
	}
	pages, err := parseNumber(count)
	if err != nil {
		return err
	}
	if m.Pages == nil {
		m.Pages = map[int]uint64{}
	}
	m.Pages[int(id)] += pages
	return nil
}

// reduceNUMAMaps keeps the mappings of huge pages, without the names of their files, and returns where they begin.
func reduceNUMAMaps(text []byte) (kept []byte, starts []uint64, err error) {
	kept = []byte{}
	scanner := newScanner(bytes.NewReader(text))
	for scanner.Scan() {
		m, huge, err := parseNUMALine(scanner.Bytes())
		if err != nil {
			return nil, nil, err
		}
		if !huge {
			continue
		}
		words := slices.DeleteFunc(strings.Fields(scanner.Text()), isFileName)
		kept = appendLine(kept, strings.Join(words, " "))
		starts = append(starts, m.Start)
	}
	return kept, starts, scanner.Err()
}

// isFileName reports whether a word of numa_maps is the name of the mapped file.
func isFileName(word string) bool { return strings.HasPrefix(word, "file=") }
