package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hugeguard/guard"
	"hugeguard/hook/config"
	"hugeguard/install/atomicfile"
	"hugeguard/install/counts"
	"hugeguard/install/status"
)

func newMetrics() *cobra.Command {
	var root, program, output string
	cmd := &cobra.Command{
		Use:   "metrics [--root DIR|FILE.tar] [--output FILE.prom]",
		Short: "Print this host's huge pages, who holds them and what was refused, for Prometheus",
		Long: `Print this host's huge pages, who holds them, what Nova believes of them, whether the hook is live, and how many
starts were refused, in Prometheus's text format. Pages are counted in pages of their size.

With --output they are written to a file for node_exporter's textfile collector, at once and as a whole. What is
counted from the journal is then kept in /var/lib/hugeguard, so that it never falls, whatever the journal forgets.
The packages have a timer that does so every minute: hugeguard-metrics.timer.

With --root nothing is counted from the journal.

Exit status: 0 it is done, 1 an error, 2 wrong usage.`,
		Example: `  hugeguard metrics
  hugeguard metrics --output /var/lib/prometheus/node-exporter/hugeguard.prom`,
		DisableFlagsInUseLine: true,
		Args:                  takes(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			host, err := hostAt(cmd, root)
			if err != nil {
				return err
			}
			note := func(text string) { fmt.Fprintf(cmd.ErrOrStderr(), "hugeguard: %s\n", oneLine(text)) }
			defer tellIfHung(cmd.ErrOrStderr())()
			s, err := status.Read(cmd.Context(), host, program, holdersDeadline)
			if err != nil {
				return err
			}
			var counted *counts.Counts
			if root == "" {
				ctx, cancel := context.WithTimeout(cmd.Context(), countPatience)
				defer cancel()
				if counted, err = counts.Read(ctx); err != nil {
					s.Faults = append(s.Faults, err.Error())
				}
			}
			for _, fault := range s.Faults {
				note("could not be read: " + fault)
			}
			var text bytes.Buffer
			exposition{&text}.status(s, time.Now())
			if counted != nil {
				exposition{&text}.counts(*counted)
			}
			if output == "" {
				_, err = text.WriteTo(cmd.OutOrStdout())
				return err
			}
			if err := atomicfile.Write(output, text.Bytes(), 0o644); err != nil {
				return err
			}
			if counted != nil {
				return counted.Keep()
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&output, "output", "", "write `FILE`, which node_exporter's textfile collector reads if it ends in .prom")
	f.StringVar(&program, "hook", "", "the hook program that should be in place (default: as for install)")
	cmd.MarkFlagFilename("output", "prom")
	cmd.MarkFlagFilename("hook")
	rootFlag(cmd, &root)
	return cmd
}

// countPatience is how long the journal may take: the timer comes again in a minute.
var countPatience = 10 * time.Second

// An exposition writes Prometheus's text format, version 0.0.4. It is written here because the library for it
// brings protobuf along, for these few lines. What it says is checked with Prometheus's own tools
// (testdata/prometheus). No label has a value that others can choose, and none has many.
type exposition struct{ w io.Writer }

// family begins the samples of one name.
func (e exposition) family(name, kind, help string) {
	fmt.Fprintf(e.w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// sample writes one sample of a family, with labels in pairs of name and value.
func (e exposition) sample(name, value string, labels ...string) {
	var pairs []string
	for i := 0; i+1 < len(labels); i += 2 {
		pairs = append(pairs, labels[i]+`="`+labelEscape.Replace(labels[i+1])+`"`)
	}
	if len(pairs) > 0 {
		name += "{" + strings.Join(pairs, ",") + "}"
	}
	fmt.Fprintf(e.w, "%s %s\n", name, value)
}

var labelEscape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

func number[T int | int64 | uint64](n T) string { return fmt.Sprint(n) }

func truth(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// gauge writes a family of one sample.
func (e exposition) gauge(name, help, value string) {
	e.family(name, "gauge", help)
	e.sample(name, value)
}

// each writes a family of one sample for each of some things that have labels; none for none of them.
func each[T any](e exposition, name, kind, help string, things []T, labels func(T) []string, value func(T) string) {
	for i, thing := range things {
		if i == 0 {
			e.family(name, kind, help)
		}
		e.sample(name, value(thing), labels(thing)...)
	}
}

func kibLabel(kib uint64) []string { return []string{"page_kib", strconv.FormatUint(kib, 10)} }

func nodeLabels(node int, kib uint64) []string {
	return append([]string{"node", strconv.Itoa(node)}, kibLabel(kib)...)
}

// status writes what the host is like now.
func (e exposition) status(s status.Report, now time.Time) {
	e.family("hugeguard_build_info", "gauge", "The version of the command that wrote this, as a label.")
	e.sample("hugeguard_build_info", "1", "version", version())
	e.gauge("hugeguard_survey_timestamp_seconds", "When this was written, in seconds since 1970.",
		strconv.FormatFloat(float64(now.UnixMilli())/1000, 'f', 3, 64))
	e.gauge("hugeguard_survey_faults", "What could not be read or be believed, by the number of messages on standard error.", number(len(s.Faults)))
	e.gauge("hugeguard_survey_cut", "Whether not everybody who may hold huge pages was looked at, for want of time.", truth(s.Cut))
	e.gauge("hugeguard_unreadable_processes", "Processes that would not show what they hold: more may be held than is seen.", number(s.Unreadable))

	e.gauge("hugeguard_hook_live", "Whether libvirt calls the hook, as far as files and processes tell.", truth(s.Hook.Live))
	e.gauge("hugeguard_hook_others_after", "Other qemu hooks that libvirt runs after hugeguard's: where there are any, it warns of a shortage and does not refuse.",
		number(len(s.Hook.HooksAfter)))
	e.family("hugeguard_hook_mode", "gauge", "What the hook does about a start that must fail: 1 for the mode that it has.")
	for _, mode := range []config.Mode{config.Enforce, config.WarnOnly, config.Off} {
		e.sample("hugeguard_hook_mode", truth(s.Mode == mode), "mode", string(mode))
	}
	e.gauge("hugeguard_config_wrong_lines", "Lines of /etc/hugeguard.conf that make no sense and are not followed.", number(len(s.Settings.Wrong)))

	pool := func(name, help string, value func(guard.PoolReport) string) {
		each(e, name, "gauge", help, s.Pools, func(p guard.PoolReport) []string { return nodeLabels(p.Node, p.PageKiB) }, value)
	}
	pool("hugeguard_pool_pages", "Huge pages of a node, surplus ones included.", func(p guard.PoolReport) string { return number(p.Total) })
	pool("hugeguard_pool_free_pages", "Huge pages of a node that nobody has taken.", func(p guard.PoolReport) string { return number(p.Free) })
	pool("hugeguard_pool_surplus_pages", "Huge pages of a node that overcommit added.", func(p guard.PoolReport) string { return number(p.Surplus) })
	pool("hugeguard_pool_claimed_pages", "Free huge pages that guests which are starting will take, and can take on no other node.",
		func(p guard.PoolReport) string { return number(p.Claimed) })
	type share struct {
		guard.PoolReport
		kind  guard.HolderKind
		pages uint64
	}
	var shares []share
	var looked []guard.PoolReport
	for _, p := range s.Pools {
		if p.Unaccounted == nil {
			continue
		}
		looked = append(looked, p)
		for _, kind := range []guard.HolderKind{guard.HolderOVS, guard.HolderGuest, guard.HolderProcess, guard.HolderFile} {
			held := share{p, kind, 0}
			for _, h := range p.Holders {
				if h.Kind == kind {
					held.pages += h.Pages
				}
			}
			shares = append(shares, held)
		}
	}
	each(e, "hugeguard_pool_held_pages", "gauge", "Huge pages of a node by who holds them: Open vSwitch (ovs), libvirt guests, other processes, and files that nobody uses.",
		shares, func(h share) []string { return append(nodeLabels(h.Node, h.PageKiB), "kind", string(h.kind)) }, func(h share) string { return number(h.pages) })
	each(e, "hugeguard_pool_unaccounted_pages", "gauge", "Huge pages of a node that are taken and that nobody is seen to hold there, those of hugeguard_unplaced_pages among them.",
		looked, func(p guard.PoolReport) []string { return nodeLabels(p.Node, p.PageKiB) }, func(p guard.PoolReport) string { return number(*p.Unaccounted) })

	var sizes []guard.SizeReport
	for _, p := range looked {
		if n := len(sizes); n == 0 || sizes[n-1].PageKiB != p.PageKiB {
			sizes = append(sizes, guard.SizeReport{PageKiB: p.PageKiB})
		}
	}
	for i := range sizes {
		for _, known := range s.Sizes {
			if known.PageKiB == sizes[i].PageKiB {
				sizes[i] = known
			}
		}
	}
	size := func(name, help string, value func(guard.SizeReport) string) {
		each(e, name, "gauge", help, sizes, func(r guard.SizeReport) []string { return kibLabel(r.PageKiB) }, value)
	}
	size("hugeguard_promised_pages", "Free huge pages, of any node, that the kernel has promised to mappings which have not touched them yet (resv_hugepages).",
		func(r guard.SizeReport) string { return number(r.Reserved) })
	size("hugeguard_unplaced_pages", "Huge pages whose holder is known and whose node is not.", func(r guard.SizeReport) string {
		var pages uint64
		for _, h := range r.Unplaced {
			pages += h.Pages
		}
		return number(pages)
	})
	if s.Nova != nil {
		e.nova(*s.Nova)
	}
}

// nova writes what Nova believes.
func (e exposition) nova(n guard.NovaReport) {
	e.gauge("hugeguard_nova_known", "Whether it is known which huge pages Nova reserves, on a host with signs of Nova.", truth(len(n.Files) > 0 && n.Fault == ""))
	e.gauge("hugeguard_nova_stale", "Whether nova-compute runs since before its configuration was changed.", truth(n.Stale != ""))
	belief := func(name, help string, value func(guard.NovaPool) string) {
		each(e, name, "gauge", help, n.Pools, func(p guard.NovaPool) []string { return nodeLabels(p.Node, p.PageKiB) }, value)
	}
	belief("hugeguard_nova_reserved_pages", "Huge pages of a node that Nova keeps back from its instances (reserved_huge_pages).",
		func(p guard.NovaPool) string { return number(p.Reserved) })
	belief("hugeguard_nova_instance_pages", "Huge pages of a node that Nova counts for its instances, whether they run or not.",
		func(p guard.NovaPool) string { return number(p.Instances) })
	belief("hugeguard_nova_believed_free_pages", "Huge pages of a node that Nova believes to be free.",
		func(p guard.NovaPool) string { return number(p.Free) })
	belief("hugeguard_nova_drift_pages", "Huge pages of a node that are taken by others than Nova's instances beyond what Nova reserves; below 0 fewer are taken than it allows for.",
		func(p guard.NovaPool) string { return number(p.Drift) })
	belief("hugeguard_nova_unreserved_pages", "Huge pages of a node that Open vSwitch and other processes hold, or Open vSwitch was told to take, and that Nova does not reserve: what hugeguard reserve would add.",
		func(p guard.NovaPool) string { return number(p.Unreserved) })
}

// counts writes what was counted from the journal.
func (e exposition) counts(c counts.Counts) {
	starts := func(name, help string, of map[guard.Cause]uint64) {
		each(e, name, "counter", help, append(guard.Causes(), counts.Other),
			func(cause guard.Cause) []string { return []string{"cause", string(cause)} },
			func(cause guard.Cause) string { return number(of[cause]) })
	}
	starts("hugeguard_refusals_total", "Starts of guests that were refused, by cause.", c.Refused)
	starts("hugeguard_would_refuse_total", "Starts of guests that went on, by mode = warn or being exempt, by the cause for which they would have been refused.", c.Would)
	e.family("hugeguard_warnings_total", "counter", "Starts of guests that went on with a warning.")
	e.sample("hugeguard_warnings_total", number(c.Warned))
	e.family("hugeguard_faults_total", "counter", "Messages of the hook about itself: a start that it could not judge, a configuration that it cannot follow.")
	e.sample("hugeguard_faults_total", number(c.Faults))
}
