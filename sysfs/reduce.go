package sysfs

import (
	"errors"
	"fmt"
	"math"
	"path"
	"strconv"
	"strings"
)

// Reduction says what a capture keeps of the files of one reader, so that the reader finds the same in it. What the
// reader does not understand is an error: then a capture has a file that cannot be read, which is an error, too.
type Reduction struct {
	// Files is a pattern of names, as for [path.Match]. Without a slash it is of the last element, wherever the file
	// lies.
	Files string
	// Keep returns what is kept of a file.
	Keep func(text []byte) ([]byte, error)

	// keep does the same where it depends on other files of the process.
	keep func(r *Reducer, pid int, text []byte) ([]byte, error)
}

// reductions are those of this package. No name matches two of them.
var reductions = []Reduction{
	{Files: poolDir + "/hugepages-*kB/*", Keep: whatItIs},
	{Files: nodeDir + "/online", Keep: whatItIs},
	{Files: nodeDir + "/has_memory", Keep: whatItIs},
	{Files: nodeDir + "/has_cpu", Keep: whatItIs},
	{Files: nodeDir + "/node*/cpulist", Keep: whatItIs},
	{Files: nodeDir + "/node*/distance", Keep: whatItIs},
	{Files: nodeDir + "/node*/meminfo", Keep: reduceMemory},
	{Files: nodeDir + "/node*/hugepages/hugepages-*kB/*", Keep: whatItIs},
	{Files: "cgroup.controllers", Keep: whatItIs},
	{Files: "cgroup.procs", Keep: reduceProcs},
	{Files: "cgroup.stat", Keep: reduceDescendants},
	{Files: "cpuset.*", Keep: whatItIs},
	{Files: "hugetlb.[0-9]*[KMG]B.*", Keep: whatItIs},
	{Files: "*.pid", Keep: reducePID},
	{Files: "proc/buddyinfo", Keep: whatItIs},
	{Files: "proc/cmdline", Keep: reduceBoot},
	{Files: meminfo, Keep: reduceMeminfo},
	{Files: "proc/mounts", keep: (*Reducer).mounts},
	{Files: "proc/self/auxv", Keep: reducePageSize},
	{Files: "proc/self/cgroup", Keep: reduceOwnCgroup},
	{Files: "proc/stat", Keep: reduceBootTime},
	{Files: "proc/sys/kernel/random/boot_id", Keep: whatItIs},
	{Files: "proc/sys/kernel/osrelease", Keep: whatItIs},
	{Files: "proc/sysvipc/shm", Keep: reduceSegments},
	{Files: "proc/uptime", Keep: whatItIs},
	{Files: "etc/sysctl.d/*.conf", Keep: reducePoolSetting},
	{Files: "run/sysctl.d/*.conf", Keep: reducePoolSetting},
	{Files: "usr/lib/sysctl.d/*.conf", Keep: reducePoolSetting},
	{Files: "usr/local/lib/sysctl.d/*.conf", Keep: reducePoolSetting},
	{Files: "proc/[0-9]*/cgroup", Keep: reducePlace},
	{Files: "proc/[0-9]*/maps", keep: (*Reducer).maps},
	{Files: "proc/[0-9]*/mounts", keep: (*Reducer).mounts},
	{Files: "proc/[0-9]*/numa_maps", keep: (*Reducer).numaMaps},
	{Files: "proc/[0-9]*/smaps", keep: (*Reducer).smaps},
	{Files: "proc/[0-9]*/stat", Keep: reduceStat},
	{Files: "proc/[0-9]*/status", Keep: reduceStatus},
	{Files: "proc/[0-9]*/task/[0-9]*/stat", Keep: reduceThreadStat},
}

// whatItIs keeps all of a file that holds nothing but what is read.
func whatItIs(text []byte) ([]byte, error) { return text, nil }

// ErrNoReader is that no reader says what is kept of a file.
var ErrNoReader = errors.New("no reader says what a capture keeps of it")

// Reducer reduces the files of one host, in the order in which they are read. It is for one goroutine at a time.
type Reducer struct {
	also []Reduction
	host MountPoints             // of hugetlbfs
	own  map[int]MountPoints     // the same in the mount namespaces of processes
	huge map[int]map[uint64]bool // where mappings of huge pages begin, by process
}

// NewReducer returns a reducer that knows the files of this package's readers, and those of others besides.
func NewReducer(also []Reduction) *Reducer {
	return &Reducer{also: also, own: map[int]MountPoints{}, huge: map[int]map[uint64]bool{}}
}

// Knows reports whether a reader says what is kept of a file.
func (r *Reducer) Knows(name string) bool {
	_, ok := r.find(name)
	return ok
}

// Reduce returns what a capture keeps of a file. It is [ErrNoReader] where no reader says so.
func (r *Reducer) Reduce(name string, e Entry) ([]byte, error) {
	if e.Made {
		return reduceMade(name, e.Data)
	}
	found, ok := r.find(name)
	switch {
	case !ok:
		return nil, ErrNoReader
	case found.keep != nil:
		pid, _ := OfProcess(name)
		return found.keep(r, pid, e.Data)
	}
	return found.Keep(e.Data)
}

// reduceMade checks a file that this package made, as a captured host can have anything in its place.
func reduceMade(name string, text []byte) ([]byte, error) {
	switch {
	case strings.HasSuffix(name, ".unsure"):
		return []byte{}, nil
	case strings.HasSuffix(name, ".statfs"):
		_, err := parseStatfs(string(text))
		return text, err
	case strings.HasSuffix(name, ".age"):
		_, err := parseAge(string(text))
		return text, err
	case strings.HasSuffix(name, ".leads"):
		_, err := parseLeads(string(text))
		return text, err
	}
	for line := range lines(string(text)) {
		if strings.HasPrefix(line, others) {
			continue
		}
		_, err := parseFile(line)
		if err != nil {
			return nil, err
		}
	}
	return text, nil
}

func (r *Reducer) find(name string) (Reduction, bool) {
	for _, known := range [][]Reduction{r.also, reductions} {
		for _, reduction := range known {
			if reduction.matches(name) {
				return reduction, true
			}
		}
	}
	return Reduction{}, false
}

func (r Reduction) matches(name string) bool {
	if !strings.Contains(r.Files, "/") {
		name = path.Base(name)
	}
	ok, err := path.Match(r.Files, name)
	if err != nil {
		panic(fmt.Sprintf("%s: %v", r.Files, err)) // which any test would see
	}
	return ok
}

// OfProcess returns the number of the process that a file below /proc is about, and the rest of its name; 0 for other
// files.
func OfProcess(name string) (pid int, rest string) {
	below, ok := strings.CutPrefix(name, "proc/")
	if !ok {
		return 0, ""
	}
	dir, rest, _ := strings.Cut(below, "/")
	pid, err := strconv.Atoi(dir)
	if err != nil || pid < 0 {
		return 0, ""
	}
	return pid, rest
}

func (r *Reducer) mounts(pid int, text []byte) ([]byte, error) {
	most := mostMounts
	if pid == 0 {
		most = math.MaxInt
	}
	kept, points, err := reduceMounts(text, most)
	if pid == 0 {
		r.host = points
	} else {
		r.own[pid] = points
	}
	return kept, err
}

func (r *Reducer) numaMaps(pid int, text []byte) ([]byte, error) {
	kept, starts, err := reduceNUMAMaps(text)
	r.begin(pid, starts)
	return kept, err
}

func (r *Reducer) smaps(pid int, text []byte) ([]byte, error) {
	kept, starts, err := reduceSmaps(text)
	r.begin(pid, starts)
	return kept, err
}

// begin notes where mappings of huge pages of a process begin.
func (r *Reducer) begin(pid int, starts []uint64) {
	if r.huge[pid] == nil {
		r.huge[pid] = map[uint64]bool{}
	}
	for _, start := range starts {
		r.huge[pid][start] = true
	}
}

func (r *Reducer) maps(pid int, text []byte) ([]byte, error) {
	return reduceMaps(text, r.huge[pid], []MountPoints{r.host, r.own[pid]})
}
