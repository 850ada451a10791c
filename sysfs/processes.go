package sysfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"strconv"
	"strings"
	"syscall"
)

// Process is one process as /proc shows it.
type Process struct {
	PID        int
	Name       string // its comm: 15 bytes at the most, and its own choice
	Memory     bool   // it has memory of its own: kernel threads and zombies have none
	HugetlbKiB uint64 // huge pages of all sizes that it has touched and maps, in KiB
	// UID is the user whose process it is: -1 where it has the rights of
	// several, as one that runs a program that is set-user-ID, or where a
	// captured host does not say.
	UID int
}

// Processes returns the numbers of all processes.
func (f FS) Processes() ([]int, error) {
	names, err := f.ReadDir("proc")
	if err != nil {
		return nil, err
	}
	pids := make([]int, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// Process returns what /proc/PID/status says of a process, which the kernel
// answers to anyone and without walking the process's memory. HugetlbKiB is 0
// for one that has only reserved pages.
func (f FS) Process(pid int) (Process, error) {
	name := fmt.Sprintf("proc/%d/status", pid)
	text, err := f.ReadFile(name, tableLimit)
	if err != nil {
		return Process{}, err
	}
	p := Process{PID: pid}
	if p.Name, p.HugetlbKiB, p.Memory, err = parseStatus(string(text)); err != nil {
		return Process{}, fmt.Errorf("%s: %w", f.Path(name), err)
	}
	p.UID = parseUID(string(text))
	return p, nil
}

// parseUID reads the real, effective, saved and file system user of a process.
func parseUID(status string) int {
	_, rest, _ := strings.Cut(status, "\nUid:\t")
	line, _, _ := strings.Cut(rest, "\n")
	users := strings.Fields(line)
	if len(users) != 4 || users[0] != users[1] || users[0] != users[2] || users[0] != users[3] {
		return -1
	}
	uid, err := strconv.Atoi(users[0])
	if err != nil || uid < 0 {
		return -1
	}
	return uid
}

func parseStatus(text string) (name string, hugetlbKiB uint64, memory bool, err error) {
	first, _, _ := strings.Cut(text, "\n")
	name, ok := strings.CutPrefix(first, "Name:\t")
	if !ok {
		return "", 0, false, fmt.Errorf("%s is not a process's name", quote(first))
	}
	if strings.Contains(name, `\`) {
		// The kernel escapes newlines and backslashes (proc_task_name).
		name = strings.NewReplacer(`\\`, `\`, `\n`, "\n").Replace(name)
	}
	hugetlbKiB, memory, err = parseKiBField(text, "HugetlbPages")
	return name, hugetlbKiB, memory, err
}

// BusyThreads returns how many threads of a process run, are ready to run or
// wait in the kernel for something that no signal ends, from
// /proc/PID/task/TID/stat (Documentation/filesystems/proc.rst): only these can
// be amid a page fault.
func (f FS) BusyThreads(pid int) (int, error) {
	dir := fmt.Sprintf("proc/%d/task", pid)
	threads, err := f.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	busy := 0
	for _, thread := range threads {
		name := dir + "/" + thread + "/stat"
		text, err := f.ReadFile(name, tableLimit)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			return 0, err
		}
		fields := statFields(string(text))
		if len(fields) == 0 {
			return 0, fmt.Errorf("%s: %s has no state", f.Path(name), quote(string(text)))
		}
		if fields[0] == "R" || fields[0] == "D" {
			busy++
		}
	}
	return busy, nil
}

// Arguments returns the command line that a process shows: empty for kernel
// threads and zombies.
func (f FS) Arguments(pid int) ([]string, error) {
	text, err := f.ReadFile(fmt.Sprintf("proc/%d/cmdline", pid), tableLimit)
	if err != nil {
		return nil, err
	}
	if len(text) == 0 {
		return nil, nil
	}
	return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00"), nil
}

// Mapping is one mapping of huge pages in a process.
type Mapping struct {
	Start   uint64         // its first address
	End     uint64         // the address after its last; 0 where the mapping went away while it was read
	File    string         // the mapped file; memory without one is /memfd:NAME, /anon_hugepage or /SYSVkey with " (deleted)"
	Device  string         // the file's device, "major:minor"; "" where the mapping went away while it was read
	Inode   uint64         // the file's inode, 0 among them; with Device it tells that two processes map the same pages
	Offset  uint64         // where in the file it begins, in bytes
	PageKiB uint64         // the size of its pages in KiB; 0 where it has none yet, unless Reservations looked
	Private bool           // MAP_PRIVATE: what it writes to are copies of its own
	Anon    uint64         // how many of its pages are such copies
	MapMax  uint64         // how many page tables at the most have one of its pages, 0 and 1 both being its own alone
	Bound   []int          // the nodes that its policy binds it to, ascending; nil where that is none or another, or its text is not understood
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

// ErrManyMappings is what reading the mappings of a process ends with that has
// more of them than its reader keeps.
var ErrManyMappings = errors.New("it has too many mappings")

// Mappings returns the mappings of huge pages of a process, most of them at the
// most: with more it is [ErrManyMappings]. They are from /proc/PID/numa_maps (Documentation/filesystems/proc.rst and
// man 7 numa) and /proc/PID/maps, which has the files. The kernel walks the
// process's page tables for it and wants the right to trace the process. One
// without NUMA has no numa_maps; there /proc/PID/smaps tells, and all pages
// lie on node 0.
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
	return parseLines(f, fmt.Sprintf("proc/%d/maps", pid), func(in io.Reader) ([]Mapping, error) {
		return mappings, addFiles(mappings, in)
	})
}

// parseNUMAMaps returns the lines of numa_maps that carry the word huge. The
// memory policy may hold spaces ("prefer (many):0") but no such word, and the
// kernel escapes white space and = in the file's name, so words are safe to
// look for. The name itself is left to addFiles.
func parseNUMAMaps(in io.Reader, most int) ([]Mapping, error) {
	var mappings []Mapping
	scanner := newScanner(in)
	for scanner.Scan() {
		if !bytes.Contains(scanner.Bytes(), []byte(" huge")) {
			continue
		}
		line := scanner.Text()
		words := strings.Fields(line)
		m := Mapping{}
		if policy, nodes, ok := strings.Cut(words[min(1, len(words)-1)], ":"); ok && (policy == "bind" || strings.HasPrefix(policy, "bind=")) {
			m.Bound, _ = parseList(nodes, maxNode)
		}
		huge := false
		for _, word := range words[1:] {
			key, value, hasValue := strings.Cut(word, "=")
			if !hasValue {
				huge = huge || word == "huge"
				continue
			}
			var err error
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
			if err != nil {
				return nil, fmt.Errorf("%s: %w", quote(line), err)
			}
		}
		if !huge {
			continue
		}
		start, err := strconv.ParseUint(words[0], 16, 64)
		if err != nil {
			return nil, fmt.Errorf("%s does not begin with an address", quote(line))
		}
		m.Start = start
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

// isNodeKey says whether a key of numa_maps is a node's page count: N0, N12.
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

// addFiles fills in from /proc/PID/maps what numa_maps does not have, joined
// by address. A mapping that came or went between the two readings keeps none.
// numa_maps names files too, but does not escape backslashes.
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

func byStart(mappings []Mapping) map[uint64]*Mapping {
	found := make(map[uint64]*Mapping, len(mappings))
	for i := range mappings {
		found[mappings[i].Start] = &mappings[i]
	}
	return found
}

// parseMapsLine reads a line of /proc/PID/maps, which is also what begins a
// mapping in smaps: start-end permissions offset device inode path.
func parseMapsLine(line string) (m Mapping, err error) {
	words := strings.SplitN(line, " ", 6)
	if len(words) < 5 {
		return m, fmt.Errorf("%s is not a mapping", quote(line))
	}
	start, end, _ := strings.Cut(words[0], "-")
	if m.Start, err = strconv.ParseUint(start, 16, 64); err != nil {
		return m, fmt.Errorf("%s does not begin with an address", quote(line))
	}
	if m.End, err = strconv.ParseUint(end, 16, 64); err != nil || m.End < m.Start {
		return m, fmt.Errorf("%s does not begin with a range of addresses", quote(line))
	}
	m.Private = strings.HasSuffix(words[1], "p")
	if m.Offset, err = strconv.ParseUint(words[2], 16, 64); err != nil {
		return m, fmt.Errorf("%s: offset: %w", quote(line), err)
	}
	m.Device = words[3]
	if m.Inode, err = parseNumber(words[4]); err != nil {
		return m, fmt.Errorf("%s: inode: %w", quote(line), err)
	}
	if len(words) > 5 {
		m.File = strings.ReplaceAll(strings.TrimLeft(words[5], " "), `\012`, "\n")
	}
	return m, nil
}
