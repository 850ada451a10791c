package sysfs

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// failures counts in /proc/vmstat how often the kernel could not make a huge page since boot, but for gigantic ones
// (HTLB_BUDDY_PGALLOC_FAIL).
const failures = "htlb_buddy_alloc_fail"

// Failures returns how often the kernel could not make a huge page since boot; ok is false where it does not count that.
func (f FS) Failures() (n uint64, ok bool, err error) {
	const name = "proc/vmstat"
	text, err := f.ReadFile(name, tableLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	n, ok, err = parseFailures(string(text))
	if err != nil {
		return 0, false, fmt.Errorf("%s: %w", f.Path(name), err)
	}
	return n, ok, nil
}

func parseFailures(text string) (n uint64, ok bool, err error) {
	for line := range lines(text) {
		value, is := strings.CutPrefix(line, failures+" ")
		if !is {
			continue
		}
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return 0, false, fmt.Errorf("%s is not a count", quote(value))
		}
		return n, true, nil
	}
	return 0, false, nil
}

// reduceFailures keeps the line that [FS.Failures] reads.
func reduceFailures(text []byte) ([]byte, error) {
	kept := []byte{}
	for line := range lines(string(text)) {
		if strings.HasPrefix(line, failures+" ") {
			kept = appendLine(kept, line)
		}
	}
	return kept, nil
}
