package guard

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxName is how many bytes of a name a line shows. libvirt cuts the whole of
// an error message at 1024 bytes, of which its own words take a third.
const maxName = 60

// text says in words what a failure is about.
func (f failure) text(host Host) string {
	text := f.short(host)
	if f.releases != "" {
		text += " (" + f.releases + ")"
	}
	return text
}

// short says it without the releases that it depends on.
func (f failure) short(host Host) string {
	if f.message != "" {
		return f.message
	}
	where, has := "this host", "has"
	if all := host.memoryNodes(); f.code != codeReserved && (len(all) == 1 || !slices.Equal(all, f.nodes)) {
		where = f.nodes.in()
		if len(f.nodes) > 1 {
			has = "have"
		}
	}
	reserved := ""
	if pool, _ := host.pool(f.pageKiB); f.code == codeReserved && (pool.Reserved > 0 || f.claimed == 0) {
		reserved = fmt.Sprintf(", %d of them reserved", pool.Reserved)
	}
	if f.claimed > 0 {
		reserved += fmt.Sprintf(", %d of them for guests that are starting (%s)", f.claimed, named(host.rivals(f.pageKiB, f.nodes)))
	}
	kept := ""
	if f.keeper != "" {
		kept = fmt.Sprintf(", and %s keeps QEMU there", shown(f.keeper))
	}
	return fmt.Sprintf("%s %s %d free %s huge pages%s, %d needed%s", where, has, f.free, Size(f.pageKiB), reserved, f.needed, kept)
}

// refusal is the line that libvirt appends to its error: what, why, the mend.
func (v Verdict) refusal(host Host, f failure) string {
	parts := []string{f.text(host)}
	if why := v.blame.clause(host, f); why != "" {
		parts[0] += ": " + why
	}
	todo := v.todo(host, f)
	if f.cause == "" {
		var others []string
		for _, n := range alternatives(host, f) {
			others = append(others, fmt.Sprintf("node %d has %d free", n.Node, n.Free))
		}
		if len(others) > 0 {
			where := enumerate(others, 2)
			if todo == "" {
				todo = where
			} else {
				todo += " (" + where + ")"
			}
		}
	}
	if todo != "" {
		parts = append(parts, todo)
	}
	return strings.Join(append(parts, "see: journalctl -t hugeguard"), "; ")
}

// todo is the mend in short: the line for the node that is short, where there
// are several. What Nova does already is not asked of it again.
func (v Verdict) todo(host Host, f failure) string {
	if v.Cause == CauseStartingGuests {
		return "try again when they have started"
	}
	if v.blame.outsiders() && host.agreesOn(f.pageKiB, f.nodes) {
		return host.aftermath(v.Domain.UUID, f)
	}
	for _, remedy := range v.Remedy {
		for _, line := range remedy.Lines {
			short := slices.ContainsFunc(f.nodes, func(n int) bool {
				return strings.HasPrefix(line, fmt.Sprintf("%snode:%d,size:%d,", reserveKey, n, f.pageKiB)) && !host.agreesOn(f.pageKiB, NodeSet{n})
			})
			switch {
			case short:
				return "set " + line
			case remedy.For == "host" && v.Cause != CauseGuests:
				return "run " + line
			case remedy.For == "domain":
				return line
			}
		}
	}
	return ""
}

// outsiders says whether the cause is about pages that Nova could reserve.
func (b blame) outsiders() bool { return b.cause == CauseOVS || b.cause == CauseOtherHolder }

// clause says why pages are missing, in the words of the cause.
func (b blame) clause(host Host, f failure) string {
	pool, _ := host.pool(f.pageKiB)
	there := pool.on(f.nodes)
	page := Size(f.pageKiB)
	switch b.cause {
	case CauseOVS, CauseOtherHolder, CauseGuests:
		text := b.holding(f, there.Total)
		if b.outsiders() && host.Nova.known() {
			reserved := "none"
			if count := host.Nova.reserves(f.pageKiB, f.nodes); count != 0 {
				reserved = strconv.FormatInt(count, 10)
			}
			text += " and nova.conf reserves " + reserved
		}
		return text
	case CauseLeftoverFiles:
		return b.holding(f, there.Total) + inPart(host.Holders)
	case CauseKernelReserved:
		return fmt.Sprintf("%d of its free pages are promised to %s", pool.Reserved, b.promised(pool.Reserved))
	case CausePoolMissing:
		return fmt.Sprintf("no huge pages of %s were ever set up there", page)
	case CausePoolTooSmall:
		return fmt.Sprintf("the pool has %d pages in all, too few even when nobody uses it", minus(there.Total, there.Surplus))
	case CauseStartingGuests:
		return "without these it would fit"
	case CauseUnaccounted:
		return b.unaccounted(host, f)
	}
	return ""
}

// holding says who holds how much of the short nodes' pages.
func (b blame) holding(f failure, total uint64) string {
	var each []string
	for _, h := range b.holders {
		holds := "holds"
		if len(h.Files) > 1 {
			holds = "hold"
		}
		switch on := h.on(f.nodes); {
		case h.Unplaced == 0 && on == 0:
			continue
		case h.Unplaced == 0:
			each = append(each, fmt.Sprintf("%s %s %d", h.name(), holds, on))
		case on == 0:
			each = append(each, fmt.Sprintf("%s %s %d on nodes that cannot be told", h.name(), holds, h.Unplaced))
		default:
			each = append(each, fmt.Sprintf("%s %s at least %d", h.name(), holds, on))
		}
	}
	return fmt.Sprintf("%s of %d", enumerate(each, 3), total)
}

// promised says to whom the reserved pages were promised, as far as that is
// seen.
func (b blame) promised(reserved uint64) string {
	const untouched = "touched them yet"
	if len(b.holders) == 0 {
		return "processes that have not " + untouched
	}
	first := b.holders[0]
	if len(b.holders) == 1 && first.Reserved >= reserved {
		return first.name() + ", which has not " + untouched
	}
	shown := b.holders
	if sumReserved(shown) < reserved {
		shown = shown[:min(2, len(shown))]
	}
	var each []string
	for _, h := range shown {
		each = append(each, fmt.Sprintf("%d to %s", h.Reserved, h.name()))
	}
	if others := minus(reserved, sumReserved(b.holders)); others > 0 {
		each = append(each, fmt.Sprintf("%d to others", minus(reserved, sumReserved(shown))))
	}
	return fmt.Sprintf("processes that have not %s (%s)", untouched, enumerate(each, 3))
}

func sumReserved(holders []Holder) uint64 {
	var sum uint64
	for _, h := range holders {
		sum += h.Reserved
	}
	return sum
}

// name says in words who a holder is.
func (h Holder) name() string {
	name, unit := Printable(h.Name, maxName), ""
	if h.Unit != "" {
		unit = ", " + Printable(h.Unit, maxName)
	}
	switch h.Kind {
	case HolderOVS:
		return fmt.Sprintf("Open vSwitch DPDK (%s, pid %d%s)", name, h.PID, containerOnly(h.Unit))
	case HolderGuest:
		return "guest " + name
	case HolderFile:
		switch {
		case h.Segment != "":
			return fmt.Sprintf("System V segment %s, which nobody has attached,", Printable(h.Segment, maxName))
		case len(h.Files) > 1:
			return fmt.Sprintf("%d leftover files %s", len(h.Files), name)
		}
		return "leftover file " + name
	default:
		return fmt.Sprintf("%s (pid %d%s)", name, h.PID, unit)
	}
}

// containerOnly is the unit of Open vSwitch's daemon where it is worth a word:
// on the host it is its own.
func containerOnly(unit string) string {
	if strings.HasPrefix(unit, "container ") {
		return ", " + Printable(unit, maxName)
	}
	return ""
}

func (b blame) unaccounted(host Host, f failure) string {
	if host.Holders == nil {
		return "who holds the pages was not looked at"
	}
	pool, _ := host.pool(f.pageKiB)
	left := Holder{Pages: host.unaccounted(pool)}.on(f.nodes)
	if left == 0 && pool.Surplus > 0 {
		return fmt.Sprintf("%d surplus pages are in use already, and no more than %d may be made", pool.Surplus, pool.Overcommit)
	}
	return fmt.Sprintf("%d of %d pages are held by nobody that can be seen", left, pool.on(f.nodes).Total) + inPart(host.Holders)
}

// inPart says what was not looked at, in parentheses; "" if nothing.
func inPart(h *Holders) string {
	text := ""
	if len(h.Unreadable) > 0 {
		text = fmt.Sprintf(" (%s)", h.unreadable(2))
	}
	if h.Cut {
		text += " (not everything was looked at)"
	}
	return text
}

// unreadable names the first few of the processes that could not be read.
func (h *Holders) unreadable(most int) string {
	var each []string
	for _, p := range h.Unreadable {
		switch {
		case p.PID == 0:
			each = append(each, "the list of processes")
		case p.HugetlbKiB > 0:
			each = append(each, fmt.Sprintf("%s, pid %d, with %s", Printable(p.Name, maxName), p.PID, Size(p.HugetlbKiB)))
		default:
			each = append(each, fmt.Sprintf("%s, pid %d", Printable(p.Name, maxName), p.PID))
		}
	}
	what := "processes"
	if len(each) == 1 {
		what = "process"
	}
	return fmt.Sprintf("%d %s could not be read: %s", len(each), what, enumerate(each, most))
}

// enumerate joins the first few of parts and says how many more there are.
func enumerate(parts []string, most int) string {
	if more := len(parts) - most; more > 0 {
		parts = append(slices.Clone(parts[:most]), fmt.Sprintf("%d more", more))
	}
	return strings.Join(parts, ", ")
}

// outlook is the summary of a launch that is not refused.
func (v Verdict) outlook() string {
	if len(v.Findings) > 0 {
		text := v.Findings[0].Message
		if more := len(v.Findings) - 1; more > 0 {
			text += fmt.Sprintf(" (and %d more)", more)
		}
		return text
	}
	if len(v.Demand) == 0 {
		return "it needs no huge pages"
	}
	var needs []string
	for _, b := range v.Demand {
		needs = append(needs, fmt.Sprintf("%d pages of %s for %s", b.Pages, Size(b.PageKiB), b.ID))
	}
	return "it fits: " + enumerate(needs, 4)
}

// Text is the verdict in full, for the journal and the terminal: the summary,
// what the domain asks for, who holds what, and the mend. It ends without a
// newline.
func (v Verdict) Text() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, "\n"+format, args...) }
	b.WriteString(v.Summary)
	var listed []Finding // information is below, where it belongs
	for _, f := range v.Findings {
		if f.Severity != SeverityInfo {
			listed = append(listed, f)
		}
	}
	if len(listed) > 1 {
		for _, f := range listed {
			line("%s: %s", f.Severity, f.Message)
		}
	}
	if len(v.Demand) > 0 {
		line("domain %s (%s) asks for:", Printable(v.Domain.Name, 4*maxName), Printable(v.Domain.UUID, maxName))
	}
	for _, d := range v.Demand {
		line("  %s: %d huge pages of %s %s, decided by %s", d.ID, d.Pages, Size(d.PageKiB), d.where(), d.From)
	}
	if v.Releases != nil {
		line("judged for %s", v.releases)
	}
	if len(v.Pools) > 0 {
		line("huge pages of this host:")
	}
	for _, p := range v.Pools {
		line("  %s", p)
	}
	for _, text := range v.notes() {
		line("  %s", text)
	}
	for _, other := range v.blame.also {
		line("it would also fit without %s", other.names())
	}
	if lines := v.Nova.Lines(); len(lines) > 0 {
		line("what Nova believes:")
		for _, l := range lines {
			line("  %s", l)
		}
	}
	for _, r := range v.Remedy {
		line("mend, %s:", r.How)
		for _, l := range r.Lines {
			line("  %s", l)
		}
	}
	return b.String()
}

// notes are what is known of the pools beside who holds how much where.
func (v Verdict) notes() []string {
	var notes []string
	for _, s := range v.Starting {
		notes = append(notes, s.String())
	}
	for _, s := range v.Sizes {
		notes = append(notes, s.String())
	}
	if v.OVS != nil {
		notes = append(notes, v.OVS.String())
	}
	return append(notes, v.holders.Notes()...)
}

// Notes says in words what was not seen of who holds pages.
func (h *Holders) Notes() []string {
	if h == nil {
		return nil
	}
	var notes []string
	if len(h.Unreadable) > 0 {
		notes = append(notes, h.unreadable(10))
	}
	if h.Cut {
		notes = append(notes, "not everything was looked at")
	}
	return notes
}

// names says what a launch would fit without.
func (b blame) names() string {
	switch b.cause {
	case CauseKernelReserved:
		return "the reserved pages"
	case CauseStartingGuests:
		return "the guests that are starting"
	}
	var each []string
	for _, h := range b.holders {
		each = append(each, strings.TrimSuffix(h.name(), ","))
	}
	return enumerate(each, 3)
}

// String is what is known of a size, on one line.
func (s SizeReport) String() string {
	list := func(reports []HolderReport) string {
		var each []string
		for _, h := range reports {
			each = append(each, h.String())
		}
		return enumerate(each, 10)
	}
	var parts []string
	if s.Reserved > 0 {
		text := fmt.Sprintf("%d of the free pages are reserved", s.Reserved)
		if len(s.ReservedBy) > 0 {
			text += ", not yet touched by: " + list(s.ReservedBy)
		}
		parts = append(parts, text)
	}
	if len(s.Unplaced) > 0 {
		parts = append(parts, "unaccounted on some node: "+list(s.Unplaced))
	}
	return fmt.Sprintf("%s: %s", Size(s.PageKiB), strings.Join(parts, "; "))
}

// where says in words which nodes a backend's pages may come from.
func (b Backend) where() string {
	switch {
	case b.Auto:
		return "on nodes that numad will choose"
	case b.Cpuset != nil:
		return "on " + b.Cpuset.in() + " (restrictive)"
	case b.Policy == PolicyBind:
		return "on " + b.HostNodes.in() + " and nowhere else"
	case b.HostNodes != nil:
		return fmt.Sprintf("on %s if they can (%s)", b.HostNodes.in(), b.Policy)
	}
	return "on any node"
}

// String is a pool on one line.
func (p PoolReport) String() string {
	text := fmt.Sprintf("node %d, %s: %d of %d free", p.Node, Size(p.PageKiB), p.Free, p.Total)
	if p.Surplus > 0 {
		text += fmt.Sprintf(", %d surplus", p.Surplus)
	}
	var each []string
	for _, h := range p.Holders {
		each = append(each, h.String())
	}
	if len(each) > 0 {
		text += "; held: " + enumerate(each, 20)
	}
	if p.Unaccounted != nil && *p.Unaccounted > 0 {
		text += fmt.Sprintf("; unaccounted: %d", *p.Unaccounted)
	}
	return text
}

// String names a holder and its pages.
func (h HolderReport) String() string {
	name := Printable(h.Name, maxName)
	switch h.Kind {
	case HolderFile:
		return fmt.Sprintf("leftover %s %d", name, h.Pages)
	case HolderGuest:
		return fmt.Sprintf("guest %s (pid %d) %d", name, h.PID, h.Pages)
	case HolderOVS:
		return fmt.Sprintf("Open vSwitch %s (pid %d%s) %d", name, h.PID, containerOnly(h.Unit), h.Pages)
	}
	if h.Unit != "" {
		return fmt.Sprintf("%s (pid %d, %s) %d", name, h.PID, Printable(h.Unit, maxName), h.Pages)
	}
	return fmt.Sprintf("%s (pid %d) %d", name, h.PID, h.Pages)
}

// Fields returns the journal's fields of the verdict (systemd.journal-fields),
// without those that every entry has. HUGEGUARD_DECISION=refuse with PRIORITY=3
// is a start that was refused, with PRIORITY=4 one that would have been and went
// on. HUGEGUARD_CANARY=1 marks the domain of "hugeguard verify", which was refused
// to see that it is: whoever counts refusals leaves it out. HUGEGUARD_EXEMPT says by
// what a domain is exempt.
func (v Verdict) Fields() map[string]string {
	fields := map[string]string{
		"MESSAGE_ID":         v.MessageID(),
		"HUGEGUARD_DECISION": string(v.Decision),
		"HUGEGUARD_DOMAIN":   Printable(v.Domain.Name, 4*maxName),
		"HUGEGUARD_UUID":     Printable(v.Domain.UUID, maxName),
	}
	if v.canary {
		fields["HUGEGUARD_CANARY"] = "1"
	}
	if v.Exempt != "" {
		fields["HUGEGUARD_EXEMPT"] = Printable(v.Exempt, 4*maxName)
	}
	if v.Cause != "" {
		fields["HUGEGUARD_CAUSE"] = string(v.Cause)
	}
	if len(v.Findings) > 0 {
		f := v.Findings[0]
		if f.Nodes != nil {
			fields["HUGEGUARD_NODE"] = f.Nodes.String()
		}
		fields["HUGEGUARD_PAGE_KIB"] = strconv.FormatUint(f.PageKiB, 10)
		fields["HUGEGUARD_NEEDED"] = strconv.FormatUint(f.Needed, 10)
		fields["HUGEGUARD_FREE"] = strconv.FormatUint(f.Free, 10)
		fields["HUGEGUARD_TOTAL"] = strconv.FormatUint(f.Total, 10)
		if len(v.blame.holders) > 0 {
			h := v.blame.holders[0]
			fields["HUGEGUARD_HOLDER"] = Printable(h.Name, maxName)
			if h.PID > 0 {
				fields["HUGEGUARD_HOLDER_PID"] = strconv.Itoa(h.PID)
			}
			pages := h.on(f.Nodes)
			if v.Cause == CauseKernelReserved {
				pages = h.Reserved
			}
			fields["HUGEGUARD_HOLDER_PAGES"] = strconv.FormatUint(pages, 10)
			if h.Unit != "" {
				fields["HUGEGUARD_HOLDER_UNIT"] = Printable(h.Unit, maxName)
			}
		}
	}
	if r := v.Releases; r != nil {
		if r.Libvirt != "" {
			fields["HUGEGUARD_LIBVIRT"] = r.Libvirt
		}
		if r.QEMU != "" {
			fields["HUGEGUARD_QEMU"] = r.QEMU
		}
	}
	var lines []string
	for _, r := range v.Remedy {
		lines = append(lines, r.Lines...)
	}
	if len(lines) > 0 {
		fields["HUGEGUARD_REMEDY"] = strings.Join(lines, "\n")
	}
	return fields
}
