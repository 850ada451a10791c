package words

import (
	"fmt"
	"slices"
	"strings"

	"hugeguard/guard"
	"hugeguard/guard/fix"
)

// Text says a verdict in full, for the terminal: the summary, what the domain needs, who holds what, and what helps. It
// ends without a newline.
func Text(v fix.Verdict) string { return text(v, Summary(v)) }

// Entry is [Text] for the journal: it begins with the line that libvirt was told.
func Entry(v fix.Verdict) string { return text(v, Line(v)) }

func text(v fix.Verdict, first string) string {
	lines := []string{first}
	line := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	indent := func(texts []string) {
		for _, t := range texts {
			lines = append(lines, "  "+t)
		}
	}
	lines = append(lines, outcome(v.Verdict))
	if listed := listed(v.Verdict); len(listed) > 1 && !hooksAlone(v.Verdict) {
		lines = append(lines, listed...)
	}
	if len(v.Demand) > 0 {
		line("domain %s (%s) needs:", guard.Printable(v.Domain.Name, 4*maxName), name(v.Domain.UUID))
	}
	for _, b := range v.Demand {
		line("  %s %s, for %s (%s)%s", pagesOf(b.Pages, b.PageKiB), placement(b), b.ID, b.From, onFiles(b))
	}
	if len(v.Pools) > 0 {
		line("this host has:")
	}
	for _, p := range v.Pools {
		line("  %s", Pool(p))
	}
	indent(notes(v.Verdict))
	fixes := Fixes(v)
	for _, other := range v.Blame.Also {
		who := without(other)
		if !slices.ContainsFunc(fixes, func(f Fix) bool { return strings.Contains(f.What, who) }) { // which says it better
			line("this guest would also fit without %s", who)
		}
	}
	if believed := Nova(v.Nova); len(believed) > 0 {
		line("what Nova believes:")
		indent(believed)
	}
	if missed := NotKnown(v.NotKnown); missed != "" {
		line("%s", missed)
	}
	if before := beforeFixes(v.Verdict, len(fixes)); before != "" {
		line("%s", before)
	}
	for _, f := range fixes {
		line("fix (%s): %s", f.where(), f.What)
		if slices.Contains(passing, f.Kind) { // people read it later
			line("  if this is older than some minutes, first run %s, which looks again: pids and files change", explain(v.Domain))
		}
		indent(f.details())
	}
	if v.Releases != (guard.Releases{}) {
		line("judged for %s", v.Releases)
	}
	return strings.Join(lines, "\n")
}

// outcome says what becomes of the start, where hugeguard is to decide that.
func outcome(v guard.Verdict) string {
	switch {
	case v.RefusedBy() == guard.ByLibvirt:
		return "verdict: libvirt refuses this start"
	case v.Decision == guard.Refuse:
		return "verdict: refuse, as QEMU would fail"
	case v.Decision == guard.Warn:
		return "verdict: allow, with a warning"
	}
	return "verdict: allow"
}

// beforeFixes introduces fixes; "" where that needs no words.
func beforeFixes(v guard.Verdict, fixes int) string {
	switch {
	case fixes > 0 && v.Decision == guard.Warn && v.RefusedBy() == "":
		return "only if the start fails all the same:"
	case fixes > 1:
		return "do one of these, the best first, then start " + again(v.Manager) + ":"
	}
	return ""
}

// again says how a guest is started again: Nova's instances by Nova, which makes their ports and disks.
func again(m guard.Manager) string {
	if m == guard.ManagerNova {
		return "the instance again by Nova (not by virsh)"
	}
	return "the guest again"
}

// hooksAlone reports whether a verdict is about one failure and the hooks that may prevent it: the summary says both.
func hooksAlone(v guard.Verdict) bool {
	if len(v.Findings) != 2 {
		return false
	}
	_, hooks := v.Findings[1].Reason.(guard.OtherHooks)
	return hooks
}

// listed says a verdict's findings but for information, which has its place below.
func listed(v guard.Verdict) (lines []string) {
	for _, f := range v.Findings {
		if f.Severity != guard.SeverityInfo {
			lines = append(lines, fmt.Sprintf("%s: %s", f.Severity, Finding(f)))
		}
	}
	return lines
}

// notes are what is known of the pools beside who holds how much where.
func notes(v guard.Verdict) []string {
	var notes []string
	for _, s := range v.Starting {
		notes = append(notes, Starting(s))
	}
	for _, s := range v.Sizes {
		notes = append(notes, PageSize(s))
	}
	for _, h := range v.IdleHooks {
		if v.Decision == guard.Refuse {
			notes = append(notes, idle(h))
		}
	}
	if v.OVS != nil {
		notes = append(notes, OVS(*v.OVS))
	}
	for _, f := range v.Findings {
		if f.Severity == guard.SeverityInfo && v.Decision != guard.Refuse {
			notes = append(notes, Finding(f))
		}
	}
	return append(notes, Unseen(v.Holders)...)
}

// without says what a launch would fit without.
func without(b guard.Blame) string {
	switch b.Cause {
	case guard.CauseKernelReserved:
		return "the promised pages"
	case guard.CauseStartingGuests:
		return "the starting guests"
	}
	var each []string
	for _, h := range b.Holders {
		each = append(each, strings.TrimSuffix(holder(h), ","))
	}
	return enumerate(each, 3)
}

// onFiles says why memory takes huge pages of which the domain says nothing.
func onFiles(b guard.Backend) string {
	if b.Path == "" || b.Unsure {
		return ""
	}
	return fmt.Sprintf(", as %s is on a hugetlbfs", path(b.Path))
}

// placement says which nodes a backend's pages may come from.
func placement(b guard.Backend) string {
	switch {
	case b.Auto:
		return "on nodes that numad will choose"
	case b.Cpuset != nil:
		return "on " + nodes(b.Cpuset) + " (restrictive)"
	case b.Policy == guard.PolicyBind:
		return "on " + nodes(b.HostNodes) + " only"
	case b.HostNodes != nil:
		return fmt.Sprintf("on %s if they can (%s)", nodes(b.HostNodes), b.Policy)
	}
	return "on any node"
}
