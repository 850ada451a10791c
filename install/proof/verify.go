// Package proof proves whether libvirt calls the hook: it has a domain started that must be refused.
package proof

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"hugeguard/guard"
	"hugeguard/guard/words"
	"hugeguard/hook/config"
	"hugeguard/install/daemon"
	"hugeguard/install/journal"
	"hugeguard/install/place"
	"hugeguard/sysfs"
)

// Libvirt is a connection to a libvirt daemon.
type Libvirt interface {
	// DomainCapabilities returns the XML of what the daemon's usual emulator can do.
	DomainCapabilities() (string, error)
	// Start starts a transient domain, paused, to end with the connection at the latest. One that starts is
	// destroyed at once: started says so, with the error of that. Otherwise the error is libvirt's, a
	// *StartError.
	Start(xml string) (started bool, err error)
	Close()
}

// A StartError is why libvirt did not start a domain.
type StartError struct {
	Hook        bool // a hook failed (VIR_ERR_HOOK_SCRIPT_FAILED)
	Unsupported bool // the host does not allow such a domain (VIR_ERR_CONFIG_UNSUPPORTED)
	Message     string
}

// Error is libvirt's message on one line.
func (e *StartError) Error() string { return guard.Printable(strings.TrimSpace(e.Message), 2000) }

// A Result is what came of asking a libvirt daemon to start a domain that must be refused.
type Result struct {
	// Daemon is the one that was asked, "" where that cannot be told.
	Daemon string `json:"daemon"`
	PID    int    `json:"pid"`
	// Canary is the domain.
	Canary guard.Domain `json:"canary"`
	// Called says that libvirt called our hook for it.
	Called bool `json:"called"`
	// Refused says that it was refused by our hook.
	Refused bool `json:"refused"`
	// Live says that the hook was called and judged rightly: it refuses, or would if it were not told not to.
	Live bool `json:"live"`
	// Told is what keeps a live hook from refusing, in words; "" if nothing.
	Told string `json:"told,omitempty"`
	// Summary is what the hook said, one line.
	Summary string `json:"summary,omitempty"`
	// Libvirt is libvirt's own error.
	Libvirt string `json:"libvirt,omitempty"`
	// Why says in words what is amiss, each with what mends it as far as that is known. Of a live hook it is that others
	// run after it: no page that these make would be enough for the canary, but for a guest they may be.
	Why []string `json:"why,omitempty"`
}

var (
	// patience is how long a daemon may take to answer a call, which may be to start the canary.
	patience = time.Minute
	// lastStart is how long the start of a canary may still take once Verify is to stop: what began ends by itself
	// within seconds, and then leaves nothing.
	lastStart = 5 * time.Second
	// entryPatience is how long an entry may take into the journal.
	entryPatience = 3 * time.Second
)

const systemURI = "qemu:///system"

// Verify proves of each libvirt daemon that serves this host's guests whether it calls the hook: it is asked to start a
// canary, which the hook refuses. Nothing of the canary is left. It needs root. An error says why nothing could be
// found out; what was found out before it is returned beside it. It stops with the context, and leaves nothing then.
//
// connect opens a connection to a daemon: any that serves this URI. A call that does not end is left alone, with
// its connection: only the end of the process closes that.
func Verify(ctx context.Context, o place.Options, connect func(uri string) (Libvirt, error)) ([]Result, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("only root may start a domain at qemu:///system and read what the hook says of it")
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

// all asks each daemon.
func (v verifier) all(ctx context.Context, connect func(uri string) (Libvirt, error)) ([]Result, error) {
	var configErr error
	v.config, configErr = config.Read(v.root)
	if v.config.Mode == config.Off {
		return []Result{{Why: []string{fmt.Sprintf("it is told to do nothing (mode = off in %s): whether libvirt calls it cannot be seen", v.root.Path(config.Path))}}}, configErr
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

// uris are those of the daemons: of more than one, each by the mode that leads to it
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

// ErrNoLibrary is in the error of a connection without libvirt's library.
var ErrNoLibrary = errors.New("no libvirt daemon can be asked")

// connectError says what an error at the connection means.
func connectError(uri string, running []daemon.Process, err error) error {
	if errors.Is(err, ErrNoLibrary) || errors.As(err, new(*silence)) {
		return err
	}
	hint := ""
	switch {
	case strings.Contains(err.Error(), "no connection driver available"):
		hint = "; that daemon has no QEMU driver: libvirt-daemon-driver-qemu is not installed, or did not load"
	case len(running) == 0:
		hint = "; no libvirt daemon is seen to run: systemctl start libvirtd (or virtqemud)"
	}
	return fmt.Errorf("%s: %s%s", uri, guard.Printable(err.Error(), 600), hint)
}

// A silence is a call that a daemon did not answer.
type silence struct {
	call  string
	took  time.Duration
	cause error // of the end of the patience
}

func (s *silence) Error() string {
	return fmt.Sprintf("libvirt did not answer to %s in %v: %v", s.call, s.took.Round(time.Millisecond), s.cause)
}

func (s *silence) Unwrap() error { return s.cause }

// ask returns what a call returns, or a *silence if it takes longer than patience or the context ends.
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
	capabilities, err := ask(ctx, "the question what it can start", conn.DomainCapabilities)
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
		a.denials, err = v.denials(ctx, began)
		if err != nil {
			st.Why = append(st.Why, err.Error())
		}
	}
	if err := ctx.Err(); err != nil {
		return result, err // what was found out since is not all
	}
	result, err = a.proves(result, c, v.config, st, asked)
	for _, tight := range v.host.Limits(asked) {
		if !slices.Contains(result.Why, tight) {
			result.Why = append(result.Why, tight)
		}
	}
	return result, err
}

// An answer is what came of the start of a canary.
type answer struct {
	started    bool
	err        error             // of the start, or of the destruction of what started
	log        bool              // QEMU was run, by its log file
	entries    []journal.Refusal // what our hook wrote of it
	journalErr error
	denials    []string // what AppArmor or SELinux said meanwhile that may be about the hook
}

// start has the canary started.
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
	// logDir is where libvirt keeps what its QEMUs say, and profileDir the AppArmor profiles of guests.
	logDir     = "/var/log/libvirt/qemu"
	profileDir = "/etc/apparmor.d/libvirt"
)

// removeCanary removes the files that libvirt may leave of the canary, where the daemon has them and on the host. It
// reports whether there was a log, which libvirt makes before it runs a QEMU.
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

// refusal says whether libvirt passed on what our hook says when it refuses.
func (a answer) refusal() bool {
	var e *StartError
	return errors.As(a.err, &e) && e.Hook && strings.Contains(e.Message, "journalctl -t hugeguard")
}

// ranQEMU says whether the start came so far that QEMU was run: there is its log, or libvirt passes on what it said
// (qemu-kvm: unable to ...), which is the same in every language of libvirt's.
func (a answer) ranQEMU(c canary) bool {
	return a.started || a.log || a.err != nil && strings.Contains(strings.ReplaceAll(a.err.Error(), `\n`, " "), " "+filepath.Base(c.emulator)+": ")
}

// said is what our hook wrote of the canary: its decision, if it has one.
func (a answer) said() (said journal.Refusal, called bool) {
	for _, e := range a.entries {
		if !called || e.Decision != "" {
			said, called = e, true
		}
	}
	return said, called
}

// proves makes of an answer what it proves.
func (a answer) proves(r Result, c canary, conf config.Config, st place.State, asked daemon.Process) (Result, error) {
	var e *StartError
	failedHook := errors.As(a.err, &e) && e.Hook
	if e != nil {
		r.Libvirt = e.Error()
	} else if a.err != nil {
		r.Libvirt = guard.Printable(a.err.Error(), 2000)
	}
	said, called := a.said()
	r.Called, r.Summary = called, said.Summary
	switch {
	case a.refusal(), failedHook && called && said.Decision == string(guard.Refuse) && !said.Would:
		r.Called, r.Refused, r.Live = true, true, true
		r.Summary = cmp.Or(r.Summary, words.Summary(c.verdict))
		if st.NotLast != "" {
			r.Why = append(r.Why, st.NotLast)
		}
		if a.refusal() {
			return r, nil
		}
		// Another failed after ours, and libvirt's error is that one's.
	case said.Would:
		r.Live = true
		r.Told = told(c, conf)
	case called && said.Decision == "":
		r.Why = append(r.Why, "libvirt calls the hook, which could not judge the start: what it says is above, and in journalctl -t hugeguard")
	case failedHook:
		why := "a hook failed, and not with our refusal: it may keep guests from starting"
		if a.journalErr != nil {
			why += fmt.Sprintf(". Whether ours was called is not known (%v)", a.journalErr)
		}
		r.Why = append(r.Why, why)
		r.reasons(st, a.denials, asked)
	case a.err != nil && !a.ranQEMU(c):
		return r, fmt.Errorf("libvirt did not start %s for a reason of its own, so that whether it calls the hook is not known: %s", c.Name, r.Libvirt)
	case a.journalErr != nil && (conf.Mode != config.Enforce || c.verdict.Exempt != ""):
		return r, fmt.Errorf("the hook is told to refuse nothing, and whether it was called could not be read: %w", a.journalErr)
	default:
		r.Why = append(r.Why, "QEMU was run for a domain that cannot fit: libvirt did not call the hook, or did not heed it")
		r.reasons(st, a.denials, asked)
	}
	if a.started {
		r.Why = append(r.Why, "the domain started, which no host should have room for, and was destroyed")
	}
	return r, nil
}

// told says what keeps a live hook from refusing the canary.
func told(c canary, conf config.Config) string {
	switch {
	case c.verdict.Exempt != "":
		return "exempt by " + guard.Printable(c.verdict.Exempt, 200)
	case conf.Mode == config.WarnOnly:
		return "mode = warn"
	}
	return "its configuration has just changed"
}

// reasons adds the usual ones.
func (r *Result) reasons(st place.State, denials []string, asked daemon.Process) {
	found := len(r.Why)
	r.Why = append(r.Why, st.Why...)
	for _, d := range denials {
		r.Why = append(r.Why, "denied meanwhile: "+d)
	}
	r.Why = append(r.Why, confined(st, asked)...)
	if found == len(r.Why) && asked.PID != 0 {
		r.Why = append(r.Why, fmt.Sprintf("all is in place as far as files tell, so that %s (pid %d) may not have looked for hooks since it is: %s", asked.Name, asked.PID, asked.Command()))
	}
}

// confined says what may keep a daemon from running the hook, of those that confine it.
func confined(st place.State, asked daemon.Process) []string {
	i := slices.IndexFunc(st.Daemons, func(d place.Daemon) bool { return d.PID == asked.PID })
	if i < 0 || st.Daemons[i].Confined == "" {
		return nil
	}
	d := st.Daemons[i]
	if st.Label == "" {
		return []string{fmt.Sprintf("AppArmor confines %s (%s): look for DENIED in journalctl -k", d.Name, d.Confined)}
	}
	return []string{fmt.Sprintf("SELinux confines %s (%s), and the hook is %s: restorecon -v %s, and look in ausearch -m avc -ts recent", d.Name, d.Confined, st.Label, st.Path)}
}

// openJournal opens this host's journal. Tests have another.
var openJournal = journal.Open

// heard returns what our hook wrote to the journal of a domain since then, once there is something, in entryPatience.
func heard(ctx context.Context, domain string, since time.Time) ([]journal.Refusal, error) {
	j, err := openJournal()
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(entryPatience); ; time.Sleep(100 * time.Millisecond) {
		entries, err := j.Of(ctx, domain, since)
		if len(entries) > 0 || err != nil || time.Now().After(end) || ctx.Err() != nil {
			return entries, err
		}
	}
}

// auditLog is where auditd keeps what it takes from the kernel before the journal does.
const auditLog = "var/log/audit/audit.log"

// denials returns what AppArmor or SELinux denied since then that may be about our hook, the last few. An error is of
// auditd's file.
func (v verifier) denials(ctx context.Context, since time.Time) (found []string, err error) {
	var lines []string
	if j, err := openJournal(); err == nil {
		lines = j.Kernel(ctx, since)
	}
	f, err := os.Open(v.root.Path(auditLog))
	switch {
	case err == nil:
		defer f.Close()
		var audited []string
		audited, err = auditedSince(f, since)
		lines = append(lines, audited...)
	case errors.Is(err, fs.ErrNotExist):
		err = nil // no auditd
	}
	for _, line := range lines {
		shown := guard.Printable(strings.TrimSpace(line), 400)
		if isDenial(line) && !slices.Contains(found, shown) {
			found = append(found, shown)
		}
	}
	return found[max(0, len(found)-5):], err
}

// isDenial says whether a line of the kernel's is a denial that may be about our hook: of what libvirt's daemons do in
// the folder of hooks, or of what the program does itself.
func isDenial(line string) bool {
	if !strings.Contains(line, `apparmor="DENIED"`) && !strings.Contains(line, "avc:  denied") {
		return false
	}
	return strings.Contains(line, place.HookDir) || strings.Contains(line, "hugeguard") || strings.Contains(line, `comm="qemu"`)
}

// auditedSince returns the lines of auditd's that are no older, among the last MiB.
func auditedSince(f io.ReadSeeker, since time.Time) (lines []string, err error) {
	const most = 1 << 20
	if _, err := f.Seek(-most, io.SeekEnd); err != nil {
		f.Seek(0, io.SeekStart)
	}
	text, err := io.ReadAll(io.LimitReader(f, 2*most)) // it may grow meanwhile
	for _, line := range strings.Split(string(text), "\n") {
		// type=AVC msg=audit(1364481363.243:24287): avc:  denied ...
		_, rest, ok := strings.Cut(line, "msg=audit(")
		seconds, _, ok2 := strings.Cut(rest, ".")
		if at, err := strconv.ParseInt(seconds, 10, 64); ok && ok2 && err == nil && at >= since.Unix() {
			lines = append(lines, line)
		}
	}
	return lines, err
}
