package survey

import (
	"time"

	"hugeguard/guard"
	"hugeguard/hook/config"
	"hugeguard/hook/ledger"
	"hugeguard/sysfs"
)

// AddStarting adds the domains that are starting, as the ledger has them, with
// what they have still to take. self is the domain that is judged, which is not
// among them. Pools are read again while they change, unless the host has
// holders already, which are of the moment of its pools.
func AddStarting(root sysfs.FS, c config.Config, host *guard.Host, self guard.Domain) error {
	if !c.Claims {
		return nil
	}
	claims, err := ledger.Read(root)
	_, blind := AddClaims(root, host, &claims, self, c.StartingLimit, time.Now().Add(max(c.Deadline/8, leisure)))
	if err != nil {
		return err
	}
	return blind
}

// leisure is how long those look who ask beforehand: no start waits for them.
const leisure = 2 * time.Second

// readings is how often pools and processes are read until both are of one
// moment.
const readings = 6

// AddClaims is [AddStarting] of a ledger that was read, until a time; it strikes
// off the claims that are ended, and notes the QEMUs that it sees: see [ledger.Ledger.Look].
// It reports whether it changed the ledger, and which starts showed nothing in time.
//
// A starting QEMU takes its pages while it is looked at. Where the pools change
// under its eyes they are read again. What is read last is the processes, so
// that a page is rather counted as free than as gone twice. Where that look comes too late,
// the one before it counts.
func AddClaims(root sysfs.FS, host *guard.Host, claims *ledger.Ledger, self guard.Domain, limit time.Duration, end time.Time) (changed bool, blind error) {
	pools := host.Pools // of the last look
	for again := readings - 1; ; again-- {
		seen := claims.Look(root, self, limit, end)
		changed = changed || seen.Changed
		if seen.Blind != nil && again < readings-1 {
			host.Pools = pools
			return changed, nil
		}
		host.Starting, pools = seen.Starting, host.Pools
		if again == 0 || !seen.Taking || seen.Blind != nil || host.Holders != nil || !refreshPools(root, host) {
			return changed, seen.Blind
		}
	}
}
