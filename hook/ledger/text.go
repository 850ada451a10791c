package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A ledger's text is a line for the ledger, and for each claim one that is followed by one for each part:
//
//	hugeguard claims 2 boot "4a8e9c1e-5f0b-4c55-9d5b-7f1f0a1c0b11"
//	"instance-00000003" uuid "32963992-5056-4947-9f20-e664bb88b3d4" since 5000000000000 daemon 812 9200000000 before 0 qemu 0 0 progress 0
//	 256 pages of 2048 KiB taken 0 mapped 0 hard true nodes 0 cpuset any any false
//	end
//
// A claim with PostCopy has a line that says so before its parts.
//
// Times are in nanoseconds since the boot, strings are quoted as in Go.
const (
	headFormat  = "hugeguard claims 2 boot %q\n"
	claimFormat = "%q uuid %q since %d daemon %d %d before %d qemu %d %d progress %d\n"
	postCopy    = " by post-copy\n"
	partFormat  = " %d pages of %d KiB taken %d mapped %d hard %t nodes %s cpuset %s %s %t\n"
	tail        = "end\n"
)

// Limit is more than a ledger of as many starting guests as libvirt can have has, in bytes.
const Limit = 4 << 20

// most is how many claims a ledger may have, and parts a claim.
const most = 10_000

// errForeign is that a ledger was not written by this package.
var errForeign = errors.New("not a claims file of this release")

// Text is the ledger as [Parse] reads it.
func (l Ledger) Text() []byte {
	text := head(l.Boot)
	for _, c := range l.Claims {
		text = fmt.Appendf(text, claimFormat, c.Name, c.UUID, c.Since, c.Daemon.PID, c.Daemon.Started, c.Before, c.QEMU.PID, c.QEMU.Started, c.Progress)
		if c.PostCopy {
			text = append(text, postCopy...)
		}
		for _, p := range c.Parts {
			text = fmt.Appendf(text, partFormat, p.Pages, p.PageKiB, p.Taken, p.Mapped, p.Hard, list(p.Nodes), list(p.Cpuset.Nodes), list(p.Cpuset.Union), p.Cpuset.Restrictive)
		}
	}
	return append(text, tail...)
}

func head(boot string) []byte { return fmt.Appendf(nil, headFormat, boot) }

// Parse reads a ledger that [Ledger.Text] wrote. That of another boot is empty: its starts are over.
func Parse(text []byte, boot string) (Ledger, error) {
	l, ok := parse(text)
	switch {
	case !ok:
		return Ledger{Boot: boot}, errForeign
	case l.Boot != boot:
		return Ledger{Boot: boot}, nil
	}
	return l, nil
}

// Reduce returns what a capture keeps of a ledger: all of it, or of what makes no sense what makes none either.
func Reduce(text []byte) ([]byte, error) {
	_, ok := parse(text)
	if !ok {
		return []byte("no ledger\n"), nil
	}
	return text, nil
}

// parse reads a ledger of any boot, if it is one.
func parse(text []byte) (l Ledger, ok bool) {
	first, rest, _ := strings.Cut(string(text), "\n")
	_, err := fmt.Sscanf(first+"\n", headFormat, &l.Boot)
	for line := range strings.Lines(rest) {
		if err != nil || line == tail {
			break
		}
		switch last := len(l.Claims) - 1; {
		case line == postCopy && last >= 0:
			l.Claims[last].PostCopy = true
		case strings.HasPrefix(line, " ") && last >= 0:
			err = l.Claims[last].parsePart(line)
		default:
			err = l.parseClaim(line)
		}
	}
	impossible := func(c Claim) bool { return c.Check() != nil }
	if err != nil || !bytes.Equal(l.Text(), text) || len(l.Claims) > most || slices.ContainsFunc(l.Claims, impossible) {
		return Ledger{}, false
	}
	return l, true
}

func (l *Ledger) parseClaim(line string) error {
	var c Claim
	_, err := fmt.Sscanf(line, claimFormat, &c.Name, &c.UUID, &c.Since, &c.Daemon.PID, &c.Daemon.Started, &c.Before, &c.QEMU.PID, &c.QEMU.Started, &c.Progress)
	l.Claims = append(l.Claims, c)
	return err
}

func (c *Claim) parsePart(line string) error {
	var p Part
	var nodes, cpuset, union string
	_, err := fmt.Sscanf(line, partFormat, &p.Pages, &p.PageKiB, &p.Taken, &p.Mapped, &p.Hard, &nodes, &cpuset, &union, &p.Cpuset.Restrictive)
	p.Nodes, p.Cpuset.Nodes, p.Cpuset.Union = parseList(nodes), parseList(cpuset), parseList(union)
	c.Parts = append(c.Parts, p)
	return err
}

// list is a set of nodes in the text.
func list(nodes []int) string {
	switch {
	case nodes == nil:
		return "any"
	case len(nodes) == 0:
		return "none"
	}
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(nodes), "[]"), " ", ",")
}

// parseList undoes list. Of what is no list it makes another.
func parseList(text string) []int {
	if text == "any" {
		return nil
	}
	nodes := []int{}
	for n := range strings.SplitSeq(text, ",") {
		node, err := strconv.Atoi(n)
		if err != nil {
			break
		}
		nodes = append(nodes, node)
	}
	return nodes
}

// Without is the text of a ledger of a boot without the claim of a domain of
// that name, as [Ledger.Drop] has it. The other claims are not read, which would take a multiple of the time; what makes
// no sense, or is of another boot, goes. It is nil where no claim is left.
func Without(text []byte, boot, name string) []byte {
	head := head(boot)
	body, ours := bytes.CutPrefix(text, head)
	body, whole := bytes.CutSuffix(body, []byte(tail))
	if !ours || !whole {
		return nil
	}
	begin := []byte(strconv.Quote(name) + " uuid ")
	kept := bytes.Clone(head)
	own := false
	for line := range bytes.Lines(body) {
		own = bytes.HasPrefix(line, begin) || own && line[0] == ' '
		if !own {
			kept = append(kept, line...)
		}
	}
	if len(kept) == len(head) {
		return nil
	}
	return append(kept, tail...)
}
