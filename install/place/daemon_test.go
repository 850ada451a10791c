package place

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hugeguard/hook/ledger"
	"hugeguard/install/daemon"
	"hugeguard/install/installtest"
	"hugeguard/sysfs/sysfstest"
)

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

// The daemon that runs is told once, at the first install, and again at uninstall; never by anything that ends it.
func TestTellsDaemon(t *testing.T) {
	for _, name := range daemon.Names {
		t.Run(name, func(t *testing.T) {
			_, v2 := programs(t)
			tr := makeSite(t, nil)
			d := installtest.StartDaemon(t, tr.root, name, installtest.Catches, ":")
			pid := d.PID
			hangUp := fmt.Sprintf("send SIGHUP to %s (pid %d)\n", name, pid)

			out, err := liveInstall(t, tr, Options{DryRun: true})
			if err != nil || !strings.Contains(out, "would "+hangUp) {
				t.Errorf("a dry run: %v\n%s", err, out)
			}
			d.Silent(t)
			if st := inspect(t, tr, Options{}); st.Installed || st.Live {
				t.Errorf("before the install: %+v", st)
			}

			out, err = liveInstall(t, tr, Options{})
			if err != nil || !strings.Contains(out, "\n"+hangUp) {
				t.Errorf("the install: %v\n%s", err, out)
			}
			d.Expect(t, "hung up")
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
			d.Silent(t)
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
			d.Expect(t, "hung up")

			if out := liveUninstall(t, tr); !strings.Contains(out, hangUp) {
				t.Errorf("the uninstall: %s", out)
			}
			d.Expect(t, "hung up")
		})
	}
}

// A daemon that was started after the install knows, one that was started before and is told by nobody does not.
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
		now, err := tr.daemons().Now()
		if err != nil {
			t.Fatal(err)
		}
		later = now.Ticks > rec.Placed.Ticks
	}
	d := installtest.StartDaemon(t, tr.root, "libvirtd", installtest.Catches, ":")
	if st := inspect(t, tr, Options{}); !st.Live || len(st.Daemons) != 1 || !st.Daemons[0].Knows {
		t.Errorf("started after the install: %+v", st)
	}
	if out, err := liveInstall(t, tr, Options{}); err != nil || strings.Contains(out, "SIGHUP") {
		t.Errorf("%v\n%s", err, out)
	}
	d.Silent(t)

	// As if the hook had come after the daemon.
	if err := os.Remove(tr.root + recordFile); err != nil {
		t.Fatal(err)
	}
	if st := inspect(t, tr, Options{}); st.Live || len(st.Why) != 1 || !strings.Contains(st.Why[0], "was started before the hook") {
		t.Errorf("without a record: %+v", st)
	}
	if _, err := liveInstall(t, tr, Options{}); err != nil {
		t.Fatal(err)
	}
	d.Expect(t, "hung up")
	if st := inspect(t, tr, Options{}); !st.Live {
		t.Errorf("told: %+v", st)
	}

	// Another boot: whatever runs came after the hook.
	if rec, err = tr.readRecord(); err != nil {
		t.Fatal(err)
	}
	rec.Placed, rec.Told = &daemon.Moment{Boot: "another", Ticks: 1 << 40}, nil
	if err := tr.writeRecord(rec); err != nil {
		t.Fatal(err)
	}
	if st := inspect(t, tr, Options{}); !st.Live {
		t.Errorf("after a boot: %+v", st)
	}
}

// A hook that was away when the daemon started, and lies there again, is not what the daemon knows of; one of which the
// daemon knew is known in its next version.
func TestKnowsThisFile(t *testing.T) {
	v1, v2 := programs(t)
	const daemon = "7 (libvirtd) S" // and when it started
	at := func(tr tree, ticks int) {
		t.Helper()
		installtest.Write(t, tr.root+"/proc/7/stat", daemon+strings.Repeat(" 0", 18)+fmt.Sprintf(" %d 0", ticks))
	}
	begin := func() tree {
		t.Helper()
		now := time.Now().Unix()
		tr := makeSite(t, map[string]string{
			"/proc/stat":                      fmt.Sprintf("cpu 1\nbtime %d\n", now-1000),
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
		installtest.Write(t, tr.root+"/run/libvirtd.pid", "7")
		return tr
	}
	tr := begin()
	at(tr, 100_500) // after all of that
	if st := inspect(t, tr, Options{}); !st.Live || len(st.Daemons) != 1 {
		t.Errorf("started later: %+v", st)
	}
	at(tr, 50_000) // 500 s ago: after the hook was put in place, before the file is of now
	if st := inspect(t, tr, Options{}); st.Live || len(st.Why) != 1 || !strings.Contains(st.Why[0], "was started before the hook") {
		t.Errorf("put back: %+v", st)
	}

	// The same file by install: a daemon that knew it knows the next.
	tr = begin()
	at(tr, 100_500)
	for _, o := range []Options{{Hook: v2}, {Hook: v2, Layout: DropIn}} {
		if out, err := liveInstall(t, tr, o); err != nil || strings.Contains(out, "SIGHUP") {
			t.Errorf("%v\n%s", err, out)
		}
	}
	future := fmt.Sprintf("cpu 1\nbtime %d\n", time.Now().Unix()-5000) // as if the file were of long after the start
	installtest.Write(t, tr.root+"/proc/stat", future)
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
	installtest.Write(t, tr.root+"/proc/stat", "cpu 1\nbtime 1000000000\nprocesses 1\n")
	if st := inspect(t, tr, Options{}); st.Live {
		t.Errorf("started before: %+v", st)
	}
}

// Only the daemon itself is signalled: not who has its pid now, not somebody whom the file names.
func TestOtherProcess(t *testing.T) {
	tr := makeSite(t, nil)
	d := installtest.StartDaemon(t, tr.root, "virtlogd", installtest.Catches, ":")
	pid := strconv.Itoa(d.PID)
	for _, text := range []string{pid, pid + "\n", "999999999", "1"} {
		installtest.Write(t, tr.root+"/run/libvirtd.pid", text)
		if out, err := liveInstall(t, tr, Options{}); err != nil || !strings.Contains(out, "no libvirt daemon runs") {
			t.Errorf("pid file %q: %v\n%s", text, err, out)
		}
	}
	for _, text := range []string{"", "x", "-1", "0"} {
		installtest.Write(t, tr.root+"/run/libvirtd.pid", text)
		if out, err := liveInstall(t, tr, Options{}); !errors.Is(err, ErrNotTold) || !strings.Contains(err.Error(), "/run/libvirtd.pid: no pid in") {
			t.Errorf("pid file %q: %v\n%s", text, err, out)
		}
	}
	d.Silent(t)

}

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
	d := installtest.StartDaemon(t, tr.root, "virtqemud", installtest.Catches, ":")
	u := &fakeUnits{pids: map[string]int{"virtqemud.service": d.PID}, err: errors.New("access denied")}

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
	d.Silent(t)

	for _, u := range []*fakeUnits{{}, {deaf: true}} {
		liveUninstall(t, tr)
		d.Expect(t, "hung up")
		if _, err := liveInstall(t, tr, Options{Units: u}); err != nil || len(u.reloads) != 0 {
			t.Errorf("%v %q", err, u.reloads)
		}
		d.Expect(t, "hung up")
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
			installtest.Write(t, root+"/usr/lib64/libvirt.so.0.6000.0", "")
		}},
		"twice": {why: "are both hugeguard's", layoutSeen: Main, live: true, change: func(t *testing.T, root string) {
			os.Mkdir(root+dropInDir, 0o755)
			os.Link(root+mainHook, root+dropInHook)
		}},
		"broken record": {why: "install.json: ", layoutSeen: Main, live: true, change: func(t *testing.T, root string) {
			installtest.Write(t, root+recordFile, "{")
		}},
		"replaced": {why: "another program is at ", change: func(t *testing.T, root string) {
			installtest.Write(t, root+mainHook, siteText)
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
		waits, done := installtest.Watch(context.Background()), make(chan error)
		go func() {
			j := &job{Options: Options{Layout: DropIn, Hook: built(t), Out: io.Discard}, tree: tr, live: true}
			if how == "uninstall" {
				done <- j.uninstall(waits)
			} else {
				done <- j.install(waits)
			}
		}()
		select {
		case <-waits.Asked: // it has seen the call
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
			d := installtest.StartDaemon(t, tr.root, "virtqemud", "echo up\n"+tr.root+pages+" <"+fifo+" &\n"+installtest.Catches, ":")
			for range 2 { // the hook's and the daemon's; startDaemon has read one
				d.Expect(t, "up")
			}
			waits, done := installtest.Watch(context.Background()), make(chan error)
			if c.overlong {
				defer func(was time.Duration) { lastHooks = was }(lastHooks)
				lastHooks = 0
			}
			go func() {
				j := &job{Options: Options{Layout: c.to, Hook: built(t), Out: io.Discard}, tree: tr, live: true}
				if c.to == Auto {
					done <- j.uninstall(installtest.Polled{Watched: waits})
				} else {
					done <- j.install(installtest.Polled{Watched: waits})
				}
			}()
			if !c.overlong {
				select {
				case <-waits.Asked: // it has seen the hook
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
	installtest.Write(t, tr.root+"/proc/8/cmdline", strings.Replace(string(command), "ROOT", tr.root, 1))
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
		installtest.Write(t, tr.root+name, text)
		if tr.runsHooks() {
			t.Errorf("%s is %q, and is taken for a hook", name, text)
		}
		installtest.Write(t, tr.root+name, string(was))
	}
}

// What somebody puts in place of a hook while hooks are waited for is neither replaced nor removed.
func TestChangedBesideHooks(t *testing.T) {
	const theirs = "#!/bin/sh\necho new\n"
	for name, c := range map[string]struct {
		before  []Layout // that are installed first
		to      Layout   // Auto is the uninstall
		changes string
	}{
		"a chain begins":    {nil, Chain, mainHook},
		"a chain ends":      {[]Layout{Chain}, DropIn, siteHook},
		"uninstall":         {[]Layout{DropIn}, Auto, dropInHook},
		"uninstall, chain":  {[]Layout{Chain}, Auto, siteHook},
		"another name goes": {[]Layout{Chain, DropIn}, Chain, mainHook},
	} {
		t.Run(name, func(t *testing.T) {
			tr := makeSite(t, map[string]string{mainHook: siteText, "/proc/7/comm": "libvirtd\n"})
			for _, layout := range c.before {
				j := &job{Options: Options{Layout: layout, Hook: built(t), Out: io.Discard}, tree: tr}
				if err := j.install(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			for file, text := range map[string]string{
				"7/stat":    "7 (libvirtd) S 1 7",
				"8/stat":    "8 (qemu) S 7 8",
				"8/cmdline": tr.root + mainHook + "\x00guest\x00prepare\x00begin\x00-\x00",
			} {
				installtest.Write(t, tr.root+"/proc/"+file, text)
			}
			waits, done := installtest.Watch(context.Background()), make(chan error, 1)
			go func() {
				j := &job{Options: Options{Layout: c.to, Hook: built(t), Out: io.Discard}, tree: tr, live: true}
				if c.to == Auto {
					done <- j.uninstall(installtest.Polled{Watched: waits})
				} else {
					done <- j.install(installtest.Polled{Watched: waits})
				}
			}()
			select {
			case <-waits.Asked: // it has seen the hook
			case err := <-done:
				t.Fatalf("it did not wait: %v", err)
			}
			changed := tr.root + c.changes
			installtest.Write(t, changed+".new", theirs)
			if err := errors.Join(os.Chmod(changed+".new", 0o755), os.Rename(changed+".new", changed), os.Remove(tr.root+"/proc/8/stat")); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err == nil || !strings.Contains(err.Error(), "changed meanwhile, so it stays") {
				t.Errorf("%v; want that it was changed meanwhile", err)
			}
			if now, err := os.ReadFile(changed); string(now) != theirs {
				t.Errorf("%s is %.40q, %v; want what was put there", c.changes, now, err)
			}
			if _, err := os.Stat(tr.root + siteHook); c.changes == mainHook && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the hook that is no more has still a second name: %v", err)
			}
		})
	}
}

// A child that runs the daemon's own program is about to run another: a hook, perhaps.
func TestForkedIsWaitedFor(t *testing.T) {
	tr := makeSite(t, map[string]string{
		"/proc/7/comm":    "libvirtd\n",
		"/proc/7/stat":    "7 (libvirtd) S 1 7",
		"/proc/8/stat":    "8 (prio-rpc-libvir) S 7 8",
		"/proc/8/cmdline": "/usr/sbin/libvirtd\x00",
	})
	for pid, program := range map[string]string{"7": "/usr/sbin/libvirtd", "8": "/usr/bin/qemu-img"} {
		if err := os.Symlink(program, tr.root+"/proc/"+pid+"/exe"); err != nil {
			t.Fatal(err)
		}
	}
	if tr.runsHooks() {
		t.Error("another program of the daemon's is taken for a hook")
	}
	if err := errors.Join(os.Remove(tr.root+"/proc/8/exe"), os.Symlink("/usr/sbin/libvirtd", tr.root+"/proc/8/exe")); err != nil {
		t.Fatal(err)
	}
	if !tr.runsHooks() {
		t.Error("a child that has not run anything yet is not waited for")
	}
}

// A call that is not over may still write its claim: what is left of it is removed when it has ended. The daemon is
// told before that.
func TestUninstallWaitsForClaims(t *testing.T) {
	tr := makeSite(t, sites["no hook"])
	d := installtest.StartDaemon(t, tr.root, "libvirtd", installtest.Catches, ":")
	if _, err := liveInstall(t, tr, Options{Hook: built(t)}); err != nil {
		t.Fatal(err)
	}
	d.Expect(t, "hung up")
	claims := filepath.Join(tr.root, ledger.Dir)
	if err := os.MkdirAll(claims, 0o700); err != nil {
		t.Fatal(err)
	}
	call, stdin := startCall(t, tr)
	waits, done := installtest.Watch(context.Background()), make(chan error)
	go func() {
		done <- (&job{Options: Options{Out: io.Discard}, tree: tr, live: true}).uninstall(installtest.Polled{Watched: waits})
	}()
	select {
	case <-waits.Asked: // it has seen the call
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	}
	d.Expect(t, "hung up")
	if _, err := os.Stat(tr.root + mainHook); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the daemon is told while the hook is there: %v", err)
	}
	installtest.Write(t, filepath.Join(claims, "claims"), "{}")
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
			installtest.Write(t, tr.root+"/etc/hugeguard.conf", conf)
		}
		if got := tr.longestCall(); got != want+lastCalls {
			t.Errorf("with %q: %v, want %v", conf, got-lastCalls, want)
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

// What a daemon's limits do not allow is in its state, and install and verify say it.
func TestLimitsAreSaid(t *testing.T) {
	h := sysfstest.New(t)
	h.Write("run/libvirtd.pid", "77\n")
	h.Write("proc/77/comm", "libvirtd\n")
	h.Write("proc/77/stat", "77 (libvirtd) S 1 77 77 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 500 0 0\n")
	h.Write("proc/77/limits", "Max open files            6                    8192                 files\n")
	const want = "libvirtd (pid 77) has a limit of 6 open files"
	program, _ := programs(t)
	o := Options{Root: h.Path(""), Hook: program, Out: io.Discard}
	if err := Install(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	st, err := Inspect(context.Background(), o)
	if err != nil || !strings.Contains(strings.Join(st.Why, "\n"), want) {
		t.Errorf("%v, %q", err, st.Why)
	}
	var out bytes.Buffer
	j := job{Options: Options{Root: h.Path(""), Out: &out}, tree: tree{root: h.Path("")}}
	j.sayLimits([]daemon.Process{{Name: "libvirtd", PID: 77}})
	if !strings.HasPrefix(out.String(), "note: "+want) {
		t.Errorf("%q", &out)
	}
}
