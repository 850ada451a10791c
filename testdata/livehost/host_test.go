package livehost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hugeguard/testdata/machine"
)

const (
	journald    = "/lib/systemd/systemd-journald"
	libvirtd    = "/usr/sbin/" + daemonName
	virtlogd    = "/usr/sbin/virtlogd"
	emulator    = "/usr/bin/qemu-system-x86_64"
	ovsVswitchd = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"

	hugetlbfs = "/dev/hugepages"
	ovsDB     = "unix:/run/openvswitch/db.sock"
)

// live is the host that all tests share; runTests brings it up.
var live *host

// host is the private live host: its daemons, and the product built for it.
type host struct {
	dir        string   // scratch, on a tmpfs
	found      []string // see installed
	hook       string   // the hook program, as built
	cli        string   // the admin's command, as built without libvirt's library
	cliLibvirt string   // and with it
	hooksLog   string   // libvirtd's record of its looking for hooks
	wrapper    string   // what the domains name as their emulator
	spawned    string   // the wrapper's record: one line an execution
	journald   *daemon
	libvirtd   *daemon // libvirt's daemon that runs QEMU, whatever its name
	ovs        []*daemon

	buildOnce sync.Once
	buildErr  error
}

// newHost brings the host up. The host it returns beside an error is good for dumpLogs.
func newHost() (*host, error) {
	h := &host{dir: "/run/livehost", found: installed()}
	h.hook, h.cli, h.cliLibvirt = h.path("qemu"), h.path("hugeguard"), h.path("hugeguard-libvirt")
	h.hooksLog = h.path("hooks.log")
	h.wrapper, h.spawned = h.path("emulator"), h.path("spawned")
	for _, dir := range []string{h.dir, "/run/systemd/journal", "/run/systemd/journald.conf.d", "/run/log/journal",
		"/run/libvirt", "/run/lock", "/etc/libvirt/hooks", "/etc/libvirt/qemu", "/var/log/libvirt/qemu", "/run/openvswitch"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return h, err
		}
	}
	for name, text := range map[string]string{
		// The limits of the default would drop entries of a test that is quick.
		"/run/systemd/journald.conf.d/livehost.conf": "[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\nRateLimitBurst=0\n",
		"/etc/machine-id": "6a9c00000000400080000000000000aa\n",
		// No cgroups: they are not namespaced here. libvirt binds by memory policy instead.
		"/etc/libvirt/qemu.conf": "user = \"root\"\ngroup = \"root\"\nsecurity_driver = \"none\"\n" +
			"cgroup_controllers = []\nnamespaces = []\nremember_owner = 0\n",
		"/etc/libvirt/" + daemonName + ".conf": "auth_unix_ro = \"none\"\nauth_unix_rw = \"none\"\n" +
			// Its looking for hooks is waited for.
			"log_filters = \"1:util.hook\"\nlog_outputs = \"3:journald 1:file:" + h.hooksLog + "\"\n",
		// Whether QEMU was run is a matter of record, not of its traces. For a domain NAME it waits while
		// there is a file gate-NAME, and fails where there is a file broken-NAME.
		h.wrapper: `#!/bin/sh
printf '%s\n' "$*" >>` + h.spawned + `
name=${*#*guest=}
name=${name%%,*}
while [ -e "` + h.path("gate-") + `$name" ]; do sleep 0.02; done
[ ! -e "` + h.path("broken-") + `$name" ] || exit 1
exec ` + emulator + ` "$@"
`,
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return h, err
		}
	}
	if err := os.Chmod(h.wrapper, 0o755); err != nil {
		return h, err
	}
	var err error
	if h.journald, err = h.start("journald", "/usr/bin/env", "SYSTEMD_LOG_LEVEL=notice", journald); err != nil {
		return h, err
	}
	if err := eventually(func() error { _, err := os.Stat("/run/systemd/journal/socket"); return err }); err != nil {
		return h, err
	}
	if _, err := h.start("virtlogd", virtlogd); err != nil {
		return h, err
	}
	return h, h.startLibvirtd()
}

// programsEnv names a directory with programs to test, hugeguard and qemu, in place of those built from the source.
const programsEnv = "HUGEGUARD_PROGRAMS"

// build makes the product's programs from the source, once.
func (h *host) build() error {
	h.buildOnce.Do(func() {
		if dir := os.Getenv(programsEnv); dir != "" {
			h.buildErr = h.take(dir)
			return
		}
		for _, b := range []struct{ out, pkg, cgo, tags string }{
			{h.hook, "hugeguard/hook/qemu", "CGO_ENABLED=0", ""},
			{h.cli, "hugeguard/install/hugeguard", "CGO_ENABLED=0", ""},
			{h.cliLibvirt, "hugeguard/install/hugeguard", "CGO_ENABLED=1", "libvirt_dlopen"},
		} {
			cmd := exec.Command("go", "build", "-buildvcs=false", "-o", b.out, "-tags", b.tags, b.pkg)
			cmd.Env = append(os.Environ(), b.cgo)
			if out, err := cmd.CombinedOutput(); err != nil {
				h.buildErr = fmt.Errorf("go build %s: %v\n%s", b.pkg, err, out)
				return
			}
		}
	})
	return h.buildErr
}

// take copies the programs from a directory. There the command has libvirt's library.
func (h *host) take(dir string) error {
	for to, name := range map[string]string{h.hook: "qemu", h.cli: "hugeguard", h.cliLibvirt: "hugeguard"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(to, text, 0o755); err != nil {
			return err
		}
	}
	return nil
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

// daemon is a process of the host that runs until it is stopped.
type daemon struct {
	name string
	cmd  *exec.Cmd
	log  *os.File      // its stdout and stderr: it does not wait for a reader
	done chan struct{} // closed when it has ended and is reaped
}

func (h *host) start(name string, argv ...string) (*daemon, error) {
	log, err := os.OpenFile(h.path(name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	d := &daemon{name: name, cmd: exec.Command(argv[0], argv[1:]...), log: log, done: make(chan struct{})}
	d.cmd.Stdout, d.cmd.Stderr = log, log
	// A shell of libvirtd's that reads the guard for the script that lay there writes its mistakes here.
	d.cmd.Dir, d.cmd.Env = h.dir, cleanEnv()
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		d.cmd.Wait()
		log.Close()
		close(d.done)
	}()
	return d, nil
}

func (d *daemon) pid() int { return d.cmd.Process.Pid }

func (d *daemon) running() bool {
	select {
	case <-d.done:
		return false
	default:
		return true
	}
}

// stop ends the daemon and returns when it is gone.
func (d *daemon) stop() error {
	if !d.running() {
		return fmt.Errorf("%s was not running any more: %v", d.name, d.cmd.ProcessState)
	}
	d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.done:
		return nil
	case <-time.After(patience):
		d.cmd.Process.Kill()
		<-d.done
		return fmt.Errorf("%s did not end by SIGTERM", d.name)
	}
}

// cleanEnv is what a daemon of a real host has: nothing of go test's.
func cleanEnv() []string {
	return []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=/run/livehost"}
}

// startLibvirtd starts libvirtd, with that in its environment, and waits until it answers.
func (h *host) startLibvirtd(env ...string) (err error) {
	if h.libvirtd, err = h.start(daemonName, append(append([]string{"/usr/bin/env"}, env...), libvirtd)...); err != nil {
		return err
	}
	return eventually(func() error {
		if !h.libvirtd.running() {
			return stop{fmt.Errorf("%s ended: %v", daemonName, h.libvirtd.cmd.ProcessState)}
		}
		// The QEMU driver is there when its first answer is.
		_, err := virsh("list")
		return err
	})
}

// startDatabase runs Open vSwitch's database, which tells it to take socketMem MiB.
func (h *host) startDatabase(socketMem int) error {
	db := h.path("ovs.db")
	os.Remove(db)
	if _, err := run("ovsdb-tool", "create", db, "/usr/share/openvswitch/vswitch.ovsschema"); err != nil {
		return err
	}
	server, err := h.start("ovsdb-server", "/usr/sbin/ovsdb-server", db, "--remote=p"+ovsDB, "--pidfile", "--no-chdir")
	if err != nil {
		return err
	}
	h.ovs = append(h.ovs, server)
	if err := eventually(func() error { _, err := run("ovs-vsctl", "--db="+ovsDB, "--no-wait", "init"); return err }); err != nil {
		return err
	}
	_, err = run("ovs-vsctl", "--db="+ovsDB, "--no-wait", "set", "Open_vSwitch", ".", "other_config:dpdk-init=true",
		"other_config:dpdk-socket-mem="+strconv.Itoa(socketMem), "other_config:dpdk-extra=--no-pci")
	return err
}

// startOVS runs Open vSwitch with DPDK under the given file name and waits until it has taken its
// pages: socketMem MiB. It returns the daemon's process.
func (h *host) startOVS(program string, socketMem int) (*daemon, error) {
	if err := h.startDatabase(socketMem); err != nil {
		return nil, err
	}
	return h.startSwitchd(program, socketMem)
}

// startSwitchd is that with the database that runs.
func (h *host) startSwitchd(program string, socketMem int) (*daemon, error) {
	switchd, err := h.start("ovs-vswitchd", program, ovsDB, "--pidfile", "--log-file="+h.path("ovs-vswitchd.log"))
	if err != nil {
		return nil, err
	}
	h.ovs = append(h.ovs, switchd)
	return switchd, eventually(func() error {
		if !switchd.running() {
			return stop{fmt.Errorf("ovs-vswitchd ended: %v", switchd.cmd.ProcessState)}
		}
		if out, err := run("ovs-vsctl", "--db="+ovsDB, "get", "Open_vSwitch", ".", "dpdk_initialized"); err != nil || strings.TrimSpace(out) != "true" {
			return fmt.Errorf("dpdk_initialized is %q (%v)", out, err)
		}
		if held := hugePagesOf(switchd.pid()); held < socketMem/2 {
			return fmt.Errorf("it holds %d huge pages, not %d", held, socketMem/2)
		}
		return nil
	})
}

// stopOVS ends Open vSwitch, if it runs, and waits for its pages.
func (h *host) stopOVS() error {
	var errs []error
	for i := len(h.ovs) - 1; i >= 0; i-- {
		errs = append(errs, h.ovs[i].stop())
	}
	h.ovs = nil
	return errors.Join(errs...)
}

// dumpLogs writes the end of every log of the host; libvirtd's is in the journal.
func (h *host) dumpLogs(w io.Writer) {
	logs, _ := filepath.Glob(h.path("*.log"))
	guests, _ := filepath.Glob("/var/log/libvirt/qemu/*.log")
	for _, name := range append(logs, guests...) {
		if b, _ := os.ReadFile(name); len(b) > 0 {
			fmt.Fprintf(w, "--- %s\n%s\n", name, tail(b, 600))
		}
	}
	out, _ := run("journalctl", "-n", "12", "--no-pager", "-o", "short-precise")
	fmt.Fprintf(w, "--- journal\n%s\n", tail([]byte(out), 4000))
}

func tail(b []byte, n int) []byte {
	if len(b) > n {
		b = append([]byte("[...]"), b[len(b)-n:]...)
	}
	return bytes.TrimRight(b, "\n")
}

// run runs a program of the host and returns its stdout; its error carries stderr.
func run(argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = cleanEnv()
	cmd.WaitDelay = time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), &runError{argv: argv, stderr: errs.String(), err: err}
	}
	return out.String(), nil
}

type runError struct {
	argv   []string
	stderr string
	err    error
}

func (e *runError) Error() string {
	return fmt.Sprintf("%s: %v: %s", strings.Join(e.argv, " "), e.err, strings.TrimSpace(e.stderr))
}
func (e *runError) Unwrap() error { return e.err }

func virsh(args ...string) (string, error) {
	return run(append([]string{"virsh", "-c", "qemu:///system", "-q"}, args...)...)
}

// stop marks an error that waiting cannot fix.
type stop struct{ error }

// patience is how long anything is waited for: until it is taken for something that will never be. Nothing takes
// nearly as long, on whatever machine.
const patience = 5 * time.Minute

// eventually tries f until it succeeds.
func eventually(f func() error) error {
	end := time.Now().Add(patience)
	for {
		err := f()
		if err == nil || errors.As(err, new(stop)) {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("not within %v: %w", patience, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// pool is the machine's pool of 2 MiB pages.
type pool struct{ total, free, reserved, surplus int }

func readPool() (p pool, err error) {
	for name, n := range map[string]*int{"nr": &p.total, "free": &p.free, "resv": &p.reserved, "surplus": &p.surplus} {
		var e error
		*n, e = readInt(filepath.Join(poolDir, name+"_hugepages"))
		err = errors.Join(err, e)
	}
	return p, err
}

func setPool(pages int) error {
	if err := machine.SetPool(poolDir, pages); err != nil {
		return err
	}
	p, err := readPool()
	if err == nil && p != (pool{total: pages, free: pages}) {
		err = fmt.Errorf("asked for an idle pool of %d pages, got %+v: does somebody else use huge pages on this machine?", pages, p)
	}
	return err
}

// hugeMaps lists the 2 MiB pages that a process has in its page tables, by mapping: what the kernel
// shows of it in numa_maps, read here without any help of the product's.
func hugeMaps(pid int) map[string]int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/numa_maps", pid))
	maps := map[string]int{}
	for _, line := range strings.Split(string(b), "\n") {
		words := strings.Fields(line)
		file, pages, huge, size := "", 0, false, ""
		for _, w := range words {
			key, value, _ := strings.Cut(w, "=")
			switch {
			case key == "file":
				file = value
			case key == "huge":
				huge = true
			case key == "kernelpagesize_kB":
				size = value
			case len(key) > 1 && key[0] == 'N' && strings.Trim(key[1:], "0123456789") == "":
				n, _ := strconv.Atoi(value)
				pages += n
			}
		}
		if huge && size == "2048" {
			maps[file] += pages
		}
	}
	return maps
}

func hugePagesOf(pid int) (pages int) {
	for _, n := range hugeMaps(pid) {
		pages += n
	}
	return pages
}

// processes lists the pids whose program file has this name.
func processes(program string) (pids []int) {
	exes, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, exe := range exes {
		if target, _ := os.Readlink(exe); target == program {
			pid, _ := strconv.Atoi(strings.Split(exe, "/")[2])
			pids = append(pids, pid)
		}
	}
	sort.Ints(pids)
	return pids
}

// entry is one journal entry: the values of each field, which are more than one only if it was sent so.
type entry map[string][]string

// one is the value of a field that must be there exactly once.
func (e entry) one(t *testing.T, field string) string {
	t.Helper()
	if len(e[field]) != 1 {
		t.Errorf("journal field %s occurs %d times: %q", field, len(e[field]), e[field])
		return ""
	}
	return e[field][0]
}

// want checks fields that must be there exactly once.
func (e entry) want(t *testing.T, fields map[string]string) {
	t.Helper()
	for field, value := range fields {
		if got := e.one(t, field); got != value {
			t.Errorf("journal field %s=%q, want %q", field, got, value)
		}
	}
}

// readJournal returns all entries that match.
func readJournal(match ...string) ([]entry, error) {
	if _, err := run("journalctl", "--sync"); err != nil {
		return nil, err
	}
	argv := []string{"journalctl", "-o", "json", "--all", "--no-pager"}
	out, err := run(append(argv, match...)...)
	if err != nil {
		return nil, err
	}
	var entries []entry
	for d := json.NewDecoder(strings.NewReader(out)); ; {
		var raw map[string]any
		if err := d.Decode(&raw); err == io.EOF {
			return entries, nil
		} else if err != nil {
			return nil, fmt.Errorf("journalctl -o json: %w", err)
		}
		e := entry{}
		for name, value := range raw {
			e[name] = journalValues(value)
		}
		entries = append(entries, e)
	}
}

// journalValues turns what journalctl prints for a field into its values: a string; a list of numbers
// for the bytes of a value that is not plain text; a list of those where the field occurs more than once.
func journalValues(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var text []byte
		var values []string
		for _, item := range v {
			if n, ok := item.(float64); ok {
				text = append(text, byte(n))
				continue
			}
			values = append(values, journalValues(item)...)
		}
		if text != nil {
			values = append(values, string(text))
		}
		return values
	}
	return []string{fmt.Sprint(v)}
}
