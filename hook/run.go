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
	"errors"
	"fmt"
	"io"
	"os"
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
	behind := findSite()
	// The one operation that may be refused. A failing reconnect would kill
	// a running guest, and no other comes before QEMU takes its pages.
	if len(args) >= 4 && args[2] == "prepare" && args[3] == "begin" {
		if behind != "" {
			c.stdin = keep(stdin)
		}
		if status := c.guarded(); status != exitAccept {
			return status
		}
	}
	if behind == "" {
		return exitAccept
	}
	err := behind.run(args)
	message := guard.Printable(err.Error(), 400)
	if behind.gone() || len(args) >= 3 && args[2] == "reconnect" {
		// Taken away meanwhile, which is no hook to libvirt; or the one
		// operation at which a failure kills a running guest.
		c.note(entry{Message: message, Priority: warning})
		return exitAccept
	}
	// What libvirt makes of a hook that it cannot run.
	fmt.Fprintln(stderr, message)
	return exitRefuse
}

// call is one call of the hook at prepare.
type call struct {
	args       []string
	stdin      io.Reader
	stderr     io.Writer
	journal    func(entry) error
	fs         sysfs.FS
	privileged bool // may look into other processes
	config     Config
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
	config, err := ReadConfig(c.fs)
	c.config = config
	if config.Mode == Off {
		return exitAccept
	}
	if err != nil {
		c.note(entry{Message: "the configuration is followed only in part: " + oneLine(err), Priority: warning})
	}
	deadline := began.Add(config.Deadline)
	verdicts := c.judge(deadline)
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	var last *outcome
	for {
		select {
		case o, more := <-verdicts:
			if more {
				last = &o
				continue
			}
		case <-timer.C:
			if last == nil {
				return c.fault(fmt.Errorf("no verdict within %v", config.Deadline))
			}
			// The counters have spoken; who holds the pages stays open.
		}
		if last.err != nil {
			return c.fault(last.err)
		}
		return c.act(last.verdict)
	}
}

// outcome is a verdict, or why there is none.
type outcome struct {
	verdict guard.Verdict
	err     error
}

// judge sends the verdict by the counters alone as soon as it stands, then, if
// it is not to allow, that for the releases at hand and, if it is a refusal,
// the same again with those who hold the pages, and with what Nova believes.
// The channel is closed after the last; it holds them all, so that nobody waits
// for a reader.
func (c *call) judge(deadline time.Time) <-chan outcome {
	verdicts := make(chan outcome, 4)
	go func() {
		defer close(verdicts)
		answered := false
		defer func() {
			// A defect here must cost neither the launch nor a verdict that
			// stood before it.
			if r := recover(); r != nil && !answered {
				verdicts <- outcome{err: defect(r)}
			}
		}()
		demand, err := c.readDemand()
		if err != nil {
			verdicts <- outcome{err: err}
			return
		}
		if len(demand.Backends) == 0 {
			verdicts <- outcome{verdict: guard.Verdict{Decision: guard.Allow}}
			return
		}
		host, err := Survey(c.fs, demand)
		if err != nil {
			verdicts <- outcome{err: err}
			return
		}
		if !c.privileged {
			host.Cgroups = nil // a session daemon leaves QEMU in its own
		}
		verdict := guard.Judge(demand, host)
		verdicts <- outcome{verdict: verdict}
		answered = true
		if !c.privileged {
			return
		}
		if verdict.Decision != guard.Refuse && concernsOVS(c.fs, demand, host) {
			if AddOVS(c.fs, c.config, &host, deadline); host.OVS != nil {
				verdict = guard.Judge(demand, host)
				verdicts <- outcome{verdict: verdict}
			}
		}
		if verdict.Decision == guard.Allow {
			return
		}
		// To know more of the releases changes no other verdict.
		AddReleases(c.fs, &host, demand)
		verdict = guard.Judge(demand, host)
		verdicts <- outcome{verdict: verdict}
		if verdict.Decision != guard.Refuse {
			return
		}
		// Leave a part of the time to say it all.
		deadline = deadline.Add(-c.config.Deadline / 10)
		processes := addHolders(c.fs, &host, deadline)
		AddOVS(c.fs, c.config, &host, deadline)
		verdicts <- outcome{verdict: guard.Judge(demand, host)}
		addNova(c.fs, c.config, &host, processes, deadline)
		if host.Nova != nil {
			verdicts <- outcome{verdict: guard.Judge(demand, host)}
		}
	}()
	return verdicts
}

// maxXML is more than any domain's XML has, in bytes.
const maxXML = 32 << 20

var errXMLTooLarge = errors.New("domain XML is larger than it can be")

func (c *call) readDemand() (guard.Demand, error) {
	xml, err := io.ReadAll(io.LimitReader(c.stdin, maxXML+1))
	if err != nil {
		return guard.Demand{}, fmt.Errorf("standard input: %w", err)
	}
	if len(xml) > maxXML {
		return guard.Demand{}, errXMLTooLarge
	}
	return guard.ParseDomain(xml)
}

// act tells what is to be told of a verdict and returns the exit status.
func (c *call) act(v guard.Verdict) int {
	if v.Decision == guard.Allow {
		return exitAccept
	}
	e := entry{Message: v.Text(), Priority: warning, Fields: v.Fields()}
	if v.Decision == guard.Warn {
		c.note(e)
		return exitAccept
	}
	if c.config.Mode == WarnOnly {
		e.Message = "would refuse: " + e.Message
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
	if c.config.Fail == FailClosed && c.config.Mode == Enforce {
		fmt.Fprintln(c.stderr, message)
		c.note(entry{Message: message, Priority: failure})
		return exitRefuse
	}
	c.note(entry{Message: message + "; it goes on", Priority: warning})
	return exitAccept
}

// oneLine prints an error, which may quote what others wrote.
func oneLine(err error) string { return guard.Printable(err.Error(), 400) }
