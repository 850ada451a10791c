package words

import (
	"fmt"
	"slices"
	"strconv"
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

// missing says what a refused launch lacks, and how much: the cause and the node first. Where it is to be brief, it names
// nobody.
func missing(v guard.Verdict, f guard.Finding, brief bool) string {
	s, ok := f.Reason.(guard.Short)
	if !ok {
		return reason(f, f.Reason) // which is the cause
	}
	if brief {
		s.Starting, s.Keeper = nil, ""
	}
	return lack(v, f) + ": " + counts(f, s)
}

// lack says in the words of the cause what a finding about a shortage is short of.
func lack(v guard.Verdict, f guard.Finding) string {
	switch v.Cause {
	case guard.CauseOVS, guard.CauseOtherHolder:
		return holds(v.Blame.Holders, f) + pool(f)
	case guard.CauseGuests:
		if len(v.Blame.Holders) > 0 && v.Blame.Holders[0].Former {
			return "its old QEMU holds " + pool(f)
		}
		return "guests fill " + pool(f)
	case guard.CauseStartingGuests:
		return "starting guests take " + pool(f)
	case guard.CauseLeftoverFiles:
		if !slices.ContainsFunc(v.Blame.Holders, func(h guard.Holder) bool { return h.Segment == "" }) {
			return "leftovers hold " + pool(f)
		}
		return "leftover files hold " + pool(f)
	case guard.CauseKernelReserved:
		return "others are promised " + pool(f)
	case guard.CausePoolMissing:
		if f.Total > 0 {
			return fmt.Sprintf("%s %s only surplus %s pages", place(f), verb(f, "has", "have"), pageName(f.PageKiB))
		}
		return fmt.Sprintf("%s %s no %s pages at all", place(f), verb(f, "has", "have"), pageName(f.PageKiB))
	case guard.CausePoolTooSmall:
		return fmt.Sprintf("%s %s too few %s pages", place(f), verb(f, "has", "have"), pageName(f.PageKiB))
	case guard.CauseUnaccounted:
		if v.Holders != nil && (v.Lack.Unaccounted > 0 || v.Lack.Surplus == 0) {
			return "unexplained use of " + pool(f)
		}
	}
	return short(f)
}

// short says that a place is short of pages.
func short(f guard.Finding) string {
	return fmt.Sprintf("%s %s short of %s pages", place(f), verb(f, "is", "are"), pageName(f.PageKiB))
}

// holds says who is to blame for holding something: a process by its name, as far as the node still fits beside it.
func holds(holders []guard.Holder, f guard.Finding) string {
	const verb = " holds "
	dead, ovs, pids := true, true, map[int]bool{}
	for _, h := range holders {
		dead, ovs = dead && h.Guest != "", ovs && h.Kind == guard.HolderOVS
		pids[h.PID] = true
	}
	switch {
	case dead:
		return "a dead guest" + verb
	case ovs:
		return "OVS-DPDK" + verb
	case len(pids) > 1:
		return "processes hold "
	}
	return cut(holders[0].Name, maxShown-len(verb)-len(place(f))) + verb
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
	if s.Promised && (s.Reserved > 0 || s.Claimed == 0) {
		text += fmt.Sprintf("%d of them promised, ", s.Reserved)
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

// because says why pages are missing, in the words of the cause.
func because(v guard.Verdict, f guard.Finding) string {
	switch v.Cause {
	case guard.CauseOVS, guard.CauseOtherHolder, guard.CauseGuests:
		text := holding(v.Blame.Holders, f)
		if reserves := v.Lack.NovaReserves; reserves != nil {
			count := "none"
			if *reserves != 0 {
				count = strconv.FormatInt(*reserves, 10)
			}
			text += ", nova.conf reserves " + count
		}
		if m := v.Lack.Misplaced; m != nil {
			text += misplaced(*m, f)
		}
		return text
	case guard.CauseLeftoverFiles:
		return holding(v.Blame.Holders, f) + inPart(v.Holders)
	case guard.CauseKernelReserved:
		return promised(v.Blame.Holders, v.Lack.Reserved)
	case guard.CausePoolTooSmall:
		return smallPool(v.Lack, f)
	case guard.CausePoolMissing:
		return emptyPool(v.Lack, f)
	case guard.CauseStartingGuests:
		return "without these it would fit"
	case guard.CauseUnaccounted:
		return unexplained(v, f)
	}
	return ""
}

// misplaced says why Nova came here all the same, where that is no fix by itself.
func misplaced(m guard.Misplaced, f guard.Finding) string {
	switch {
	case len(m.Strangers) > 0:
		var each []string
		for _, s := range m.Strangers {
			each = append(each, fmt.Sprintf("%s (%d)", holder(s), s.On(f.Nodes)))
		}
		return "; Nova does not count the pages of " + enumerate(each, 2) + ", as it did not make them"
	case m.Believed != nil:
		return fmt.Sprintf("; Nova believes only %d free there: it placed this start earlier, or its scheduler did not place it", max(*m.Believed, 0))
	}
	return ""
}

// unexplained says that no visible holder has the pages.
func unexplained(v guard.Verdict, f guard.Finding) string {
	if v.Holders == nil {
		return "holders were not examined"
	}
	lack := v.Lack
	if lack.Unaccounted == 0 && lack.Surplus > 0 {
		return fmt.Sprintf("%d surplus pages are in use already, and no more than %d may be made", lack.Surplus, lack.Overcommit)
	}
	return fmt.Sprintf("no visible holder has %d of the %d", lack.Unaccounted, f.Total) + inPart(v.Holders)
}

// inPart says what was not examined, in parentheses; "" if nothing.
func inPart(h *guard.Holders) string {
	text := ""
	if len(h.Unreadable) > 0 {
		text = fmt.Sprintf(" (%s)", unreadable(h.Unreadable, 2))
	}
	if h.Cut {
		text += " (" + notInTime + ")"
	}
	return text
}

// holding says who has how many of the short nodes' pages.
func holding(holders []guard.Holder, f guard.Finding) string {
	var each []string
	for _, h := range holders {
		has := "has"
		if len(h.Files) > 1 {
			has = "have"
		}
		switch on := h.On(f.Nodes); {
		case h.Unplaced == 0 && on == 0:
			continue
		case h.Unplaced == 0:
			each = append(each, fmt.Sprintf("%s %s %d", holder(h), has, on))
		case on == 0:
			each = append(each, fmt.Sprintf("%s %s %d on unknown nodes", holder(h), has, h.Unplaced))
		default:
			each = append(each, fmt.Sprintf("%s %s at least %d", holder(h), has, on))
		}
	}
	return enumerate(each, 3)
}

// promised says who has been promised pages, as far as that is seen.
func promised(holders []guard.Holder, reserved uint64) string {
	const untouched = ", not touched yet"
	if len(holders) == 0 {
		return "no visible holder has been promised them"
	}
	shown := holders
	if sumReserved(holders) < reserved {
		shown = holders[:min(2, len(holders))]
	}
	var each []string
	for _, h := range shown {
		each = append(each, fmt.Sprintf("%s is promised %d", holder(h), h.Reserved))
	}
	if sum := sumReserved(shown); sumReserved(holders) < reserved {
		each = append(each, fmt.Sprintf("others %d", reserved-sum))
	}
	return enumerate(each, 3) + untouched
}

func sumReserved(holders []guard.Holder) uint64 {
	var sum uint64
	for _, h := range holders {
		sum += h.Reserved
	}
	return sum
}

// holder says who a holder is.
func holder(h guard.Holder) string {
	who := name(h.Name)
	switch h.Kind {
	case guard.HolderOVS:
		return fmt.Sprintf("%s (pid %d%s)", who, h.PID, container(h.Unit)) + ofDead(h.Guest)
	case guard.HolderGuest:
		if h.Former {
			return fmt.Sprintf("this guest's own earlier QEMU (pid %d%s)", h.PID, stuck(h))
		}
		return "guest " + who
	case guard.HolderFile:
		switch {
		case h.Segment != "":
			return fmt.Sprintf("System V segment %s, which nobody has attached,", name(h.Segment))
		case len(h.Files) > 1:
			return fmt.Sprintf("%d leftover files %s", len(h.Files), who)
		}
		return "leftover file " + who
	}
	return fmt.Sprintf("%s (pid %d%s)", who, h.PID, unit(h.Unit)) + ofDead(h.Guest)
}

// stuck says that no signal ends a process.
func stuck(h guard.Holder) string {
	if h.Stuck {
		return ", stuck in state D"
	}
	return ""
}

// ofDead says whose memory a process keeps, where that guest is gone.
func ofDead(guest string) string {
	switch guest {
	case "":
		return ""
	case guard.UnknownGuest:
		return " for a dead guest"
	}
	return " for dead guest " + name(guest)
}
