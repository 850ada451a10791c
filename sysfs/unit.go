package sysfs

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
)

// errNoUnit is that a process is in no unit of systemd's, or not where the unit's own processes are.
var errNoUnit = errors.New("in no group of a unit")

// UnitProcesses returns the processes of the systemd unit that a process is in: cgroup.procs of its control group of
// version 2 (Documentation/admin-guide/cgroup-v2.rst). It is an error where these are not all, as there are groups below
// the unit's, and on a host without version 2.
func (f FS) UnitProcesses(pid int) ([]int, error) {
	name := fmt.Sprintf("proc/%d/cgroup", pid)
	text, err := f.ReadFile(name, tableLimit)
	if err != nil {
		return nil, err
	}
	mounts, err := f.Mounts()
	if err != nil {
		return nil, err
	}
	group := unifiedGroup(string(text))
	if !isUnit(path.Base(group)) || strings.HasPrefix(group, "/..") || mounts.Cgroup.Unified == "" {
		return nil, fmt.Errorf("%s: %w", f.Path(name), errNoUnit)
	}
	dir := strings.TrimPrefix(path.Join(mounts.Cgroup.Unified, group), "/")
	stat, err := f.ReadFile(dir+"/cgroup.stat", counterLimit)
	if err != nil {
		return nil, err
	}
	below, err := parseDescendants(string(stat))
	if err != nil || below > 0 {
		return nil, fmt.Errorf("%s: %w", f.Path(dir), errors.Join(errNoUnit, err))
	}
	procs, err := f.ReadFile(dir+"/cgroup.procs", tableLimit)
	if err != nil {
		return nil, err
	}
	pids, err := parseProcs(string(procs))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path(dir+"/cgroup.procs"), err)
	}
	return pids, nil
}

// unifiedGroup returns the control group of version 2 of /proc/PID/cgroup; "" without one.
func unifiedGroup(text string) string {
	for line := range lines(text) {
		if group, ok := parseCgroupLine(line); ok && group.hierarchy == "0" {
			return group.path
		}
	}
	return ""
}

// parseDescendants parses how many groups cgroup.stat says are below one.
func parseDescendants(text string) (uint64, error) {
	for line := range lines(text) {
		if value, ok := strings.CutPrefix(line, "nr_descendants "); ok {
			return parseNumber(value)
		}
	}
	return 0, errors.New("there is no nr_descendants")
}

// reduceDescendants keeps how many groups are below one.
func reduceDescendants(text []byte) ([]byte, error) {
	below, err := parseDescendants(string(text))
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "nr_descendants %d\n", below), nil
}

// parseProcs parses cgroup.procs. A process of another PID namespace is 0 there.
func parseProcs(text string) (pids []int, err error) {
	for line := range lines(text) {
		pid, err := strconv.Atoi(line)
		if err != nil || pid < 0 {
			return nil, fmt.Errorf("%s is no process", quote(line))
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// reduceProcs keeps all, which is numbers alone.
func reduceProcs(text []byte) ([]byte, error) {
	_, err := parseProcs(string(text))
	return text, err
}
