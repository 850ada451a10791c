package words

import (
	"fmt"
	"strings"

	"hugeguard/guard"
	"hugeguard/guard/ovs"
)

// Pool says a pool and who holds it, on one line.
func Pool(p guard.PoolReport) string {
	text := fmt.Sprintf("node %d, %s pages: %s", p.Node, pageName(p.PageKiB), free(p.Free, p.Total, p.PageKiB))
	if p.Surplus > 0 {
		text += fmt.Sprintf(", %d surplus", p.Surplus)
	}
	if len(p.Holders) > 0 {
		text += "; " + holders(p.Holders, p.PageKiB, 20)
	}
	if p.Unaccounted != nil && *p.Unaccounted > 0 {
		text += "; unexplained: " + Pages(*p.Unaccounted, p.PageKiB)
	}
	return text
}

// PageSize says what is known of the pools of a page size, on one line.
func PageSize(s guard.SizeReport) string {
	var parts []string
	if s.Reserved > 0 {
		text := fmt.Sprintf("%d of the free ones (%s) are promised (resv)", s.Reserved, Amount(s.Reserved, s.PageKiB))
		if len(s.ReservedBy) > 0 {
			text += ": " + holders(s.ReservedBy, s.PageKiB, 10)
		}
		parts = append(parts, text)
	}
	if len(s.Unplaced) > 0 {
		parts = append(parts, "on unknown nodes: "+holders(s.Unplaced, s.PageKiB, 10))
	}
	return fmt.Sprintf("%s pages: %s", pageName(s.PageKiB), strings.Join(parts, "; "))
}

// Starting says what a starting guest has still to take, on one line.
func Starting(r guard.StartingReport) string {
	where := "any node"
	if r.Nodes != nil {
		where = nodes(r.Nodes)
	}
	return fmt.Sprintf("starting guest %s is still to take %s on %s", name(r.Name), pagesOf(r.Pages, r.PageKiB), where)
}

// OVS says what Open vSwitch was told and what it holds, on one line.
func OVS(r guard.OVSReport) string {
	var told []string
	for _, key := range r.Told {
		told = append(told, guard.Printable(key, 2*maxName))
	}
	text := "Open vSwitch was told " + strings.Join(told, " ")
	for _, n := range r.Nodes {
		text += "; " + ovsNode(r, n)
	}
	if r.AnyMiB > 0 {
		text += fmt.Sprintf("; %d MiB told on any node", r.AnyMiB)
	}
	if r.Pending {
		text += "; it has not taken its pages yet"
	}
	return text
}

func ovsNode(r guard.OVSReport, n guard.OVSNodeReport) string {
	text := fmt.Sprintf("node %d: %d MiB told", n.Node, n.ToldMiB)
	if pages := ovs.Pages(n.ToldMiB, r.PageKiB); pages > 0 {
		text += fmt.Sprintf(" (%d pages of %s)", pages, guard.Size(r.PageKiB))
	}
	if n.HeldMiB == nil {
		return text
	}
	text += fmt.Sprintf(", %d MiB held", *n.HeldMiB)
	if r.AnyMiB == 0 && *n.HeldMiB > n.ToldMiB {
		text += fmt.Sprintf(", %d MiB more than told (memory for ports' packets comes on top)", *n.HeldMiB-n.ToldMiB)
	}
	if n.UsedMiB != nil {
		text += fmt.Sprintf(", %d MiB used", *n.UsedMiB)
	}
	return text
}

// notInTime says that a time limit has ended the search for holders.
const notInTime = "time ran out before every holder was examined"

// onlyOwn says that others than the processes of hugeguard's own container may hold pages, too.
const onlyOwn = "only the processes of this container are visible here"

// Unseen says what was not seen of who holds pages, in lines.
func Unseen(h *guard.Holders) []string {
	if h == nil {
		return nil
	}
	var lines []string
	if len(h.Unreadable) > 0 {
		lines = append(lines, unreadable(h.Unreadable, 10))
	}
	if h.Cut {
		lines = append(lines, notInTime)
	}
	if h.Alone {
		lines = append(lines, onlyOwn)
	}
	return lines
}

// unreadable names the first few of the processes that could not be read.
func unreadable(processes []guard.Process, most int) string {
	var each []string
	for _, p := range processes {
		switch {
		case p.PID == 0:
			each = append(each, "the list of processes")
		case p.HugetlbKiB > 0:
			each = append(each, fmt.Sprintf("%s, pid %d, with %s", name(p.Name), p.PID, guard.Size(p.HugetlbKiB)))
		default:
			each = append(each, fmt.Sprintf("%s, pid %d", name(p.Name), p.PID))
		}
	}
	what := "processes"
	if len(each) == 1 {
		what = "process"
	}
	return fmt.Sprintf("%d %s could not be read: %s", len(each), what, enumerate(each, most))
}
