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
	"errors"
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
func Run(args []string, stdin io.Reader, stderr io.Writer) int {
	c := call{args: args, stdin: stdin, stderr: stderr, journal: sendToJournal, privileged: os.Geteuid() == 0}
	self := program(args)
	c.later = sync.OnceValue(func() []string { return later(self) })
	behind := findSite(self)
	// The one operation that may be refused. A failing reconnect would kill
	// a running guest, and no other comes before QEMU takes its pages.
	switch {
	case len(args) < 4:
	case args[2] == "prepare" && args[3] == "begin":
		limitMemory()
		if behind != "" {
			// It may make pages, or take them: what counts is what it leaves.
			xml, whole := keep(stdin)
			c.stdin = xml
			if status, err := behind.call(args, whole, stderr); err != nil && !c.passOver(behind, err) || status != exitAccept {
				return cmp.Or(status, exitRefuse)
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
	stdin       io.Reader
	stderr      io.Writer
	journal     func(entry) error
	fs          sysfs.FS
	privileged  bool // may look into other processes
	config      Config
	ledgerNoted bool                   // trouble with the ledger was told
	ledgerBusy  bool                   // others kept its lock for too long
	exempt      atomic.Pointer[string] // by what the domain is exempt, once its XML is read
	later       func() []string        // the hooks that run after this one
}

// guarded is prepare, of whose defects no launch must die.
func (c *call) guarded() (status int) {
	defer func() {
		if r := recover(); r != nil {
			// The journal may be what is broken.
			c.journal = sendToJournal
			status = c.fault(defect(r))
		}
	}()
	return c.prepare()
}

// defect is a panic as an error.
func defect(r any) error { return fmt.Errorf("defect in hugeguard: %v", r) }

// prepare judges a launch within the deadline and returns the exit status.
func (c *call) prepare() int {
	began := time.Now()
	// The runtime's poller takes two file descriptors with the first timer that runs, and ends the program where there are
	// none left. It gets them before files are opened, of which a process that may have few can do without some.
	time.AfterFunc(time.Hour, func() {}).Stop()
	err := c.configure()
	if c.config.Mode == Off {
		return exitAccept
	}
	if err != nil {
		message := oneLine(err)
		if wrong := (*ConfigError)(nil); errors.As(err, &wrong) {
			message = wrong.Error() // printable as it is, and worth more than a few words
		}
		c.note(entry{Message: message, Priority: warning})
	}
	patience := c.config.Deadline + c.config.WaitForStarting
	j := c.judge(began.Add(patience))
	timer := time.NewTimer(time.Until(began.Add(patience)))
	defer timer.Stop()
	select {
	case <-j.over:
	case <-timer.C:
		// The counters may have spoken; who holds the pages stays open then.
	}
	o := j.standing.Load()
	switch {
	case o == nil:
		return c.fault(fmt.Errorf("no verdict within %v", patience))
	case o.err != nil:
		return c.fault(o.err)
	}
	return c.act(o.verdict)
}

// outcome is a verdict, or why there is none.
type outcome struct {
	verdict guard.Verdict
	err     error
}

// judging is a launch that is being judged.
type judging struct {
	standing atomic.Pointer[outcome] // nil before there is any
	over     chan struct{}           // closed when none that follows will be better
}

// judge begins to judge. The verdict by the counters stands as soon as there is
// one, for the releases at hand where that matters, then, if it is a refusal, the
// same again with these and with those who hold the pages, and with what Nova
// believes.
func (c *call) judge(deadline time.Time) *judging {
	j := &judging{over: make(chan struct{})}
	go func() {
		defer close(j.over)
		growStack()
		answer := func(o outcome) { j.standing.Store(&o) }
		defer func() {
			// A defect here must cost neither the launch nor a verdict that
			// stood before it.
			if r := recover(); r != nil && j.standing.Load() == nil {
				answer(outcome{err: defect(r)})
			}
		}()
		demand, err := guard.ReadDomain(c.stdin)
		if err != nil {
			answer(outcome{err: err})
			return
		}
		demand.Exempt = c.config.Exempts(demand)
		c.exempt.Store(&demand.Exempt)
		if len(demand.Backends) == 0 {
			answer(outcome{verdict: guard.Verdict{Decision: guard.Allow}})
			return
		}
		// Leave a part of the time to say it all.
		looking := deadline.Add(-c.config.Deadline / 10)
		for range attempts {
			verdict, host, err := c.decide(demand, deadline)
			answer(outcome{verdict, err})
			if err != nil || !c.privileged {
				return
			}
			if verdict.Decision != guard.Refuse {
				if concernsOVS(c.fs, demand, host) {
					if AddOVS(c.fs, c.config, &host, deadline); host.OVS != nil {
						answer(outcome{verdict: guard.Judge(demand, host)})
					}
				}
				return
			}
			AddReleases(c.fs, &host, demand)
			processes := addHolders(c.fs, &host, looking, func() {
				c.addStarting(&host, demand.Domain, looking)
			})
			AddOVS(c.fs, c.config, &host, looking)
			if verdict = guard.Judge(demand, host); verdict.Decision != guard.Refuse {
				continue // pages have come back meanwhile
			}
			answer(outcome{verdict: verdict})
			if addNova(c.fs, c.config, &host, processes, looking); host.Nova != nil {
				answer(outcome{verdict: guard.Judge(demand, host)})
			}
			return
		}
	}()
	return j
}

// growStack has a goroutine's stack grow once to what judging takes. By itself it
// would be copied at each doubling, which costs a start the thirtieth part.
//
//go:noinline
func growStack() byte {
	var room [24 << 10]byte
	return room[len(os.Args)%len(room)]
}

// attempts is how often a launch is judged anew because pages came back while
// it was looked who has them.
const attempts = 3

// decide judges by the counters, for the releases at hand where that matters,
// and claims the pages of a launch that is let go on. Until then no other start
// is judged: the ledger is locked.
func (c *call) decide(demand guard.Demand, deadline time.Time) (verdict guard.Verdict, host guard.Host, err error) {
	wait := time.Now().Add(c.config.WaitForStarting)
	for {
		if verdict, host, err = c.decideNow(demand); err != nil || !verdict.Waits() || !time.Now().Before(wait) {
			return verdict, host, err
		}
		time.Sleep(waitPause)
	}
}

// waitPause is how long a start waits for others before it looks again.
const waitPause = 50 * time.Millisecond

func (c *call) decideNow(demand guard.Demand) (verdict guard.Verdict, host guard.Host, err error) {
	ledger := c.openLedger(c.config.Deadline / 2)
	if ledger != nil {
		defer ledger.close()
	}
	if host, err = Survey(c.fs, demand); err != nil {
		return verdict, host, err
	}
	if !c.privileged {
		host.Cgroups = nil // a session daemon leaves QEMU in its own
		return guard.Judge(demand, host), host, nil
	}
	changed := false
	if ledger != nil && len(ledger.Claims) > 0 {
		// Where there is room for all that they may still take, nobody needs to
		// look at their QEMUs.
		host.Starting = atMost(ledger.Ledger, demand.Domain)
		if verdict = guard.Judge(demand, host); verdict.Decision == guard.Allow && !verdict.Doomed() {
			c.keepLedger(ledger, verdict, false)
			return verdict, host, nil
		}
		// What fails whoever is starting is so without a look at them, but for
		// whether it is worth to wait.
		host.Starting = nil
		if verdict = guard.Judge(demand, host); verdict.Decision == guard.Refuse && c.config.WaitForStarting == 0 {
			c.keepLedger(ledger, verdict, false)
			return verdict, host, nil
		}
		var blind []string
		end := time.Now().Add(c.config.Deadline / 8)
		if changed, blind = addStarting(c.fs, c.config, &host, &ledger.Ledger, demand.Domain, end); len(blind) > 0 {
			c.noteLedger("this start is judged without some of those in flight: " + oneLine(blindTo(blind)))
		}
	}
	if verdict = guard.Judge(demand, host); verdict.Decision == guard.Warn {
		// To know more of the releases changes no other decision.
		AddReleases(c.fs, &host, demand)
		verdict = guard.Judge(demand, host)
	}
	if ledger == nil && c.ledgerBusy {
		// Those that follow are to know of it all the same.
		if ledger = c.openLedger(c.config.Deadline / 8); ledger != nil {
			defer ledger.close()
		}
	}
	if ledger != nil {
		c.keepLedger(ledger, verdict, changed)
	}
	return verdict, host, nil
}

// letsGoOn says whether a start goes on, whatever becomes of it.
func (c *call) letsGoOn(v guard.Verdict) bool {
	v = c.unlessLater(v)
	return v.Decision != guard.Refuse || v.Exempt != "" || c.config.Mode == WarnOnly
}

// addStarting adds those who are starting to what is found of the holders, in
// an eighth of the deadline and before the time is up. What is wrong with them
// decide has said.
func (c *call) addStarting(host *guard.Host, self guard.Domain, last time.Time) {
	if !c.config.Claims {
		return
	}
	end := time.Now().Add(c.config.Deadline / 8)
	if last.Before(end) {
		end = last
	}
	ledger, _ := readLedger(c.fs)
	addStarting(c.fs, c.config, host, &ledger, self, end)
}

// act tells what is to be told of a verdict and returns the exit status.
func (c *call) act(v guard.Verdict) int {
	v = c.unlessLater(v)
	if v.Decision == guard.Allow {
		return exitAccept
	}
	e := entry{Message: v.Text(), Priority: warning, Fields: v.Fields()}
	if v.Decision == guard.Warn {
		c.note(e)
		return exitAccept
	}
	if c.letsGoOn(v) {
		first, rest, more := strings.Cut("would refuse: "+e.Message, "\n")
		if v.Exempt != "" {
			first += "; it goes on: exempt by " + guard.Printable(v.Exempt, 200)
		}
		if e.Message = first; more {
			e.Message += "\n" + rest
		}
		c.note(e)
		return exitAccept
	}
	e.Priority = failure
	fmt.Fprintln(c.stderr, v.Summary)
	c.note(e)
	return exitRefuse
}

// fault reports that a launch could not be judged.
func (c *call) fault(err error) int {
	message := fmt.Sprintf("hugeguard could not judge the start of %s: %s", guard.Printable(c.args[1], 200), oneLine(err))
	fields := map[string]string{"HUGEGUARD_DOMAIN": guard.Printable(c.args[1], 240)}
	exempt := c.config.exemptsName(c.args[1])
	if known := c.exempt.Load(); known != nil {
		exempt = *known
	}
	switch {
	case exempt != "":
		message += "; it goes on: exempt by " + guard.Printable(exempt, 200)
	case c.config.Fail == FailClosed && c.config.Mode == Enforce:
		fmt.Fprintln(c.stderr, message)
		c.note(entry{Message: message, Priority: failure, Fields: fields})
		return exitRefuse
	default:
		message += "; it goes on"
	}
	c.note(entry{Message: message, Priority: warning, Fields: fields})
	return exitAccept
}

// oneLine prints an error, which may quote what others wrote.
func oneLine(err error) string { return guard.Printable(err.Error(), 400) }
