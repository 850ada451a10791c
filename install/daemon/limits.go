package daemon

import (
	"bufio"
	"bytes"
	"fmt"
	"path"
	"strconv"
	"strings"

	"hugeguard/guard"
)

// What a call of the hook needs. A Go program asks for most of it before its first line runs, and otherwise exits with
// status 2. libvirt takes that for a failed hook: no guest starts, and at reconnect a running guest is killed. A
// daemon's limits apply to the programs that it runs.
//
// Measured with Go 1.26 on amd64, and the same for a Go program that does nothing: 1.2 GiB of addresses, nearly all of
// which is never used; 40 MiB of data; 5 threads; 2 MiB of memory. The hook wants 7 descriptors more at prepare.
// TestNeeds in hook has the hook run with less than these.
const (
	needAddresses = 1280 << 20
	needData      = 64 << 20
	needFiles     = 16
	needTasks     = 16       // beside those that run already
	needMemory    = 64 << 20 // even with hostile XML
)

// Limits returns which limits of a daemon are so tight that its hooks may be unable to run, each with the setting that
// raises it.
func (h Host) Limits(p Process) (tight []string) {
	text, err := h.Proc.ReadFile(proc(p.PID, "limits"), largest)
	if err != nil {
		return nil // it has ended, or may not be seen
	}
	for _, l := range []struct {
		name, what, setting string
		least               uint64
		show                func(uint64) string
	}{
		{"Max address space", "address space", "LimitAS=", needAddresses, size},
		{"Max data size", "data", "LimitDATA=", needData, size},
		{"Max open files", "open files", "LimitNOFILE=", needFiles, count},
	} {
		if has, ok := softLimit(text, l.name); ok && has < l.least {
			tight = append(tight, p.tight(l.show(has)+" "+l.what, l.show(l.least), l.setting))
		}
	}
	for _, dir := range h.groups(p.PID, "pids") {
		most, ok := h.number(dir + "/pids.max")
		now, ok2 := h.number(dir + "/pids.current")
		if left := most - min(most, now); ok && ok2 && left < needTasks {
			tight = append(tight, p.tight(count(left)+" more tasks in "+guard.Printable(dir, 200), count(needTasks), "TasksMax="))
		}
	}
	for _, dir := range h.groups(p.PID, "memory") {
		most, ok := h.number(dir + "/memory.max")
		if !ok {
			most, ok = h.number(dir + "/memory.limit_in_bytes")
		}
		if ok && most < needMemory {
			tight = append(tight, p.tight(size(most)+" memory in "+guard.Printable(dir, 200), size(needMemory), "MemoryMax="))
		}
	}
	return tight
}

// tight returns the problem that the daemon has a limit which is less than the hook needs.
func (p Process) tight(has, needs, setting string) string {
	return fmt.Sprintf("%s (pid %d) has a limit of %s, but the hook needs %s: no guest starts, and a restart of the daemon kills running guests: raise %s",
		p.Name, p.PID, has, needs, setting)
}

func size(bytes uint64) string { return guard.Size(bytes / 1024) }
func count(n uint64) string    { return strconv.FormatUint(n, 10) }

// softLimit returns a limit of /proc/PID/limits (proc(5)); ok is false where there is none.
func softLimit(text []byte, name string) (limit uint64, ok bool) {
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if rest, found := strings.CutPrefix(lines.Text(), name+" "); found {
			fields := strings.Fields(rest)
			if len(fields) == 0 {
				return 0, false
			}
			limit, err := strconv.ParseUint(fields[0], 10, 64) // or "unlimited"
			return limit, err == nil
		}
	}
	return 0, false
}

// groups returns the directories of the control groups through which a controller limits a process, up to the root: of
// version 2, or of version 1 if that has the controller (cgroups(7)).
func (h Host) groups(pid int, controller string) (dirs []string) {
	text, err := h.Proc.ReadFile(proc(pid, "cgroup"), largest)
	if err != nil {
		return nil
	}
	for _, line := range strings.Split(string(text), "\n") {
		parts := strings.SplitN(line, ":", 3)
		if len(parts) < 3 {
			continue
		}
		mounts := []string{"/sys/fs/cgroup/" + controller}
		if parts[1] == "" {
			mounts = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}
		} else if parts[1] != controller {
			continue
		}
		for _, mount := range mounts {
			for at := path.Clean("/" + parts[2]); at != "/"; at = path.Dir(at) {
				dirs = append(dirs, mount+at)
			}
		}
	}
	return dirs
}

// number reads a file that holds one number; ok is false if it holds another text, such as max, or is missing.
func (h Host) number(name string) (n uint64, ok bool) {
	text, err := h.Files.ReadFile(strings.TrimPrefix(name, "/"), largest)
	if err != nil {
		return 0, false
	}
	n, err = strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}
