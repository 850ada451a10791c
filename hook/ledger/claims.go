// Package ledger is the ledger of the starts in flight: which huge pages the
// domains are to take whose start was let go on and is not over yet. The next
// start is judged as if they had them.
//
// A ledger is of one boot. Times are counted from that boot, so that nobody
// who sets the clock changes them. A claim is ended by the event that ends the
// start, or by itself: see [Claim.Ended].
package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Ledger is the starts in flight of one boot, in the order in which they were
// let go on.
type Ledger struct {
	Format int     `json:"format"`
	Boot   string  `json:"boot"` // the kernel's boot_id
	Claims []Claim `json:"claims"`
}

// Claim is the pages that one domain is to take.
type Claim struct {
	UUID string `json:"uuid"`
	Name string `json:"name"`
	// Since is when the start was let go on, in time since boot.
	Since time.Duration `json:"since_ns"`
	// Daemon is the libvirt daemon that asked, where that is known.
	Daemon Process `json:"daemon"`
	// Before is the pid that libvirt's pid file named then, which is no QEMU of
	// this start's; 0 for none.
	Before int `json:"before,omitempty"`
	// QEMU is the domain's QEMU, once somebody saw it.
	QEMU Process `json:"qemu"`
	// Progress is when that one was last seen to have taken pages, or first looked
	// at, since boot.
	Progress time.Duration `json:"progress_ns"`
	Parts    []Part        `json:"parts"`
}

// Part is the pages of one memory backend.
type Part struct {
	PageKiB uint64 `json:"page_kib"`
	Pages   uint64 `json:"pages"`
	Nodes   []int  `json:"nodes"` // that they may come from; null is any
	Hard    bool   `json:"hard"`  // they can come from no others
	// Taken is how many of them the claim's QEMU had when it was last looked at,
	// and Mapped how many of the others it had mapped. Of neither it can have less
	// as long as it lives, but for those that it took.
	Taken  uint64 `json:"taken,omitempty"`
	Mapped uint64 `json:"mapped,omitempty"`
	// Cpuset is what else confines them, as libvirt's rules may have it; nil for
	// nothing.
	Cpuset *Cpuset `json:"cpuset,omitempty"`
}

// Cpuset is what libvirt confines a domain to: see guard.Cpuset.
type Cpuset struct {
	Nodes       []int `json:"nodes"`
	Union       []int `json:"union"`
	Restrictive bool  `json:"restrictive"`
}

// Process is one process, told from a later one with the same number. The zero
// value is none.
type Process struct {
	PID     int           `json:"pid"`
	Started time.Duration `json:"started_ns"` // since boot
}

// format is that of this package; a ledger of any other is not understood.
const format = 1

// Limit is more than a ledger of as many starts as libvirt can have in flight
// has, in bytes.
const Limit = 4 << 20

// most is how many claims a ledger may have, and parts a claim.
const most = 10_000

// errForeign is that a ledger was not written by this package.
var errForeign = errors.New("not a ledger of starts that this release writes")

// Parse reads a ledger that [Ledger.Text] wrote. That of another boot is empty:
// its starts are over.
func Parse(text []byte, boot string) (Ledger, error) {
	var l Ledger
	if err := json.Unmarshal(text, &l); err != nil {
		return New(boot), err
	}
	switch {
	case l.Format != format:
		return New(boot), fmt.Errorf("format %d: %w", l.Format, errForeign)
	case l.Boot != boot:
		return New(boot), nil
	case len(l.Claims) > most:
		return New(boot), fmt.Errorf("%d claims: %w", len(l.Claims), errForeign)
	}
	for _, c := range l.Claims {
		if err := c.Check(); err != nil {
			return New(boot), err
		}
	}
	return l, nil
}

// Reduce returns what a capture keeps of a ledger: what [Parse] reads.
func Reduce(text []byte) ([]byte, error) {
	var l Ledger
	err := json.Unmarshal(text, &l)
	if err != nil {
		return nil, err
	}
	return l.Text(), nil
}

// New returns an empty ledger of a boot.
func New(boot string) Ledger { return Ledger{Format: format, Boot: boot} }

// Check says what of a claim no ledger can have: sums of such pages could
// overflow, and nodes must be those of a host.
func (c Claim) Check() error {
	if len(c.Parts) > most {
		return fmt.Errorf("%d parts: %w", len(c.Parts), errForeign)
	}
	for _, p := range c.Parts {
		sets := [][]int{p.Nodes}
		if p.Cpuset != nil {
			sets = append(sets, p.Cpuset.Nodes, p.Cpuset.Union)
		}
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

// Text is the ledger as [Parse] reads it, with a claim a line.
func (l Ledger) Text() []byte {
	text := head(l.Format, l.Boot)
	for i, c := range l.Claims {
		if i > 0 {
			text = append(text, between...)
		}
		text = c.appendTo(text)
	}
	return append(text, tail...)
}

// appendTo adds a claim's JSON. encoding/json would spend as long on learning what
// a claim is as the hook does on judging a start.
func (c Claim) appendTo(text []byte) []byte {
	text = fmt.Appendf(text, `{"uuid":%s,"name":%s,"since_ns":%d,"daemon":`, quoted(c.UUID), quoted(c.Name), c.Since)
	text = c.Daemon.appendTo(text)
	if c.Before != 0 {
		text = fmt.Appendf(text, `,"before":%d`, c.Before)
	}
	text = c.QEMU.appendTo(append(text, `,"qemu":`...))
	text = fmt.Appendf(text, `,"progress_ns":%d,"parts":[`, c.Progress)
	for i, p := range c.Parts {
		if i > 0 {
			text = append(text, ',')
		}
		text = p.appendTo(text)
	}
	return append(text, "]}"...)
}

// quoted is a string in JSON, in which any can be written.
func quoted(s string) []byte {
	text, _ := json.Marshal(s)
	return text
}

func (p Process) appendTo(text []byte) []byte {
	return fmt.Appendf(text, `{"pid":%d,"started_ns":%d}`, p.PID, p.Started)
}

func (p Part) appendTo(text []byte) []byte {
	text = fmt.Appendf(text, `{"page_kib":%d,"pages":%d,"nodes":`, p.PageKiB, p.Pages)
	text = fmt.Appendf(appendNodes(text, p.Nodes), `,"hard":%t`, p.Hard)
	if p.Taken != 0 || p.Mapped != 0 {
		text = fmt.Appendf(text, `,"taken":%d,"mapped":%d`, p.Taken, p.Mapped)
	}
	if c := p.Cpuset; c != nil {
		text = appendNodes(append(text, `,"cpuset":{"nodes":`...), c.Nodes)
		text = appendNodes(append(text, `,"union":`...), c.Union)
		text = fmt.Appendf(text, `,"restrictive":%t}`, c.Restrictive)
	}
	return append(text, '}')
}

func appendNodes(text []byte, nodes []int) []byte {
	if nodes == nil {
		return append(text, "null"...)
	}
	text = append(text, '[')
	for i, node := range nodes {
		if i > 0 {
			text = append(text, ',')
		}
		text = strconv.AppendInt(text, int64(node), 10)
	}
	return append(text, ']')
}

// What is around and between claims in what [Ledger.Text] writes.
const (
	between = ",\n"
	tail    = "\n]}\n"
)

func head(format int, boot string) []byte {
	return fmt.Appendf(nil, "{\"format\":%d,\"boot\":%s,\"claims\":[\n", format, quoted(boot))
}

// Without is the text of a ledger of a boot without the claim of a domain of
// that name, as [Ledger.Drop] has it. Of what [Ledger.Text] wrote the other
// claims are not read, which would take a multiple of the time; what makes no
// sense, or is of another boot, goes. It is nil where no claim is left.
func Without(text []byte, boot, name string) []byte {
	body, isOurs := bytes.CutPrefix(text, head(format, boot))
	body, isWhole := bytes.CutSuffix(body, []byte(tail))
	if !isOurs || !isWhole {
		l, _ := Parse(text, boot)
		if l.Drop(name); len(l.Claims) == 0 {
			return nil
		}
		return l.Text()
	}
	if len(body) == 0 {
		return nil
	}
	// In a string there would be a backslash before each quotation mark.
	named := fmt.Appendf(nil, `,"name":%s,`, quoted(name))
	var kept [][]byte
	for _, claim := range bytes.Split(body, []byte(between)) {
		if !bytes.Contains(claim, named) {
			kept = append(kept, claim)
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return slices.Concat(head(format, boot), bytes.Join(kept, []byte(between)), []byte(tail))
}

// Put enters a claim in place of any that the domain has already: libvirt
// starts one at a time. Those of which nothing was seen for an hour go: where
// there is room for all nobody looks whether they are ended.
func (l *Ledger) Put(c Claim) {
	l.Claims = slices.DeleteFunc(l.Claims, func(old Claim) bool {
		return old.Of(c.UUID, c.Name) || c.Since-max(old.Since, old.Progress) > time.Hour
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
	// Parts are the claim's with what QEMU has taken and mapped of them, where
	// Looked says that it was looked at.
	Parts  []Part
	Looked bool
}

// left is how many pages of parts are still to be taken.
func left(parts []Part) uint64 {
	var pages uint64
	for _, p := range parts {
		pages += p.Pages - p.Taken
	}
	return pages
}

// See notes what is seen of a start that is not over, and says whether that is
// news.
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

// Ended says whether a start is over although no event has said so: its QEMU
// has all its pages, or has taken none of the rest in as long as patience, or
// was seen and is gone; no QEMU was there and the daemon that asked is gone, or
// there was none in as long as patience.
func (c Claim) Ended(seen Seen, patience time.Duration) bool {
	switch {
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
