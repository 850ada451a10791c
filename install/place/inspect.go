package place

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"hugeguard/hook"
	"hugeguard/install/confine"
	"hugeguard/install/daemon"
)

// A State reports whether the hook is in force on a host, as far as its files and processes tell. Package proof asks
// libvirt itself.
type State struct {
	// Installed reports whether hugeguard's hook program lies where libvirt looks; Path is where.
	Installed bool   `json:"installed"`
	Layout    Layout `json:"layout,omitempty"`
	Path      string `json:"path,omitempty"`
	// Placed reports whether somebody installed the hook and nobody uninstalled it since: it ought to be there.
	Placed bool `json:"placed,omitempty"`
	// Executable reports whether the program can be executed. libvirt skips a hook that cannot and starts the domain.
	Executable bool `json:"executable"`
	// Current reports whether the program is the one that belongs to this command; nil if that one was not found.
	Current *bool `json:"current,omitempty"`
	// Source is the program that belongs to this command, of which a current hook is a copy; "" if it was not found.
	// Package is the package that owns it, which dpkg and rpm do not say of the copy; "" if none is known.
	Source  string `json:"source,omitempty"`
	Package string `json:"package,omitempty"`
	// Label is the SELinux label of the program, and PolicyLabel the one that the policy has for its path; "" without one.
	Label       string `json:"label,omitempty"`
	PolicyLabel string `json:"policy_label,omitempty"`
	// Denied is what keeps a daemon from executing the hook, where it lies or would be installed: SELinux, AppArmor or the
	// mount, with the fix; "" if nothing does, or the kernel could not be asked.
	Denied string `json:"denied,omitempty"`
	// SiteHook is the site's own qemu hook, which runs beside ours; "" without one.
	SiteHook string `json:"site_hook,omitempty"`
	// HooksBefore are the other qemu hooks that libvirt runs before ours, or would run before it. HooksAfter are those
	// that run after it: because of them a shortage is only a warning.
	HooksBefore []OtherHook `json:"hooks_before,omitempty"`
	HooksAfter  []OtherHook `json:"hooks_after,omitempty"`
	// Libvirt is the version on the host, as "9.0.0"; "" when unknown.
	Libvirt string `json:"libvirt,omitempty"`
	// Daemons are the libvirt daemons that run now.
	Daemons []Daemon `json:"daemons"`
	// OnDemand is the daemon that starts when a client connects; "" if one runs, or none starts so.
	OnDemand string `json:"on_demand,omitempty"`
	// Live reports whether every daemon that runs, or is started later, calls the hook.
	Live bool `json:"live"`
	// Why lists the problems, each with its fix; empty if Live and Current.
	Why []string `json:"why,omitempty"`

	// NotLast is the entry of Why about HooksAfter; "" if there are none.
	NotLast string `json:"-"`
}

// A Daemon is a libvirt daemon that runs.
type Daemon struct {
	Name string `json:"name"`
	PID  int    `json:"pid"`
	// Knows reports whether it was started, or reloaded by install, after the hook was put in place. A reload by
	// anybody else goes unnoticed.
	Knows bool `json:"knows"`
	// Confined is the AppArmor profile and its mode, or the SELinux context, in which the daemon and its hooks run; ""
	// if nothing confines it.
	Confined string `json:"confined,omitempty"`
}

// CapturedState is the file of a captured host that holds its [State] as JSON, since a capture has no programs.
const CapturedState = "run/hugeguard/state.json"

// Inspect returns the state of the host below o.Root, which may be a captured one. It changes nothing. Of the options
// it uses Root, Hook and Units.
func Inspect(ctx context.Context, o Options) (State, error) {
	t, err := treeAt(o.Root)
	if err != nil {
		return State{Daemons: []Daemon{}}, err
	}
	return t.inspect(ctx, o)
}

// captured returns the state stored in a captured host; captured is false if the tree holds none.
func (t tree) captured() (st State, captured bool, err error) {
	st = State{Daemons: []Daemon{}}
	if t.root == "" {
		return st, false, nil
	}
	text, err := t.read("/" + CapturedState)
	if err != nil {
		return st, false, nil
	}
	err = json.Unmarshal(text, &st)
	if err != nil {
		err = fmt.Errorf("%s/%s: %w", t.root, CapturedState, err)
	}
	return st, true, err
}

func (t tree) inspect(ctx context.Context, o Options) (State, error) {
	st, captured, err := t.captured()
	if captured {
		return st, err
	}
	prog, progErr := findProgram(o.Hook)
	t.known = prog
	s, err := t.scene()
	if err != nil {
		return st, err
	}
	if s.libvirt != 0 {
		st.Libvirt = s.libvirt.String()
	}
	if s.recordErr != nil {
		st.problem("%v", s.recordErr)
	}
	t.inspectOthers(&st, s)
	if t.root != "" {
		o.Units = nil
	}
	running, err := t.daemons().Running(ctx, o.Units)
	if err != nil {
		st.problem("cannot find out whether a libvirt daemon runs: %v", err)
	}
	if len(running) == 0 {
		st.OnDemand = t.daemons().OnDemand()
	}
	in := s.layouts()
	st.Placed = s.record != nil || len(in) > 0
	if len(in) == 0 {
		t.inspectAbsent(&st, s, running)
		return st, nil
	}
	at := s.lies(in[0])
	st.Installed, st.Layout, st.Path, st.Live = true, in[0], at.path, true
	if len(in) > 1 {
		st.problem("%s and %s are both hugeguard's: to keep only one, run hugeguard install", s.main.path, s.lies(DropIn).path)
	}
	if err != nil {
		st.Live = false
	}
	st.inspectOrder(s)
	t.inspectFile(&st, at)
	t.inspectDenial(&st, running, t.found(at.path))
	if st.Layout == DropIn && s.libvirt != 0 && s.libvirt < hook.DropInSince {
		st.fatal("libvirt %s does not run hooks in %s: hugeguard install --layout %s", s.libvirt, dropInDir, Chain)
	}
	if at.piece {
		st.fatal("%s is an incomplete copy of the hook: libvirt cannot run it, and no guest starts: hugeguard install", at.path)
	} else if progErr == nil {
		if err := st.inspectVersion(at, prog); err != nil {
			return st, err
		}
	}
	t.inspectDaemons(running, &st, s.record, at)
	return st, nil
}

// inspectVersion compares the hook with the program that is to be it.
func (st *State) inspectVersion(at file, prog *program) error {
	same, err := at.holds(prog)
	if err != nil {
		return err
	}
	st.Current, st.Source = &same, prog.path
	if !same {
		st.problem("%s is not the version of %s: hugeguard install", at.path, prog.path)
	}
	return nil
}

// problem adds to Why.
func (st *State) problem(format string, args ...any) {
	st.Why = append(st.Why, fmt.Sprintf(format, args...))
}

// fatal adds to Why what keeps the hook from being called.
func (st *State) fatal(format string, args ...any) {
	st.Live = false
	st.problem(format, args...)
}

// inspectOthers fills in what concerns the hooks that are not hugeguard's.
func (t tree) inspectOthers(st *State, s scene) {
	switch {
	case s.main.kind == theirs:
		st.SiteHook = s.main.path
	case s.main.kind == ours && s.site.kind == theirs:
		st.SiteHook = s.site.path
	}
	st.HooksBefore, st.HooksAfter = t.otherHooks(s)
	if t.root != "" {
		return
	}
	paths := []string{filepath.Dir(s.main.path), filepath.Dir(s.dropIn.path)}
	for _, h := range slices.Concat(st.HooksBefore, st.HooksAfter) {
		paths = append(paths, h.Path)
	}
	for _, path := range paths {
		if says := writable(path); says != "" {
			st.problem("%s", says)
		}
	}
}

// inspectOrder adds to Why that other hooks may run after ours.
func (st *State) inspectOrder(s scene) {
	if s.oldDropIn.kind == ours && len(s.layouts()) == 1 {
		st.problem("an older version installed %s, and other hooks may run after it: hugeguard install", s.oldDropIn.path)
	}
	if len(st.HooksAfter) == 0 {
		return
	}
	to := "hugeguard install"
	switch {
	case st.Layout == DropIn && s.dropIn.kind == ours:
		to = "rename that hook so that it sorts before " + filepath.Base(dropInHook)
	case s.libvirt == 0:
		to = "hugeguard install --layout " + string(DropIn) + ", if libvirt is 6.5 or later"
	}
	st.NotLast = fmt.Sprintf("libvirt runs other hooks after it (%s), which may still add pages, so it only warns of a shortage: %s", Paths(st.HooksAfter), to)
	st.problem("%s", st.NotLast)
}

// inspectFile checks that the file can be run, and that only root can change it.
func (t tree) inspectFile(st *State, at file) {
	st.Executable = at.info.Mode()&0o111 != 0
	if !st.Executable {
		st.fatal("%s is not executable: hugeguard install", at.path)
	}
	if t.root != "" {
		return
	}
	if uid, _ := owner(at.info); uid != 0 || at.info.Mode()&0o022 != 0 {
		st.problem("root runs %s, but others can change it: hugeguard install", at.path)
	}
}

// inspectAbsent fills in why there is no hook.
func (t tree) inspectAbsent(st *State, s scene, running []daemon.Process) {
	layout, err := s.choose(Auto)
	if err == nil && t.asks() {
		j := job{tree: t, live: true}
		_, denied, _ := j.permitted(running, s, layout) // install says what could not be asked
		if denied != nil && denied.Enforced {
			st.problem("%s", s.gone())
			st.deny(denied)
			return
		}
	}
	st.problem("%s: hugeguard install", s.gone())
}

// asks reports whether the kernel can be asked: it is this host's.
func (t tree) asks() bool { return t.root == "" || t.kernel != nil }

// inspectDenial fills in whether the daemons may execute the hook.
func (t tree) inspectDenial(st *State, running []daemon.Process, h confine.Hook) {
	if !t.asks() {
		return
	}
	st.Label = h.Label
	label, inherits, err := t.policyLabel(h.Path, false)
	switch {
	case err != nil:
		st.problem("%v", err)
	case !inherits:
		st.PolicyLabel = label
	}
	denied, err := t.denial(running, h)
	if err != nil {
		st.problem("%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if denied != nil {
		st.deny(denied)
	}
}

// deny adds what keeps a daemon from executing the hook.
func (st *State) deny(d *confine.Denial) {
	if !d.Enforced {
		st.problem("%v", d)
		return
	}
	st.Denied = d.String()
	st.fatal("%v", d)
}

// inspectDaemons fills in the daemons that run, and whether they call the hook.
func (t tree) inspectDaemons(running []daemon.Process, st *State, r *record, at file) {
	host := t.daemons()
	for _, p := range running {
		d := Daemon{Name: p.Name, PID: p.PID, Knows: t.knows(r, p, at), Confined: host.Confinement(p.PID)}
		st.Daemons = append(st.Daemons, d)
		for _, tight := range host.Limits(p) {
			st.problem("%s", tight)
		}
		if !t.sees(p, at) {
			st.fatal("%s (pid %d) does not see this %s: it runs in a container or has its own mounts. Install the hook there too", p.Name, p.PID, at.path)
		} else if !d.Knows {
			st.fatal("%s (pid %d) was started before the hook was installed, and was not told: hugeguard install", p.Name, p.PID)
		}
	}
}

// gone returns why none of our programs is where libvirt looks.
func (s scene) gone() string {
	at, layout := s.main, Main
	if s.record != nil && s.record.Layout == DropIn {
		at, layout = s.dropIn, DropIn
	} else if s.record != nil {
		layout = s.record.Layout
	}
	switch {
	case at.kind == odd:
		return "the hook is not installed: " + at.oddity().Error()
	case s.record == nil:
		return "the hook is not installed"
	case at.kind == theirs:
		return fmt.Sprintf("another program is at %s, in place of the hook (layout %s)", at.path, layout)
	}
	return fmt.Sprintf("the hook that was installed at %s (layout %s) is gone", at.path, layout)
}

// knows reports whether a daemon is known to have looked for hooks after ours was put in place. libvirt remembers from
// its start, or its last reload, whether a driver has any hook (virHookInitialize). If a record has the time at which
// the hook was put in place, a daemon started later has seen it, unless the file changed after that start: the hook may
// have been away in between.
func (t tree) knows(r *record, p daemon.Process, at file) bool {
	if r.told(p) {
		return true
	}
	start, ok, err := t.daemons().Proc.Started(p.PID)
	ok = ok && err == nil
	if r == nil || r.Placed == nil {
		return ok && start.Unix() > at.changed()
	}
	return r.Placed.Before(p.Started()) && !(ok && at.changed() > start.Unix()+1)
}

// sees reports whether the daemon, with its own root and mounts, has the same file at the hook's path. It assumes so
// for another host, and if the daemon's files cannot be seen.
func (t tree) sees(p daemon.Process, at file) bool {
	if t.root != "" {
		return true
	}
	its, err := os.Stat(fmt.Sprintf("/proc/%d/root%s", p.PID, at.path))
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	return os.SameFile(its, at.info)
}

// changed returns when the file's name, mode or content last changed, by the wall clock in seconds.
func (f file) changed() int64 { return int64(f.info.Sys().(*syscall.Stat_t).Ctim.Sec) }
