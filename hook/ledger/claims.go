// Package ledger keeps the claims of starting guests: which huge pages the guests are still to take whose start was
// allowed and is not over yet. The next start is judged as if they had them.
//
// A ledger is of one boot. Times are counted from that boot, so that nobody who sets the clock changes them. A claim is
// ended by the event that ends the start, or by itself: see [Claim.Ended].
package ledger

import (
	"fmt"
	"slices"
	"time"

	"hugeguard/guard"
)

// Ledger is the claims of one boot, in the order in which the starts were allowed.
type Ledger struct {
	Boot   string // the kernel's boot_id
	Claims []Claim
}

// Claim is the pages that one domain is to take.
type Claim struct {
	UUID string
	Name string
	// Since is when the start was allowed, in time since boot.
	Since time.Duration
	// Daemon is the libvirt daemon that asked, where that is known.
	Daemon Process
	// Before is the pid that libvirt's pid file named then, which is no QEMU of this start's; 0 for none.
	Before int
	// QEMU is the domain's QEMU, once somebody saw it.
	QEMU Process
	// Progress is when that one was last seen to have taken pages, or first looked at, since boot.
	Progress time.Duration
	// PostCopy says that the guest is being moved here by a migration that may go over to post-copy: its QEMU gives
	// back the pages that it has.
	PostCopy bool
	Parts    []Part
}

// Part is the pages of one memory backend.
type Part struct {
	PageKiB uint64
	Pages   uint64
	Nodes   []int // that they may come from; null is any
	Hard    bool  // they can come from no others
	// Taken is how many of them the claim's QEMU had when it was last looked at, and Mapped how many of the others it
	// had mapped. Of neither it can have less as long as it lives, but for those that it took, and with PostCopy.
	Taken  uint64
	Mapped uint64
	// Cpuset is what else confines them, as libvirt's rules may have it. That numad was to choose is not kept.
	Cpuset guard.Cpuset
}

// Process is one process, told from a later one with the same number. The zero value is none.
type Process struct {
	PID     int
	Started time.Duration // since boot
}

// Check says what of a claim no ledger can have: sums of these pages could overflow, and nodes must be those of a host.
func (c Claim) Check() error {
	if len(c.Parts) > most {
		return fmt.Errorf("%d parts: %w", len(c.Parts), errForeign)
	}
	for _, p := range c.Parts {
		sets := [][]int{p.Nodes, p.Cpuset.Nodes, p.Cpuset.Union}
		if p.PageKiB == 0 || p.PageKiB > 1<<40 || p.Pages > 1<<40 || p.Taken > p.Pages || p.Mapped > p.Pages-p.Taken || slices.ContainsFunc(sets, strange) {
			return fmt.Errorf("%d pages of %d KiB: %w", p.Pages, p.PageKiB, errForeign)
		}
	}
	return nil
}

// strange says that a set of nodes is none that a host can have.
func strange(nodes []int) bool {
	return len(nodes) > most || !slices.IsSorted(nodes) ||
		slices.ContainsFunc(nodes, func(node int) bool { return node < 0 || node > 1<<16 })
}

// Put enters a claim in place of any that the domain has already: libvirt starts one at a time. Those of which nothing
// was seen for an hour go: where there is room for all nobody looks whether they are ended.
func (l *Ledger) Put(c Claim) {
	l.Claims = slices.DeleteFunc(l.Claims, func(old Claim) bool {
		return old.Of(c.UUID, c.Name) || !old.PostCopy && c.Since-max(old.Since, old.Progress) > time.Hour
	})
	l.Claims = append(l.Claims, c)
}

// Of says whether a claim is that of a domain.
func (c Claim) Of(uuid, name string) bool { return uuid != "" && c.UUID == uuid || c.Name == name }

// Drop ends the claim of a domain and says whether it had one. At the end of a
// start libvirt tells the hook the name without the need to read any XML.
func (l *Ledger) Drop(name string) bool {
	before := len(l.Claims)
	l.Claims = slices.DeleteFunc(l.Claims, func(c Claim) bool { return c.Name == name })
	return len(l.Claims) < before
}

// Seen is what is to be seen of a start.
type Seen struct {
	Now    time.Duration // since boot
	Daemon Process       // the libvirt daemon that runs now, where that is known
	QEMU   Process       // the domain's QEMU; none where it does not run
	// Parts are the claim's with what QEMU has taken and mapped of them, where Looked says that it was looked at.
	Parts  []Part
	Looked bool
	// Arrives says that it is being moved here still, which is of interest with PostCopy alone.
	Arrives bool
}

// left is how many pages of parts are still to be taken.
func left(parts []Part) uint64 {
	var pages uint64
	for _, p := range parts {
		pages += p.Pages - p.Taken
	}
	return pages
}

// See notes what is seen of a start that is not over, and says whether that is news.
func (c *Claim) See(seen Seen) (news bool) {
	if c.QEMU != seen.QEMU {
		c.QEMU, c.Progress, news = seen.QEMU, 0, true
		c.Parts = slices.Clone(c.Parts)
		for i := range c.Parts {
			c.Parts[i].Taken, c.Parts[i].Mapped = 0, 0
		}
	}
	if seen.QEMU == (Process{}) || !seen.Looked {
		return news
	}
	if c.Progress == 0 || left(seen.Parts) < left(c.Parts) {
		c.Progress, news = seen.Now, true
	}
	// Which part a mapping is of can show later, so the last look counts.
	same := func(a, b Part) bool { return a.Taken == b.Taken && a.Mapped == b.Mapped }
	news = news || !slices.EqualFunc(c.Parts, seen.Parts, same)
	c.Parts = seen.Parts
	return news
}

// Ended says whether a start is over although no event has said so: its QEMU has all its pages, or has taken none of
// the rest in as long as patience, or was seen and is gone; no QEMU was there and the daemon that asked is gone, or
// there was none in as long as patience. That of a guest that is being moved here by post-copy is over when the
// migration is, or its QEMU gone.
func (c Claim) Ended(seen Seen, patience time.Duration) bool {
	switch {
	case c.PostCopy:
		return !seen.Arrives || seen.QEMU == (Process{}) || c.QEMU != (Process{}) && c.QEMU != seen.QEMU
	case seen.QEMU != Process{}:
		if c.QEMU != (Process{}) && c.QEMU != seen.QEMU {
			return true
		}
		if !seen.Looked {
			return false
		}
		now := left(seen.Parts)
		return now == 0 || c.Progress != 0 && now >= left(c.Parts) && seen.Now-c.Progress > patience
	case c.QEMU != Process{}:
		return true
	case c.Daemon != Process{} && seen.Daemon != c.Daemon:
		return true
	}
	return seen.Now < c.Since || seen.Now-c.Since > patience
}
