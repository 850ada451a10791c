package words

import (
	"fmt"
	"slices"
	"strings"

	"hugeguard/guard"
)

const reserveKey = "reserved_huge_pages="

// Reserve returns the lines for nova.conf that make Nova keep pages back: the complete setting of reserved_huge_pages,
// one line for each node and page size. It is nil where there is nothing to reserve.
func Reserve(reservations []guard.Reservation) []string {
	if reservations == nil {
		return nil
	}
	lines := []string{"[DEFAULT]"}
	for _, r := range reservations {
		lines = append(lines, reserveKey+r.String())
	}
	return lines
}

// ReserveTripleO is [Reserve] as TripleO takes it: the parameter NovaReservedHugePages of an environment file.
func ReserveTripleO(reservations []guard.Reservation) []string {
	if reservations == nil {
		return nil
	}
	var items []string
	for _, r := range reservations {
		items = append(items, fmt.Sprintf("%q", r))
	}
	return []string{"parameter_defaults:", "  NovaReservedHugePages: [" + strings.Join(items, ", ") + "]"}
}

// NovaEdit says where the lines of [Reserve] go, and what to do then; n is nil where nobody looked.
func NovaEdit(n *guard.Nova) string {
	where, restart := "in nova.conf of this host", "restart nova-compute"
	if n != nil && len(n.SetIn) > 0 {
		var files []string
		for _, file := range n.SetIn {
			files = append(files, guard.Printable(file, 200))
		}
		where = "in place of reserved_huge_pages in " + strings.Join(files, ", ")
	}
	if n != nil && strings.HasSuffix(n.Unit, ".service") {
		restart = "run systemctl restart " + ShellWord(n.Unit)
	} else if n != nil && n.Unit != "" {
		restart += " (" + name(guard.UnescapeUnit(n.Unit)) + ")"
	}
	return where + ", then " + restart
}

// NovaPool says what Nova believes of a pool, on one line.
func NovaPool(p guard.NovaPool) string {
	if p.Free == nil || p.Drift == nil {
		return fmt.Sprintf("node %d, %s pages: the new configuration reserves %s, Nova counts %s for its instances",
			p.Node, pageName(p.PageKiB), Difference(p.Reserved, p.PageKiB), Count(p.Instances, p.PageKiB))
	}
	text := fmt.Sprintf("node %d, %s pages: Nova reserves %s, counts %s for its instances and believes %s free",
		p.Node, pageName(p.PageKiB), Difference(p.Reserved, p.PageKiB), Count(p.Instances, p.PageKiB), Difference(*p.Free, p.PageKiB))
	switch drift := *p.Drift; {
	case drift > 0:
		text += fmt.Sprintf("; others than its instances hold %s more than it reserves", Difference(drift, p.PageKiB))
	case drift < 0:
		text += fmt.Sprintf("; %s fewer are taken than it allows for", Difference(-drift, p.PageKiB))
	}
	return text
}

// Nova says what Nova believes, in lines; none of nil.
func Nova(r *guard.NovaReport) []string {
	if r == nil {
		return nil
	}
	var lines []string
	switch {
	case r.Fault != "":
		lines = append(lines, "what Nova reserves is not known: "+guard.Printable(r.Fault, 400))
	case len(r.Files) == 0:
		lines = append(lines, "Nova is here, but no configuration of nova-compute was found (nova_conf in /etc/hugeguard.conf can name it)")
	}
	for _, p := range r.Pools {
		lines = append(lines, NovaPool(p))
	}
	for _, i := range r.Refused {
		lines = append(lines, fmt.Sprintf("Nova still counts instance %s, whose start was refused, until it is deleted or moved: %s on node %d",
			name(i.Name), pagesOf(i.Pages, i.PageKiB), i.Node))
	}
	if len(r.Uncounted) > 0 {
		lines = append(lines, Uncounted(r.Uncounted))
	}
	if r.Unlisted != "" {
		lines = append(lines, Unlisted(r.Unlisted))
	}
	for _, s := range r.Strangers {
		lines = append(lines, fmt.Sprintf("Nova did not make guest %s and does not count its %s", name(s.Name), pagesOf(s.Pages, s.PageKiB)))
	}
	for _, text := range r.Ignored {
		lines = append(lines, fmt.Sprintf("Nova ignores %s%s: this host has no such pages", reserveKey, text))
	}
	if r.Stale != "" {
		lines = append(lines, stale(guard.NovaStale{PID: r.PID, File: r.Stale})+": "+unused(r))
	}
	if r.Unread > 0 {
		lines = append(lines, fmt.Sprintf("%d domains could not be read: Nova may count more", r.Unread))
	}
	return lines
}

// unused says what Nova believes while it does not use its new configuration.
func unused(r *guard.NovaReport) string {
	if slices.ContainsFunc(r.Pools, func(p guard.NovaPool) bool { return p.Free != nil }) {
		return "Nova reserves what was there before until it is restarted"
	}
	return "Nova does not use the new configuration yet, and what it believes free is not known until it is restarted"
}

// Uncounted says of which instances it is not known what Nova counts.
func Uncounted(instances []string) string {
	return "Nova may count more than that: what it counts for these instances is not known: " + guests(instances)
}

// Unlisted says why Nova may count more instances than those.
func Unlisted(why string) string {
	return "Nova may count more for instances without a domain, since not all of these are known: " + guard.Printable(why, 400)
}

// stale says that nova-compute has not read its configuration.
func stale(s guard.NovaStale) string {
	return fmt.Sprintf("nova-compute (pid %d) was started before %s was changed", s.PID, guard.Printable(s.File, 200))
}
