package sysfs

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// readNumber reads a file that holds one decimal number, as most files of sysfs do.
func (f FS) readNumber(name string) (uint64, error) {
	text, err := f.ReadFile(name, counterLimit)
	if err != nil {
		return 0, err
	}
	n, err := parseWholeNumber(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", f.Path(name), err)
	}
	return n, nil
}

// parseWholeNumber parses a file that holds one decimal number.
func parseWholeNumber(text []byte) (uint64, error) {
	n, err := parseNumber(string(text))
	if err != nil {
		return 0, err
	}
	return n, whole(text)
}

// errCutShort is a file without the newline that the kernel puts at its end: the number in it is a part of one.
var errCutShort = errors.New("the end of the file is missing")

// whole returns an error unless a file is there to its end.
func whole(text []byte) error {
	if !bytes.HasSuffix(text, []byte("\n")) {
		return errCutShort
	}
	return nil
}

// parseNumber parses one decimal number with white space around it.
func parseNumber(text string) (uint64, error) {
	s := strings.TrimSpace(text)
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is not a count: %w", quote(s), errors.Unwrap(err))
	}
	return n, nil
}

// parseField finds "Key:   value" among the lines of text. Of several lines with the key the first counts.
func parseField(text, key string) (value string, ok bool) {
	for line := range lines(text) {
		name, value, found := strings.Cut(line, ":")
		if found && name == key {
			return value, true
		}
	}
	return "", false
}

// keepFields returns the lines of text with one of the keys.
func keepFields(text string, keys ...string) []byte {
	kept := []byte{}
	for line := range lines(text) {
		key, _, ok := strings.Cut(line, ":")
		if ok && slices.Contains(keys, key) {
			kept = appendLine(kept, line)
		}
	}
	return kept
}

// parseKiB parses the value of "Key:   123 kB".
func parseKiB(key, value string) (kib uint64, err error) {
	digits, unit := strings.CutSuffix(strings.TrimSpace(value), " kB")
	if !unit {
		return 0, fmt.Errorf("%s: %s is not a size in kB", key, quote(value))
	}
	kib, err = parseNumber(digits)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", key, err)
	}
	return kib, nil
}

// parseBinarySize parses a size such as the kernel prints for pagesize= ("64K", "2M", "1024M", "16G") and returns KiB.
func parseBinarySize(text string) (kib uint64, err error) {
	digits, factor := text, uint64(0)
	if n := len(text); n > 0 {
		digits = text[:n-1]
		switch text[n-1] {
		case 'K', 'k':
			factor = 1
		case 'M', 'm':
			factor = 1 << 10
		case 'G', 'g':
			factor = 1 << 20
		}
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || factor == 0 || n == 0 {
		return 0, fmt.Errorf("%s is not a size", quote(text))
	}
	return n * factor, nil
}

// maxNode bounds a node's number: the kernel's CONFIG_NODES_SHIFT is 10 at the most. maxCPU bounds a CPU's:
// CONFIG_NR_CPUS is 8192 at the most.
const (
	maxNode = 1023
	maxCPU  = 8191
)

// readNodes reads a list of nodes.
func (f FS) readNodes(name string) ([]int, error) {
	return f.readList(name, counterLimit, "nodes", maxNode)
}

// readCPUs reads a list of CPUs.
func (f FS) readCPUs(name string) ([]int, error) {
	return f.readList(name, tableLimit, "CPUs", maxCPU)
}

func (f FS) readList(name string, limit int, of string, most uint64) ([]int, error) {
	text, err := f.ReadFile(name, limit)
	if err != nil {
		return nil, err
	}
	list, err := parseList(string(text), most)
	if err != nil {
		return nil, fmt.Errorf("%s: %w of %s", f.Path(name), err, of)
	}
	err = whole(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path(name), err)
	}
	return list, nil
}

// parseList parses the kernel's list format ("0-1,8"), which Documentation/admin-guide/cputopology.rst describes, into
// ascending numbers up to most.
func parseList(text string, most uint64) ([]int, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	var list []int
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		low, errLow := strconv.ParseUint(first, 10, 32)
		high, errHigh := strconv.ParseUint(last, 10, 32)
		if errLow != nil || errHigh != nil || high < low || high > most {
			return nil, fmt.Errorf("%s is not a list", quote(text))
		}
		for n := low; n <= high; n++ {
			list = append(list, int(n))
		}
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// quote returns what a parser choked on, cut to a length that fits a message.
func quote(s string) string {
	const most = 40
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}

// lines yields the lines of text without their line ends.
func lines(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for len(text) > 0 {
			line, rest, _ := strings.Cut(text, "\n")
			if !yield(line) {
				return
			}
			text = rest
		}
	}
}

// appendLine appends a line to what is kept of a file.
func appendLine(kept []byte, line string) []byte {
	return append(append(kept, line...), '\n')
}
