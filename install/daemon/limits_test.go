package daemon

import (
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hugeguard/sysfs/sysfstest"
)

const unlimited = `Limit                     Soft Limit           Hard Limit           Units
Max data size             unlimited            unlimited            bytes
Max open files            8192                 8192                 files
Max address space         unlimited            unlimited            bytes
`

// Limits of a daemon that keep the hook from running are said before they do, each with the setting of its unit.
func TestLimits(t *testing.T) {
	for name, c := range map[string]struct {
		change func(h sysfstest.Host)
		want   string
	}{
		"none": {func(sysfstest.Host) {}, ""},
		"gone": {func(h sysfstest.Host) { h.Remove("proc/77") }, ""},
		"nonsense": {func(h sysfstest.Host) {
			h.Write("proc/77/limits", "Max data size\nMax open files  \x1b")
			h.Write("proc/77/cgroup", "0:\n::")
		}, ""},
		"all it needs": {func(h sysfstest.Host) {
			h.Write("proc/77/limits", strings.ReplaceAll(unlimited, "space         unlimited ", "space         1342177280"))
		}, ""},
		"addresses": {func(h sysfstest.Host) {
			h.Write("proc/77/limits", strings.ReplaceAll(unlimited, "space         unlimited ", "space         1073741824"))
		}, "libvirtd (pid 77) has a limit of 1 GiB address space, but the hook needs 1280 MiB: no guest starts, and a restart of the daemon kills running guests: raise LimitAS="},
		"data": {func(h sysfstest.Host) {
			h.Write("proc/77/limits", strings.ReplaceAll(unlimited, "size             unlimited", "size             33554432 "))
		}, "a limit of 32 MiB data, but the hook needs 64 MiB: no guest starts"},
		"descriptors": {func(h sysfstest.Host) { h.Write("proc/77/limits", strings.ReplaceAll(unlimited, "8192", "6   ")) }, "a limit of 6 open files, but the hook needs 16: no guest starts"},
		"tasks": {func(h sysfstest.Host) {
			h.Write("sys/fs/cgroup/system.slice/libvirtd.service/pids.max", "20\n")
			h.Write("sys/fs/cgroup/system.slice/libvirtd.service/pids.current", "17\n")
		}, "a limit of 3 more tasks in /sys/fs/cgroup/system.slice/libvirtd.service, but the hook needs 16: no guest starts"},
		"tasks above": {func(h sysfstest.Host) {
			h.Write("sys/fs/cgroup/system.slice/pids.max", "20\n")
			h.Write("sys/fs/cgroup/system.slice/pids.current", "30\n")
		}, "a limit of 0 more tasks in /sys/fs/cgroup/system.slice, but"},
		"tasks of version 1": {func(h sysfstest.Host) {
			h.Write("proc/77/cgroup", "5:pids:/daemon\n1:memory:/x\n")
			h.Write("sys/fs/cgroup/pids/daemon/pids.max", "20\n")
			h.Write("sys/fs/cgroup/pids/daemon/pids.current", "20\n")
			h.Write("sys/fs/cgroup/pids/x/pids.max", "0\n")
			h.Write("sys/fs/cgroup/pids/x/pids.current", "0\n")
		}, "a limit of 0 more tasks in /sys/fs/cgroup/pids/daemon, but"},
		"memory": {func(h sysfstest.Host) {
			h.Write("sys/fs/cgroup/system.slice/libvirtd.service/memory.max", "33554432\n")
		}, "a limit of 32 MiB memory in /sys/fs/cgroup/system.slice/libvirtd.service, but the hook needs 64 MiB: no guest starts"},
		"no limit of memory": {func(h sysfstest.Host) { h.Write("sys/fs/cgroup/system.slice/libvirtd.service/memory.max", "max\n") }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := sysfstest.New(t)
			h.Write("proc/77/limits", unlimited)
			h.Write("proc/77/cgroup", "0::/system.slice/libvirtd.service\n")
			c.change(h)
			got := On(h.FS()).Limits(Process{Name: "libvirtd", PID: 77})
			if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// The kernel's own files are read as they are.
func TestLimitsOfAProcess(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sleep", "infinity")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	p := Process{Name: "sleep", PID: cmd.Process.Pid}
	of := func(what string) (n int) {
		for _, l := range (Host{}).Limits(p) {
			if strings.Contains(l, what) {
				n++
			}
		}
		return n
	}
	if of("address space") != 0 || of(" data") != 0 {
		t.Errorf("%q", Host{}.Limits(p))
	}
	for _, resource := range []int{unix.RLIMIT_AS, unix.RLIMIT_DATA} {
		if err := unix.Prlimit(p.PID, resource, &unix.Rlimit{Cur: 32 << 20, Max: 32 << 20}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if of("32 MiB address space") != 1 || of("32 MiB data") != 1 {
		t.Errorf("%q", Host{}.Limits(p))
	}
}
