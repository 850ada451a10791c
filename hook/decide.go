package hook

import (
	"time"

	"hugeguard/guard"
	"hugeguard/guard/fix"
	"hugeguard/hook/ledger"
	"hugeguard/hook/survey"
)

// decide judges by the counters, for the releases at hand if it is complete, and claims the pages of a launch that is
// allowed. Until then no other start is judged: the ledger is locked.
func (c *call) decide(demand guard.Demand) (fix.Verdict, guard.Host, error) {
	wait := time.Now().Add(c.config.WaitForStarting)
	for {
		verdict, host, err := c.decideNow(demand)
		if err == nil && verdict.Waits() && c.complete && time.Now().Before(wait) {
			time.Sleep(waitPause)
			continue
		}
		if verdict.Decision == guard.Refuse && c.privileged {
			host.NotKnown = guard.AllEvidence() // until somebody looks
			verdict.NotKnown = host.NotKnown
		}
		return fix.For(demand, host, verdict), host, err
	}
}

// waitPause is how long a start waits for others before it looks again.
const waitPause = 50 * time.Millisecond

func (c *call) decideNow(demand guard.Demand) (verdict guard.Verdict, host guard.Host, err error) {
	// Nobody who may have to wait for others' files keeps the lock meanwhile.
	around := survey.LookAround(c.fs, survey.For(demand))
	if around.Ordinary(demand) {
		return guard.Verdict{Domain: demand.Domain, Decision: guard.Allow}, host, nil
	}
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
	c.forgetRefused(verdict)
	return verdict, host, nil
}

// judgeBeside judges a launch beside those that are starting, which it adds to the host as far as they matter, and
// reports whether it changed the ledger.
func (c *call) judgeBeside(demand guard.Demand, host *guard.Host, claims *ledger.Ledger) (verdict guard.Verdict, changed bool) {
	// Where there is room for all that they may still take, nobody needs to look at their QEMUs.
	host.Starting = claims.AtMost(demand.Domain)
	verdict = guard.Judge(demand, *host)
	if verdict.Decision == guard.Allow && !verdict.Doomed() {
		return verdict, false
	}
	// What fails no matter which guests are starting needs no look at them, but for whether it is worth to wait.
	host.Starting = nil
	verdict = guard.Judge(demand, *host)
	if verdict.Decision == guard.Refuse && c.config.WaitForStarting == 0 {
		return verdict, false
	}
	end := time.Now().Add(c.config.Deadline / 8)
	changed, blind := survey.Starting(c.fs, host, claims, demand.Domain, c.config.StartingLimit, end)
	if blind != nil {
		c.noteLedger("this start is judged without some of the starting guests: " + oneLine(blind))
	}
	return guard.Judge(demand, *host), changed
}
