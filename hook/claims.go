package hook

import (
	"errors"
	"time"

	"hugeguard/guard"
	"hugeguard/hook/ledger"
)

// endPatience is how long the end of a start waits for the lock. A start waits
// for a half of its deadline, and an eighth if it only writes its claim.
const endPatience = time.Second

// openLedger returns the ledger, locked, or nil: the launch is judged without it then, and never refused for it.
func (c *call) openLedger(patience time.Duration) *ledger.Locked {
	if !c.privileged || !c.config.Claims {
		return nil
	}
	l, unread, err := ledger.Open(c.fs, patience)
	c.ledgerBusy = errors.Is(err, ledger.ErrBusy)
	switch {
	case err != nil:
		c.noteLedger("the claims cannot be used, so this start is judged without other starting guests: " + oneLine(err))
	case unread != nil:
		c.noteLedger("the claims of starting guests were lost: " + oneLine(unread))
	}
	return l
}

// noteLedger warns once of trouble with the ledger.
func (c *call) noteLedger(message string) {
	if !c.ledgerNoted {
		c.ledgerNoted = true
		c.note(entry{Message: message, Priority: warning})
	}
}

// keepLedger adds the claim of a launch that is allowed, and saves what has changed.
func (c *call) keepLedger(l *ledger.Locked, v guard.Verdict, changed bool) {
	var err error
	if c.allows(v) {
		var own ledger.Claim
		own, err = ledger.ClaimOf(c.fs, v)
		switch {
		case err != nil:
			changed = l.Drop(v.Domain.Name) || changed
		case len(own.Parts) > 0:
			l.Put(own)
			changed = true
		}
	} else if l.Drop(v.Domain.Name) {
		changed = true // of an earlier attempt
	}
	if changed || l.Stored && len(l.Claims) == 0 {
		err = errors.Join(err, l.Save())
	}
	if err != nil {
		c.noteLedger("the claim of this start cannot be written, so later starts do not count it: " + oneLine(err))
	}
}

// keepRefused keeps what Nova counts for the instance whose start was refused.
func (c *call) keepRefused() {
	demand := c.demand.Load()
	if !c.privileged || demand == nil || demand.Domain.Manager != guard.ManagerNova {
		return
	}
	if err := ledger.KeepRefused(c.fs, guard.InstanceOf(*demand, false)); err != nil {
		c.noteLedger("this refusal cannot be kept, so it is not known for how long Nova counts the guest: " + oneLine(err))
	}
}

// forgetRefused forgets an earlier refusal of an instance whose start is allowed: what Nova counts for it may be another
// number by the time its domain is gone.
func (c *call) forgetRefused(v guard.Verdict) {
	if c.allows(v) && v.Domain.Manager == guard.ManagerNova {
		ledger.ForgetRefused(c.fs, v.Domain.UUID)
	}
}

// ended ends the claim of the domain whose start is over.
func (c *call) ended() {
	if !c.privileged || !c.fs.Exists(ledger.Path) {
		return // as at most calls
	}
	startPoller()
	defer func() {
		if r := recover(); r != nil {
			c.noteLedger(oneLine(bug(r)))
		}
	}()
	if err := ledger.End(c.fs, c.args[1], c.args[2], endPatience); err != nil {
		c.noteLedger("the claim of this start cannot be removed: " + oneLine(err))
	}
}
