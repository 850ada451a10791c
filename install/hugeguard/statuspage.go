package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"hugeguard/guard"
	"hugeguard/guard/words"
	"hugeguard/hook/config"
	"hugeguard/install/journal"
	"hugeguard/install/place"
	"hugeguard/install/status"
)

// A statusView is how a status is shown.
type statusView struct {
	out    io.Writer
	colour string // auto, always or never
	json   bool
}

// text returns a status as it is shown.
func (v statusView) text(r status.Report) (string, error) {
	if v.json {
		var b strings.Builder
		err := printJSON(&b, r)
		return b.String(), err
	}
	l, err := lookOf(v.out, v.colour)
	return statusPage(r, l).text(), err
}

// liveness returns errNotLive unless the hook is live.
func liveness(r status.Report) error {
	if r.Hook.Live {
		return nil
	}
	return errNotLive
}

// fewestRefusals is how many refusals are shown even if there is no room.
const fewestRefusals = 3

// statusPage lays out a status, on one screen if possible, with a row left for the prompt.
func statusPage(r status.Report, l look) *page {
	p := &page{look: l}
	p.status(r)
	if l.rows > 0 && len(p.lines) >= l.rows {
		p = &page{look: l, brief: true}
		p.status(r)
	}
	return p
}

func (p *page) status(r status.Report) {
	p.hookLines(r)
	p.settingsLines(r.Settings)
	p.poolLines(r)
	p.novaLines(r.Nova)
	var emulators []string
	for _, e := range r.Emulators {
		emulators = append(emulators, fmt.Sprintf("launches with %s are judged for %s", oneLine(e.Path), e.Releases))
	}
	p.details(0, emulators...)
	for _, f := range r.Faults {
		p.line(bad, 0, "could not be read: %s", f)
	}
	p.refusalLines(r.Refusals)
}

// hookLines shows whether the hook is live, and why not.
func (p *page) hookLines(r status.Report) {
	h := r.Hook
	if r.Settings.ModeUnread {
		p.line(bad, 0, "mode: cannot be read in %s, so hugeguard refuses nothing: hugeguard config", oneLine(r.Settings.Path))
	}
	live := fmt.Sprintf("%s (layout %s)", oneLine(h.Path), oneLine(string(h.Layout)))
	switch {
	case h.Live && r.Mode == config.Off:
		p.line(bad, 0, "hook: live, but set to do nothing (mode = %s): %s", r.Mode, live)
	case h.Live && r.Mode == config.WarnOnly:
		p.line(bad, 0, "hook: live, but set to refuse nothing (mode = %s): %s", r.Mode, live)
	case h.Live:
		p.line(good, 0, "hook: live: %s", live)
	default:
		p.line(bad, 0, "hook: NOT LIVE")
	}
	for _, why := range h.Why {
		p.line(plainStyle, 2, "%s", oneLine(why))
	}
	if h.Package != "" {
		p.line(plainStyle, 2, "copied from %s, which the package %s owns", oneLine(h.Source), oneLine(h.Package))
	}
	if len(h.HooksBefore) > 0 {
		p.line(plainStyle, 2, "other hooks run before it: %s", place.Paths(h.HooksBefore))
	}
	switch {
	case h.Installed && h.OnDemand != "":
		p.line(plainStyle, 2, "no libvirt daemon runs now: %s starts when a client connects", oneLine(h.OnDemand))
	case h.Installed && len(h.Daemons) == 0:
		p.line(plainStyle, 2, "no libvirt daemon runs now")
	case h.Live:
		for _, d := range h.Daemons {
			p.line(plainStyle, 2, "called by %s (pid %d)", oneLine(d.Name), d.PID)
		}
	}
}

// settingsLines shows the settings that differ from their defaults, and the lines that are ignored.
func (p *page) settingsLines(s status.Settings) {
	var each []string
	for _, c := range s.Changed {
		each = append(each, guard.Printable(c.Name+" = "+c.Value, 200))
	}
	switch {
	case len(each) > 0:
		p.line(plainStyle, 0, "settings: %s (%s)", strings.Join(each, ", "), oneLine(s.Path))
	case len(s.Wrong) > 0:
		p.line(plainStyle, 0, "settings: all at their defaults (%s)", oneLine(s.Path))
	}
	for i, wrong := range s.Wrong {
		if i == mostWrong {
			p.line(bad, 2, "ignored: %d more lines", len(s.Wrong)-i)
			break
		}
		p.line(bad, 2, "ignored: %s", wrong)
	}
}

// A poolRow is a pool with the texts of its line.
type poolRow struct {
	guard.PoolReport
	label, count string
}

// poolRows returns the pools of the sizes that have pages, and the names of the other sizes.
func poolRows(pools []guard.PoolReport) (rows []poolRow, empty []string) {
	total := map[uint64]uint64{}
	for _, pool := range pools {
		total[pool.PageKiB] += pool.Total
	}
	for _, pool := range pools {
		size := guard.Size(pool.PageKiB)
		if total[pool.PageKiB] == 0 {
			if !slices.Contains(empty, size) {
				empty = append(empty, size)
			}
			continue
		}
		row := poolRow{pool, fmt.Sprintf("node %d, %s:", pool.Node, size), fmt.Sprintf("%d of %d free (%s)", pool.Free, pool.Total, amounts(pool.Free, pool.Total, pool.PageKiB))}
		if pool.Surplus > 0 {
			row.count += fmt.Sprintf(", %d surplus", pool.Surplus)
		}
		rows = append(rows, row)
	}
	return rows, empty
}

// amounts says how much memory some of all pages are, such as "0.5 of 2 GiB": in the largest unit of which all are one or
// more, with at most one decimal.
func amounts(some, all, kib uint64) string {
	unit, size := 0, float64(kib)
	for ; size*float64(all) >= 1024 && unit < 4; unit++ {
		size /= 1024
	}
	in := func(pages uint64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", size*float64(pages)), ".0") }
	return fmt.Sprintf("%s of %s %s", in(some), in(all), [...]string{"KiB", "MiB", "GiB", "TiB", "PiB"}[unit])
}

// poolLines draws the pools, and shows who holds them.
func (p *page) poolLines(r status.Report) {
	rows, empty := poolRows(r.Pools)
	if len(empty) > 0 && len(rows) > 0 {
		p.line(heading, 0, "huge pages of this host (none of %s):", strings.Join(empty, ", "))
	} else {
		p.line(heading, 0, "huge pages of this host:")
	}
	switch {
	case !r.Surveyed:
		p.line(bad, 2, "not known")
	case len(rows) == 0:
		p.line(plainStyle, 2, "none are set up")
	default:
		p.bars(r, rows)
	}
	var starting []string
	for _, guest := range r.Starting {
		starting = append(starting, words.Starting(guest))
	}
	p.details(2, starting...)
	for _, size := range r.Sizes {
		p.line(plainStyle, 2, "%s", words.PageSize(size))
	}
	if r.OVS != nil {
		p.details(2, words.OVS(*r.OVS))
	}
	for _, note := range r.Unseen {
		p.line(bad, 2, "%s", note)
	}
}

// bars draws each pool, on one line with its label and its count if possible, and explains the marks.
func (p *page) bars(r status.Report, rows []poolRow) {
	label, count := 0, 0
	for _, row := range rows {
		label, count = max(label, len(row.label)), max(count, len(row.count))
	}
	bar, beside := plainBar, true
	if p.columns > 0 {
		bar = p.columns - (2 + label + 1 + 2 + 1 + count) // "  LABEL [BAR] COUNT"
		if bar < 10 {
			beside, bar = false, p.columns-(4+2)
		}
		bar = min(bar, 60)
	}
	used := make([]bool, len(fills))
	for _, row := range rows {
		shares := sharesOf(r, row.PoolReport)
		for k, n := range shares {
			used[k] = used[k] || n > 0
		}
		switch picture := p.bar(shares, bar); {
		case row.Total == 0:
			p.line(plainStyle, 2, "%-*s none", label, row.label)
		case beside:
			p.lines = append(p.lines, fmt.Sprintf("  %-*s %s %*s", label, row.label, picture, count, row.count))
		default:
			p.words(plainStyle, 2, []string{row.label, row.count})
			p.lines = append(p.lines, "    "+picture)
		}
		p.holders(row.PoolReport)
	}
	var legend []string
	for i, f := range fills {
		if used[i] {
			legend = append(legend, p.mark(f)+" "+f.name+" ")
		}
	}
	p.words(faint, 2, legend)
}

// sharesOf divides a pool into the kinds of pages that its bar shows, in the order of fills. A free page counts as
// reserved if it must lie on this node, since the other nodes have no room for it, and as claimed if it is both.
func sharesOf(r status.Report, pool guard.PoolReport) []uint64 {
	by := map[fill]uint64{}
	for _, h := range pool.Holders {
		by[holderFill(h.Kind)] += h.Pages
	}
	if pool.Unaccounted != nil {
		by[fillUnaccounted] = *pool.Unaccounted
	}
	reserved := uint64(0)
	for _, size := range r.Sizes {
		if size.PageKiB == pool.PageKiB {
			reserved = size.Reserved
		}
	}
	for _, other := range r.Pools {
		if other.PageKiB == pool.PageKiB && other.Node != pool.Node {
			reserved -= min(reserved, other.Free)
		}
	}
	by[fillClaimed] = min(pool.Claimed, pool.Free)
	by[fillReserved] = min(reserved, pool.Free) - min(reserved, pool.Free, by[fillClaimed])
	by[fillFree] = pool.Free - by[fillClaimed] - by[fillReserved]
	shares := make([]uint64, len(fills))
	for i, f := range fills {
		shares[i] = by[f]
	}
	return shares
}

func holderFill(kind guard.HolderKind) fill {
	switch kind {
	case guard.HolderOVS:
		return fillOVS
	case guard.HolderGuest:
		return fillGuests
	case guard.HolderFile:
		return fillFiles
	}
	return fillOthers
}

// holders shows who holds a pool: on a terminal at most a few lines, and the rest as a number.
func (p *page) holders(pool guard.PoolReport) {
	most := 3
	switch {
	case p.brief:
		most = 1
	case p.columns < 60:
		most = 5
	}
	named := len(pool.Holders)
	if p.columns > 0 {
		for named = min(named, most*p.columns); named > 1 && len(p.wrap(holderWords(pool, named), 4)) > most; {
			named--
		}
	}
	if all := holderWords(pool, named); len(all) > 0 {
		p.words(plainStyle, 4, all)
	}
}

// holderWords returns who holds a pool: the first few by name.
func holderWords(pool guard.PoolReport, named int) []string {
	var each []string
	for _, h := range pool.Holders[:named] {
		each = append(each, words.Holder(h, pool.PageKiB))
	}
	if rest := pool.Holders[named:]; len(rest) > 0 {
		var pages uint64
		for _, h := range rest {
			pages += h.Pages
		}
		each = append(each, fmt.Sprintf("%d more: %s", len(rest), words.Count(pages, pool.PageKiB)))
	}
	if len(each) > 0 {
		each[0] = "held: " + each[0]
	}
	if pool.Unaccounted != nil && *pool.Unaccounted > 0 {
		each = append(each, "unexplained: "+words.Count(*pool.Unaccounted, pool.PageKiB))
	}
	for i := range max(len(each), 1) - 1 {
		each[i] += ","
	}
	return each
}

// novaLines shows what Nova believes about each pool, and how far off it is.
func (p *page) novaLines(nova *guard.NovaReport) {
	if len(words.Nova(nova)) == 0 {
		return
	}
	p.line(heading, 0, "what Nova believes:")
	for _, pool := range nova.Pools {
		p.novaPool(pool)
	}
	others := *nova
	others.Pools = nil
	p.details(2, words.Nova(&others)...)
}

// novaPool shows what Nova believes about a pool: on a small screen only what it believes free, and the drift.
func (p *page) novaPool(pool guard.NovaPool) {
	at := fmt.Sprintf("node %d, %s:", pool.Node, guard.Size(pool.PageKiB))
	reserves, counts := words.Difference(pool.Reserved, pool.PageKiB), words.Count(pool.Instances, pool.PageKiB)
	if pool.Free == nil || pool.Drift == nil {
		p.words(bad, 2, []string{at, "will reserve " + reserves + ",", "counts " + counts + ";", "drift not known before nova-compute is restarted"})
		return
	}
	said := []string{at, "reserves " + reserves + ",", "counts " + counts + ",", "believes " + words.Difference(*pool.Free, pool.PageKiB) + " free;"}
	if p.brief {
		said = []string{said[0], said[3]}
	}
	switch drift := *pool.Drift; {
	case drift > 0:
		p.words(bad, 2, append(said, "drift "+words.Difference(drift, pool.PageKiB)))
	case drift < 0:
		p.words(plainStyle, 2, append(said, "no drift,", words.Difference(-drift, pool.PageKiB)+" to spare"))
	default:
		p.words(plainStyle, 2, append(said, "no drift"))
	}
}

// refusalLines shows the last refusals, each on a line, as many as the screen has room for.
func (p *page) refusalLines(shown []journal.Refusal) {
	if p.rows > 0 {
		most := max(fewestRefusals, p.rows-len(p.lines)-2) // the heading, and the prompt below it all
		shown = shown[:min(len(shown), most)]
	}
	if len(shown) == 0 {
		return
	}
	p.line(heading, 0, "last refusals:")
	for _, r := range shown {
		what := cmp.Or(r.Cause, r.Decision)
		if r.Would {
			what += " (allowed)"
		}
		p.short(plainStyle, 2, "%s %s: %s: %s", r.Time.Local().Format("Jan _2 15:04:05"), r.Domain, what, r.Summary)
	}
}
