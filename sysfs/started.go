package sysfs

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// Started returns when a process started, by the wall clock as it is set now:
// /proc/PID/stat has the ticks from boot to it (field 22, in USER_HZ, which is
// 100 wherever Go runs on Linux), /proc/stat the second of the boot. Not ok is
// a tree without the latter.
func (f FS) Started(pid int) (t time.Time, ok bool, err error) {
	boot, err := f.ReadFile("proc/stat", tableLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return t, false, nil
	}
	if err != nil {
		return t, false, err
	}
	_, after, _ := strings.Cut(string(boot), "\nbtime ")
	line, _, _ := strings.Cut(after, "\n")
	seconds, err := parseNumber(line)
	if err != nil {
		return t, false, fmt.Errorf("%s: btime: %w", f.Path("proc/stat"), err)
	}
	name := fmt.Sprintf("proc/%d/stat", pid)
	text, err := f.ReadFile(name, tableLimit)
	if err != nil {
		return t, false, err
	}
	ticks, err := parseStart(string(text))
	if err != nil {
		return t, false, fmt.Errorf("%s: %w", f.Path(name), err)
	}
	const tick = time.Second / 100
	return time.Unix(int64(seconds), 0).Add(time.Duration(ticks) * tick), true, nil
}

// parseStart reads field 22 of /proc/PID/stat. The name in field 2 may hold
// anything, so counting begins after the last parenthesis.
func parseStart(stat string) (ticks int64, err error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return 0, fmt.Errorf("%s has no start time", quote(stat))
	}
	if ticks, err = strconv.ParseInt(fields[19], 10, 64); err != nil || ticks < 0 || ticks > 1<<56 {
		return 0, fmt.Errorf("%s is not a start time", quote(fields[19]))
	}
	return ticks, nil
}
