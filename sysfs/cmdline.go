package sysfs

import (
	"fmt"
	"strings"
)

// Arguments returns the command line that a process shows in /proc/PID/cmdline: empty for kernel threads and zombies.
// What a capture keeps of it is up to those who look for something in it.
func (f FS) Arguments(pid int) ([]string, error) {
	text, err := f.ReadFile(fmt.Sprintf("proc/%d/cmdline", pid), tableLimit)
	if err != nil {
		return nil, err
	}
	if len(text) == 0 {
		return nil, nil
	}
	return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00"), nil
}

// Program returns the file that a process runs, by /proc/PID/exe, without the " (deleted)" of one that was replaced; ""
// where it may not be seen.
func (f FS) Program(pid int) string {
	target, err := f.Readlink(fmt.Sprintf("proc/%d/exe", pid))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(target, " (deleted)")
}
