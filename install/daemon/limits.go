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

// What a call of the hook may need: a Go program asks for most of it before it runs a line of its own, and ends with
// status 2 without. libvirt takes that for a hook that failed: no guest starts, and at reconnect a running guest is
// killed. A daemon's limits are those of the programs that it runs.
//
// Measured with Go 1.26 on amd64, and the same for a Go program that does nothing: 1.2 GiB of addresses, nearly all of
// which is never used; 40 MiB of data; 5 threads; 2 MiB of memory. The hook wants 7 descriptors more at prepare.
// TestNeeds in hook has the hook run with less than these.
const (
	needAddresses = 1280 << 20
	needData      = 64 << 20
	needFiles     = 16
	needTasks     = 16       // beside those that there are
	needMemory    = 64 << 20 // what hostile XML makes of it, too
)

// Limits says in words which limits of a daemon are so tight that the hook which it calls may be unable to run, each
// with what sets it.
func (h Host) Limits(p Process) (tight []string) {
	text, err := h.Proc.ReadFile(proc(p.PID, "limits"), largest)
	if err != nil {
		return nil // it has ended, or is not ours to see
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

// tight says that the daemon has a limit that is less than the hook needs, and which setting raises it.
func (p Process) tight(has, needs, setting string) string {
	return fmt.Sprintf("%s (pid %d) has a limit of %s, and the hook that it calls needs %s: without it no guest starts, and running ones are killed when the daemon is restarted: raise %s",
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

// groups are the directories of the control groups that a process is in, up to the root, which limit it by a
// controller: of version 2, or of version 1 where that has the controller (cgroups(7)).
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

// number reads a file with one number; ok is false where it has another text, such as max, or is not there.
func (h Host) number(name string) (n uint64, ok bool) {
	text, err := h.Files.ReadFile(strings.TrimPrefix(name, "/"), largest)
	if err != nil {
		return 0, false
	}
	n, err = strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}
