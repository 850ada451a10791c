package daemon

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"hugeguard/install/installtest"
	"hugeguard/sysfs"
	"hugeguard/sysfs/sysfstest"
)

// startDaemon starts a daemon on a host of its own, of which the processes are this one's.
func startDaemon(t *testing.T, name, first, asked string) (Host, *installtest.Daemon) {
	t.Helper()
	root := t.TempDir()
	d := installtest.StartDaemon(t, root, name, first, asked)
	return Host{Files: sysfs.New(root)}, d
}

// Another run of a pid is not signalled.
func TestTellsThatProcess(t *testing.T) {
	host, d := startDaemon(t, "virtlogd", installtest.Catches, ":")
	p := Process{Name: "virtlogd", PID: d.PID, Start: 1}
	if err := host.Tell(context.Background(), nil, p); err != nil {
		t.Errorf("another run of that pid: %v", err)
	}
	d.Silent(t)
}

// A daemon that does not catch the signal yet would be ended by it: it is waited for.
func TestWaitsForHandler(t *testing.T) {
	host, d := startDaemon(t, "libvirtd", ":", installtest.Catches)
	running, err := host.Running(context.Background(), nil)
	if err != nil || len(running) != 1 {
		t.Fatalf("%v %v", running, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	waits := installtest.Watch(ctx)
	told := make(chan error)
	go func() { told <- host.Tell(waits, nil, running[0]) }()
	<-waits.Asked // it has looked, and waits
	cancel()
	err = <-told
	want := fmt.Sprintf("does not catch the signal; run: kill -HUP %d", d.PID)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("tell: %v, want %q in it", err, want)
	}

	waits = installtest.Watch(context.Background())
	go func() { told <- host.Tell(waits, nil, running[0]) }()
	<-waits.Asked
	d.Silent(t) // until now
	if err := <-told; err != nil {
		t.Error(err)
	}
	d.Expect(t, "hung up")
}

// What confines a daemon is what the kernel shows of it.
func TestConfinement(t *testing.T) {
	for text, want := range map[string]string{
		"unconfined\n":                     "",
		"kernel\x00":                       "",
		"libvirtd (enforce)\n":             "libvirtd (enforce)",
		"system_u:system_r:virtd_t:s0\x00": "system_u:system_r:virtd_t:s0",
	} {
		h := sysfstest.New(t)
		h.Write("proc/7/attr/current", text)
		if got := On(h.FS()).Confinement(7); got != want {
			t.Errorf("%q: %q", text, got)
		}
		if got := On(h.FS()).Confinement(8); got != "" {
			t.Errorf("no process: %q", got)
		}
	}
}

// The name of a process may hold anything, parentheses and numbers too.
func TestStat(t *testing.T) {
	const rest = " S 42 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 12345 99 100"
	for stat, want := range map[string]int64{
		"1 (libvirtd)" + rest:                   12345,
		"1 (a) b) (c 1 2 3)" + rest:             12345,
		"1 (libvirtd) S 42 2 3":                 -1,
		"":                                      -1,
		"1 (x) S 42" + strings.Repeat(" x", 30): -1,
	} {
		h := sysfstest.New(t)
		h.Write("proc/7/stat", stat)
		got, err := On(h.FS()).started(7)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q: started at %d, %v, want %d", stat, got, err, want)
		}
		if parent, err := On(h.FS()).parent(7); stat != "" && parent != 42 || stat == "" && err == nil {
			t.Errorf("%q: the parent is %d, %v", stat, parent, err)
		}
	}
}

// contained writes a process of the host that has a root of its own.
func contained(t *testing.T, h sysfstest.Host, pid, parent int, name, status string) {
	t.Helper()
	h.Write(fmt.Sprintf("proc/%d/comm", pid), name+"\n")
	h.Write(fmt.Sprintf("proc/%d/status", pid), "Name:\t"+name+"\nVmRSS:\t1 kB\n"+status)
	h.Write(fmt.Sprintf("proc/%d/stat", pid), fmt.Sprintf("%d (%s) S %d%s", pid, name, parent, strings.Repeat(" 0", 18)))
	if err := os.Symlink(t.TempDir(), h.Path(fmt.Sprintf("proc/%d/root", pid))); err != nil {
		t.Fatal(err)
	}
}

// A daemon in a container without the host's processes is found, though its pid file has a number of the container's. A
// session's daemon, what a daemon forks and a process of the host are none.
func TestFoundInContainer(t *testing.T) {
	const root, user = "Uid:\t0\t0\t0\t0\n", "Uid:\t1000\t1000\t1000\t1000\n"
	h := sysfstest.New(t)
	h.Write("proc/sys/kernel/random/boot_id", "b\n")
	h.Write("run/libvirtd.pid", "1\n")
	h.Write("proc/1/comm", "systemd\n")
	contained(t, h, 40, 1, "libvirtd", user)
	contained(t, h, 52, 51, "libvirtd", root)
	contained(t, h, 51, 1, "libvirtd", root)
	contained(t, h, 60, 1, "virtqemud", root)
	os.Remove(h.Path("proc/60/root"))
	if err := os.Symlink(h.Path(""), h.Path("proc/60/root")); err != nil {
		t.Fatal(err)
	}
	running, err := On(h.FS()).Running(context.Background(), nil)
	if err != nil || len(running) != 1 || running[0].PID != 51 || running[0].Name != "libvirtd" {
		t.Errorf("%+v, %v", running, err)
	}
	// Of another root the processes are not this host's.
	running, err = Host{Files: sysfs.New(t.TempDir()), Proc: h.FS()}.Running(context.Background(), nil)
	if err != nil || len(running) != 0 {
		t.Errorf("of another root: %+v, %v", running, err)
	}
}

// The hook in a container sees the host's files if the container has the host's processes and the capability.
func TestSeesOutside(t *testing.T) {
	const ptrace, none = "CapEff:\t0000000000080000\n", "CapEff:\tfffffffffff7ffff\n"
	for _, c := range []struct {
		space, capabilities string
		want                bool
	}{
		{"pid:[1]", ptrace, true},
		{"pid:[1]", none, false},
		{"pid:[2]", ptrace, false},
		{"", ptrace, false},
	} {
		h := sysfstest.New(t)
		contained(t, h, 51, 1, "libvirtd", c.capabilities)
		for pid, space := range map[int]string{1: "pid:[1]", 51: c.space} {
			if err := os.MkdirAll(h.Path(fmt.Sprintf("proc/%d/ns", pid)), 0o755); err != nil {
				t.Fatal(err)
			}
			if space == "" {
				continue
			}
			if err := os.Symlink(space, h.Path(fmt.Sprintf("proc/%d/ns/pid", pid))); err != nil {
				t.Fatal(err)
			}
		}
		if got := On(h.FS()).SeesOutside(Process{PID: 51}); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
