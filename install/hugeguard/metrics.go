package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
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
	var o metricsOptions
	cmd := &cobra.Command{
		Use:   "metrics [--root DIR|FILE.tar] [--output FILE.prom]",
		Short: "Print this host's huge pages, their holders and the refusals, for Prometheus",
		Long: `Print this host's huge pages, who holds them, what Nova believes about them, whether the hook is live, and
how many starts it refused, in Prometheus's text format. There are pages of their size, and bytes.

With --output, write them to a file for node_exporter's textfile collector, all at once. Then the counters from the
journal are kept in /var/lib/hugeguard, so that they never fall when the journal forgets. The packages have a timer
that does this every minute: hugeguard-metrics.timer.

With --root nothing is counted from the journal.

Exit status: 0 it is done, 1 an error, 2 wrong usage.`,
		Example: `  hugeguard metrics
  hugeguard metrics --output /var/lib/prometheus/node-exporter/hugeguard.prom`,
		DisableFlagsInUseLine: true,
		Args:                  takes(),
		RunE:                  func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	cmd.Flags().StringVar(&o.output, "output", "", "write `FILE`; node_exporter's textfile collector reads it if it ends in .prom")
	cmd.MarkFlagFilename("output", "prom")
	rootFlag(cmd, &o.root)
	programFlag(cmd, &o.program)
	return cmd
}

// metricsOptions are the flags of metrics.
type metricsOptions struct{ root, program, output string }

func (o metricsOptions) run(cmd *cobra.Command) error {
	host, err := hostAt(cmd, o.root)
	if err != nil {
		return err
	}
	stderr := cmd.ErrOrStderr()
	defer tellIfHung(stderr)()
	s, err := status.Read(cmd.Context(), host, o.program, holdersDeadline)
	if err != nil {
		return err
	}
	var counted *counts.Counts
	if o.root == "" {
		ctx, cancel := context.WithTimeout(cmd.Context(), countPatience)
		defer cancel()
		counted, err = counts.Read(ctx)
		if err != nil {
			s.Faults = append(s.Faults, err.Error())
		}
	}
	for _, fault := range s.Faults {
		note(stderr, "could not be read: %s", fault)
	}
	var text bytes.Buffer
	exposition{&text}.status(s, time.Now())
	if counted != nil {
		exposition{&text}.counts(*counted)
	}
	if o.output == "" {
		_, err = text.WriteTo(cmd.OutOrStdout())
		return err
	}
	if err := atomicfile.Write(o.output, text.Bytes(), 0o644); err != nil {
		return err
	}
	if counted != nil {
		return counted.Keep()
	}
	return nil
}

// countPatience is how long the journal may take: the timer runs again in a minute.
var countPatience = 10 * time.Second

// An exposition writes Prometheus's text format, version 0.0.4. The library for it would bring protobuf along, for
// these few lines. Prometheus's own tools check the output (testdata/prometheus). No label has a value that others can
// choose, and none has many values.
type exposition struct{ w io.Writer }

// labels are pairs of a name and a value.
type labels []string

// A sample is a value under labels.
type sample struct {
	labels labels
	value  any // a number
}

// is returns the sample of a number under these labels.
func (l labels) is(value any) sample { return sample{l, value} }

// family writes the samples of one name, and nothing if there are none.
func (e exposition) family(name, kind, help string, samples []sample) {
	for i, s := range samples {
		if i == 0 {
			fmt.Fprintf(e.w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
		}
		fmt.Fprintf(e.w, "%s%s %v\n", name, s.labels, s.value)
	}
}

// gauge writes a family of values that go up and down.
func (e exposition) gauge(name, help string, samples ...sample) {
	e.family(name, "gauge", help, samples)
}

// pages writes a family of pages, whose name ends in _pages, and the same in bytes, which is Prometheus's unit of memory.
// The samples have the size of the pages as a label.
func (e exposition) pages(name, help string, samples ...sample) {
	e.gauge(name, help, samples...)
	bytes := make([]sample, len(samples))
	for i, s := range samples {
		kib, err := strconv.ParseInt(s.labels[slices.Index(s.labels, pageLabel)+1], 10, 64)
		if err != nil {
			panic(err)
		}
		switch pages := s.value.(type) {
		case uint64:
			bytes[i] = s.labels.is(pages * uint64(kib) * 1024)
		case int64:
			bytes[i] = s.labels.is(pages * kib * 1024)
		default:
			panic(fmt.Sprintf("%s: %T are no pages", name, s.value))
		}
	}
	e.gauge(strings.TrimSuffix(name, "_pages")+"_bytes", "In bytes: "+help, bytes...)
}

// pageLabel is the label of a page size, in KiB.
const pageLabel = "page_kib"

// counter writes a family of values that only go up.
func (e exposition) counter(name, help string, samples ...sample) {
	e.family(name, "counter", help, samples)
}

// String returns the labels as they follow a name.
func (l labels) String() string {
	if len(l) == 0 {
		return ""
	}
	var pairs []string
	for pair := range slices.Chunk(l, 2) {
		pairs = append(pairs, pair[0]+`="`+labelEscape.Replace(pair[1])+`"`)
	}
	return "{" + strings.Join(pairs, ",") + "}"
}

var labelEscape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// one returns a sample without labels.
func one(value any) sample { return labels(nil).is(value) }

// truth returns 1 for true, 0 for false.
func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// ofSize returns the labels of a page size, and ofNode those of a pool.
func ofSize(kib uint64) labels { return labels{pageLabel, strconv.FormatUint(kib, 10)} }

func ofNode(node int, kib uint64) labels {
	return append(labels{"node", strconv.Itoa(node)}, ofSize(kib)...)
}

// status writes the present status of the host.
func (e exposition) status(s status.Report, now time.Time) {
	e.gauge("hugeguard_build_info", "The version of the command that wrote this, as a label.", labels{"version", version()}.is(1))
	e.gauge("hugeguard_survey_timestamp_seconds", "When this was written, in seconds since 1970.",
		one(strconv.FormatFloat(float64(now.UnixMilli())/1000, 'f', 3, 64)))
	e.gauge("hugeguard_survey_faults", "Things that could not be read or were not plausible, as the number of messages on standard error.", one(len(s.Faults)))
	e.gauge("hugeguard_survey_cut", "Whether some possible holders of huge pages were not examined in time.", one(truth(s.Cut)))
	e.gauge("hugeguard_unreadable_processes", "Processes that could not be read: they may hold more pages.", one(s.Unreadable))

	e.gauge("hugeguard_hook_denied", "Whether SELinux, AppArmor or a mount without exec denies the daemon to execute the hook, so that it is not in place.", one(truth(s.Hook.Denied != "")))
	e.gauge("hugeguard_hook_live", "Whether libvirt calls the hook, as far as files and processes show.", one(truth(s.Hook.Live)))
	e.gauge("hugeguard_hook_placed", "Whether somebody installed the hook and nobody uninstalled it since, so that it ought to be live.", one(truth(s.Hook.Placed)))
	e.gauge("hugeguard_hook_others_after", "Other qemu hooks that libvirt runs after hugeguard's: if there are any, it warns of a shortage and does not refuse.",
		one(len(s.Hook.HooksAfter)))
	var modes []sample
	for _, mode := range []config.Mode{config.Enforce, config.WarnOnly, config.Off} {
		modes = append(modes, labels{"mode", string(mode)}.is(truth(s.Mode == mode)))
	}
	e.gauge("hugeguard_hook_mode", "What the hook does about a start that must fail: 1 for the mode in effect.", modes...)
	e.gauge("hugeguard_config_wrong_lines", "Lines of /etc/hugeguard.conf that hugeguard ignores because they are wrong.", one(len(s.Settings.Wrong)))
	e.pools(s.Pools)
	e.holders(s.Pools)
	e.sizes(s)
	if s.Nova != nil {
		e.nova(*s.Nova)
	}
}

// pools writes how many pages there are.
func (e exposition) pools(pools []guard.PoolReport) {
	var total, free, surplus, claimed []sample
	for _, p := range pools {
		at := ofNode(p.Node, p.PageKiB)
		total, free = append(total, at.is(p.Total)), append(free, at.is(p.Free))
		surplus, claimed = append(surplus, at.is(p.Surplus)), append(claimed, at.is(p.Claimed))
	}
	e.pages("hugeguard_pool_pages", "Huge pages of a node, surplus ones included.", total...)
	e.pages("hugeguard_pool_free_pages", "Free huge pages of a node.", free...)
	e.pages("hugeguard_pool_surplus_pages", "Huge pages of a node that overcommit added.", surplus...)
	e.pages("hugeguard_pool_claimed_pages", "Free huge pages that starting guests will take, and can take on no other node.", claimed...)
}

// holders writes who holds the pages, of pools whose holders were examined.
func (e exposition) holders(pools []guard.PoolReport) {
	var held, unaccounted []sample
	for _, p := range pools {
		if p.Unaccounted == nil {
			continue
		}
		at := ofNode(p.Node, p.PageKiB)
		pages := map[guard.HolderKind]uint64{}
		for _, h := range p.Holders {
			pages[h.Kind] += h.Pages
		}
		for _, kind := range []guard.HolderKind{guard.HolderOVS, guard.HolderGuest, guard.HolderProcess, guard.HolderFile} {
			held = append(held, slices.Concat(at, labels{"kind", string(kind)}).is(pages[kind]))
		}
		unaccounted = append(unaccounted, at.is(*p.Unaccounted))
	}
	e.pages("hugeguard_pool_held_pages", "Huge pages of a node by holder: Open vSwitch (ovs), libvirt guests, other processes, and leftover files.", held...)
	e.pages("hugeguard_pool_unaccounted_pages", "Huge pages of a node that are taken and unexplained, including those of hugeguard_unplaced_pages.", unaccounted...)
}

// sizes writes what is known about pages of a size without knowing their node, of sizes whose holders were examined.
func (e exposition) sizes(s status.Report) {
	var promised, unplaced []sample
	var last uint64
	for _, p := range s.Pools {
		if p.Unaccounted == nil || p.PageKiB == last {
			continue
		}
		last = p.PageKiB
		var size guard.SizeReport
		for _, known := range s.Sizes {
			if known.PageKiB == p.PageKiB {
				size = known
			}
		}
		var pages uint64
		for _, h := range size.Unplaced {
			pages += h.Pages
		}
		promised = append(promised, ofSize(p.PageKiB).is(size.Reserved))
		unplaced = append(unplaced, ofSize(p.PageKiB).is(pages))
	}
	e.pages("hugeguard_promised_pages", "Free huge pages, on any node, that the kernel promised to mappings that have not touched them yet (resv_hugepages).", promised...)
	e.pages("hugeguard_unplaced_pages", "Huge pages with a known holder and an unknown node.", unplaced...)
}

// nova writes what Nova believes about the pools.
func (e exposition) nova(n guard.NovaReport) {
	e.gauge("hugeguard_nova_known", "Whether hugeguard knows which huge pages Nova reserves, on a host with signs of Nova.", one(truth(len(n.Files) > 0 && n.Fault == "")))
	e.gauge("hugeguard_nova_stale", "Whether nova-compute was started before its configuration was changed.", one(truth(n.Stale != "")))
	var reserved, instances, free, drift, unreserved []sample
	for _, p := range n.Pools {
		at := ofNode(p.Node, p.PageKiB)
		reserved, instances = append(reserved, at.is(p.Reserved)), append(instances, at.is(p.Instances))
		if p.Free != nil && p.Drift != nil {
			free, drift = append(free, at.is(*p.Free)), append(drift, at.is(*p.Drift))
		}
		unreserved = append(unreserved, at.is(p.Unreserved))
	}
	e.pages("hugeguard_nova_reserved_pages", "Huge pages of a node that Nova keeps back from its instances (reserved_huge_pages).", reserved...)
	e.pages("hugeguard_nova_instance_pages", "Huge pages of a node that Nova counts for its instances, whether they run or not.", instances...)
	e.pages("hugeguard_nova_believed_free_pages", "Huge pages of a node that Nova believes to be free.", free...)
	e.pages("hugeguard_nova_drift_pages", "Huge pages of a node used outside Nova minus the pages reserved for that; below 0 if Nova reserves more than is used.", drift...)
	e.pages("hugeguard_nova_unreserved_pages", "Huge pages of a node that Open vSwitch and other processes hold, or Open vSwitch was told to take, and that Nova does not reserve: what hugeguard reserve would add.", unreserved...)
}

// counts writes what was counted from the journal.
func (e exposition) counts(c counts.Counts) {
	var refused, would []sample
	for _, cause := range append(guard.Causes(), counts.Other) {
		of := labels{"cause", string(cause)}
		refused, would = append(refused, of.is(c.Refused[cause])), append(would, of.is(c.Would[cause]))
	}
	e.counter("hugeguard_refusals_total", "Starts of guests that were refused, by cause.", refused...)
	e.counter("hugeguard_would_refuse_total", "Starts of guests that were allowed only because of mode = warn or an exemption, by cause.", would...)
	e.counter("hugeguard_warnings_total", "Starts of guests that were allowed with a warning.", one(c.Warned))
	e.counter("hugeguard_faults_total", "Complaints of the hook about itself: a start that it could not judge, a configuration that it ignores.", one(c.Faults))
}
