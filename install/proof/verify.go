// Package proof finds out whether libvirt calls the hook: it asks libvirt to start a domain that the hook must refuse.
package proof

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hugeguard/guard"
	"hugeguard/hook/config"
	"hugeguard/install/daemon"
	"hugeguard/install/place"
	"hugeguard/install/status"
	"hugeguard/sysfs"
)

// Libvirt is a connection to a libvirt daemon.
type Libvirt interface {
	// DomainCapabilities returns the XML of what the daemon's usual emulator can do.
	DomainCapabilities() (string, error)
	// Start starts a transient domain, paused, that ends with the connection at the latest. If it starts, it is
	// destroyed at once and started is true, with the error of that. Otherwise the error is a *StartError.
	Start(xml string) (started bool, err error)
	Close()
}

// A StartError is why libvirt did not start a domain.
type StartError struct {
	Hook        bool // a hook failed (VIR_ERR_HOOK_SCRIPT_FAILED)
	Unsupported bool // the host does not allow this domain (VIR_ERR_CONFIG_UNSUPPORTED)
	Message     string
}

// Error returns libvirt's message on one line.
func (e *StartError) Error() string { return guard.Printable(strings.TrimSpace(e.Message), 2000) }

// A Result is what came of asking a libvirt daemon to start a canary.
type Result struct {
	// Daemon is the one that was asked; "" if that is not known.
	Daemon string `json:"daemon"`
	PID    int    `json:"pid"`
	// Canary is the domain that it was to start.
	Canary guard.Domain `json:"canary"`
	// Called reports whether libvirt called our hook for it.
	Called bool `json:"called"`
	// Refused reports whether our hook refused it.
	Refused bool `json:"refused"`
	// Live reports whether the hook was called and judged right: it refused, or would have unless told otherwise.
	Live bool `json:"live"`
	// Told is what keeps a live hook from refusing; "" if nothing does.
	Told string `json:"told,omitempty"`
	// Summary is what the hook said, one line.
	Summary string `json:"summary,omitempty"`
	// Libvirt is libvirt's own error.
	Libvirt string `json:"libvirt,omitempty"`
	// Why lists the problems, each with its fix if that is known. Of a live hook it is that others run after it: they
	// cannot make enough pages for the canary, but may for a guest.
	Why []string `json:"why,omitempty"`
}

var (
	// patience is how long a daemon may take to answer a call, such as the start of the canary.
	patience = time.Minute
	// lastStart is how long the start of a canary may still take once Verify is to stop: it ends by itself within
	// seconds, and then leaves nothing.
	lastStart = 5 * time.Second
	// entryPatience is how long an entry may take to reach the journal.
	entryPatience = 3 * time.Second
)

const systemURI = "qemu:///system"

// Verify finds out for each libvirt daemon of this host whether it calls the hook, by asking it to start a canary,
// which the hook refuses. It needs root, and leaves nothing of the canary even if the context is canceled. An error is
// why nothing could be found out; with it come the results so far.
//
// connect opens a connection to a daemon that serves the URI. If a call does not return, its connection stays open
// until the process ends.
func Verify(ctx context.Context, o place.Options, connect func(uri string) (Libvirt, error)) ([]Result, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("only root can start a domain at qemu:///system and read what the hook says about it")
	}
	return newVerifier(o).all(ctx, connect)
}

// A verifier asks the daemons of one host.
type verifier struct {
	place.Options
	root   sysfs.FS
	host   daemon.Host
	config config.Config
}

func newVerifier(o place.Options) verifier {
	root := sysfs.New(o.Root)
	return verifier{Options: o, root: root, host: daemon.On(root)}
}

// all asks every daemon.
func (v verifier) all(ctx context.Context, connect func(uri string) (Libvirt, error)) ([]Result, error) {
	var configErr error
	v.config, configErr = config.Read(v.root)
	if v.config.Mode == config.Off {
		return []Result{{Why: []string{fmt.Sprintf("it is set to do nothing (mode = off in %s), so nothing shows whether libvirt calls it", v.root.Path(config.Path))}}}, configErr
	}
	running, err := v.host.Running(ctx, v.Units)
	if err != nil {
		running = nil // the URI finds one
	}
	var results []Result
	for i, uri := range uris(running) {
		conn, err := ask(ctx, uri, func() (Libvirt, error) { return connect(uri) })
		if err != nil {
			return results, connectError(uri, running, err)
		}
		if len(running) == 0 {
			running, _ = v.host.Running(ctx, v.Units) // a socket may have started it
		}
		var asked daemon.Process
		if len(running) > i {
			asked = running[i]
		}
		r, err := v.one(ctx, conn, asked)
		if errors.As(err, new(*silence)) {
			return results, err // the connection is in use
		}
		ask(ctx, "the goodbye", func() (any, error) { conn.Close(); return nil, nil })
		if err != nil {
			return results, err
		}
		results = append(results, r)
	}
	return results, nil
}

// uris returns the URIs of the daemons: if there are several, each with the mode that leads to it
// (https://libvirt.org/uri.html#transport-configuration).
func uris(running []daemon.Process) (list []string) {
	if len(running) < 2 {
		return []string{systemURI}
	}
	for _, p := range running {
		mode := "legacy"
		if p.Name == "virtqemud" {
			mode = "direct"
		}
		list = append(list, systemURI+"?mode="+mode)
	}
	return list
}

// ErrNoLibrary is wrapped by the error of connecting without libvirt's library.
var ErrNoLibrary = errors.New("no libvirt daemon can be asked")

// connectError adds to an error of connecting what it means.
func connectError(uri string, running []daemon.Process, err error) error {
	if errors.Is(err, ErrNoLibrary) || errors.As(err, new(*silence)) {
		return err
	}
	hint := ""
	switch {
	case strings.Contains(err.Error(), "no connection driver available"):
		hint = "; that daemon has no QEMU driver: libvirt-daemon-driver-qemu is not installed, or did not load"
	case len(running) == 0:
		hint = "; no libvirt daemon runs: systemctl start libvirtd (or virtqemud)"
	}
	return fmt.Errorf("%s: %s%s", uri, guard.Printable(err.Error(), 600), hint)
}

// A silence is the error of a call that a daemon did not answer.
type silence struct {
	call  string
	took  time.Duration
	cause error // of the context
}

func (s *silence) Error() string {
	return fmt.Sprintf("libvirt did not answer %s within %v: %v", s.call, s.took.Round(time.Millisecond), s.cause)
}

func (s *silence) Unwrap() error { return s.cause }

// ask returns what a call returns, or a *silence if it takes longer than patience or the context is done.
func ask[T any](ctx context.Context, name string, call func() (T, error)) (T, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1)
	go func() {
		value, err := call()
		done <- answer{value, err}
	}()
	select {
	case a := <-done:
		return a.value, a.err
	case <-ctx.Done():
		var none T
		return none, &silence{name, time.Since(began), ctx.Err()}
	}
}

// one asks one daemon.
func (v verifier) one(ctx context.Context, conn Libvirt, asked daemon.Process) (Result, error) {
	result := Result{Daemon: asked.Name, PID: asked.PID}
	capabilities, err := ask(ctx, "the question which domains it can start", conn.DomainCapabilities)
	if errors.As(err, new(*silence)) {
		return result, err
	}
	if err != nil {
		return result, fmt.Errorf("libvirt has no emulator to start a domain with: %s", guard.Printable(err.Error(), 600))
	}
	c, err := newCanary(v.root, v.config, capabilities)
	if err != nil {
		return result, err
	}
	defer v.removeCanary(c, asked)
	result.Canary = c.Domain
	began := time.Now()
	a, err := start(ctx, conn, c)
	if err != nil {
		return result, err
	}
	a.log = v.removeCanary(c, asked)
	a.entries, a.journalErr = heard(ctx, c.Name, began)
	st, err := place.Inspect(ctx, v.Options)
	if err != nil {
		st.Why = append(st.Why, err.Error())
	}
	if !a.refusal() && len(a.entries) == 0 {
		a.denials, err = v.denials(ctx, began, st, asked)
		if err != nil {
			st.Why = append(st.Why, err.Error())
		}
	}
	if err := ctx.Err(); err != nil {
		return result, err // what has been found out since is incomplete
	}
	conf, differs := status.DaemonSettings(v.host, asked, v.config)
	if differs != "" {
		st.Why = append(st.Why, differs)
	}
	result, err = a.proves(result, c, conf, st, asked)
	if differs != "" && !slices.Contains(result.Why, differs) {
		result.Why = append(result.Why, differs)
	}
	if err == nil && result.Refused && v.config.Mode == config.WarnOnly {
		err = fmt.Errorf("the hook refused %s, although /%s says mode = %s: %s", c.Name, config.Path, v.config.Mode, cmp.Or(differs, "it has just changed"))
	}
	for _, tight := range v.host.Limits(asked) {
		if !slices.Contains(result.Why, tight) {
			result.Why = append(result.Why, tight)
		}
	}
	return result, err
}

// start asks libvirt to start the canary.
func start(ctx context.Context, conn Libvirt, c canary) (answer, error) {
	if err := ctx.Err(); err != nil {
		return answer{}, err
	}
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastStart, cancel) })()
	return ask(late, "the start of "+c.Name, func() (a answer, _ error) {
		a.started, a.err = conn.Start(c.xml)
		if e := (*StartError)(nil); errors.As(a.err, &e) && e.Unsupported {
			a.started, a.err = conn.Start(c.labelled())
		}
		return a, nil
	})
}

const (
	// logDir is where libvirt keeps the logs of QEMU, and profileDir the AppArmor profiles of guests.
	logDir     = "/var/log/libvirt/qemu"
	profileDir = "/etc/apparmor.d/libvirt"
)

// removeCanary removes the files that libvirt may leave of the canary, on the host and where the daemon sees them. It
// reports whether there was a log, which libvirt creates before it runs QEMU.
func (v verifier) removeCanary(c canary, asked daemon.Process) (log bool) {
	roots := []string{v.root.Root()}
	if asked.PID != 0 {
		roots = append(roots, v.root.Path(fmt.Sprintf("proc/%d/root", asked.PID))) // in a container another
	}
	for _, root := range roots {
		log = removeBelow(root, filepath.Join(logDir, c.Name+".log")) || log
		removeBelow(root, filepath.Join(profileDir, "libvirt-"+c.UUID))
		removeBelow(root, filepath.Join(profileDir, "libvirt-"+c.UUID+".files"))
	}
	return log
}

// removeBelow removes the file called name below a root, and reports whether there was one.
func removeBelow(root, name string) bool {
	file, err := sysfs.Resolve(root, name, false)
	return err == nil && os.Remove(file) == nil
}
