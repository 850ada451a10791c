// Package daemon finds the libvirt daemons of a host, tells them to look for hooks again, and reports whether they run
// hooks at the moment and what may keep these from running.
package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hugeguard/guard"
	"hugeguard/sysfs"
)

// Names are the daemons that start QEMU and so call the hook: the modular one and the monolithic one. Each is a unit
// NAME.service and writes its pid to /run/NAME.pid.
var Names = []string{"virtqemud", "libvirtd"}

// Units is a host's service manager; nil if it has none.
type Units interface {
	// MainPID returns the main process of a unit, 0 if the unit is not active.
	MainPID(ctx context.Context, unit string) (int, error)
	// Reload makes the unit reload its configuration, and waits until it was told to.
	Reload(ctx context.Context, unit string) error
}

// A Host is a host on which daemons run.
type Host struct {
	Files sysfs.FS // with their pid files and control groups
	Proc  sysfs.FS // with their processes in its proc
}

// On returns the host below a root.
func On(root sysfs.FS) Host { return Host{root, root} }

// largest is larger than any file that is read here, in bytes.
const largest = 1 << 20

// A Process is one run of a libvirt daemon.
type Process struct {
	Name string `json:"name"` // virtqemud or libvirtd
	PID  int    `json:"pid"`
	// Boot and Start identify the run, since a pid may be reused: the boot's id, and the ticks of 10 ms from boot to
	// start (proc(5), /proc/PID/stat, field 22).
	Boot  string `json:"boot_id"`
	Start int64  `json:"start_ticks"`

	unit string // NAME.service where the service manager runs it
}

// Same reports whether p and o are the same run of the same process.
func (p Process) Same(o Process) bool {
	return p.PID == o.PID && p.Boot == o.Boot && p.Start == o.Start
}

// A Moment is a time on the kernel's own clock, which nobody can set: ticks of 10 ms since the boot with that id
// (/proc/uptime, /proc/sys/kernel/random/boot_id).
type Moment struct {
	Boot  string `json:"boot_id"`
	Ticks int64  `json:"ticks"`
}

// Before reports whether m is earlier than o, which is of the present boot.
func (m Moment) Before(o Moment) bool { return m.Boot != o.Boot || m.Ticks < o.Ticks }

// Started returns the moment at which the process started.
func (p Process) Started() Moment { return Moment{p.Boot, p.Start} }

const tick = 10 * time.Millisecond

// Now returns the present moment on the host.
func (h Host) Now() (Moment, error) {
	boot, err := h.Proc.BootID()
	if err != nil {
		return Moment{}, err
	}
	since, err := h.Proc.SinceBoot()
	return Moment{boot, int64(since / tick)}, err
}

// Running returns the libvirt daemons that run on the host, each once.
func (h Host) Running(ctx context.Context, units Units) (found []Process, err error) {
	for _, name := range Names {
		p := Process{Name: name}
		if units != nil {
			// If it does not answer, the pid file does.
			if pid, err := units.MainPID(ctx, name+".service"); err == nil && pid > 0 {
				p.PID, p.unit = pid, name+".service"
			}
		}
		if p.PID == 0 {
			p.PID, err = h.pidFile(name)
			if err != nil {
				return found, err
			}
		}
		if p.PID == 0 && h.Files.Root() == h.Proc.Root() { // otherwise these are the processes of another host
			p.PID = h.inContainer(name)
		}
		if p.PID == 0 {
			continue
		}
		p.Start, err = h.started(p.PID)
		if gone(err) {
			continue
		}
		if err != nil {
			return found, err
		}
		p.Boot, _ = h.Proc.BootID() // without it no record matches the process
		found = append(found, p)
	}
	return found, nil
}

// started returns when the process started, in ticks since the boot.
func (h Host) started(pid int) (int64, error) {
	after, err := h.Proc.StartedAfterBoot(pid)
	return int64(after / tick), err
}

// pidFile returns the pid in /run/NAME.pid, 0 if there is none or the process is no longer that daemon.
func (h Host) pidFile(name string) (int, error) {
	file := "run/" + name + ".pid"
	data, err := h.Files.ReadFile(file, largest)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(data)))
	if err != nil || pid < 1 { // 1 is a container's first process
		return 0, fmt.Errorf("%s: no pid in %.20q", h.Files.Path(file), data)
	}
	if is, err := h.isDaemon(pid, name); err != nil || !is {
		return 0, err
	}
	return pid, nil
}

// inContainer returns the process of a daemon that runs in a container, 0 if there is none. A container without the
// host's processes writes to the pid file a number that only the container knows, or has a pid file of its own.
func (h Host) inContainer(name string) int {
	pids, _ := h.Proc.Processes() // without a list nothing is found
	for _, pid := range pids {
		is, err := h.isDaemon(pid, name)
		if err != nil || !is || !h.Contained(Process{PID: pid}) {
			continue
		}
		// What it forks has its name for a moment. A session's daemon has other hooks.
		if parent, err := h.parent(pid); err == nil {
			if is, _ := h.isDaemon(parent, name); is {
				continue
			}
		}
		if its, err := h.Proc.Process(pid); err == nil && its.UID == 0 {
			return pid
		}
	}
	return 0
}

// isDaemon reports whether the process pid runs the program name, by /proc/PID/comm: the first 15 characters of the
// program's file name (proc(5)).
func (h Host) isDaemon(pid int, name string) (bool, error) {
	comm, err := h.Proc.ReadFile(proc(pid, "comm"), largest)
	if gone(err) {
		return false, nil
	}
	return strings.TrimSuffix(string(comm), "\n") == name[:min(len(name), 15)], err
}

// proc returns the name of a file of a process, as sysfs names files.
func proc(pid int, name string) string { return "proc/" + strconv.Itoa(pid) + "/" + name }

// gone reports whether err says that a process has ended.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

// Says returns what [Host.Tell] does.
func (p Process) Says() string {
	if p.unit != "" {
		return fmt.Sprintf("reload %s (pid %d)", p.unit, p.PID)
	}
	return fmt.Sprintf("send SIGHUP to %s (pid %d)", p.Name, p.PID)
}

// Command returns the shell command that does the same.
func (p Process) Command() string {
	if p.unit != "" {
		return "systemctl reload " + p.unit
	}
	return "kill -HUP " + strconv.Itoa(p.PID)
}

// Tell makes the daemon look for hooks again. It never restarts it: that would call the hook with reconnect for each
// guest. A daemon that has ended meanwhile, as virtqemud does without clients, needs none: it looks when it starts.
func (h Host) Tell(ctx context.Context, units Units, p Process) error {
	var err error
	if p.unit != "" {
		err = units.Reload(ctx, p.unit)
	} else {
		err = h.hangUp(ctx, p)
	}
	if err == nil || h.ended(p) {
		return nil
	}
	return fmt.Errorf("%s: %w; run: %s", p.Says(), err, p.Command())
}

// ended reports whether that run of the process is over.
func (h Host) ended(p Process) bool {
	start, err := h.started(p.PID)
	return gone(err) || err == nil && start != p.Start
}

// hangUp sends SIGHUP to exactly that process, once it catches the signal: it would kill a daemon that has only just
// written its pid file.
func (h Host) hangUp(ctx context.Context, p Process) error {
	process, err := os.FindProcess(p.PID) // holds the process by a pidfd where the kernel has them
	if err != nil {
		return err
	}
	defer process.Release()
	if h.ended(p) {
		return os.ErrProcessDone
	}
	for {
		ready, err := h.catchesHangUp(p.PID)
		if err != nil {
			return err
		}
		if ready {
			return process.Signal(syscall.SIGHUP)
		}
		select {
		case <-ctx.Done():
			return errors.New("it does not catch the signal")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// catchesHangUp reports whether a process catches SIGHUP.
func (h Host) catchesHangUp(pid int) (bool, error) {
	caught, err := h.mask(pid, "SigCgt:")
	return caught&(1<<(syscall.SIGHUP-1)) != 0, err
}

// mask returns a mask of /proc/PID/status (proc(5)).
func (h Host) mask(pid int, name string) (uint64, error) {
	value, err := h.statusField(pid, name)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(value, 16, 64)
}

// statusField returns what a line of /proc/PID/status says.
func (h Host) statusField(pid int, name string) (string, error) {
	data, err := h.Proc.ReadFile(proc(pid, "status"), largest)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, name); ok {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("%s: no %s", h.Proc.Path(proc(pid, "status")), strings.TrimSuffix(name, ":"))
}

// RunsHooks reports whether a child of a libvirt daemon is a qemu hook: a program, or an interpreter of a script, that
// was called by a name that begins with prefix, or is about to be one.
func (h Host) RunsHooks(prefix string) bool {
	pids, _ := h.Proc.Processes() // without a list there is nothing to wait for
	return slices.ContainsFunc(pids, func(pid int) bool { return h.isHook(pid, prefix) })
}

func (h Host) isHook(pid int, prefix string) bool {
	parent, err := h.parent(pid)
	if err != nil {
		return false
	}
	of := slices.ContainsFunc(Names, func(name string) bool {
		is, err := h.isDaemon(parent, name)
		return err == nil && is
	})
	if !of {
		return false
	}
	// Anybody can call a process so, and a session's daemon has other hooks.
	if p, err := h.Proc.Process(parent); err == nil && p.UID != 0 && p.UID != os.Geteuid() {
		return false
	}
	if program := h.program(pid); program != "" && program == h.program(parent) {
		return true // forked, and about to run what the daemon has found: a hook, perhaps
	}
	command, _ := h.Proc.ReadStart(proc(pid, "cmdline"), largest) // a process that has ended has none
	args := strings.SplitN(string(command), "\x00", 4)            // "#!" adds an interpreter and at most one argument before the name
	return slices.ContainsFunc(args[:min(len(args), 3)], func(arg string) bool { return strings.HasPrefix(arg, prefix) })
}

// Root returns the directory that shows a process's own files, which may be a container's (/proc/PID/root).
func (h Host) Root(p Process) string { return h.Proc.Path(proc(p.PID, "root")) }

// Contained reports whether a process has another root than the host: it runs in a container.
func (h Host) Contained(p Process) bool {
	here, err := os.Stat(h.Files.Path(""))
	if err != nil {
		return false
	}
	theirs, err := os.Stat(h.Root(p) + "/")
	return err == nil && !os.SameFile(here, theirs)
}

// SeesOutside reports whether a process in a container can see the files of process 1 of the host, as a hook that it
// runs would ([sysfs.FS.Outer]): it has the host's processes, and CAP_SYS_PTRACE (proc(5), /proc/PID/root).
func (h Host) SeesOutside(p Process) bool {
	here, err := h.Proc.Readlink(proc(1, "ns/pid"))
	if err != nil {
		return false
	}
	theirs, err := h.Proc.Readlink(proc(p.PID, "ns/pid"))
	if err != nil || theirs != here {
		return false
	}
	effective, err := h.mask(p.PID, "CapEff:")
	return err == nil && effective&(1<<unix.CAP_SYS_PTRACE) != 0
}

// Mounted reports whether something is mounted at a path of a process's files (/proc/PID/mountinfo, field 5).
func (h Host) Mounted(p Process, path string) bool {
	text, _ := h.Proc.ReadFile(proc(p.PID, "mountinfo"), 16*largest) // a process that has ended has none
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == path {
			return true
		}
	}
	return false
}

// program returns the path of the program that a process runs, "" where that cannot be read.
func (h Host) program(pid int) string {
	path, _ := h.Proc.Readlink(proc(pid, "exe"))
	return path
}

// parent returns the process that started pid: field 4 of /proc/PID/stat. The name in field 2 may hold anything, so
// counting begins after its last parenthesis.
func (h Host) parent(pid int) (int, error) {
	stat, err := h.Proc.ReadFile(proc(pid, "stat"), largest)
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0, fmt.Errorf("no parent in %q", stat)
	}
	return strconv.Atoi(string(fields[1]))
}

// Runs reports whether a process runs the program in the file fi, whatever the name of the file by now (/proc/PID/exe).
func (h Host) Runs(fi fs.FileInfo) bool {
	pids, _ := h.Proc.Processes()
	return slices.ContainsFunc(pids, func(pid int) bool {
		exe, err := os.Stat(h.Proc.Path(proc(pid, "exe")))
		return err == nil && os.SameFile(exe, fi)
	})
}

// Confinement returns the profile or context that confines a process (proc_pid_attr(5)), such as "libvirtd (enforce)"
// of AppArmor or "system_u:system_r:virtqemud_t:s0" of SELinux; "" if nothing does.
func (h Host) Confinement(pid int) string {
	text, err := h.Proc.ReadFile(proc(pid, "attr/current"), largest)
	is := strings.TrimRight(string(text), "\x00\n")
	if err != nil || is == "unconfined" || is == "kernel" {
		return ""
	}
	return guard.Printable(is, 200)
}
