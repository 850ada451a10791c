package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"hugeguard/guard"
	"hugeguard/hook"
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

// A Proof is what came of asking a libvirt daemon to start a domain that must be refused.
type Proof struct {
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

// A Verification is what Verify needs beside the host.
type Verification struct {
	Options
	// Connect opens a connection to a daemon: any that serves this URI. A call that does not end is left alone, with
	// its connection: only the end of the process closes that.
	Connect func(uri string) (Libvirt, error)
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
func Verify(ctx context.Context, v Verification) ([]Proof, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("only root may start a domain at qemu:///system and read what the hook says of it")
	}
	return v.verifyAll(ctx, sysfs.New(""))
}

// verifyAll is Verify, of the host that root shows.
func (v Verification) verifyAll(ctx context.Context, root sysfs.FS) ([]Proof, error) {
	config, configErr := hook.ReadConfig(root)
	if config.Mode == hook.Off {
		return []Proof{{Why: []string{fmt.Sprintf("it is told to do nothing (mode = off in %s): whether libvirt calls it cannot be seen", root.Path(hook.ConfigPath))}}}, configErr
	}
	t := tree{root: v.Root}
	running, err := t.running(ctx, v.Units)
	if err != nil {
		running = nil // the URI finds one
	}
	var proofs []Proof
	for i, uri := range uris(running) {
		conn, err := ask(ctx, uri, func() (Libvirt, error) { return v.Connect(uri) })
		if err != nil {
			return proofs, connectError(uri, running, err)
		}
		if len(running) == 0 {
			running, _ = t.running(ctx, v.Units) // a socket may have started it
		}
		var asked Process
		if len(running) > i {
			asked = running[i]
		}
		p, err := v.verify(ctx, root, config, conn, asked)
		if errors.As(err, new(*silence)) {
			return proofs, err // the connection is in use
		}
		ask(ctx, "the goodbye", func() (any, error) { conn.Close(); return nil, nil })
		if err != nil {
			return proofs, err
		}
		proofs = append(proofs, p)
	}
	return proofs, nil
}

// uris are those of the daemons: of more than one, each by the mode that leads to it
// (https://libvirt.org/uri.html#transport-configuration).
func uris(running []Process) (list []string) {
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
func connectError(uri string, running []Process, err error) error {
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

// verify asks one daemon.
func (v Verification) verify(ctx context.Context, root sysfs.FS, config hook.Config, conn Libvirt, asked Process) (Proof, error) {
	proof := Proof{Daemon: asked.Name, PID: asked.PID}
	capabilities, err := ask(ctx, "the question what it can start", conn.DomainCapabilities)
	if errors.As(err, new(*silence)) {
		return proof, err
	} else if err != nil {
		return proof, fmt.Errorf("libvirt has no emulator to start a domain with: %s", guard.Printable(err.Error(), 600))
	}
	c, err := newCanary(root, config, capabilities)
	if err != nil {
		return proof, err
	}
	t := tree{root: v.Root}
	defer t.removeCanary(c, asked)
	proof.Canary = c.Domain
	began := time.Now()
	a, err := start(ctx, conn, c)
	if err != nil {
		return proof, err
	}
	a.log = t.removeCanary(c, asked)
	a.entries, a.journalErr = heard(ctx, c.Name, began)
	st, err := Inspect(ctx, v.Options)
	if err != nil {
		st.Why = append(st.Why, err.Error())
	}
	if !a.refusal() && len(a.entries) == 0 {
		if a.denials, err = t.denials(ctx, began); err != nil {
			st.Why = append(st.Why, err.Error())
		}
	}
	if err := ctx.Err(); err != nil {
		return proof, err // what was found out since is not all
	}
	proof, err = a.proof(proof, c, config, st, asked)
	for _, tight := range t.limits(asked) {
		if !slices.Contains(proof.Why, tight) {
			proof.Why = append(proof.Why, tight)
		}
	}
	return proof, err
}

// An answer is what came of the start of a canary.
type answer struct {
	started    bool
	err        error     // of the start, or of the destruction of what started
	log        bool      // QEMU was run, by its log file
	entries    []Refusal // what our hook wrote of it
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

// removeCanary removes the files that libvirt may leave of the canary, where the daemon has them and on the host. It says
// whether there was a log, which libvirt makes before it runs a QEMU.
func (t tree) removeCanary(c canary, asked Process) (log bool) {
	trees := []tree{t}
	if asked.PID != 0 {
		trees = append(trees, tree{root: t.root + proc(asked.PID, "root")}) // in a container another
	}
	for _, t := range trees {
		rm := func(name string) bool {
			file, err := t.file(name)
			return err == nil && os.Remove(file) == nil
		}
		log = rm(filepath.Join(logDir, c.Name+".log")) || log
		rm(filepath.Join(profileDir, "libvirt-"+c.UUID))
		rm(filepath.Join(profileDir, "libvirt-"+c.UUID+".files"))
	}
	return log
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

// proof makes of an answer what it proves.
func (a answer) proof(p Proof, c canary, config hook.Config, st State, asked Process) (Proof, error) {
	amiss := func(format string, args ...any) { p.Why = append(p.Why, fmt.Sprintf(format, args...)) }
	if a.err != nil {
		p.Libvirt = a.err.Error()
		if !errors.As(a.err, new(*StartError)) {
			p.Libvirt = guard.Printable(p.Libvirt, 2000)
		}
	}
	var said *Refusal
	for i, e := range a.entries {
		if said == nil || e.Decision != "" {
			said = &a.entries[i]
		}
	}
	if said != nil {
		p.Called, p.Summary = true, said.Summary
	}
	var e *StartError
	failedHook := errors.As(a.err, &e) && e.Hook
	switch {
	case a.refusal(), failedHook && said != nil && said.Decision == string(guard.Refuse) && !said.Would:
		p.Called, p.Refused, p.Live = true, true, true
		if p.Summary == "" {
			p.Summary = c.verdict.Summary
		}
		if st.notLast != "" {
			amiss("%s", st.notLast)
		}
		if a.refusal() {
			return p, nil
		}
		// Another failed after ours, and libvirt's error is that one's.
	case said != nil && said.Would:
		p.Live = true
		switch {
		case c.verdict.Exempt != "":
			p.Told = "exempt by " + guard.Printable(c.verdict.Exempt, 200)
		case config.Mode == hook.WarnOnly:
			p.Told = "mode = warn"
		default:
			p.Told = "its configuration has just changed"
		}
	case said != nil && said.Decision == "":
		amiss("libvirt calls the hook, which could not judge the start: what it says is above, and in journalctl -t hugeguard")
	case failedHook:
		unknown := ""
		if a.journalErr != nil {
			unknown = fmt.Sprintf(". Whether ours was called is not known (%v)", a.journalErr)
		}
		amiss("a hook failed, and not with our refusal: it may keep guests from starting%s", unknown)
		p.reasons(st, a.denials, asked)
	case a.err != nil && !a.ranQEMU(c):
		return p, fmt.Errorf("libvirt did not start %s for a reason of its own, so that whether it calls the hook is not known: %s", c.Name, p.Libvirt)
	case a.journalErr != nil && (config.Mode != hook.Enforce || c.verdict.Exempt != ""):
		return p, fmt.Errorf("the hook is told to refuse nothing, and whether it was called could not be read: %w", a.journalErr)
	default:
		amiss("QEMU was run for a domain that cannot fit: libvirt did not call the hook, or did not heed it")
		p.reasons(st, a.denials, asked)
	}
	if a.started {
		amiss("the domain started, which no host should have room for, and was destroyed")
	}
	return p, nil
}

// reasons adds the usual ones.
func (p *Proof) reasons(st State, denials []string, asked Process) {
	found := len(p.Why)
	p.Why = append(p.Why, st.Why...)
	for _, d := range denials {
		p.Why = append(p.Why, "denied meanwhile: "+d)
	}
	p.Why = append(p.Why, st.confined(asked)...)
	if found == len(p.Why) && asked.PID != 0 {
		p.Why = append(p.Why, fmt.Sprintf("all is in place as far as files tell, so that %s (pid %d) may not have looked for hooks since it is: %s", asked.Name, asked.PID, asked.command()))
	}
}

// confined says what may keep a daemon from running the hook, of those that confine it.
func (st State) confined(asked Process) []string {
	i := slices.IndexFunc(st.Daemons, func(d Daemon) bool { return d.PID == asked.PID })
	if i < 0 || st.Daemons[i].Confined == "" {
		return nil
	}
	d := st.Daemons[i]
	if st.Label == "" {
		return []string{fmt.Sprintf("AppArmor confines %s (%s): look for DENIED in journalctl -k", d.Name, d.Confined)}
	}
	return []string{fmt.Sprintf("SELinux confines %s (%s), and the hook is %s: restorecon -v %s, and look in ausearch -m avc -ts recent", d.Name, d.Confined, st.Label, st.Path)}
}

// heard returns what our hook wrote to the journal of a domain since then, once there is something, in entryPatience.
func heard(ctx context.Context, domain string, since time.Time) (entries []Refusal, err error) {
	program, err := findJournalctl()
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(entryPatience); ; {
		entries = nil
		err = readJournal(ctx, program, journalFields, []string{fmt.Sprintf("--since=@%d", since.Unix()-1), "HUGEGUARD_DOMAIN=" + domain}, func(e journalEntry) error {
			entry, err := parseRefusal(e)
			entries = append(entries, entry)
			return err
		})
		if len(entries) > 0 || err != nil || time.Now().After(end) || ctx.Err() != nil {
			return entries, err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// auditLog is where auditd keeps what it takes from the kernel before the journal does.
const auditLog = "/var/log/audit/audit.log"

// denials returns what AppArmor or SELinux denied since then that may be about our hook, the last few. An error is of
// auditd's file.
func (t tree) denials(ctx context.Context, since time.Time) (found []string, err error) {
	keep := func(line string) {
		if isDenial(line) && !slices.Contains(found, line) {
			found = append(found, guard.Printable(line, 400))
		}
	}
	if program, err := findJournalctl(); err == nil {
		ctx, cancel := context.WithTimeout(ctx, journalPatience)
		defer cancel()
		cmd := exec.CommandContext(ctx, program, "--no-pager", "--output=cat", "--lines=10000", fmt.Sprintf("--since=@%d", since.Unix()),
			"_TRANSPORT=kernel", "+", "_TRANSPORT=audit")
		cmd.Env = []string{"LC_ALL=C"}
		out, _ := cmd.Output() // what is missing is missing
		for _, line := range strings.Split(string(out), "\n") {
			keep(strings.TrimSpace(line))
		}
	}
	f, err := os.Open(t.root + auditLog)
	if err == nil {
		defer f.Close()
		var lines []string
		lines, err = auditedSince(f, since)
		for _, line := range lines {
			keep(line)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // no auditd
	}
	return found[max(0, len(found)-5):], err
}

// isDenial says whether a line of the kernel's is a denial that may be about our hook: of what libvirt's daemons do in
// the folder of hooks, or of what the program does itself.
func isDenial(line string) bool {
	if !strings.Contains(line, `apparmor="DENIED"`) && !strings.Contains(line, "avc:  denied") {
		return false
	}
	return strings.Contains(line, hookDir) || strings.Contains(line, "hugeguard") || strings.Contains(line, `comm="qemu"`)
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

// confinement returns the profile or context of a process, "" where nothing confines it
// (proc_pid_attr(5)): "libvirtd (enforce)" by AppArmor, "system_u:system_r:virtqemud_t:s0" by SELinux.
func (t tree) confinement(pid int) string {
	text, err := t.read(proc(pid, "attr/current"))
	is := strings.TrimRight(string(text), "\x00\n")
	if err != nil && !errors.Is(err, fs.ErrNotExist) || is == "unconfined" || is == "kernel" {
		return ""
	}
	return guard.Printable(is, 200)
}
