package main

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A stock is what of a machine tests could change: by name, what there is of it.
type stock map[string]string

// ownNames are in the names of what the tests, and the daemons that they run, write. On a machine in use others write, too,
// below the same directories.
var ownNames = regexp.MustCompile(`(?i)hugeguard|hugepages|libvirt|virtlogd|qemu|openvswitch|ovs|nova|prometheus|node-exporter|numabox|livehost`)

// watched are the directories whose files are compared.
var watched = []string{"/etc", "/run", "/usr", "/opt", "/var/lib", "/var/cache/libvirt", "/var/log", "/dev/shm", "/dev/hugepages", "/tmp", "/srv", "/mnt"}

// everybodys are those where what lies below a directory is as little the tests' as this.
var everybodys = []string{"/tmp", "/dev/shm"}

// takeStock notes what there is: the settings of huge pages, of memory, mounts, control groups, network interfaces, System V
// segments, files with names that those of tests have, and the checkout. tmp is the tests' directory for temporary files.
func takeStock(tmp string) (stock, error) {
	s := stock{}
	for _, pattern := range []string{
		"/sys/kernel/mm/hugepages/*/nr_*", "/sys/devices/system/node/node*/hugepages/*/nr_hugepages",
		"/proc/sys/vm/*", "/proc/sys/kernel/shm*", "/sys/class/net/*/ifindex",
	} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if text, err := os.ReadFile(name); err == nil { // some can only be written
				s[name] = strings.TrimSpace(string(text))
			}
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	for _, line := range strings.Split(string(mounts), "\n") {
		if words := strings.Fields(line); len(words) > 2 {
			s["mount of "+words[2]+" on "+words[1]] += "+"
		}
	}
	segments, err := os.ReadFile("/proc/sysvipc/shm")
	if err != nil {
		return nil, err
	}
	for _, line := range strings.Split(string(segments), "\n") {
		if words := strings.Fields(line); len(words) > 3 {
			s["System V segment "+words[1]] = words[3]
		}
	}
	filepath.WalkDir("/sys/fs/cgroup", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && ownNames.MatchString(name) {
			s[name] = "a control group"
		}
		return nil
	})
	for _, dir := range watched {
		filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return nil // gone meanwhile, or not to be read
			case name == tmp, d.IsDir() && slices.Contains(everybodys, filepath.Dir(name)) && !ownNames.MatchString(name):
				return fs.SkipDir
			case !ownNames.MatchString(name):
				return nil
			}
			if info, err := d.Info(); err == nil {
				s[name] = fmt.Sprint(info.Mode())
				if info.Mode().IsRegular() {
					s[name] += fmt.Sprintf(" of %d bytes, changed %v", info.Size(), info.ModTime())
				}
			}
			return nil
		})
	}
	// Of the checkout itself, which is the tests' own, all files count.
	filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if name == ".git" || name == "bin" {
				return fs.SkipDir
			}
			return nil
		}
		if info, err := d.Info(); err == nil {
			s[name] = fmt.Sprintf("%v of %d bytes, changed %v", info.Mode(), info.Size(), info.ModTime())
		}
		return nil
	})
	return s, nil
}

// differences says what is otherwise than before, a line each. What lies in a directory that came or went goes without
// saying.
func (before stock) differences(now stock) []string {
	var all []string
	alone := func(name string, there, notThere stock) bool {
		dir := filepath.Dir(name)
		_, is := there[dir]
		_, isnt := notThere[dir]
		return !is || isnt
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		switch is, there := now[name]; {
		case !there && alone(name, before, now):
			all = append(all, fmt.Sprintf("%s is gone: it was %s", name, before[name]))
		case there && is != before[name]:
			all = append(all, fmt.Sprintf("%s is %s: it was %s", name, is, before[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if _, there := before[name]; !there && alone(name, now, before) {
			all = append(all, fmt.Sprintf("%s is new: %s", name, now[name]))
		}
	}
	return all
}

// leftBehind says what the tests left, a line each: processes, which it ends, files in their directory for temporary ones,
// and what is otherwise than before.
func leftBehind(before stock, tmp string) ([]string, error) {
	left := endOrphans()
	files, err := os.ReadDir(tmp)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		left = append(left, filepath.Join(tmp, f.Name())+" was left in the directory for temporary files")
	}
	now, err := takeStock(tmp)
	if err != nil {
		return nil, err
	}
	return append(left, before.differences(now)...), nil
}
