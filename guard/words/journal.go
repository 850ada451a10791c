package words

import (
	"strconv"
	"strings"

	"hugeguard/guard"
	"hugeguard/guard/fix"
)

// Fields returns the journal's fields of a verdict (systemd.journal-fields), without those that every entry has.
// HUGEGUARD_DECISION=refuse with PRIORITY=3 is a start that was refused, with PRIORITY=4 one that would have been and
// was allowed. HUGEGUARD_CANARY=1 marks the domain of "hugeguard verify", which was refused as a test: do not count it
// as a refusal. HUGEGUARD_EXEMPT says by what a domain is exempt.
func Fields(v fix.Verdict) map[string]string {
	fields := map[string]string{
		"MESSAGE_ID":         v.MessageID(),
		"HUGEGUARD_DECISION": string(v.Decision),
		"HUGEGUARD_DOMAIN":   guard.Printable(v.Domain.Name, 4*maxName),
		"HUGEGUARD_UUID":     name(v.Domain.UUID),
	}
	set := func(field, value string) {
		if value != "" {
			fields[field] = value
		}
	}
	if v.Canary {
		set("HUGEGUARD_CANARY", "1")
	}
	set("HUGEGUARD_EXEMPT", guard.Printable(v.Exempt, 4*maxName))
	set("HUGEGUARD_CAUSE", string(v.Cause))
	if len(v.Findings) > 0 {
		f := v.Findings[0]
		if f.Nodes != nil {
			fields["HUGEGUARD_NODE"] = f.Nodes.String()
		}
		set("HUGEGUARD_PAGE_KIB", strconv.FormatUint(f.PageKiB, 10))
		set("HUGEGUARD_NEEDED", strconv.FormatUint(f.Needed, 10))
		set("HUGEGUARD_FREE", strconv.FormatUint(f.Free, 10))
		set("HUGEGUARD_TOTAL", strconv.FormatUint(f.Total, 10))
		if len(v.Blame.Holders) > 0 {
			h := v.Blame.Holders[0]
			fields["HUGEGUARD_HOLDER"] = name(h.Name)
			if h.PID > 0 {
				set("HUGEGUARD_HOLDER_PID", strconv.Itoa(h.PID))
			}
			pages := h.On(f.Nodes)
			if v.Cause == guard.CauseKernelReserved {
				pages = h.Reserved
			}
			set("HUGEGUARD_HOLDER_PAGES", strconv.FormatUint(pages, 10))
			set("HUGEGUARD_HOLDER_UNIT", h.Unit) // as systemctl takes it: the name of a unit or a container has no odd character
		}
	}
	if r := v.Releases.Report(); r != nil {
		set("HUGEGUARD_LIBVIRT", r.Libvirt)
		set("HUGEGUARD_QEMU", r.QEMU)
	}
	set("HUGEGUARD_NOT_KNOWN", partNames(v.NotKnown))
	var lines []string
	if fixes := Fixes(v); len(fixes) > 0 { // the best; the others need not go with it
		lines = append(fixes[0].Commands, fixes[0].Lines...)
	}
	set("HUGEGUARD_FIX", strings.Join(lines, "\n"))
	return fields
}
