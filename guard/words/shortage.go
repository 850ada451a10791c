package words

import (
	"fmt"
	"strings"

	"hugeguard/guard"
)

// A line's first bytes are all that Nova shows of it, after libvirt's own: cause and node are among them.
const (
	maxShown = 30
	maxPlace = 9 // "node 1023", "nodes 0-1"
)

// place names the nodes of a finding within a few characters.
func place(f guard.Finding) string {
	s, _ := f.Reason.(guard.Short)
	if len(f.Nodes) == 0 || len(f.Nodes) > 1 && (s.Anywhere || s.Promised) {
		return "this host"
	}
	if text := nodes(f.Nodes); len(text) <= maxPlace {
		return text
	}
	return fmt.Sprintf("%d nodes", len(f.Nodes))
}

// pool names the pages that a finding is about: "node 0's 2M pages".
func pool(f guard.Finding) string {
	place, owns := place(f), "'s"
	if strings.HasSuffix(place, "s") {
		owns = "'"
	}
	return place + owns + " " + pageName(f.PageKiB) + " pages"
}

// verb is the form that goes with the place of a finding.
func verb(f guard.Finding, one, several string) string {
	if strings.Contains(place(f), "nodes") {
		return several
	}
	return one
}

// short says that a place is short of pages.
func short(f guard.Finding) string {
	return fmt.Sprintf("%s %s short of %s pages", place(f), verb(f, "is", "are"), pageName(f.PageKiB))
}

// counts says how many pages there are, and how many are needed.
func counts(f guard.Finding, s guard.Short) string {
	text := ""
	if f.Total > 0 {
		text = fmt.Sprintf("%d of %d free, ", f.Free, f.Total)
		if where := nodes(f.Nodes); place(f) != where && place(f) != "this host" {
			text = fmt.Sprintf("%d of %d free on %s, ", f.Free, f.Total, guard.Printable(where, maxName))
		}
	}
	if s.Promised && (s.Reserved > 0 || s.Claimed == 0) || s.Reserved > 0 && s.Claimed == 0 {
		text += fmt.Sprintf("%d of them promised, ", s.Reserved)
		if s.Claimed == 0 {
			text += fmt.Sprintf("%d usable, ", f.Free-min(f.Free, s.Reserved))
		}
	}
	if s.Claimed > 0 {
		text += fmt.Sprintf("%d of them for starting guests%s, ", s.Claimed, inParentheses(guests(s.Starting)))
	}
	text += fmt.Sprintf("%d needed (%s)", f.Needed, Amount(f.Needed, f.PageKiB))
	if s.Keeper != "" {
		text += fmt.Sprintf("; %s keeps QEMU there", path(s.Keeper))
	}
	return text
}
