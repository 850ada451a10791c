package sysfs

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Started returns when a process started, by the wall clock as it is set now: [FS.StartedAfterBoot] and the second of
// the boot, btime in /proc/stat (Documentation/filesystems/proc.rst). ok is false for a tree without the latter.
func (f FS) Started(pid int) (t time.Time, ok bool, err error) {
	const name = "proc/stat"
	text, err := f.ReadFile(name, tableLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return t, false, nil
	}
	if err != nil {
		return t, false, err
	}
	boot, err := parseBootTime(string(text))
	if err != nil {
		return t, false, fmt.Errorf("%s: %w", f.Path(name), err)
	}
	after, err := f.StartedAfterBoot(pid)
	if err != nil {
		return t, false, err
	}
	return time.Unix(int64(boot), 0).Add(after), true, nil
}

// parseBootTime parses btime in /proc/stat, in seconds since the epoch.
func parseBootTime(text string) (seconds uint64, err error) {
	for line := range lines(text) {
		value, ok := strings.CutPrefix(line, "btime ")
		if !ok {
			continue
		}
		seconds, err = parseNumber(value)
		if err != nil {
			return 0, fmt.Errorf("btime: %w", err)
		}
		return seconds, nil
	}
	return 0, errors.New("there is no btime")
}

// reduceBootTime keeps btime.
func reduceBootTime(text []byte) ([]byte, error) {
	seconds, err := parseBootTime(string(text))
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "btime %d\n", seconds), nil
}

// StartedAfterBoot returns how long after the boot a process started: field 22 of /proc/PID/stat
// (Documentation/filesystems/proc.rst, table 1-4).
func (f FS) StartedAfterBoot(pid int) (time.Duration, error) {
	name := fmt.Sprintf("proc/%d/stat", pid)
	text, err := f.ReadFile(name, tableLimit)
	if err != nil {
		return 0, err
	}
	ticks, err := parseStart(string(text))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", f.Path(name), err)
	}
	return time.Duration(ticks) * tick, nil
}

// BusyThreads returns how many threads of a process run, are ready to run or wait in the kernel for something that no
// signal ends, from /proc/PID/task/TID/stat: only these can be amid a page fault.
func (f FS) BusyThreads(pid int) (int, error) {
	dir := fmt.Sprintf("proc/%d/task", pid)
	threads, err := f.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, thread := range threads {
		name := dir + "/" + thread + "/stat"
		text, err := f.ReadFile(name, tableLimit)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			return 0, err
		}
		fields, err := statFields(string(text))
		if err != nil {
			return 0, fmt.Errorf("%s: %w", f.Path(name), err)
		}
		if busy(fields[0]) {
			n++
		}
	}
	return n, nil
}

// busy reports whether a state is one of the two of which [FS.BusyThreads] tells.
func busy(state string) bool { return state == "R" || state == "D" }

// statFields returns what /proc/PID/stat, or a thread's, has from its third field, the state, on. The name in the
// second may hold anything, so counting begins after the last parenthesis.
func statFields(text string) ([]string, error) {
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) == 0 {
		return nil, fmt.Errorf("%s has no state", quote(text))
	}
	return fields, nil
}

// parseStart parses field 22 of /proc/PID/stat.
func parseStart(text string) (ticks int64, err error) {
	fields, err := statFields(text)
	if err != nil {
		return 0, err
	}
	if len(fields) < 20 {
		return 0, fmt.Errorf("%s has no start time", quote(text))
	}
	ticks, err = strconv.ParseInt(fields[19], 10, 64)
	if err != nil || ticks < 0 || ticks > 1<<38 {
		return 0, fmt.Errorf("%s is not a start time", quote(fields[19]))
	}
	return ticks, nil
}

// reduceStat keeps when a process started.
func reduceStat(text []byte) ([]byte, error) {
	ticks, err := parseStart(string(text))
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "0 () S%s %d\n", strings.Repeat(" 0", 18), ticks), nil
}

// reduceThreadStat keeps whether a thread is busy.
func reduceThreadStat(text []byte) ([]byte, error) {
	fields, err := statFields(string(text))
	if err != nil {
		return nil, err
	}
	if !busy(fields[0]) {
		return []byte("0 () S\n"), nil
	}
	return fmt.Appendf(nil, "0 () %s\n", fields[0]), nil
}
