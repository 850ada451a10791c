package sysfs

import (
	"errors"
	"fmt"
)

const meminfo = "proc/meminfo"

// DefaultPageKiB returns the kernel's default huge page size in KiB, which mounts and mappings get that name none:
// Hugepagesize in /proc/meminfo (Documentation/filesystems/proc.rst). ok is false on a kernel without huge pages.
func (f FS) DefaultPageKiB() (kib uint64, ok bool, err error) {
	text, err := f.ReadFile(meminfo, tableLimit)
	if err != nil {
		return 0, false, err
	}
	kib, ok, err = parsePageKiB(string(text))
	if err != nil {
		return 0, false, fmt.Errorf("%s: %w", f.Path(meminfo), err)
	}
	return kib, ok, nil
}

func parsePageKiB(text string) (kib uint64, ok bool, err error) {
	size, ok := parseField(text, "Hugepagesize")
	if !ok {
		return 0, false, nil
	}
	kib, err = parseKiB("Hugepagesize", size)
	return kib, err == nil, err
}

// reduceMeminfo keeps the default size, and what is read of memory.
func reduceMeminfo(text []byte) ([]byte, error) {
	_, _, errPage := parsePageKiB(string(text))
	_, _, errAvailable := parseAvailable(string(text))
	_, _, errMemory := parseMemory(string(text))
	return keepMemory(string(text), "Hugepagesize", "MemAvailable"), errors.Join(errPage, errAvailable, errMemory)
}
