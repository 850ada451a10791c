package install

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// A State says whether the hook is in force on a host, as far as its files and processes tell.
// The proof is another matter: that libvirt calls it when a domain starts.
type State struct {
	// Installed says that hugeguard's hook program lies where libvirt looks; Path is where.
	Installed bool   `json:"installed"`
	Layout    Layout `json:"layout,omitempty"`
	Path      string `json:"path,omitempty"`
	// Executable: libvirt passes over a hook that is not, and starts the domain.
	Executable bool `json:"executable"`
	// Current says that the program is the one that belongs to this command; nil where that one
	// was not found.
	Current *bool `json:"current,omitempty"`
	// SiteHook is the site's own qemu hook, which runs beside ours; "" without one.
	SiteHook string `json:"site_hook,omitempty"`
	// Libvirt is the version on the host, as "9.0.0"; "" when unknown.
	Libvirt string `json:"libvirt,omitempty"`
	// Daemons are the libvirt daemons that run now.
	Daemons []Daemon `json:"daemons"`
	// Live says that each daemon that runs, or will run, calls the hook.
	Live bool `json:"live"`
	// Why says in words what is amiss, each with what mends it; empty when Live and Current.
	Why []string `json:"why,omitempty"`
}

// A Daemon is a libvirt daemon that runs.
type Daemon struct {
	Name string `json:"name"`
	PID  int    `json:"pid"`
	// Knows says that it started, or was reloaded by install, after the hook was put in place. A
	// reload by other hands is not seen.
	Knows bool `json:"knows"`
}

// Inspect reads the state of the host below o.Root, processes included, so that it serves a
// captured host as well. It changes nothing and uses Root, Hook and Units of the options.
func Inspect(ctx context.Context, o Options) (State, error) {
	st := State{Daemons: []Daemon{}}
	t, err := treeAt(o.Root)
	if err != nil {
		return st, err
	}
	s, err := t.scene()
	if err != nil {
		return st, err
	}
	if s.libvirt != 0 {
		st.Libvirt = s.libvirt.String()
	}
	amiss := func(format string, args ...any) { st.Why = append(st.Why, fmt.Sprintf(format, args...)) }
	if s.recordErr != nil {
		amiss("%v", s.recordErr)
	}

	switch {
	case s.main.kind == theirs:
		st.SiteHook = s.main.path
	case s.main.kind == ours && s.site.kind == theirs:
		st.SiteHook = s.site.path
	}
	in := s.layouts()
	if len(in) == 0 {
		amiss("the hook is not installed: hugeguard install")
		return st, nil
	}
	at := s.main
	if in[0] == DropIn {
		at = s.dropIn
	}
	st.Installed, st.Layout, st.Path, st.Live = true, in[0], at.path, true
	if len(in) > 1 {
		amiss("%s and %s are both hugeguard's: hugeguard install makes one of them", s.main.path, s.dropIn.path)
	}
	if st.Executable = at.info.Mode()&0o111 != 0; !st.Executable {
		st.Live = false
		amiss("%s is not executable: hugeguard install", at.path)
	}
	if st.Layout == DropIn && s.libvirt != 0 && s.libvirt < dropInSince {
		st.Live = false
		amiss("libvirt %s does not run what lies in %s: hugeguard install --layout %s", s.libvirt, dropInDir, Chain)
	}
	if prog, err := findProgram(o.Hook); err == nil {
		same, err := at.holds(prog)
		if err != nil {
			return st, err
		}
		if st.Current = &same; !same {
			amiss("%s is another version than %s: hugeguard install", at.path, prog.path)
		}
	}

	units := o.Units
	if t.root != "" {
		units = nil
	}
	running, err := t.running(ctx, units)
	if err != nil {
		st.Live = false
		amiss("whether a libvirt daemon runs is not known: %v", err)
	}
	for _, p := range running {
		d := Daemon{Name: p.Name, PID: p.PID, Knows: s.record.knows(p) || s.record.unplaced() && t.startedAfter(p, at)}
		st.Daemons = append(st.Daemons, d)
		if !d.Knows {
			st.Live = false
			amiss("%s (pid %d) runs since before the hook was put in place and was not told by install: hugeguard install", p.Name, p.PID)
		}
	}
	return st, nil
}

// startedAfter reports whether the daemon started after the hook came under its name, by the wall
// clock: for a hook that came with an image or a package, of which no record says when. The start is
// the boot's time (/proc/stat, btime, in seconds) and the ticks since.
func (t tree) startedAfter(p Process, f file) bool {
	data, err := os.ReadFile(filepath.Join(t.root, "/proc/stat"))
	if err != nil {
		return false
	}
	_, rest, ok := strings.Cut(string(data), "\nbtime ")
	if !ok {
		return false
	}
	line, _, _ := strings.Cut(rest, "\n")
	boot, err := strconv.ParseInt(line, 10, 64)
	if err != nil {
		return false
	}
	changed := f.info.Sys().(*syscall.Stat_t).Ctim
	return boot+p.Start/100 > int64(changed.Sec)
}
