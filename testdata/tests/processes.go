package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A process is one of the machine's, as /proc shows it.
type process struct {
	pid, parent int
	name        string
	zombie      bool
}

// processes lists those of the machine that this process sees.
func processes() []process {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	var all []process
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		// The name in brackets can have brackets and blanks itself (proc_pid_stat(5)).
		first, last := strings.IndexByte(string(text), '('), strings.LastIndexByte(string(text), ')')
		fields := strings.Fields(string(text[last+1:]))
		if first < 0 || last < first || len(fields) < 2 {
			continue
		}
		p := process{name: string(text[first+1 : last]), zombie: fields[0] == "Z"}
		p.pid, _ = strconv.Atoi(strings.TrimSpace(string(text[:first])))
		p.parent, _ = strconv.Atoi(fields[1])
		all = append(all, p)
	}
	return all
}

// below lists the processes that a process started, and those that these did.
func below(pid int) []process {
	all := processes()
	var found []process
	for above := []int{pid}; len(above) > 0; above = above[1:] {
		for _, p := range all {
			if p.parent == above[0] && p.pid != pid {
				found = append(found, p)
				above = append(above, p.pid)
			}
		}
	}
	return found
}

// busy names what runs below a process, but for those that only wait for others.
func busy(pid int) []string {
	var names []string
	for _, p := range below(pid) {
		if !p.zombie && !slices.Contains([]string{"make", "go", "sh", "bash"}, p.name) && !slices.Contains(names, p.name) {
			names = append(names, p.name)
		}
	}
	slices.Sort(names)
	if len(names) > 8 {
		names = append(names[:8], "...")
	}
	return names
}

// endOrphans ends the processes that the tests left running, and says which those were. One that was told to end has the
// grace for it.
func endOrphans(grace time.Duration) (left []string) {
	if gone(grace) {
		return nil
	}
	for _, p := range below(os.Getpid()) {
		left = append(left, fmt.Sprintf("process %d (%s) was left running", p.pid, p.name))
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
	if !gone(time.Minute) {
		left = append(left, "some of these cannot be ended")
	}
	return left
}

// gone waits for all children of this process to end, and for theirs, which become its own; it reports whether they did in
// that time.
func gone(limit time.Duration) bool {
	for end := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		switch {
		case err == syscall.ECHILD:
			return true
		case pid == 0 && time.Now().After(end):
			return false
		}
	}
}
