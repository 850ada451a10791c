package words

import (
	"fmt"
	"slices"
	"strconv"

	"hugeguard/guard"
)

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
		return "promises hold " + pool(f)
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
	if lack.Unaccounted == f.Total {
		return fmt.Sprintf("for all %d no holder was found", f.Total) + inPart(v.Holders)
	}
	return fmt.Sprintf("for %d of the %d no holder was found", lack.Unaccounted, f.Total) + inPart(v.Holders)
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
	if h.Alone {
		text += " (" + onlyOwn + ")"
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

// emptyPool says why a pool has no pages that were set up; "" where there is no more to say.
func emptyPool(lack guard.Lack, f guard.Finding) string {
	switch {
	case f.Total > 0:
		return fmt.Sprintf("all %d pages there are surplus, which go back to the kernel when they are freed%s", f.Total, shrunk(lack))
	case lack.Asked > 0:
		return fmt.Sprintf("the kernel command line asks for %s there, and there is none", Pages(lack.Asked, f.PageKiB))
	case lack.Set > 0:
		return fmt.Sprintf("%s asks for %s, and there is none", path(lack.Setting), Pages(lack.Set, f.PageKiB))
	}
	return ""
}

// smallPool says that even an empty pool is too small.
func smallPool(lack guard.Lack, f guard.Finding) string {
	text := fmt.Sprintf("the pool has only %s in all", Pages(lack.SetUp, f.PageKiB))
	switch {
	case lack.Asked > 0 && lack.Set > 0 && lack.Set < lack.Asked:
		text += fmt.Sprintf(" (the kernel command line asks for %d, and %s then sets %d)", lack.Asked, path(lack.Setting), lack.Set)
	case lack.Asked > 0:
		text += fmt.Sprintf(" (the kernel command line asks for %d)", lack.Asked)
	case lack.Set > 0:
		text += fmt.Sprintf(" (%s asks for %d)", path(lack.Setting), lack.Set)
	case f.Total > lack.SetUp:
		text += fmt.Sprintf(" (%d more are surplus%s)", f.Total-lack.SetUp, shrunk(lack))
	}
	return text
}

// shrunk says that surplus pages are what is left of a larger pool, where they can be nothing else.
func shrunk(lack guard.Lack) string {
	if lack.Overcommit >= lack.Surplus {
		return ""
	}
	return ": the pool was made smaller while they were in use"
}
