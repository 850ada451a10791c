// Package hook is libvirt's hook protocol: what the program that libvirtd runs as /etc/libvirt/hooks/qemu does with its
// arguments, the domain's XML on standard input and the host it runs on.
//
// A launch is refused by exit status 1 with one line on standard error, which libvirt puts into its own error. Nothing
// is ever written to standard output, which libvirt takes for XML at some operations. If anything goes wrong here, the
// launch is allowed, unless the admin wants it otherwise: see https://libvirt.org/hooks.html for the protocol.
package hook

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/fix"
	"hugeguard/hook/config"
	"hugeguard/hook/survey/vswitch"
)

// Run is the hook program: args as libvirt gives them (program, domain, operation, sub-operation, extra), the domain's
// XML on stdin. It returns the exit status, or does not return where a site's own hook takes over.
//
// It is the child's program as well, which no caller but itself starts.
func Run(args []string, stdin io.Reader, stderr io.Writer) int {
	if len(args) > 0 && args[0] == childName {
		return runChild(args)
	}
	c := call{args: args, stdin: stdin, stderr: stderr, journal: sendToJournal, privileged: os.Geteuid() == 0, apart: true, exit: os.Exit}
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
		c.note(entry{Message: "hugeguard did not judge this start: " + oneLine(err), Priority: warning})
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

// passOver tells of a site's hook that could not be run, and whether that may be passed over: it was taken away
// meanwhile, which is no hook to libvirt; or the operation is the one at which a failure kills a running guest.
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

// endsStart are the operations at which a start is over: its QEMU has its pages, or is gone.
var endsStart = []string{"started begin", "stopped end", "release end"}

// guarded runs prepare and turns a panic into a warning, so that a bug never blocks a start.
func (c *call) guarded() (status int) {
	defer func() {
		if r := recover(); r != nil {
			// The journal may be what is broken.
			c.journal = sendToJournal
			status = c.say(c.fault(bug(r)))
		}
	}()
	return c.prepare()
}

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
	status := c.answerInTime(began, known)
	if status == exitRefuse {
		c.keepRefused()
	}
	return status
}

// answerInTime is prepare, once it is seen whether the configuration is known. It judges here and not beside a timer: to
// hand that over to another thread would cost each start a twentieth. If the time is up, the timer answers, and ends the
// program.
func (c *call) answerInTime(began time.Time, known bool) int {
	end := began.Add(c.patience())
	answered := make(chan int, 1)
	late := time.AfterFunc(time.Until(end), func() { answered <- c.late() })
	xml := &memory{from: c.stdin}
	own := c.judgeNear(xml)
	if !late.Stop() {
		return <-answered
	}
	if own.sure && known || own.idle {
		return c.say(c.answer(own))
	}
	timer := time.NewTimer(time.Until(end))
	defer timer.Stop()
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

// late answers for a launch that is not judged in time, and ends the program with the exit status: prepare may never
// return.
func (c *call) late() (status int) {
	defer func() {
		if r := recover(); r != nil {
			status = exitAccept // there is nobody left to tell
		}
		if c.exit != nil {
			c.exit(status)
		}
	}()
	status = c.say(c.answer(outcome{err: fmt.Errorf("timed out after %v", c.patience())}))
	if status == exitRefuse {
		c.keepRefused()
	}
	return status
}

// ask asks a child about a launch and returns the best answer that it gives in time,
// nil for none. If the configuration was not known, it may be then.
func (c *call) ask(xml *memory, began time.Time, timer *time.Timer, known *bool) (best *answer) {
	child, err := c.askChild(xml, began)
	if err != nil {
		c.note(entry{Message: "holders were not examined: " + oneLine(err), Priority: warning})
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

// judgeNear judges a launch by what is near.
func (c *call) judgeNear(xml io.Reader) (o outcome) {
	defer func() {
		if r := recover(); r != nil {
			o = outcome{err: bug(r), sure: true}
		}
	}()
	demand, err := domain.Read(xml)
	if err != nil {
		return outcome{err: err, sure: true}
	}
	if demand.AsksNothing() {
		return outcome{verdict: fix.Verdict{Verdict: guard.Verdict{Decision: guard.Allow}}, sure: true, idle: true}
	}
	c.demand.Store(&demand)
	judged := demand
	judged.Exempt = c.exempt()
	verdict, host, err := c.decide(judged)
	o = outcome{verdict: verdict, err: err}
	// What Open vSwitch may have on another file system leaves the verdict as it is.
	o.sure = !c.fs.Far() && (!c.privileged || err != nil || verdict.Decision == guard.Allow && !vswitch.MayConcern(c.fs, c.config, demand, host))
	return o
}
