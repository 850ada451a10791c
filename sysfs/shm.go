package sysfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// Segment is a System V shared memory segment.
type Segment struct {
	ID       uint64 // what ipcrm -m takes, and the inode of those who map it
	Creator  int    // pid of the process that made it
	Attached uint64 // how many mappings it has
	Bytes    uint64
	Resident uint64 // how many bytes of it have memory, as the kernel says: see Pages
}

// Pages returns how many pages of a size in KiB a segment has, if it is made of pages of that size; ok is false where it cannot be.
// baseKiB is the ordinary page size.
//
// The kernel multiplies what it counts by the page's size (shm_add_rss_swap), and counts huge pages up to Linux 6.6,
// ordinary ones since. Where both can be meant the smaller number is returned, but for a segment that is full.
func (s Segment) Pages(pageKiB, baseKiB uint64) (pages uint64, ok bool) {
	page := pageKiB * 1024
	if page == 0 || s.Resident == 0 || s.Resident%page != 0 {
		return 0, false
	}
	size := s.Bytes / page
	if s.Bytes%page != 0 {
		size++
	}
	pages = s.Resident / page
	if each := pageKiB / max(baseKiB, 1); pages != size && each > 0 && pages%each == 0 {
		pages /= each
	}
	return pages, pages <= size
}

// Huge reports whether a segment can only be of pages of a size in KiB: since Linux 6.7 it shows more memory than it is
// large.
func (s Segment) Huge(pageKiB uint64) bool {
	page := pageKiB * 1024
	return page > 0 && s.Resident > s.Bytes && s.Resident-s.Bytes >= page
}

// Segments returns the System V shared memory segments of this IPC namespace, from /proc/sysvipc/shm (ipc/shm.c).
// Nothing in there tells which of them are of huge pages. A kernel without them has none.
func (f FS) Segments() ([]Segment, error) {
	segments, err := parseLines(f, "proc/sysvipc/shm", parseSegments)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return segments, err
}

// parseSegments parses a table whose first line names the columns.
func parseSegments(in io.Reader) ([]Segment, error) {
	var segments []Segment
	scanner := newScanner(in)
	if !scanner.Scan() {
		return nil, scanner.Err()
	}
	columns := strings.Fields(scanner.Text())
	for _, column := range segmentColumns {
		if !slices.Contains(columns, column) {
			return nil, fmt.Errorf("%s does not name the column %s", quote(scanner.Text()), column)
		}
	}
	for scanner.Scan() {
		line := scanner.Text()
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) != len(columns) {
			return nil, fmt.Errorf("%s has not the columns that the first line names", quote(line))
		}
		var s Segment
		for i, column := range columns {
			err := s.set(column, words[i])
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", quote(line), column, err)
			}
		}
		segments = append(segments, s)
	}
	return segments, scanner.Err()
}

// segmentColumns are those of the table that are read.
var segmentColumns = []string{"shmid", "size", "cpid", "nattch", "rss"}

// set sets what a column says of a segment.
func (s *Segment) set(column, value string) (err error) {
	switch column {
	case "shmid":
		s.ID, err = parseNumber(value)
	case "size":
		s.Bytes, err = parseNumber(value)
	case "cpid":
		s.Creator, err = strconv.Atoi(value)
	case "nattch":
		s.Attached, err = parseNumber(value)
	case "rss":
		s.Resident, err = parseNumber(value)
	}
	return err
}

// reduceSegments keeps the columns that are read.
func reduceSegments(text []byte) ([]byte, error) {
	_, err := parseSegments(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	kept := []byte{}
	var columns []string
	for line := range lines(string(text)) {
		words := strings.Fields(line)
		if columns == nil {
			columns = words
		}
		var read []string
		for i := range words {
			if slices.Contains(segmentColumns, columns[i]) {
				read = append(read, words[i])
			}
		}
		kept = appendLine(kept, strings.Join(read, " "))
	}
	return kept, nil
}
