package install

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hugeguard/hook"
)

// A fakeDaemon is a process that is called as a libvirt daemon is and says when it is hung up.
type fakeDaemon struct {
	cmd   *exec.Cmd
	lines chan string
}

// catches has a fakeDaemon catch the signal.
const catches = "trap 'echo hung up' HUP"

// startDaemon starts a process called name with its pid file below tr, where /proc is the real one. Asked by SIGUSR1 it
// runs the commands asked, and says that it was. A shell runs what it traps in the order of the signals' numbers: what
// SIGHUP has it say comes first if that was sent first.
func startDaemon(t *testing.T, tr tree, name, first, asked string) *fakeDaemon {
	t.Helper()
	if signal.Ignored(syscall.SIGHUP) { // by nohup(1): then a shell cannot catch it
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	program := filepath.Join(t.TempDir(), name)
	if err := os.Symlink("/bin/sh", program); err != nil { // the kernel names a process by the link
		t.Fatal(err)
	}
	d := &fakeDaemon{
		cmd: exec.Command(program, "-c", fmt.Sprintf(
			"trap \"%s; echo asked\" USR1\n%s\necho up\nsleep 86400 & while :; do wait; done", asked, first)),
		lines: make(chan string, 100),
	}
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // to end with what it runs
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL)
		d.cmd.Wait()
	})
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			d.lines <- s.Text()
		}
		close(d.lines)
	}()
	d.expect(t, "up")
	writeFile(t, tr.root+"/run/"+name+".pid", strconv.Itoa(d.cmd.Process.Pid)+"\n")
	return d
}

func (d *fakeDaemon) expect(t *testing.T, want string) {
	t.Helper()
	select {
	case got, ok := <-d.lines:
		if !ok || got != want {
			t.Fatalf("the daemon says %q (running: %v), want %q", got, ok, want)
		}
	case <-time.After(5 * time.Minute):
		t.Fatalf("the daemon does not say %q", want)
	}
}

// silent fails if the daemon has said anything, or has ended.
func (d *fakeDaemon) silent(t *testing.T) {
	t.Helper()
	d.ask(t)
	d.expect(t, "asked")
}

func (d *fakeDaemon) ask(t *testing.T) {
	t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// liveInstall installs into tr as into a running host and returns what it says.
func liveInstall(t *testing.T, tr tree, o Options) (string, error) {
	t.Helper()
	var out bytes.Buffer
	o.Out = &out
	if o.Hook == "" {
		o.Hook, _ = programs(t)
	}
	err := (&job{Options: o, tree: tr, live: true}).install(context.Background())
	return out.String(), err
}

func liveUninstall(t *testing.T, tr tree) string {
	t.Helper()
	var out bytes.Buffer
	if err := (&job{Options: Options{Out: &out}, tree: tr, live: true}).uninstall(context.Background()); err != nil {
		t.Error(err)
	}
	return out.String()
}

// What install makes, and no more, gets its SELinux label before a daemon is told.
func TestLabelled(t *testing.T) {
	tr := makeSite(t, map[string]string{"/etc/libvirt/hooks/qemu": siteText, "/usr/lib64/libvirt.so.0.9000.0": ""})
	d := startDaemon(t, tr, "libvirtd", catches, ":")
	program := filepath.Join(t.TempDir(), "restorecon")
	writeFile(t, program, fmt.Sprintf("#!/bin/sh\necho \"$@\" >%s.called\necho 'no context for it' >&2\nexit 1\n", program))
	if err := os.Chmod(program, 0o755); err != nil {
		t.Fatal(err)
	}
	defer func(was []string) { restorecon = was }(restorecon)
	restorecon = []string{"/nowhere/restorecon", program}

	out, err := liveInstall(t, tr, Options{})
	if err != nil {
		t.Fatal(err)
	}
	d.expect(t, "hung up")
	labelled := fmt.Sprintf("%s %s\n", tr.root+dropInDir, tr.root+dropInHook)
	if got, err := os.ReadFile(program + ".called"); err != nil || string(got) != labelled {
		t.Errorf("labelled are %q, %v, want %q", got, err, labelled)
	}
	label, told := strings.Index(out, "label for SELinux "), strings.Index(out, "send SIGHUP")
	if label < 0 || told < label || !strings.Contains(out, "no context for it") {
		t.Errorf("install says\n%s", out)
	}
	os.Remove(program + ".called")
	if out, err := liveInstall(t, tr, Options{}); err != nil || !strings.HasPrefix(out, "already installed") {
		t.Errorf("once more: %v\n%s", err, out)
	}
	if err := Install(context.Background(), Options{Root: t.TempDir(), Hook: built(t), Out: io.Discard}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(program + ".called"); err == nil {
		t.Error("what is not changed, or lies in an image, is labelled")
	}
}

func inspect(t *testing.T, tr tree, o Options) State {
	t.Helper()
	if o.Hook == "" {
		o.Hook, _ = programs(t)
	}
	st, err := tr.inspect(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// The daemon that runs is told once, at the first install, and again at uninstall; never by anything that
// ends it.
func TestTellsDaemon(t *testing.T) {
	for _, name := range daemons {
		t.Run(name, func(t *testing.T) {
			_, v2 := programs(t)
			tr := makeSite(t, nil)
			d := startDaemon(t, tr, name, catches, ":")
			pid := d.cmd.Process.Pid
			hangUp := fmt.Sprintf("send SIGHUP to %s (pid %d)\n", name, pid)

			out, err := liveInstall(t, tr, Options{DryRun: true})
			if err != nil || !strings.Contains(out, "would "+hangUp) {
				t.Errorf("a dry run: %v\n%s", err, out)
			}
			d.silent(t)
			if st := inspect(t, tr, Options{}); st.Installed || st.Live {
				t.Errorf("before the install: %+v", st)
			}

			out, err = liveInstall(t, tr, Options{})
			if err != nil || !strings.Contains(out, "\n"+hangUp) {
				t.Errorf("the install: %v\n%s", err, out)
			}
			d.expect(t, "hung up")
			st := inspect(t, tr, Options{})
			if !st.Live || !st.Executable || st.Layout != Main || st.Current == nil || !*st.Current || len(st.Why) != 0 ||
				len(st.Daemons) != 1 || st.Daemons[0] != (Daemon{Name: name, PID: pid, Knows: true}) {
				t.Errorf("after the install: %+v", st)
			}

			for _, o := range []Options{{}, {Hook: v2}, {Hook: v2, Layout: DropIn}} {
				if out, err := liveInstall(t, tr, o); err != nil || strings.Contains(out, "SIGHUP") {
					t.Errorf("another install: %v\n%s", err, out)
				}
			}
			d.silent(t)
			if st := inspect(t, tr, Options{}); !st.Live || *st.Current || st.Layout != DropIn || len(st.Why) != 1 {
				t.Errorf("after an upgrade, with the older program beside the command: %+v", st)
			}

			// It may have been reloaded while somebody had taken the hook away.
			if err := os.Remove(tr.root + dropInHook); err != nil {
				t.Fatal(err)
			}
			if out, err := liveInstall(t, tr, Options{}); err != nil || !strings.Contains(out, hangUp) {
				t.Errorf("an install after somebody removed the hook: %v\n%s", err, out)
			}
			d.expect(t, "hung up")

			if out := liveUninstall(t, tr); !strings.Contains(out, hangUp) {
				t.Errorf("the uninstall: %s", out)
			}
			d.expect(t, "hung up")
		})
	}
}

// A daemon that was started after the install knows, one that was started before and is told by nobody
// does not.
func TestKnows(t *testing.T) {
	tr := makeSite(t, nil)
	out, err := liveInstall(t, tr, Options{})
	if err != nil || !strings.Contains(out, "no libvirt daemon runs") {
		t.Fatalf("%v\n%s", err, out)
	}
	if st := inspect(t, tr, Options{}); !st.Live || len(st.Daemons) != 0 {
		t.Errorf("without a daemon: %+v", st)
	}
	rec, err := tr.readRecord()
	if err != nil {
		t.Fatal(err)
	}
	for later := false; !later; time.Sleep(time.Millisecond) { // by the clock of processes, which ticks each 10 ms
		now, err := tr.now()
		if err != nil {
			t.Fatal(err)
		}
		later = now.Ticks > rec.Placed.Ticks
	}
	d := startDaemon(t, tr, "libvirtd", catches, ":")
	if st := inspect(t, tr, Options{}); !st.Live || len(st.Daemons) != 1 || !st.Daemons[0].Knows {
		t.Errorf("started after the install: %+v", st)
	}
	if out, err := liveInstall(t, tr, Options{}); err != nil || strings.Contains(out, "SIGHUP") {
		t.Errorf("%v\n%s", err, out)
	}
	d.silent(t)

	// As if the hook had come after the daemon.
	if err := os.Remove(tr.root + recordFile); err != nil {
		t.Fatal(err)
	}
	if st := inspect(t, tr, Options{}); st.Live || len(st.Why) != 1 || !strings.Contains(st.Why[0], "since before the hook") {
		t.Errorf("without a record: %+v", st)
	}
	if _, err := liveInstall(t, tr, Options{}); err != nil {
		t.Fatal(err)
	}
	d.expect(t, "hung up")
	if st := inspect(t, tr, Options{}); !st.Live {
		t.Errorf("told: %+v", st)
	}

	// Another boot: whatever runs came after the hook.
	if rec, err = tr.readRecord(); err != nil {
		t.Fatal(err)
	}
	rec.Placed, rec.Told = &moment{Boot: "another", Ticks: 1 << 40}, nil
	if err := tr.writeRecord(rec); err != nil {
		t.Fatal(err)
	}
	if st := inspect(t, tr, Options{}); !st.Live {
		t.Errorf("after a boot: %+v", st)
	}
}

// A hook that was away when the daemon started, and lies there again, is not what the daemon knows of; one of which
// the daemon knew is known in its next version.
func TestKnowsThisFile(t *testing.T) {
	v1, v2 := programs(t)
	const daemon = "7 (libvirtd) S" // and when it started
	at := func(tr tree, ticks int) {
		t.Helper()
		writeFile(t, tr.root+"/proc/7/stat", daemon+strings.Repeat(" 0", 18)+fmt.Sprintf(" %d 0", ticks))
	}
	begin := func() tree {
		t.Helper()
		now := time.Now().Unix()
		tr := makeSite(t, map[string]string{
			"/proc/stat":                      fmt.Sprintf("btime x\ncpu 1\nbtime %d\n", now-1000),
			"/proc/7/comm":                    "libvirtd\n",
			"/proc/7/status":                  "SigCgt:\t0000000000000001\n",
			"/proc/uptime":                    "1000.00 1.00\n", // now
			"/proc/sys/kernel/random/boot_id": "b\n",
		})
		if _, err := liveInstall(t, tr, Options{Hook: v1}); err != nil {
			t.Fatal(err)
		}
		rec, err := tr.readRecord()
		if err != nil {
			t.Fatal(err)
		}
		rec.Placed.Ticks = 10_000 // 900 s ago
		if err := tr.writeRecord(rec); err != nil {
			t.Fatal(err)
		}
		writeFile(t, tr.root+"/run/libvirtd.pid", "7")
		return tr
	}
	tr := begin()
	at(tr, 100_500) // after all of that
	if st := inspect(t, tr, Options{}); !st.Live || len(st.Daemons) != 1 {
		t.Errorf("started later: %+v", st)
	}
	at(tr, 50_000) // 500 s ago: after the hook was put in place, before the file is of now
	if st := inspect(t, tr, Options{}); st.Live || len(st.Why) != 1 || !strings.Contains(st.Why[0], "since before the hook") {
		t.Errorf("put back: %+v", st)
	}

	// The same file by install: whoever knew it knows the next.
	tr = begin()
	at(tr, 100_500)
	for _, o := range []Options{{Hook: v2}, {Hook: v2, Layout: DropIn}} {
		if out, err := liveInstall(t, tr, o); err != nil || strings.Contains(out, "SIGHUP") {
			t.Errorf("%v\n%s", err, out)
		}
	}
	future := fmt.Sprintf("btime x\ncpu 1\nbtime %d\n", time.Now().Unix()-5000) // as if the file were of long after the start
	writeFile(t, tr.root+"/proc/stat", future)
	if st := inspect(t, tr, Options{Hook: v2}); !st.Live {
		t.Errorf("another version: %+v", st)
	}
}

// A hook that came with an image was there before the boot, says the time of the file.
func TestKnowsByFileTime(t *testing.T) {
	v1, _ := programs(t)
	tr := makeSite(t, map[string]string{
		"/proc/stat":                      "cpu 1\nbtime 4000000000\nprocesses 1\n", // in 2096
		"/proc/7/stat":                    "7 (libvirtd) S" + strings.Repeat(" 0", 18) + " 500 0",
		"/proc/7/comm":                    "libvirtd\n",
		"/proc/uptime":                    "100.00 1.00\n",
		"/proc/sys/kernel/random/boot_id": "b\n",
		"/run/libvirtd.pid":               "7",
		"/usr/lib64/libvirt.so.0.9000.0":  "",
	})
	if err := Install(context.Background(), Options{Root: tr.root, Hook: v1, Out: io.Discard}); err != nil {
		t.Fatal(err)
	}
	if st := inspect(t, tr, Options{}); !st.Live || len(st.Daemons) != 1 || st.Libvirt != "9.0.0" {
		t.Errorf("booted after: %+v", st)
	}
	writeFile(t, tr.root+"/proc/stat", "cpu 1\nbtime 1000000000\nprocesses 1\n")
	if st := inspect(t, tr, Options{}); st.Live {
		t.Errorf("started before: %+v", st)
	}
}

// Only the daemon itself is signalled: not who has its pid now, not somebody whom the file names.
func TestOtherProcess(t *testing.T) {
	tr := makeSite(t, nil)
	d := startDaemon(t, tr, "virtlogd", catches, ":")
	pid := strconv.Itoa(d.cmd.Process.Pid)
	for _, text := range []string{pid, pid + "\n", "999999999"} {
		writeFile(t, tr.root+"/run/libvirtd.pid", text)
		if out, err := liveInstall(t, tr, Options{}); err != nil || !strings.Contains(out, "no libvirt daemon runs") {
			t.Errorf("pid file %q: %v\n%s", text, err, out)
		}
	}
	for _, text := range []string{"", "x", "-1", "0", "1"} {
		writeFile(t, tr.root+"/run/libvirtd.pid", text)
		if out, err := liveInstall(t, tr, Options{}); !errors.Is(err, ErrNotTold) || !strings.Contains(err.Error(), "/run/libvirtd.pid: no pid in") {
			t.Errorf("pid file %q: %v\n%s", text, err, out)
		}
	}
	d.silent(t)

	p := Process{Name: "virtlogd", PID: d.cmd.Process.Pid, Start: 1} // an earlier run of that pid
	if err := tr.tell(context.Background(), nil, p); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("another run of that pid: %v", err)
	}
	d.silent(t)
}

// A daemon that does not catch the signal yet would be ended by it: it is waited for.
func TestWaitsForHandler(t *testing.T) {
	tr := makeSite(t, nil)
	d := startDaemon(t, tr, "libvirtd", ":", catches)
	running, err := tr.running(context.Background(), nil)
	if err != nil || len(running) != 1 {
		t.Fatalf("%v %v", running, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	waits := newWatched(ctx)
	told := make(chan error)
	go func() { told <- tr.tell(waits, nil, running[0]) }()
	<-waits.asked // it has looked, and waits
	cancel()
	err = <-told
	want := fmt.Sprintf("does not catch the signal; run: kill -HUP %d", d.cmd.Process.Pid)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("tell: %v, want %q in it", err, want)
	}

	waits = newWatched(context.Background())
	go func() { told <- tr.tell(waits, nil, running[0]) }()
	<-waits.asked
	d.silent(t) // until now
	if err := <-told; err != nil {
		t.Error(err)
	}
	d.expect(t, "hung up")
}

// watched is a context that says when somebody first asks whether it is done.
type watched struct {
	context.Context
	asked chan struct{} // closed then
	once  sync.Once
}

func newWatched(ctx context.Context) *watched {
	return &watched{Context: ctx, asked: make(chan struct{})}
}

func (w *watched) Done() <-chan struct{} {
	w.once.Do(func() { close(w.asked) })
	return w.Context.Done()
}

func (w *watched) Err() error {
	w.once.Do(func() { close(w.asked) })
	return w.Context.Err()
}

// polled is a watched that tells no asking for Done: who asks again and again, with Err, waits for something else.
type polled struct{ *watched }

func (p polled) Done() <-chan struct{} { return p.watched.Context.Done() }

// fakeUnits is a service manager.
type fakeUnits struct {
	pids    map[string]int
	err     error // of Reload
	deaf    bool  // MainPID fails
	reloads []string
}

func (u *fakeUnits) MainPID(_ context.Context, unit string) (int, error) {
	if u.deaf {
		return 0, errors.New("no answer")
	}
	return u.pids[unit], nil
}

func (u *fakeUnits) Reload(_ context.Context, unit string) error {
	u.reloads = append(u.reloads, unit)
	return u.err
}

// Under a service manager it reloads the unit; what it does not know is found by its pid file.
func TestUnits(t *testing.T) {
	tr := makeSite(t, nil)
	d := startDaemon(t, tr, "virtqemud", catches, ":")
	u := &fakeUnits{pids: map[string]int{"virtqemud.service": d.cmd.Process.Pid}, err: errors.New("access denied")}

	out, err := liveInstall(t, tr, Options{Units: u})
	if !errors.Is(err, ErrNotTold) || !strings.HasSuffix(fmt.Sprint(err), "access denied; run: systemctl reload virtqemud.service") {
		t.Errorf("a reload that fails: %v\n%s", err, out)
	}
	if st := inspect(t, tr, Options{}); !st.Installed || st.Live {
		t.Errorf("after a reload that failed: %+v", st)
	}
	u.err = nil
	if out, err := liveInstall(t, tr, Options{Units: u}); err != nil || !strings.Contains(out, "already installed") ||
		!strings.Contains(out, "reload virtqemud.service (pid ") {
		t.Errorf("again: %v\n%s", err, out)
	}
	if st := inspect(t, tr, Options{}); !st.Live {
		t.Errorf("after a reload: %+v", st)
	}
	if len(u.reloads) != 2 {
		t.Errorf("reloads: %q", u.reloads)
	}
	d.silent(t)

	for _, u := range []*fakeUnits{{}, {deaf: true}} {
		liveUninstall(t, tr)
		d.expect(t, "hung up")
		if _, err := liveInstall(t, tr, Options{Units: u}); err != nil || len(u.reloads) != 0 {
			t.Errorf("%v %q", err, u.reloads)
		}
		d.expect(t, "hung up")
	}
}

// What keeps a hook from being called is said.
func TestInspectWhy(t *testing.T) {
	v1, _ := programs(t)
	for name, c := range map[string]struct {
		files      map[string]string
		layout     Layout
		change     func(t *testing.T, root string)
		why        string
		layoutSeen Layout
		live       bool
	}{
		"none": {why: "hooks/qemu (layout main) is gone: hugeguard install", change: func(t *testing.T, root string) {
			os.Remove(root + mainHook)
		}},
		"not executable": {why: "is not executable", layoutSeen: Main, change: func(t *testing.T, root string) {
			os.Chmod(root+mainHook, 0o644)
		}},
		"old libvirt": {why: "libvirt 6.0.0 does not run", layout: DropIn, layoutSeen: DropIn, change: func(t *testing.T, root string) {
			writeFile(t, root+"/usr/lib64/libvirt.so.0.6000.0", "")
		}},
		"twice": {why: "are both hugeguard's", layoutSeen: Main, live: true, change: func(t *testing.T, root string) {
			os.Mkdir(root+dropInDir, 0o755)
			os.Link(root+mainHook, root+dropInHook)
		}},
		"broken record": {why: "install.json: ", layoutSeen: Main, live: true, change: func(t *testing.T, root string) {
			writeFile(t, root+recordFile, "{")
		}},
		"replaced": {why: "another program lies at ", change: func(t *testing.T, root string) {
			writeFile(t, root+mainHook, siteText)
		}},
		"drop-in gone": {why: "qemu.d/zz-hugeguard (layout drop-in) is gone", layout: DropIn, change: func(t *testing.T, root string) {
			os.Remove(root + dropInHook)
		}},
		"no record": {why: "the hook is not installed: hugeguard install", change: func(t *testing.T, root string) {
			os.Remove(root + mainHook)
			os.Remove(root + recordFile)
		}},
		"a link": {why: "is a symbolic link to hugeguard's hook program", change: func(t *testing.T, root string) {
			os.Rename(root+mainHook, root+"/etc/libvirt/elsewhere")
			os.Symlink("/etc/libvirt/elsewhere", root+mainHook)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			tr := makeSite(t, c.files)
			if err := Install(context.Background(), Options{Root: tr.root, Layout: c.layout, Hook: v1, Out: io.Discard}); err != nil {
				t.Fatal(err)
			}
			if st := inspect(t, tr, Options{}); !st.Live || len(st.Why) != 0 {
				t.Fatalf("as installed: %+v", st)
			}
			c.change(t, tr.root)
			st := inspect(t, tr, Options{})
			if st.Live != c.live || st.Layout != c.layoutSeen || len(st.Why) != 1 || !strings.Contains(st.Why[0], c.why) {
				t.Errorf("%+v, want %q", st, c.why)
			}
		})
	}
}

func TestInspectSiteHook(t *testing.T) {
	v1, _ := programs(t)
	for layout, want := range map[Layout]string{DropIn: mainHook, Chain: siteHook} {
		tr := makeSite(t, sites["hook, libvirt 9"])
		if st := inspect(t, tr, Options{}); st.SiteHook != tr.root+mainHook || st.Installed {
			t.Errorf("before: %+v", st)
		}
		if err := Install(context.Background(), Options{Root: tr.root, Layout: layout, Hook: v1, Out: io.Discard}); err != nil {
			t.Fatal(err)
		}
		if st := inspect(t, tr, Options{}); st.SiteHook != tr.root+want || st.Layout != layout {
			t.Errorf("%s: %+v", layout, st)
		}
	}
}

// A run of the hook that has yet to call the site's finds it by its other name until the end.
func TestUninstallWaitsForCalls(t *testing.T) {
	for _, how := range []string{"uninstall", "move"} {
		tr := makeSite(t, sites["hook, libvirt 9"])
		if _, err := liveInstall(t, tr, Options{Layout: Chain, Hook: built(t)}); err != nil {
			t.Fatal(err)
		}
		call, stdin := startCall(t, tr)
		waits, done := newWatched(context.Background()), make(chan error)
		go func() {
			j := &job{Options: Options{Layout: DropIn, Hook: built(t), Out: io.Discard}, tree: tr, live: true}
			if how == "uninstall" {
				done <- j.uninstall(waits)
			} else {
				done <- j.install(waits)
			}
		}()
		select {
		case <-waits.asked: // it has seen the call
		case err := <-done:
			t.Fatalf("%s: it did not wait: %v", how, err)
		}
		if text, _ := os.ReadFile(tr.root + mainHook); string(text) != siteText {
			t.Errorf("%s: libvirt's next call is not the site's", how)
		}
		if _, err := os.Stat(tr.root + siteHook); err != nil {
			t.Errorf("%s: while the hook runs: %v", how, err)
		}
		stdin.Close()
		call.Wait()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", how, err)
		}
		if _, err := os.Stat(tr.root + siteHook); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: when the hook has ended: %v", how, err)
		}
	}
}

// A hook that the daemon may have listed for a start stays until the hooks of that start have ended; but not for ever.
func TestWaitsForHooks(t *testing.T) {
	const pages = dropInDir + "/10-pages"
	for _, c := range []struct {
		name     string
		from     Layout
		goes     string // the file that is to go
		to       Layout // Auto for an uninstall
		overlong bool   // the hook does not end
	}{
		{"upgrade", olderDropIn, oldDropIn, DropIn, false},
		{"to the drop-in", Main, mainHook, DropIn, false},
		{"from the drop-in", DropIn, dropInHook, Main, false},
		{"uninstall", DropIn, dropInHook, Auto, false},
		{"uninstall, main", Main, mainHook, Auto, false},
		{"without end", Main, mainHook, Auto, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := makeSite(t, map[string]string{pages: "#!/bin/sh\necho up\nread end\n"})
			if err := first(tr, c.from, built(t)); err != nil {
				t.Fatal(err)
			}
			fifo := filepath.Join(t.TempDir(), "fifo")
			if err := unix.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			end, err := os.OpenFile(fifo, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer end.Close()
			d := startDaemon(t, tr, "virtqemud", "echo up\n"+tr.root+pages+" <"+fifo+" &\n"+catches, ":")
			for range 2 { // the hook's and the daemon's; startDaemon has read one
				d.expect(t, "up")
			}
			waits, done := newWatched(context.Background()), make(chan error)
			if c.overlong {
				defer func(was time.Duration) { lastHooks = was }(lastHooks)
				lastHooks = 0
			}
			go func() {
				j := &job{Options: Options{Layout: c.to, Hook: built(t), Out: io.Discard}, tree: tr, live: true}
				if c.to == Auto {
					done <- j.uninstall(polled{waits})
				} else {
					done <- j.install(polled{waits})
				}
			}()
			if !c.overlong {
				select {
				case <-waits.asked: // it has seen the hook
				case err := <-done:
					t.Fatalf("it did not wait: %v", err)
				}
				if _, err := os.Stat(tr.root + c.goes); err != nil {
					t.Errorf("while a hook runs: %v", err)
				}
				if _, err := end.WriteString("\n"); err != nil {
					t.Fatal(err)
				}
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(tr.root + c.goes); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("it is left: %v", err)
			}
		})
	}
}

// Who is stopped while it waits for hooks has taken none away.
func TestStoppedBeforeHooks(t *testing.T) {
	tr := makeSite(t, map[string]string{
		mainHook:          siteText,
		"/proc/7/comm":    "libvirtd\n",
		"/proc/7/stat":    "7 (libvirtd) S 1 7",
		"/proc/8/stat":    "8 (10-pages) S 7 8",
		"/proc/8/cmdline": "/usr/bin/env\x00python3\x00ROOT" + dropInDir + "/10-pages\x00guest\x00prepare\x00begin\x00-\x00",
	})
	command, err := os.ReadFile(tr.root + "/proc/8/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, tr.root+"/proc/8/cmdline", strings.Replace(string(command), "ROOT", tr.root, 1))
	if err := first(tr, DropIn, built(t)); err != nil {
		t.Fatal(err)
	}
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	uninstall := func(ctx context.Context) error {
		return (&job{Options: Options{Out: io.Discard}, tree: tr, live: true}).uninstall(ctx)
	}
	if err := uninstall(stopped); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	if _, err := os.Stat(tr.root + dropInHook); err != nil {
		t.Error(err)
	}
	// The same call by somebody else, or another child of the daemon's, is not waited for.
	for name, text := range map[string]string{"/proc/8/stat": "8 (10-pages) S 1 8", "/proc/8/cmdline": "/bin/sh\x00-c\x00qemu\x00"} {
		was, err := os.ReadFile(tr.root + name)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, tr.root+name, text)
		if tr.runsHooks() {
			t.Errorf("%s is %q, and is taken for a hook", name, text)
		}
		writeFile(t, tr.root+name, string(was))
	}
}

// A call that is not over may still write its claim: what is left of it is removed when it has ended. The daemon is told
// before that.
func TestUninstallWaitsForClaims(t *testing.T) {
	tr := makeSite(t, sites["no hook"])
	d := startDaemon(t, tr, "libvirtd", catches, ":")
	if _, err := liveInstall(t, tr, Options{Hook: built(t)}); err != nil {
		t.Fatal(err)
	}
	d.expect(t, "hung up")
	claims := filepath.Join(tr.root, hook.LedgerDir)
	if err := os.MkdirAll(claims, 0o700); err != nil {
		t.Fatal(err)
	}
	call, stdin := startCall(t, tr)
	waits, done := newWatched(context.Background()), make(chan error)
	go func() {
		done <- (&job{Options: Options{Out: io.Discard}, tree: tr, live: true}).uninstall(polled{waits})
	}()
	select {
	case <-waits.asked: // it has seen the call
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	}
	d.expect(t, "hung up")
	if _, err := os.Stat(tr.root + mainHook); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the daemon is told while the hook is there: %v", err)
	}
	writeFile(t, filepath.Join(claims, "claims.json"), "{}")
	stdin.Close()
	call.Wait()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, name := range []string{claims, tr.root + mainHook} {
		if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
}

// A call is waited for as long as its settings let it take.
func TestLongestCall(t *testing.T) {
	for conf, want := range map[string]time.Duration{
		"": 2 * time.Second,
		"deadline = 30s\nwait_for_starting = 20s\n": 50 * time.Second,
		"deadline = soon\n":                         2 * time.Second,
	} {
		tr := makeSite(t, nil)
		if conf != "" {
			writeFile(t, tr.root+"/etc/hugeguard.conf", conf)
		}
		if got := tr.longestCall(); got != want+lastCalls {
			t.Errorf("with %q: %v, want %v", conf, got-lastCalls, want)
		}
	}
}

func TestParseStart(t *testing.T) {
	const rest = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 12345 99 100"
	for stat, want := range map[string]int64{
		"1 (libvirtd)" + rest:                12345,
		"1 (a) b) (c 1 2 3)" + rest:          12345,
		"1 (libvirtd) S 1 2 3":               -1,
		"":                                   -1,
		"1 (x) S" + strings.Repeat(" x", 30): -1,
	} {
		got, err := parseStart([]byte(stat))
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("parseStart(%q) = %d, %v, want %d", stat, got, err, want)
		}
	}
}

// startCall starts a call of the hook, which lasts until its input is closed.
func startCall(t *testing.T, tr tree) (call *exec.Cmd, stdin io.Closer) {
	t.Helper()
	call = exec.Command(tr.root + mainHook)
	stdin, err := call.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := call.Start(); err != nil {
		t.Fatal(err)
	}
	return call, stdin
}
