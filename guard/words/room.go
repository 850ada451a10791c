package words

import (
	"fmt"
	"slices"
	"strings"

	"hugeguard/guard"
	"hugeguard/guard/fix"
	"hugeguard/guard/room"
)

// Takes says what one guest takes at its start, and from where.
func Takes(demand []guard.Backend) string {
	type part struct {
		kib   uint64
		where string
	}
	var parts []part
	pages := map[part]uint64{}
	for _, b := range demand {
		if b.Pages == 0 {
			continue
		}
		p := part{b.PageKiB, placement(b)}
		if !slices.Contains(parts, p) {
			parts = append(parts, p)
		}
		pages[p] += b.Pages
	}
	var each []string
	for _, p := range parts {
		each = append(each, pagesOf(pages[p], p.kib)+" "+p.where)
	}
	return strings.Join(each, ", ")
}

// Room says for how many more guests there is room, and in lines below that what is said against some, and what is in
// the way of one more.
func Room(r room.Room) []string {
	lines := []string{fmt.Sprintf("room for %d more", r.Fit)}
	if r.Fit == room.Most {
		lines[0] += ", and was counted no further"
	}
	if r.Doubt != nil {
		which := fmt.Sprintf("the last %d", r.Fit-r.Sure)
		if r.Sure == 0 {
			which = "each"
		}
		lines = append(lines, fmt.Sprintf("%s with a warning: %s", which, InTheWay(*r.Doubt)))
	}
	if r.Next != nil {
		lines = append(lines, "one more: "+InTheWay(*r.Next))
	}
	return lines
}

// InTheWay says why a guest does not start after others that were only thought of: it cannot be tried again when these
// have started.
func InTheWay(v fix.Verdict) string {
	if v.Cause == guard.CauseStartingGuests {
		return Finding(v.Findings[0])
	}
	return Summary(v)
}
