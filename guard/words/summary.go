package words

import (
	"fmt"
	"slices"
	"strings"

	"hugeguard/guard"
	"hugeguard/guard/fix"
)

// maxLine is how many bytes of ours libvirt appends to its error at the least, the domain's name in its own words left
// out: it cuts the whole at 1023 (VIR_ERROR_MAX_LENGTH, less the NUL).
const maxLine = 780

// Line says a verdict on the one line that libvirt appends to its error. In its first 30 bytes are the cause and the
// node; then come the numbers, who has the pages, the best fix, and the command that says more. It is short enough for
// libvirt, has no command in part, and ends without a newline.
func Line(v fix.Verdict) string {
	if v.Decision != guard.Refuse {
		return Summary(v)
	}
	return refusal(v, "more: "+explain(v.Domain))
}

// Summary is [Line] for those who have the rest before them.
func Summary(v fix.Verdict) string {
	switch {
	case v.Decision == guard.Refuse:
		return refusal(v, "")
	case v.RefusedBy() == guard.ByLibvirt:
		return byLibvirt(v)
	case v.Decision == guard.Warn:
		return outlook(v.Verdict)
	case len(v.Demand) == 0 && len(v.Findings) > 0:
		return Finding(v.Findings[0])
	case len(v.Demand) == 0:
		return "it needs no huge pages"
	}
	var needs []string
	for _, b := range v.Demand {
		needs = append(needs, pagesOf(b.Pages, b.PageKiB)+" for "+b.ID)
	}
	return "it fits: " + enumerate(needs, 4)
}

// explain is the command that tells more about a domain: by its name or, where that is long or no plain word, its UUID.
func explain(d guard.Domain) string {
	const command = "hugeguard explain"
	word := ShellWord(d.Name)
	switch {
	case word != "" && len(word) <= maxName && word[0] != '-':
		return command + " " + word
	case isUUID(d.UUID):
		return command + " " + d.UUID
	}
	return command // the last one
}

// byLibvirt says on one line that libvirt will refuse, and the best fix.
func byLibvirt(v fix.Verdict) string {
	text := Finding(v.Findings[0])
	if len(v.Fixes) > 0 {
		text += "; fix: " + placed(v, v.Fixes[0]).short
	}
	return text
}

// outlook says what may go wrong with a launch that is not refused.
func outlook(v guard.Verdict) string {
	text := Finding(v.Findings[0])
	if last, ok := v.Findings[len(v.Findings)-1].Reason.(guard.OtherHooks); ok {
		if len(v.Findings) > 1 {
			text += "; " + last.Words
		}
		return text
	}
	more := -1
	for _, f := range v.Findings {
		if f.Severity != guard.SeverityInfo {
			more++
		}
	}
	if more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	return text
}

// refusal says what is missing and why, what helps, and where there is more. Where all of it is too long, the fix is
// left to the place that says more; then who has the pages; then all names.
func refusal(v fix.Verdict, more string) string {
	f := v.Findings[0]
	room := max(maxLine-len(v.Domain.Name), maxLine/2)
	canary := ""
	if v.Canary {
		canary = "hugeguard verify asked for more than there can be: "
	}
	full, why, see := canary+missing(v.Verdict, f, false), because(v.Verdict, f), "fix: see below"
	if more != "" {
		see = "fix: see" + strings.TrimPrefix(more, "more:")
	}
	for _, parts := range [][]string{{full, why, bestFix(v, f), more}, {full, why, see}, {full, see}} {
		line := strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "; ")
		if len(line) <= room {
			return line
		}
	}
	return canary + missing(v.Verdict, f, true) + "; " + see
}

// bestFix returns the best fix in short, and the nodes that have as many free pages as are needed.
func bestFix(v fix.Verdict, f guard.Finding) string {
	var others []string
	for _, n := range v.Lack.Others {
		others = append(others, fmt.Sprintf("node %d has %d free", n.Node, n.Free))
	}
	short, where := best(v, f), enumerate(others, 2)
	switch {
	case short == "":
		return where
	case where == "":
		return "fix: " + short
	}
	return fmt.Sprintf("fix: %s (%s)", short, where)
}

// best is the best fix in short, "" for none: of lines for nova.conf that for the node that is short. What Nova does
// already is not asked of it again.
func best(v fix.Verdict, f guard.Finding) string {
	if m := v.Lack.Misplaced; m != nil {
		if m.Stale != nil {
			return fmt.Sprintf("restart nova-compute (pid %d), which was started before %s was changed", m.Stale.PID, name(m.Stale.File))
		}
		return ""
	}
	for _, fact := range v.Fixes {
		if reserve, ok := fact.(fix.ReserveInNova); ok {
			i := slices.IndexFunc(reserve.Reservations, func(r guard.Reservation) bool {
				return r.PageKiB == f.PageKiB && f.Nodes.Has(r.Node) && r.Lacking
			})
			if i >= 0 {
				return reserveKey + reserve.Reservations[i].String()
			}
			continue
		}
		if f := placed(v, fact); f.short != "" {
			return f.short
		}
	}
	return ""
}
