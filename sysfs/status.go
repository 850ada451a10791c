package sysfs

import (
	"fmt"
	"strconv"
	"strings"
)

// Process is one process as /proc shows it.
type Process struct {
	PID        int
	Name       string // its comm: 15 bytes at the most, and its own choice
	Memory     bool   // it has memory of its own: kernel threads and zombies have none
	HugetlbKiB uint64 // huge pages of all sizes that it has touched and maps, in KiB
	// Headless says that its first thread has ended and others have not: these have its memory, which is to be seen
	// under their own numbers alone.
	Headless bool
	// Stuck says that its first thread waits in the kernel for something that no signal ends (state D).
	Stuck bool
	// Parent is the process that started it, or has taken it over since; 0 where there is none, or it is not known.
	Parent int
	// UID is the user whose process it is: -1 where it has the rights of several, such as one that runs a set-user-ID
	// program, or where a captured host does not say.
	UID int
}

// Processes returns the numbers of all processes.
func (f FS) Processes() ([]int, error) { return f.numbers("proc") }

// numbers returns the names in a directory that are numbers.
func (f FS) numbers(dir string) ([]int, error) {
	names, err := f.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	pids := make([]int, 0, len(names))
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// Threads returns the numbers of a process's threads. Each has in /proc what a process has, though no list there names
// it.
func (f FS) Threads(pid int) ([]int, error) { return f.numbers(fmt.Sprintf("proc/%d/task", pid)) }

// Process returns what /proc/PID/status (Documentation/filesystems/proc.rst, table 1-2) says of a process, which the
// kernel tells anyone and without walking the process's memory. HugetlbKiB is 0 for one that has only reserved pages.
func (f FS) Process(pid int) (Process, error) {
	name := fmt.Sprintf("proc/%d/status", pid)
	text, err := f.ReadFile(name, tableLimit)
	if err != nil {
		return Process{}, err
	}
	p, err := ParseStatus(text)
	if err != nil {
		return Process{}, fmt.Errorf("%s: %w", f.Path(name), err)
	}
	p.PID = pid
	return p, nil
}

// InnerPID returns the number that a process has in its own PID namespace, such as a container: the last of NSpid in
// /proc/PID/status. It is the process's own number where the kernel does not tell (before Linux 4.1).
func (f FS) InnerPID(pid int) int {
	text, err := f.ReadFile(fmt.Sprintf("proc/%d/status", pid), tableLimit)
	if err != nil {
		return pid
	}
	numbers, _ := parseField(string(text), "NSpid")
	all := strings.Fields(numbers)
	if len(all) == 0 {
		return pid
	}
	inner, err := strconv.Atoi(all[len(all)-1])
	if err != nil || inner <= 0 {
		return pid
	}
	return inner
}

// ParseStatus parses /proc/PID/status.
func ParseStatus(status []byte) (Process, error) {
	text := string(status)
	first, _, _ := strings.Cut(text, "\n")
	name, ok := strings.CutPrefix(first, "Name:\t")
	if !ok {
		return Process{}, fmt.Errorf("%s is not a process's name", quote(first))
	}
	if strings.Contains(name, `\`) {
		// The kernel escapes newlines and backslashes (proc_task_name).
		name = strings.NewReplacer(`\\`, `\`, `\n`, "\n").Replace(name)
	}
	p := Process{Name: name, UID: -1}
	users, ok := parseField(text, "Uid")
	if ok {
		p.UID = parseUID(users)
	}
	parent, _ := parseField(text, "PPid")
	p.Parent, _ = strconv.Atoi(strings.TrimSpace(parent)) // 0 without it
	state, _ := parseField(text, "State")
	state = strings.TrimSpace(state)
	threads, _ := parseField(text, "Threads")
	p.Stuck = strings.HasPrefix(state, "D")
	p.Headless = strings.HasPrefix(state, "Z") && strings.TrimSpace(threads) != "1"
	size, ok := parseField(text, "HugetlbPages")
	if !ok {
		return p, nil
	}
	kib, err := parseKiB("HugetlbPages", size)
	if err != nil {
		return Process{}, err
	}
	p.HugetlbKiB, p.Memory = kib, true
	return p, nil
}

// parseUID parses the real, effective, saved and file system user of a process.
func parseUID(text string) int {
	users := strings.Fields(text)
	if len(users) != 4 || users[0] != users[1] || users[0] != users[2] || users[0] != users[3] {
		return -1
	}
	uid, err := strconv.Atoi(users[0])
	if err != nil || uid < 0 {
		return -1
	}
	return uid
}

// reduceStatus keeps the name, the state, its parent, the numbers in its PID namespaces, the users, how many threads there
// are, and the huge pages.
func reduceStatus(text []byte) ([]byte, error) {
	_, err := ParseStatus(text)
	if err != nil {
		return nil, err
	}
	return keepFields(string(text), "Name", "State", "PPid", "NSpid", "Uid", "Threads", "HugetlbPages"), nil
}
