package sysfs

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// PoolSetting is how many pages of the default size a file has systemd write to vm.nr_hugepages at each boot.
type PoolSetting struct {
	Pages uint64
	File  string // by its absolute path; "" for none
}

// sysctlDirs are where these files are, those of the first before files of the same name in the others (sysctl.d(5)).
var sysctlDirs = []string{"etc/sysctl.d", "run/sysctl.d", "usr/local/lib/sysctl.d", "usr/lib/sysctl.d"}

// mostSettings bounds how many files are read.
const mostSettings = 200

// PoolSetting returns the setting of vm.nr_hugepages that counts: the last in the files in the order of their names. What
// cannot be read is left out.
func (f FS) PoolSetting() (s PoolSetting) {
	files := map[string]string{}
	for _, dir := range sysctlDirs {
		names, _ := f.ReadDir(dir)
		for _, name := range names {
			if _, known := files[name]; !known && strings.HasSuffix(name, ".conf") {
				files[name] = dir + "/" + name
			}
		}
	}
	names := slices.Sorted(maps.Keys(files))
	for _, name := range names[:min(len(names), mostSettings)] {
		text, err := f.ReadFile(files[name], tableLimit)
		if err != nil {
			continue
		}
		if pages, ok := parsePoolSetting(string(text)); ok {
			s = PoolSetting{pages, "/" + files[name]}
		}
	}
	return s
}

// parsePoolSetting returns the last setting of vm.nr_hugepages in a file; ok is false without one.
func parsePoolSetting(text string) (pages uint64, ok bool) {
	for line := range lines(text) {
		value, is := poolSetting(line)
		n, err := strconv.ParseUint(value, 10, 40)
		if is && err == nil {
			pages, ok = n, true
		}
	}
	return pages, ok
}

// poolSetting returns the value that a line gives vm.nr_hugepages. A - before the name has errors ignored, and names may
// have / for the dots.
func poolSetting(line string) (value string, is bool) {
	key, value, found := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "-"), "=")
	return strings.TrimSpace(value), found && strings.ReplaceAll(strings.TrimSpace(key), "/", ".") == "vm.nr_hugepages"
}

// reducePoolSetting keeps the lines that [FS.PoolSetting] reads.
func reducePoolSetting(text []byte) ([]byte, error) {
	kept := []byte{}
	for line := range lines(string(text)) {
		if _, is := poolSetting(line); is {
			kept = appendLine(kept, line)
		}
	}
	return kept, nil
}
