package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hugeguard/guard"
	"hugeguard/hook"
	"hugeguard/install"
	"hugeguard/sysfs"
)

func newStatus() *cobra.Command {
	var root, program, colour, every string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [--root DIR|FILE.tar] [--json] [--watch[=SECONDS]] [--color WHEN]",
		Short: "Show the huge pages of this host, who holds them, what Nova believes, and whether the hook is live",
		Long: `Show on one screen whether the hook is live, as far as files and processes tell; the pools of huge pages as a
picture, who holds them and what guests that are starting have still to take; what Nova believes of them, and
the drift: how many pages more others hold than it allows for; and the last refusals, from the journal.

On a terminal lines are as long as it is wide, and the smaller holders are counted only; where it has too few rows
for all, details are cut short. Elsewhere, and in the JSON, nothing is left out. Colour is for terminals, and not
for one where NO_COLOR is set.

Exit status: 0 the hook is live, 1 an error, 2 wrong usage, 4 the hook is not live.`,
		Example: `  hugeguard status
  hugeguard status --watch=5          # again every 5 seconds, until Ctrl-C
  hugeguard status --json | jq '.pools[] | {node, page_kib, free}'
  hugeguard status --root host.tar    # of a captured host`,
		DisableFlagsInUseLine: true,
		Args:                  takes(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			host, err := hostAt(cmd, root)
			if err != nil {
				return err
			}
			if _, err := lookOf(io.Discard, colour); err != nil {
				return err
			}
			read := func(ctx context.Context) (status, error) {
				defer tellIfHung(cmd.ErrOrStderr())()
				s, err := readStatus(ctx, host, install.Options{Root: host.Root(), Hook: program})
				if err == nil {
					s.readRefusals(ctx, host)
				}
				return s, err
			}
			show := func(s status) (string, error) {
				if asJSON {
					var b strings.Builder
					err := printJSON(&b, s)
					return b.String(), err
				}
				l, err := lookOf(cmd.OutOrStdout(), colour)
				return s.page(l).text(), err
			}
			if cmd.Flags().Changed("watch") {
				interval, err := parseInterval(every)
				if err != nil {
					return err
				}
				interruptOf(cmd).hold() // the terminal is to be as it was
				return watch(cmd.Context(), cmd.OutOrStdout(), interval, asJSON, read, show)
			}
			s, err := read(cmd.Context())
			if err != nil {
				return err
			}
			text, err := show(s)
			if err == nil {
				_, err = io.WriteString(cmd.OutOrStdout(), text)
			}
			if err == nil && !s.Hook.Live {
				err = errNotLive
			}
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	f.StringVar(&program, "hook", "", "the hook program that should be in place (default: as for install)")
	f.StringVar(&colour, "color", "auto", "`WHEN` to use colour: auto, always or never")
	f.StringVar(&every, "watch", "", "show it again every `SECONDS` (2 if none are given), until Ctrl-C")
	f.Lookup("watch").NoOptDefVal = "2"
	cmd.MarkFlagFilename("hook")
	cmd.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("watch", cobra.NoFileCompletions)
	rootFlag(cmd, &root)
	return cmd
}

// A status is what there is to be known of a host without a domain.
type status struct {
	Hook install.State `json:"hook"`
	// Mode is the hook's, from its configuration: enforce, warn or off.
	Mode     hook.Mode          `json:"mode"`
	Settings settings           `json:"settings"`
	Pools    []guard.PoolReport `json:"pools"`
	// Starting is what domains that are starting have still to take.
	Starting []guard.StartingReport `json:"starting,omitempty"`
	// Sizes is what is known of pools without saying on which node.
	Sizes []guard.SizeReport `json:"sizes,omitempty"`
	// OVS is what Open vSwitch was told and what it holds; absent where it was not asked.
	OVS *guard.OVSReport `json:"ovs,omitempty"`
	// Unreadable is how many processes would not show what they hold.
	Unreadable int `json:"unreadable"`
	// UnreadablePIDs are these, but for a list of processes that could not be read itself.
	UnreadablePIDs []int `json:"unreadable_pids,omitempty"`
	// Cut says that not everything was looked at, for want of time mostly.
	Cut bool `json:"cut"`
	// Nova is what Nova believes of the pools; nil where there is no sign of it.
	Nova *guard.NovaReport `json:"nova,omitempty"`
	// Emulators are those that libvirt has looked at, with the releases that launches with them are judged for.
	Emulators []emulator `json:"emulators,omitempty"`
	// Refusals are the last ones that the journal has, the newest first; nil where it was not asked.
	Refusals []install.Refusal `json:"refusals"`
	// Faults are what could not be read, in words.
	Faults []string `json:"faults,omitempty"`

	surveyed bool     // the pools could be read
	unseen   []string // what was not seen of the holders, in words
}

// An emulator is a QEMU that libvirt knows.
type emulator struct {
	Path string `json:"path"`
	*guard.ReleaseReport
	releases guard.Releases
}

// readStatus reads what it can: what cannot be read is in Faults. An error means that nothing could be.
func readStatus(ctx context.Context, fs sysfs.FS, o install.Options) (status, error) {
	s := status{Pools: []guard.PoolReport{}}
	fault := func(err error) { s.Faults = append(s.Faults, oneLine(err.Error())) }

	if o.Root == "" {
		if units, err := systemd(ctx); err != nil {
			fault(err)
		} else if units != nil {
			defer units.close()
			o.Units = units
		}
	}
	var hookErr error
	if s.Hook, hookErr = install.Inspect(ctx, o); hookErr != nil {
		s.Hook.Live = false
		fault(hookErr)
	}
	config, settings := readSettings(fs)
	s.Mode, s.Settings = config.Mode, settings
	for _, e := range hook.Emulators(fs) {
		s.Emulators = append(s.Emulators, emulator{e.Path, e.Releases.Report(), e.Releases})
	}
	if hidden(fs) {
		fault(errors.New("what is for root (who holds pages, which domains are starting, the journal): run it as root"))
	}

	host, err := hook.SurveyAll(fs)
	if err != nil {
		if hookErr != nil {
			return s, err
		}
		fault(err)
		return s, nil
	}
	s.surveyed = true
	deadline := time.Now().Add(holdersDeadline)
	hook.AddHolders(fs, &host, deadline)
	if err := hook.AddStarting(fs, config, &host, guard.Domain{}); err != nil {
		fault(err)
	}
	hook.AddOVS(fs, config, &host, deadline)
	hook.AddNova(fs, config, &host, deadline)
	s.Pools, s.Unreadable, s.Cut = host.Report(), len(host.Holders.Unreadable), host.Holders.Cut
	for _, p := range host.Holders.Unreadable {
		if p.PID > 0 {
			s.UnreadablePIDs = append(s.UnreadablePIDs, p.PID)
		}
	}
	s.unseen = host.Holders.Notes()
	s.Starting, s.Sizes, s.OVS = host.StartingReport(), host.SizeReport(), host.OVSReport()
	s.Nova = host.NovaReport("")
	return s, nil
}

// readRefusals adds the last refusals, which only the journal of this host has.
func (s *status) readRefusals(ctx context.Context, fs sysfs.FS) {
	if !fs.Live() {
		return
	}
	last, err := install.Refusals(ctx, time.Time{}, manyRefusals)
	if err != nil {
		s.Faults = append(s.Faults, oneLine(err.Error()))
	}
	// What hugeguard verify had refused was no guest.
	last = slices.DeleteFunc(last, func(r install.Refusal) bool { return r.Canary })
	s.Refusals = append([]install.Refusal{}, last[:min(len(last), lastRefusals)]...)
}

// lastRefusals is how many are shown where there is room, and fewestRefusals where there is none; manyRefusals is how
// many are read, so that hugeguard verify, asked often, does not leave none.
const (
	lastRefusals   = 10
	fewestRefusals = 3
	manyRefusals   = 300
)

// page lays the status out, on one screen if it can be, with a row to spare for the prompt.
func (s status) page(l look) *page {
	p := &page{look: l}
	s.lay(p)
	if l.rows > 0 && len(p.lines) >= l.rows {
		p = &page{look: l, brief: true}
		s.lay(p)
	}
	return p
}

func (s status) lay(p *page) {
	s.hookLines(p)
	s.poolLines(p)
	s.novaLines(p)
	var emulators []string
	for _, e := range s.Emulators {
		emulators = append(emulators, fmt.Sprintf("launches with %s are judged for %s", oneLine(e.Path), e.releases))
	}
	p.details(0, emulators...)
	for _, f := range s.Faults {
		p.line(bad, 0, "could not be read: %s", f)
	}
	s.refusalLines(p)
}

// hookLines say whether the hook is live, and why not.
func (s status) hookLines(p *page) {
	h := s.Hook
	if s.Settings.ModeUnread {
		p.line(bad, 0, "mode: cannot be read in %s, so hugeguard refuses nothing: hugeguard config", oneLine(s.Settings.path))
	}
	switch {
	case h.Live && s.Mode == hook.Off:
		p.line(bad, 0, "hook: live, but told to do nothing (mode = %s): %s (layout %s)", s.Mode, oneLine(h.Path), oneLine(string(h.Layout)))
	case h.Live && s.Mode == hook.WarnOnly:
		p.line(bad, 0, "hook: live, but told to refuse nothing (mode = %s): %s (layout %s)", s.Mode, oneLine(h.Path), oneLine(string(h.Layout)))
	case h.Live:
		p.line(good, 0, "hook: live: %s (layout %s)", oneLine(h.Path), oneLine(string(h.Layout)))
	default:
		p.line(bad, 0, "hook: NOT LIVE")
	}
	for _, why := range h.Why {
		p.line(plainStyle, 2, "%s", oneLine(why))
	}
	if len(h.HooksBefore) > 0 {
		p.line(plainStyle, 2, "other hooks run before it: %s", install.Paths(h.HooksBefore))
	}
	switch {
	case h.Installed && len(h.Daemons) == 0:
		p.line(plainStyle, 2, "no libvirt daemon runs now")
	case h.Live:
		for _, d := range h.Daemons {
			p.line(plainStyle, 2, "called by %s (pid %d)", oneLine(d.Name), d.PID)
		}
	}
	for _, text := range s.Settings.lines() {
		text, inner := strings.CutPrefix(text, "  ")
		if inner {
			p.line(bad, 2, "%s", text)
		} else {
			p.line(plainStyle, 0, "%s", text)
		}
	}
}

// poolLines draw the pools, and say who holds them.
func (s status) poolLines(p *page) {
	set := map[uint64]bool{} // sizes of which there are pages
	var empty []string
	for _, pool := range s.Pools {
		set[pool.PageKiB] = set[pool.PageKiB] || pool.Total > 0
	}
	var labels, counts []string
	var shown []guard.PoolReport
	for _, pool := range s.Pools {
		if size := guard.Size(pool.PageKiB); !set[pool.PageKiB] {
			if !slices.Contains(empty, size) {
				empty = append(empty, size)
			}
			continue
		}
		count := fmt.Sprintf("%d of %d free", pool.Free, pool.Total)
		if pool.Surplus > 0 {
			count += fmt.Sprintf(", %d surplus", pool.Surplus)
		}
		shown = append(shown, pool)
		labels = append(labels, fmt.Sprintf("node %d, %s:", pool.Node, guard.Size(pool.PageKiB)))
		counts = append(counts, count)
	}
	if len(empty) > 0 && len(shown) > 0 {
		p.line(heading, 0, "huge pages of this host (none of %s):", strings.Join(empty, ", "))
	} else {
		p.line(heading, 0, "huge pages of this host:")
	}
	bar, label, count := plainBar, longest(labels), longest(counts)
	beside := true
	if p.columns > 0 {
		if bar = p.columns - (2 + label + 1 + 2 + 1 + count); bar < 10 { // "  LABEL [BAR] COUNT"
			beside, bar = false, p.columns-(4+2)
		}
		bar = min(bar, 60)
	}
	used := make([]bool, len(fills))
	for i, pool := range shown {
		shares := s.shares(pool)
		for k, n := range shares {
			used[k] = used[k] || n > 0
		}
		switch picture := p.bar(shares, bar); {
		case pool.Total == 0:
			p.line(plainStyle, 2, "%-*s none", label, labels[i])
		case beside:
			p.lines = append(p.lines, fmt.Sprintf("  %-*s %s %*s", label, labels[i], picture, count, counts[i]))
		default:
			p.words(plainStyle, 2, []string{labels[i], counts[i]})
			p.lines = append(p.lines, "    "+picture)
		}
		p.holders(pool)
	}
	switch {
	case !s.surveyed:
		p.line(bad, 2, "not known")
	case len(shown) == 0:
		p.line(plainStyle, 2, "none are set up")
	}
	if len(shown) > 0 {
		var legend []string
		for i, f := range fills {
			if used[i] {
				legend = append(legend, p.mark(f)+" "+f.name+" ")
			}
		}
		p.words(faint, 2, legend)
	}
	var starting []string
	for _, guest := range s.Starting {
		starting = append(starting, guest.String())
	}
	p.details(2, starting...)
	for _, size := range s.Sizes {
		p.line(plainStyle, 2, "%s", size)
	}
	if s.OVS != nil {
		p.details(2, s.OVS.String())
	}
	for _, note := range s.unseen {
		p.line(bad, 2, "%s", note)
	}
}

func longest(texts []string) int {
	n := 0
	for _, text := range texts {
		n = max(n, len(text))
	}
	return n
}

// shares divides a pool as its bar does, into what fills are for. Of the free pages those are drawn as
// reserved that must lie on the node: for which the other nodes have no room. A page that is claimed and
// reserved is drawn as claimed.
func (s status) shares(pool guard.PoolReport) []uint64 {
	by := map[fill]uint64{}
	for _, h := range pool.Holders {
		by[holderFill(h.Kind)] += h.Pages
	}
	if pool.Unaccounted != nil {
		by[fillUnaccounted] = *pool.Unaccounted
	}
	reserved := uint64(0)
	for _, size := range s.Sizes {
		if size.PageKiB == pool.PageKiB {
			reserved = size.Reserved
		}
	}
	for _, other := range s.Pools {
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

// holders says who holds a pool: on a terminal in a few lines at the most, with the rest as a number.
func (p *page) holders(pool guard.PoolReport) {
	most := 3
	switch {
	case p.brief:
		most = 1
	case p.columns < 60:
		most = 5
	}
	words := func(named int) []string {
		var each []string
		for _, h := range pool.Holders[:named] {
			each = append(each, h.String())
		}
		if rest := pool.Holders[named:]; len(rest) > 0 {
			var pages uint64
			for _, h := range rest {
				pages += h.Pages
			}
			each = append(each, fmt.Sprintf("%d more with %d", len(rest), pages))
		}
		if len(each) > 0 {
			each[0] = "held: " + each[0]
		}
		if pool.Unaccounted != nil && *pool.Unaccounted > 0 {
			each = append(each, fmt.Sprintf("unaccounted: %d", *pool.Unaccounted))
		}
		for i := range max(len(each), 1) - 1 {
			each[i] += ","
		}
		return each
	}
	named := len(pool.Holders)
	if p.columns > 0 {
		for named = min(named, most*p.columns); named > 0 && len(p.wrap(words(named), 4)) > most; {
			named--
		}
	}
	if all := words(named); len(all) > 0 {
		p.words(plainStyle, 4, all)
	}
}

// novaLines say what Nova believes of each pool, and how far that is from what is.
func (s status) novaLines(p *page) {
	if len(s.Nova.Lines()) == 0 {
		return
	}
	p.line(heading, 0, "what Nova believes:")
	for _, pool := range s.Nova.Pools {
		text := fmt.Sprintf("node %d, %s: reserves %d, counts %d, believes %d free; ", pool.Node, guard.Size(pool.PageKiB), pool.Reserved, pool.Instances, pool.Free)
		switch {
		case pool.Drift > 0:
			p.line(bad, 2, "%sdrift %d", text, pool.Drift)
		case pool.Drift < 0:
			p.line(plainStyle, 2, "%sno drift, %d to spare", text, -pool.Drift)
		default:
			p.line(plainStyle, 2, "%sno drift", text)
		}
	}
	others := *s.Nova
	others.Pools = nil
	p.details(2, others.Lines()...)
}

// refusalLines show the last refusals, each on a line, as many as the screen has room for.
func (s status) refusalLines(p *page) {
	most := lastRefusals
	if p.rows > 0 {
		most = max(fewestRefusals, p.rows-len(p.lines)-2) // the heading, and the prompt below it all
	}
	shown := s.Refusals[:min(len(s.Refusals), most)]
	if len(shown) == 0 {
		return
	}
	p.line(heading, 0, "last refusals:")
	for _, r := range shown {
		what := cmp.Or(r.Cause, r.Decision)
		if r.Would {
			what += " (it went on)"
		}
		p.short(plainStyle, 2, "%s %s: %s: %s", r.Time.Local().Format("Jan _2 15:04:05"), r.Domain, what, r.Summary)
	}
}
