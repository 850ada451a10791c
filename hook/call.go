package hook

import (
	"io"
	"runtime/debug"
	"sync/atomic"
	"time"

	"hugeguard/guard"
	"hugeguard/hook/config"
	"hugeguard/sysfs"
)

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
	exit        func(status int)             // ends the program; nil for none
}

// startPoller has the runtime's poller take its two file descriptors, which it does with
// the first timer that runs, and ends the program where there are none left. It gets
// them before files are opened, of which a process that may have few can do without some.
// The poller, which waits for this timer, need not be woken for one that ends later.
func startPoller() { time.AfterFunc(time.Second, func() {}).Stop() }

// limitMemory has the collector begin late, as most calls are over before it
// pays, and work for its place from softMemory on.
func limitMemory() {
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(softMemory)
}

// softMemory is how much memory, in bytes, the program has before the collector
// works for it: far more than a call takes that is none of an attacker's.
const softMemory = 44 << 20

// patience is how long a call may take.
func (c *call) patience() time.Duration { return c.config.Deadline + c.config.WaitForStarting }

// exempt is by what the domain is exempt, as in [guard.Demand]: by its name alone until its XML is read.
func (c *call) exempt() string {
	if demand := c.demand.Load(); demand != nil {
		return c.config.Exempts(*demand)
	}
	return c.config.ExemptsName(c.args[1])
}

// allows reports whether a start is allowed, even if it will fail.
func (c *call) allows(v guard.Verdict) bool {
	v = c.unlessLater(v)
	return v.Decision != guard.Refuse || v.Exempt != "" || c.config.Mode == config.WarnOnly
}

// unlessLater returns a verdict as it is where other hooks run after this one:
// they may still make the pages that are missing.
func (c *call) unlessLater(v guard.Verdict) guard.Verdict {
	if c.later == nil || !v.Shortage() || v.LibvirtBefore(DropInSince) {
		return v
	}
	if paths := c.later(); len(paths) > 0 {
		return v.Unless(LaterMayMake(paths))
	}
	return v
}

// note writes to the journal as well as it can; there is nobody to tell if it cannot.
func (c *call) note(e entry) {
	_ = c.journal(e)
}
