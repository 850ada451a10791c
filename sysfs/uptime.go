package sysfs

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// BootID returns what tells one boot of the kernel from another: /proc/sys/kernel/random/boot_id
// (Documentation/admin-guide/sysctl/kernel.rst).
func (f FS) BootID() (string, error) {
	text, err := f.ReadFile("proc/sys/kernel/random/boot_id", counterLimit)
	return strings.TrimSpace(string(text)), err
}

// SinceBoot returns how long ago the kernel was booted, suspended or not, to a hundredth of a second: /proc/uptime
// (Documentation/filesystems/proc.rst). No clock that can be set is in it.
func (f FS) SinceBoot() (time.Duration, error) {
	const name = "proc/uptime"
	text, err := f.ReadFile(name, counterLimit)
	if err != nil {
		return 0, err
	}
	d, err := parseUptime(string(text))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", f.Path(name), err)
	}
	return d, nil
}

// parseUptime parses the first of the numbers: seconds with two decimals.
func parseUptime(text string) (time.Duration, error) {
	first, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	whole, decimals, ok := strings.Cut(first, ".")
	seconds, err := strconv.ParseUint(whole, 10, 32)
	if err != nil || !ok || len(decimals) != 2 {
		return 0, fmt.Errorf("%s is not a time since boot", quote(first))
	}
	hundredths, err := strconv.ParseUint(decimals, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s is not a time since boot", quote(first))
	}
	return time.Duration(seconds)*time.Second + time.Duration(hundredths)*tick, nil
}

// tick is the unit of times in /proc/PID/stat: USER_HZ is 100 wherever Go runs on Linux.
const tick = time.Second / 100
