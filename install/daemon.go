package install

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hugeguard/hook"
	"hugeguard/sysfs"
)

// daemons are the libvirt daemons that start QEMU and so call the hook: the modular one and the
// one for everything. Each is a unit NAME.service and writes its pid to /run/NAME.pid.
var daemons = []string{"virtqemud", "libvirtd"}

// Units is the host's service manager. A nil Units is a host without one.
type Units interface {
	// MainPID returns the main process of a unit that is active, 0 when it is not.
	MainPID(ctx context.Context, unit string) (int, error)
	// Reload has the unit read its configuration again and waits until it was asked to.
	Reload(ctx context.Context, unit string) error
}

// A Process is one run of a libvirt daemon.
type Process struct {
	Name string `json:"name"` // virtqemud or libvirtd
	PID  int    `json:"pid"`
	// Boot and Start say which run of it: the boot's id and the ticks of 10 ms from boot to start
	// (proc(5), /proc/PID/stat, field 22). A pid alone may be another's by now.
	Boot  string `json:"boot_id"`
	Start int64  `json:"start_ticks"`

	unit string // NAME.service where the service manager runs it
}

// running returns the libvirt daemons that run on the host, each once.
func (t tree) running(ctx context.Context, units Units) ([]Process, error) {
	var found []Process
	for _, name := range daemons {
		p := Process{Name: name}
		if units != nil {
			// Without an answer the pid file still has one.
			if pid, err := units.MainPID(ctx, name+".service"); err == nil && pid > 0 {
				p.PID, p.unit = pid, name+".service"
			}
		}
		if p.PID == 0 {
			pid, err := t.pidFile(name)
			if err != nil {
				return found, err
			}
			if pid == 0 {
				continue
			}
			p.PID = pid
		}
		var err error
		if p.Start, err = t.started(p.PID); gone(err) {
			continue
		} else if err != nil {
			return found, err
		}
		if now, err := t.now(); err == nil {
			p.Boot = now.Boot
		}
		found = append(found, p)
	}
	return found, nil
}

// pidFile returns the pid in /run/NAME.pid, 0 where there is none or where the process is not
// that daemon any more.
func (t tree) pidFile(name string) (int, error) {
	file := "/run/" + name + ".pid"
	data, err := t.read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(data)))
	if err != nil || pid <= 1 {
		return 0, fmt.Errorf("%s: no pid in %.20q", t.root+file, data)
	}
	if is, err := t.isDaemon(pid, name); err != nil || !is {
		return 0, err
	}
	return pid, nil
}

// isDaemon reports whether the process pid runs the program name, by /proc/PID/comm: the first 15
// characters of the program's file name (proc(5)).
func (t tree) isDaemon(pid int, name string) (bool, error) {
	comm, err := t.read(proc(pid, "comm"))
	if gone(err) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return strings.TrimSuffix(string(comm), "\n") == name[:min(len(name), 15)], nil
}

// started returns when the process started, in ticks of 10 ms since boot. USER_HZ is 100 wherever
// Go runs on Linux.
func (t tree) started(pid int) (int64, error) {
	file := proc(pid, "stat")
	data, err := t.read(file)
	if err != nil {
		return 0, err
	}
	ticks, err := parseStart(data)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", t.root+file, err)
	}
	return ticks, nil
}

// parseStart reads field 22, starttime, of /proc/PID/stat. The name in field 2 may hold anything,
// so counting begins after its last parenthesis.
func parseStart(stat []byte) (int64, error) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return 0, fmt.Errorf("no start time in %q", stat)
	}
	return strconv.ParseInt(string(fields[19]), 10, 64)
}

// now reads the moment from /proc.
func (t tree) now() (moment, error) {
	id, err := t.read("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return moment{}, err
	}
	const file = "/proc/uptime"
	data, err := t.read(file)
	if err != nil {
		return moment{}, err
	}
	first, _, _ := strings.Cut(string(data), " ") // seconds with two decimals, which are ticks
	whole, part, _ := strings.Cut(first, ".")
	ticks, err := strconv.ParseInt(whole+part, 10, 64)
	if err != nil || len(part) != 2 {
		return moment{}, fmt.Errorf("%s: no uptime in %.20q", t.root+file, data)
	}
	return moment{Boot: strings.TrimSpace(string(id)), Ticks: ticks}, nil
}

func proc(pid int, name string) string { return "/proc/" + strconv.Itoa(pid) + "/" + name }

// gone reports whether err says that a process has ended.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

// told reports whether the record has the daemon among those that have seen the hook.
func (r *record) told(p Process) bool {
	return r != nil && slices.ContainsFunc(r.Told, func(o Process) bool {
		return o.PID == p.PID && o.Boot == p.Boot && o.Start == p.Start
	})
}

// says is what tell will do.
func (p Process) says() string {
	if p.unit != "" {
		return fmt.Sprintf("reload %s (pid %d)", p.unit, p.PID)
	}
	return fmt.Sprintf("send SIGHUP to %s (pid %d)", p.Name, p.PID)
}

// command is what an admin would type to the same end.
func (p Process) command() string {
	if p.unit != "" {
		return "systemctl reload " + p.unit
	}
	return "kill -HUP " + strconv.Itoa(p.PID)
}

// tell makes the daemon look for hooks again. It is never restarted: at a restart the hook is called
// with reconnect for each guest.
func (t tree) tell(ctx context.Context, units Units, p Process) error {
	var err error
	if p.unit != "" {
		err = units.Reload(ctx, p.unit)
	} else {
		err = t.hangUp(ctx, p)
	}
	if err != nil {
		return fmt.Errorf("%s: %w; run: %s", p.says(), err, p.command())
	}
	return nil
}

// hangUp sends SIGHUP to exactly that process, once it catches the signal: a daemon that has
// only just written its pid file would be ended by it.
func (t tree) hangUp(ctx context.Context, p Process) error {
	proc, err := os.FindProcess(p.PID) // holds the process by a pidfd where the kernel has them
	if err != nil {
		return err
	}
	defer proc.Release()
	if start, err := t.started(p.PID); gone(err) || err == nil && start != p.Start {
		return os.ErrProcessDone
	} else if err != nil {
		return err
	}
	for {
		ready, err := t.catchesHangUp(p.PID)
		if err != nil {
			return err
		}
		if ready {
			return proc.Signal(syscall.SIGHUP)
		}
		select {
		case <-ctx.Done():
			return errors.New("it does not catch the signal")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// catchesHangUp reads the mask of caught signals, SigCgt of /proc/PID/status (proc(5)).
func (t tree) catchesHangUp(pid int) (bool, error) {
	file := proc(pid, "status")
	data, err := t.read(file)
	if err != nil {
		return false, err
	}
	for _, line := range strings.Split(string(data), "\n") {
		if mask, ok := strings.CutPrefix(line, "SigCgt:"); ok {
			m, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			if err != nil {
				return false, fmt.Errorf("%s: %w", file, err)
			}
			return m&(1<<(syscall.SIGHUP-1)) != 0, nil
		}
	}
	return false, fmt.Errorf("%s: no SigCgt", file)
}

// lastCalls is how long a call of the hook is waited for beyond what its settings let it take.
var lastCalls = 5 * time.Second

// longestCall is how long a call of the hook can take at the most, by its settings. What a site's hook takes, which it may
// be waiting for, nobody knows.
func (t tree) longestCall() time.Duration {
	config, _ := hook.ReadConfig(sysfs.New(t.root)) // what cannot be read keeps its default
	return config.Deadline + config.WaitForStarting + lastCalls
}

// lastHooks is how long a start is waited for of which libvirt runs the hooks. Those of a site may take their time, to
// make huge pages, and on a host that starts guests without end there may be no moment without a start.
var lastHooks = time.Minute

// untilNoHooks waits until no libvirt daemon runs a hook for a guest, for lastHooks at most.
func (j *job) untilNoHooks(ctx context.Context) error {
	// Between two hooks of a start there is none for a moment.
	const looks = 3
	waits := false
	for idle, end := 0, time.Now().Add(lastHooks); idle < looks; time.Sleep(5 * time.Millisecond) {
		if idle++; !j.runsHooks() {
			continue
		}
		if !waits {
			waits = true
			fmt.Fprintf(j.Out, "a guest is being started: waiting until its hooks have ended, for %v at most\n", lastHooks)
		}
		if err := ctx.Err(); err != nil || !time.Now().Before(end) {
			return err
		}
		idle = 0
	}
	return nil
}

// runsHooks reports whether a child of a libvirt daemon is a qemu hook: a program, or an interpreter of a script, that
// was called by the name by which libvirt calls it.
func (t tree) runsHooks() bool {
	processes, _ := os.ReadDir(cmp.Or(t.proc, t.root) + "/proc") // without it nothing is seen to wait for
	return slices.ContainsFunc(processes, func(e fs.DirEntry) bool {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			return false
		}
		parent, err := t.parent(pid)
		if err != nil || !slices.ContainsFunc(daemons, func(name string) bool {
			is, err := t.isDaemon(parent, name)
			return err == nil && is
		}) {
			return false
		}
		command, _ := t.read(proc(pid, "cmdline"))         // one that has ended has none
		args := strings.SplitN(string(command), "\x00", 4) // "#!" adds an interpreter and at most one argument before the name
		return slices.ContainsFunc(args[:min(len(args), 3)], func(arg string) bool {
			return strings.HasPrefix(arg, t.root+mainHook) // that, qemu.site, or what lies in qemu.d
		})
	})
}

// parent returns the process that started pid: field 4 of /proc/PID/stat, counted as parseStart does.
func (t tree) parent(pid int) (int, error) {
	stat, err := t.read(proc(pid, "stat"))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0, fmt.Errorf("no parent in %q", stat)
	}
	return strconv.Atoi(string(fields[1]))
}

// untilUnused waits until no process runs the program in the file fi, for longestCall at most.
func (t tree) untilUnused(ctx context.Context, fi fs.FileInfo) {
	for end := time.Now().Add(t.longestCall()); t.isRun(fi) && time.Now().Before(end) && ctx.Err() == nil; {
		time.Sleep(20 * time.Millisecond)
	}
}

// isRun reports whether a process runs the program in the file fi, whatever the name of the file by now
// (/proc/PID/exe).
func (t tree) isRun(fi fs.FileInfo) bool {
	programs, _ := filepath.Glob(filepath.Join(cmp.Or(t.proc, t.root), "/proc/[0-9]*/exe")) // the pattern is sound
	return slices.ContainsFunc(programs, func(name string) bool {
		exe, err := os.Stat(name)
		return err == nil && os.SameFile(exe, fi)
	})
}
