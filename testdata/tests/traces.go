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

var (
	// ownNames are in the names of what only the tests, and what they install, write.
	ownNames = regexp.MustCompile(`hugeguard|numabox|novabox|livehost`)
	// relatedNames are also in those of the daemons that they run: where only an installation or a change of the
	// configuration writes something, a file with this name is compared as well.
	relatedNames = regexp.MustCompile(`(?i)hugeguard|hugepages|libvirt|virtlogd|qemu|openvswitch|ovs|nova|prometheus|node-exporter`)
)

// watched are the directories whose files are compared, each with the names that count. On a machine in use others
// write to most of them all the time.
var watched = map[string]*regexp.Regexp{
	"/etc": relatedNames, "/usr": relatedNames, "/opt": relatedNames,
	"/run": ownNames, "/var/lib": ownNames, "/var/cache": ownNames, "/var/log": ownNames, "/dev/shm": ownNames, "/dev/hugepages": ownNames,
	"/tmp": ownNames, "/srv": ownNames, "/mnt": ownNames,
}

// everybodys are those where what lies below a directory is as little the tests' as this.
var everybodys = []string{"/tmp", "/dev/shm"}

// takeStock notes what there is: the settings of huge pages and of memory, and with names that those of tests have
// mounts, control groups and files; System V segments that nobody has attached; and the checkout. tmp is the tests'
// directory for temporary files.
func takeStock(tmp string) (stock, error) {
	s := stock{}
	for _, pattern := range []string{
		"/sys/kernel/mm/hugepages/*/nr_*", "/sys/devices/system/node/node*/hugepages/*/nr_hugepages",
		"/proc/sys/vm/*", "/proc/sys/kernel/shm*",
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
		words := strings.Fields(line)
		if len(words) > 2 && (ownNames.MatchString(words[1]) || relatedNames.MatchString(words[1]) || strings.HasPrefix(words[1], "/tmp")) {
			s["mount of "+words[2]+" on "+words[1]] += "+"
		}
	}
	segments, err := os.ReadFile("/proc/sysvipc/shm")
	if err != nil {
		return nil, err
	}
	for _, line := range strings.Split(string(segments), "\n") {
		if words := strings.Fields(line); len(words) > 6 && words[6] == "0" { // nattch
			s["System V segment "+words[1]] = words[3] + " bytes"
		}
	}
	filepath.WalkDir("/sys/fs/cgroup", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && ownNames.MatchString(name) {
			s[name] = "a control group"
		}
		return nil
	})
	for dir, names := range watched {
		filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return nil // gone meanwhile, or not to be read
			case name == tmp, d.IsDir() && slices.Contains(everybodys, filepath.Dir(name)) && !names.MatchString(name):
				return fs.SkipDir
			case names.MatchString(name):
				s.add(name, d, names == relatedNames)
			}
			return nil
		})
	}
	// Of the checkout itself, which is the tests' own, all files count.
	filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil
		case name == ".git", name == "bin":
			return fs.SkipDir
		case !d.IsDir():
			s.add(name, d, true)
		}
		return nil
	})
	return s, nil
}

// add notes a file: what it is, and whose content is nobody's to change, when it was changed.
func (s stock) add(name string, d fs.DirEntry, content bool) {
	info, err := d.Info()
	if err != nil {
		return // gone meanwhile
	}
	s[name] = fmt.Sprint(info.Mode())
	if content && info.Mode().IsRegular() {
		s[name] += fmt.Sprintf(" of %d bytes, changed %v", info.Size(), info.ModTime())
	}
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

// changes says what is otherwise than before, a line each.
func changes(before stock, tmp string) ([]string, error) {
	now, err := takeStock(tmp)
	if err != nil {
		return nil, err
	}
	return before.differences(now), nil
}
