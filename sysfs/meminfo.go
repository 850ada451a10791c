package sysfs

import "fmt"

// DefaultPageKiB returns the kernel's default huge page size in KiB, which mounts and mappings get that name none:
// Hugepagesize in /proc/meminfo (Documentation/filesystems/proc.rst). ok is false on a kernel without huge pages.
func (f FS) DefaultPageKiB() (kib uint64, ok bool, err error) {
	const name = "proc/meminfo"
	text, err := f.ReadFile(name, tableLimit)
	if err != nil {
		return 0, false, err
	}
	kib, ok, err = parsePageKiB(string(text))
	if err != nil {
		return 0, false, fmt.Errorf("%s: %w", f.Path(name), err)
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

// reduceMeminfo keeps the default size.
func reduceMeminfo(text []byte) ([]byte, error) {
	_, _, err := parsePageKiB(string(text))
	return keepFields(string(text), "Hugepagesize"), err
}
