package sysfs

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// Started returns when a process started, by the wall clock as it is set now:
// [FS.StartedAfterBoot] and the second of the boot, which /proc/stat has. Not ok is
// a tree without the latter.
func (f FS) Started(pid int) (t time.Time, ok bool, err error) {
	boot, err := f.ReadFile("proc/stat", tableLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return t, false, nil
	}
	if err != nil {
		return t, false, err
	}
	_, rest, _ := strings.Cut(string(boot), "\nbtime ")
	line, _, _ := strings.Cut(rest, "\n")
	seconds, err := parseNumber(line)
	if err != nil {
		return t, false, fmt.Errorf("%s: btime: %w", f.Path("proc/stat"), err)
	}
	after, err := f.StartedAfterBoot(pid)
	if err != nil {
		return t, false, err
	}
	return time.Unix(int64(seconds), 0).Add(after), true, nil
}
