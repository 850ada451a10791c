// Package hook is libvirt's hook protocol: what the program that libvirtd runs
// as /etc/libvirt/hooks/qemu does with its arguments, the domain's XML on
// standard input and the host it runs on.
//
// A launch is refused by exit status 1 with one line on standard error, which
// libvirt puts into the error of whoever asked for the start. Nothing is ever
// written to standard output, which libvirt takes for XML at some operations.
// Whatever goes wrong in here lets the launch go on, unless the admin wants it
// otherwise: see https://libvirt.org/hooks.html for the protocol.
package hook

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/words"
	"hugeguard/hook/config"
	"hugeguard/hook/ledger"
	"hugeguard/hook/survey"
	"hugeguard/sysfs"
)

// Exit statuses that libvirt sees.
const (
	exitAccept = 0
	exitRefuse = 1
)

// Run is the hook program: args as libvirt gives them (program, domain,
// operation, sub-operation, extra), the domain's XML on stdin. It returns the
// exit status, or does not return where a site's own hook takes over.
//
// It is the child's program as well, which no caller but itself starts.
func Run(args []string, stdin io.Reader, stderr io.Writer) int {
	if len(args) > 0 && args[0] == childName {
		return runChild(args)
	}
	c := call{args: args, stdin: stdin, stderr: stderr, journal: sendToJournal, privileged: os.Geteuid() == 0, apart: true}
	c.program = program(args)
	c.later = sync.OnceValue(func() []string { return later(c.program) })
	behind := findSite(c.program)
	// The one operation that may be refused. A failing reconnect would kill
	// a running guest, and no other comes before QEMU takes its pages.
	switch {
	case len(args) < 4:
	case args[2] == "prepare" && args[3] == "begin":
		startPoller()
		limitMemory()
		if behind != "" {
			status := c.siteFirst(behind)
			if status != exitAccept {
				return status
			}
		}
		return c.guarded()
	case slices.Contains(endsStart, args[2]+" "+args[3]):
		c.ended()
	}
	if behind == "" {
		return exitAccept
	}
	if c.passOver(behind, behind.become(args)) {
		return exitAccept
	}
	return exitRefuse
}

// siteFirst runs the site's hook before a launch is judged: it may make pages, or take them, and what counts is what it
// leaves. It returns the exit status of one that refuses.
func (c *call) siteFirst(behind site) (status int) {
	xml, whole := keep(c.stdin, mostXML)
	c.stdin = xml
	status, err := behind.call(c.args, whole, c.stderr)
	if lacksMeans(err) {
		c.note(entry{Message: "this start is not judged: " + oneLine(err), Priority: warning})
		err = replay(whole)
		if err == nil {
			err = behind.become(c.args)
		}
	}
	if err != nil && !c.passOver(behind, err) {
		return cmp.Or(status, exitRefuse)
	}
	return status
}

// startPoller has the runtime's poller take its two file descriptors, which it does with
// the first timer that runs, and ends the program where there are none left. It gets
// them before files are opened, of which a process that may have few can do without some.
func startPoller() { time.AfterFunc(time.Hour, func() {}).Stop() }

// passOver tells of a site's hook that could not be run, and whether that may be
// passed over: it was taken away meanwhile, which is no hook to libvirt; or the
// operation is the one at which a failure kills a running guest.
func (c *call) passOver(behind site, err error) bool {
	message := guard.Printable(err.Error(), 400)
	if behind.gone() || len(c.args) >= 3 && c.args[2] == "reconnect" {
		c.note(entry{Message: message, Priority: warning})
		return true
	}
	// What libvirt makes of a hook that it cannot run.
	fmt.Fprintln(c.stderr, message)
	return false
}

// limitMemory has the collector begin late, as most calls are over before it
// pays, and work for its place from softMemory on.
func limitMemory() {
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(softMemory)
}

// softMemory is how much memory, in bytes, the program has before the collector
// works for it: far more than a call takes that is none of an attacker's.
const softMemory = 44 << 20

// endsStart are the operations at which a start is over: its QEMU has its
// pages, or is gone.
var endsStart = []string{"started begin", "stopped end", "release end"}

// call is one call of the hook.
type call struct {
	args        []string
	program     string // its path
	stdin       io.Reader
	stderr      io.Writer
	journal     func(entry) error
	fs          sysfs.FS // in prepare it is near
	far         sysfs.FS // that with what may never answer
	apart       bool     // that is left to another process; otherwise it is known to answer
	complete    bool     // this is the one to which it is left
	privileged  bool     // may look into other processes
	config      config.Config
	ledgerNoted bool                         // trouble with the ledger was told
	ledgerBusy  bool                         // others kept its lock for too long
	demand      atomic.Pointer[guard.Demand] // what the domain's XML says, once it is read
	later       func() []string              // the hooks that run after this one
}

// guarded is prepare, of whose defects no launch must die.
func (c *call) guarded() (status int) {
	defer func() {
		if r := recover(); r != nil {
			// The journal may be what is broken.
			c.journal = sendToJournal
			status = c.say(c.fault(defect(r)))
		}
	}()
	return c.prepare()
}

// defect is a panic as an error.
func defect(r any) error { return fmt.Errorf("defect in hugeguard: %v", r) }

// prepare judges a launch within the deadline and returns the exit status. What is
// near settles nearly every launch that is allowed; for all others a child is asked.
func (c *call) prepare() int {
	began := time.Now()
	c.far = c.fs
	c.fs = c.fs.Near()
	known := c.configure()
	if known && c.config.Mode == config.Off {
		return exitAccept
	}
	return c.answerInTime(began, known)
}

// answerInTime is prepare, once it is seen whether the configuration is known.
func (c *call) answerInTime(began time.Time, known bool) int {
	timer := time.NewTimer(time.Until(began.Add(c.patience())))
	defer timer.Stop()
	xml := &memory{from: c.stdin}
	judged := make(chan outcome, 1)
	go func() { judged <- c.judgeNear(xml) }()
	var own outcome
	select {
	case own = <-judged:
	case <-timer.C:
		return c.say(c.answer(outcome{err: fmt.Errorf("no verdict within %v", c.patience())}))
	}
	if own.sure && known || own.idle {
		return c.say(c.answer(own))
	}
	best := c.ask(xml, began, timer, &known)
	if !known {
		c.config = c.unsettled()
	}
	if known && c.config.Mode == config.Off {
		return exitAccept
	}
	if best == nil {
		own.verdict.Exempt = c.exempt() // by the configuration as it is known now
		a := c.answer(own)
		best = &a
	}
	return c.say(*best)
}

// patience is how long a call may take.
func (c *call) patience() time.Duration { return c.config.Deadline + c.config.WaitForStarting }

// ask asks a child about a launch and returns the best answer that it gives in time,
// nil for none. If the configuration was not known, it may be then.
func (c *call) ask(xml *memory, began time.Time, timer *time.Timer, known *bool) (best *answer) {
	child, err := c.askChild(xml, began)
	if err != nil {
		c.note(entry{Message: "what the kernel's counters do not tell is not looked at: " + oneLine(err), Priority: warning})
		return nil
	}
	defer child.end()
	for {
		select {
		case r, more := <-child.reports:
			switch {
			case !more:
				return best
			case r.Settings != nil && !*known:
				*known, c.config = true, r.Settings.Config
				if r.Settings.Warning != "" {
					c.note(entry{Message: r.Settings.Warning, Priority: warning})
				}
				timer.Reset(time.Until(began.Add(c.patience())))
			case r.Note != "":
				c.noteLedger(r.Note)
			case r.Answer != nil:
				best = r.Answer
			}
		case <-timer.C:
			// Its best stands; who holds the pages may stay open then.
			return best
		}
	}
}

// outcome is a verdict, or why there is none.
type outcome struct {
	verdict guard.Verdict
	err     error
	sure    bool // nobody who knows more would say another
	idle    bool // the domain has no huge pages, which goes on whatever is configured
}

// judgeNear judges a launch by what is near.
func (c *call) judgeNear(xml io.Reader) (o outcome) {
	defer func() {
		if r := recover(); r != nil {
			o = outcome{err: defect(r), sure: true}
		}
	}()
	demand, err := domain.Read(xml)
	if err != nil {
		return outcome{err: err, sure: true}
	}
	if len(demand.Backends) == 0 {
		return outcome{verdict: guard.Verdict{Decision: guard.Allow}, sure: true, idle: true}
	}
	c.demand.Store(&demand)
	judged := demand
	judged.Exempt = c.exempt()
	verdict, host, err := c.decide(judged)
	o = outcome{verdict: verdict, err: err}
	// What Open vSwitch may have on another file system leaves the verdict as it is.
	o.sure = !c.fs.Far() && (!c.privileged || err != nil || verdict.Decision == guard.Allow && !survey.MayConcernOVS(c.fs, c.config, demand, host))
	return o
}

// decide judges by the counters, for the releases at hand if it is complete, and
// claims the pages of a launch that is allowed. Until then no other start is
// judged: the ledger is locked.
func (c *call) decide(demand guard.Demand) (verdict guard.Verdict, host guard.Host, err error) {
	wait := time.Now().Add(c.config.WaitForStarting)
	for {
		verdict, host, err = c.decideNow(demand)
		if err != nil || !verdict.Waits() || !c.complete || !time.Now().Before(wait) {
			return verdict, host, err
		}
		time.Sleep(waitPause)
	}
}

// waitPause is how long a start waits for others before it looks again.
const waitPause = 50 * time.Millisecond

func (c *call) decideNow(demand guard.Demand) (verdict guard.Verdict, host guard.Host, err error) {
	// Nobody who may have to wait for others' files keeps the lock meanwhile.
	around := survey.LookAround(c.fs)
	var releases guard.Releases
	if c.complete && c.privileged {
		releases = around.Releases(demand)
	}
	patience := c.config.Deadline / 2
	if c.ledgerBusy {
		patience = c.config.Deadline / 8
	}
	claims := c.openLedger(patience)
	if claims != nil {
		defer claims.Close()
	}
	host, err = around.Counters(survey.For(demand))
	if err != nil {
		return verdict, host, err
	}
	host.Releases = releases
	if !c.privileged {
		host.Cgroups = nil // a session daemon leaves QEMU in its own
		return guard.Judge(demand, host), host, nil
	}
	changed := false
	if claims != nil && len(claims.Claims) > 0 {
		verdict, changed = c.judgeBeside(demand, &host, &claims.Ledger)
	} else {
		verdict = guard.Judge(demand, host)
	}
	if claims == nil && c.ledgerBusy {
		// Those that follow are to know of it all the same.
		claims = c.openLedger(c.config.Deadline / 8)
		if claims != nil {
			defer claims.Close()
		}
	}
	if claims != nil {
		c.keepLedger(claims, verdict, changed)
	}
	return verdict, host, nil
}

// judgeBeside judges a launch beside those that are starting, which it adds to the host as far as they matter, and
// reports whether it changed the ledger.
func (c *call) judgeBeside(demand guard.Demand, host *guard.Host, claims *ledger.Ledger) (verdict guard.Verdict, changed bool) {
	// Where there is room for all that they may still take, nobody needs to
	// look at their QEMUs.
	host.Starting = claims.AtMost(demand.Domain)
	verdict = guard.Judge(demand, *host)
	if verdict.Decision == guard.Allow && !verdict.Doomed() {
		return verdict, false
	}
	// What fails whoever is starting is so without a look at them, but for
	// whether it is worth to wait.
	host.Starting = nil
	verdict = guard.Judge(demand, *host)
	if verdict.Decision == guard.Refuse && c.config.WaitForStarting == 0 {
		return verdict, false
	}
	end := time.Now().Add(c.config.Deadline / 8)
	changed, blind := survey.Starting(c.fs, host, claims, demand.Domain, c.config.StartingLimit, end)
	if blind != nil {
		c.noteLedger("this start is judged without some of those in flight: " + oneLine(blind))
	}
	return guard.Judge(demand, *host), changed
}

// letsGoOn says whether a start goes on, whatever becomes of it.
func (c *call) letsGoOn(v guard.Verdict) bool {
	v = c.unlessLater(v)
	return v.Decision != guard.Refuse || v.Exempt != "" || c.config.Mode == config.WarnOnly
}

// answer is what is to be said of a launch.
func (c *call) answer(o outcome) answer {
	if o.err != nil {
		return c.fault(o.err)
	}
	v := c.unlessLater(o.verdict)
	if v.Decision == guard.Allow {
		return answer{}
	}
	e := entry{Message: words.Text(v), Priority: warning, Fields: words.Fields(v)}
	if v.Decision == guard.Warn {
		return answer{Entry: &e}
	}
	if c.letsGoOn(v) {
		first, rest, more := strings.Cut("would refuse: "+e.Message, "\n")
		if v.Exempt != "" {
			first += "; it goes on: exempt by " + guard.Printable(v.Exempt, 200)
		}
		e.Message = first
		if more {
			e.Message += "\n" + rest
		}
		return answer{Entry: &e}
	}
	e.Priority = failure
	return answer{Status: exitRefuse, Line: words.Summary(v), Entry: &e}
}

// fault is what is to be said of a launch that could not be judged.
func (c *call) fault(err error) answer {
	message := fmt.Sprintf("hugeguard could not judge the start of %s: %s", guard.Printable(c.args[1], 200), oneLine(err))
	e := entry{Priority: warning, Fields: map[string]string{"HUGEGUARD_DOMAIN": guard.Printable(c.args[1], 240)}}
	switch exempt := c.exempt(); {
	case exempt != "":
		e.Message = message + "; it goes on: exempt by " + guard.Printable(exempt, 200)
	case c.config.Fail == config.FailClosed && c.config.Mode == config.Enforce:
		e.Message, e.Priority = message, failure
		return answer{Status: exitRefuse, Line: message, Entry: &e}
	default:
		e.Message = message + "; it goes on"
	}
	return answer{Entry: &e}
}

// exempt is by what the domain is exempt, as in [guard.Demand]: by its name alone until
// its XML is read.
func (c *call) exempt() string {
	if demand := c.demand.Load(); demand != nil {
		return c.config.Exempts(*demand)
	}
	return c.config.ExemptsName(c.args[1])
}

// say says it and returns the exit status.
func (c *call) say(a answer) int {
	if a.Line != "" {
		fmt.Fprintln(c.stderr, a.Line)
	}
	if a.Entry != nil {
		c.note(*a.Entry)
	}
	return a.Status
}

// oneLine prints an error, which may quote what others wrote.
func oneLine(err error) string { return guard.Printable(err.Error(), 400) }
