package words

import (
	"fmt"
	"slices"
	"strconv"

	"hugeguard/guard"
)

// Summary says a verdict on one line, for libvirt's error and the terminal.
func Summary(v guard.Verdict) string {
	if v.Decision == guard.Refuse {
		text := refusal(v)
		if v.Canary {
			return "hugeguard verify asked for more than there can be: " + text
		}
		return text
	}
	if v.RefusedBy() == guard.ByLibvirt {
		return byLibvirt(v)
	}
	if v.Decision == guard.Warn {
		return outlook(v)
	}
	if len(v.Demand) == 0 {
		if len(v.Findings) > 0 {
			return Finding(v.Findings[0])
		}
		return "it needs no huge pages"
	}
	var needs []string
	for _, b := range v.Demand {
		needs = append(needs, fmt.Sprintf("%d pages of %s for %s", b.Pages, guard.Size(b.PageKiB), b.ID))
	}
	return "it fits: " + enumerate(needs, 4)
}

// byLibvirt says on one line that libvirt will refuse, and the best fix.
func byLibvirt(v guard.Verdict) string {
	text := Finding(v.Findings[0])
	if len(v.Fixes) > 0 {
		text += "; fix: " + say(v.Fixes[0]).short
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
	if more := len(v.Findings) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	return text
}

// refusal says what is missing, why, and what helps.
func refusal(v guard.Verdict) string {
	f := v.Findings[0]
	text := Finding(f)
	if why := clause(v, f); why != "" {
		text += ": " + why
	}
	var others []string
	for _, n := range v.Lack.Others {
		others = append(others, fmt.Sprintf("node %d has %d free", n.Node, n.Free))
	}
	todo, where := todo(v, f), enumerate(others, 2)
	switch {
	case todo != "" && where != "":
		text += fmt.Sprintf("; %s (%s)", todo, where)
	case todo != "" || where != "":
		text += "; " + todo + where
	}
	return text + "; see: journalctl -t hugeguard"
}

// todo is the best fix in short: of lines for nova.conf that for the node that is short. What Nova does already is not
// asked of it again.
func todo(v guard.Verdict, f guard.Finding) string {
	if v.Cause == guard.CauseStartingGuests {
		return "try again when they have started"
	}
	if v.Lack.Misplaced != nil {
		return misplaced(*v.Lack.Misplaced, f)
	}
	for _, fix := range v.Fixes {
		if reserve, ok := fix.(guard.ReserveInNova); ok {
			i := slices.IndexFunc(reserve.Reservations, func(r guard.Reservation) bool {
				return r.PageKiB == f.PageKiB && f.Nodes.Has(r.Node) && r.Lacking
			})
			if i >= 0 {
				return "set " + reserveKey + reserve.Reservations[i].String()
			}
			continue
		}
		if v.Cause == guard.CauseGuests && ofPools(fix) {
			continue
		}
		if f := say(fix); f.short != "" {
			return f.short
		}
	}
	return ""
}

// misplaced says why Nova came here all the same.
func misplaced(m guard.Misplaced, f guard.Finding) string {
	switch {
	case m.Stale != nil:
		return fmt.Sprintf("restart nova-compute (pid %d), which runs since before %s was changed", m.Stale.PID, name(m.Stale.File))
	case len(m.Strangers) > 0:
		var each []string
		for _, s := range m.Strangers {
			each = append(each, fmt.Sprintf("%s (%d pages)", holder(s), s.On(f.Nodes)))
		}
		return "Nova does not count " + enumerate(each, 2) + ", not being its instances"
	case m.Believed != nil:
		return fmt.Sprintf("Nova itself believes only %d free there: this start was placed before that, or not by its scheduler", max(*m.Believed, 0))
	}
	return ""
}

// clause says why pages are missing, in the words of the cause.
func clause(v guard.Verdict, f guard.Finding) string {
	switch v.Cause {
	case guard.CauseOVS, guard.CauseOtherHolder, guard.CauseGuests:
		text := holding(v.Blame.Holders, f)
		if reserves := v.Lack.NovaReserves; reserves != nil {
			count := "none"
			if *reserves != 0 {
				count = strconv.FormatInt(*reserves, 10)
			}
			text += " and nova.conf reserves " + count
		}
		return text
	case guard.CauseLeftoverFiles:
		return holding(v.Blame.Holders, f) + inPart(v.Holders)
	case guard.CauseKernelReserved:
		return fmt.Sprintf("%d of its free pages are promised to %s", v.Lack.Reserved, promised(v.Blame.Holders, v.Lack.Reserved))
	case guard.CausePoolMissing:
		return emptyPool(v.Lack, f)
	case guard.CausePoolTooSmall:
		return smallPool(v.Lack, f)
	case guard.CauseStartingGuests:
		return "without these it would fit"
	case guard.CauseUnaccounted:
		return unaccounted(v, f)
	}
	return ""
}

// unaccounted says that nobody is seen to have the pages.
func unaccounted(v guard.Verdict, f guard.Finding) string {
	if v.Holders == nil {
		return "who holds the pages was not looked at"
	}
	lack := v.Lack
	if lack.Unaccounted == 0 && lack.Surplus > 0 {
		return fmt.Sprintf("%d surplus pages are in use already, and no more than %d may be made", lack.Surplus, lack.Overcommit)
	}
	return fmt.Sprintf("%d of %d pages are held by nobody that can be seen", lack.Unaccounted, f.Total) + inPart(v.Holders)
}

// inPart says what was not looked at, in parentheses; "" if nothing.
func inPart(h *guard.Holders) string {
	text := ""
	if len(h.Unreadable) > 0 {
		text = fmt.Sprintf(" (%s)", unreadable(h.Unreadable, 2))
	}
	if h.Cut {
		text += " (not everything was looked at)"
	}
	return text
}

// holding says who holds how much of the short nodes' pages.
func holding(holders []guard.Holder, f guard.Finding) string {
	var each []string
	for _, h := range holders {
		holds := "holds"
		if len(h.Files) > 1 {
			holds = "hold"
		}
		switch on := h.On(f.Nodes); {
		case h.Unplaced == 0 && on == 0:
			continue
		case h.Unplaced == 0:
			each = append(each, fmt.Sprintf("%s %s %d", holder(h), holds, on))
		case on == 0:
			each = append(each, fmt.Sprintf("%s %s %d on nodes that cannot be told", holder(h), holds, h.Unplaced))
		default:
			each = append(each, fmt.Sprintf("%s %s at least %d", holder(h), holds, on))
		}
	}
	return fmt.Sprintf("%s of %d", enumerate(each, 3), f.Total)
}

// promised says to whom reserved pages were promised, as far as that is seen.
func promised(holders []guard.Holder, reserved uint64) string {
	const untouched = "touched them yet"
	if len(holders) == 0 {
		return "processes that have not " + untouched
	}
	first := holders[0]
	if len(holders) == 1 && first.Reserved >= reserved {
		return holder(first) + ", which has not " + untouched
	}
	shown := holders
	if sumReserved(holders) < reserved {
		shown = holders[:min(2, len(holders))]
	}
	var each []string
	for _, h := range shown {
		each = append(each, fmt.Sprintf("%d to %s", h.Reserved, holder(h)))
	}
	if sumReserved(holders) < reserved {
		each = append(each, fmt.Sprintf("%d to others", reserved-sumReserved(shown)))
	}
	return fmt.Sprintf("processes that have not %s (%s)", untouched, enumerate(each, 3))
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
		return fmt.Sprintf("Open vSwitch DPDK (%s, pid %d%s)", who, h.PID, container(h.Unit)) + ofDead(h.Guest)
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
