package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"hugeguard/guard"
	"hugeguard/hook"
	"hugeguard/install"
	"hugeguard/sysfs"
)

func newStatus() *cobra.Command {
	var root, program string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [--root DIR] [--json]",
		Short: "Show the huge pages of this host, who holds them, what Nova believes, and whether the hook is live",
		Long: `Show the huge pages of this host, who holds them, what Nova believes of them, and whether the hook is live, as
far as files and processes tell.

Exit status 4 says that the hook is not live.`,
		DisableFlagsInUseLine: true,
		Args:                  takes(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			host, err := hostAt(cmd, root)
			if err != nil {
				return err
			}
			s, err := readStatus(cmd, host, install.Options{Root: root, Hook: program})
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), s)
			} else {
				err = s.print(cmd.OutOrStdout())
			}
			if err == nil && !s.Hook.Live {
				err = errNotLive
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.Flags().StringVar(&program, "hook", "", "the hook program that should be in place (default: as for install)")
	cmd.MarkFlagFilename("hook")
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
	// Faults are what could not be read, in words.
	Faults []string `json:"faults,omitempty"`

	unseen []string // what was not seen of the holders, in words
}

// An emulator is a QEMU that libvirt knows.
type emulator struct {
	Path string `json:"path"`
	*guard.ReleaseReport
	releases guard.Releases
}

// readStatus reads what it can: what cannot be read is in Faults. An error means that nothing could be.
func readStatus(cmd *cobra.Command, fs sysfs.FS, o install.Options) (status, error) {
	s := status{Pools: []guard.PoolReport{}}
	fault := func(err error) { s.Faults = append(s.Faults, oneLine(err.Error())) }

	if o.Root == "" {
		if units, err := systemd(cmd.Context()); err != nil {
			fault(err)
		} else if units != nil {
			defer units.close()
			o.Units = units
		}
	}
	var hookErr error
	if s.Hook, hookErr = install.Inspect(cmd.Context(), o); hookErr != nil {
		s.Hook.Live = false
		fault(hookErr)
	}
	config, settings := readSettings(fs)
	s.Mode, s.Settings = config.Mode, settings
	for _, e := range hook.Emulators(fs) {
		s.Emulators = append(s.Emulators, emulator{e.Path, e.Releases.Report(), e.Releases})
	}

	host, err := hook.SurveyAll(fs)
	if err != nil {
		if hookErr != nil {
			return s, err
		}
		fault(err)
		return s, nil
	}
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

func (s status) print(w io.Writer) error {
	var err error
	line := func(format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintf(w, format+"\n", args...)
		}
	}
	h := s.Hook
	switch {
	case h.Live && s.Mode == hook.Off:
		line("hook: live, but told to do nothing (mode = %s): %s (layout %s)", s.Mode, h.Path, h.Layout)
	case h.Live && s.Mode == hook.WarnOnly:
		line("hook: live, but told to refuse nothing (mode = %s): %s (layout %s)", s.Mode, h.Path, h.Layout)
	case h.Live:
		line("hook: live: %s (layout %s)", h.Path, h.Layout)
	default:
		line("hook: NOT LIVE")
	}
	for _, why := range h.Why {
		line("  %s", oneLine(why))
	}
	if h.SiteHook != "" {
		line("  the site's own hook: %s", oneLine(h.SiteHook))
	}
	switch {
	case h.Installed && len(h.Daemons) == 0:
		line("  no libvirt daemon runs now")
	case h.Live:
		for _, d := range h.Daemons {
			line("  called by %s (pid %d)", d.Name, d.PID)
		}
	}
	for _, l := range s.Settings.lines() {
		line("%s", l)
	}
	for _, e := range s.Emulators {
		line("launches with %s are judged for %s", oneLine(e.Path), e.releases)
	}
	line("huge pages of this host:")
	for _, p := range s.Pools {
		line("  %s", p)
	}
	if len(s.Pools) == 0 {
		line("  none are set up")
	}
	for _, starting := range s.Starting {
		line("  %s", starting)
	}
	for _, size := range s.Sizes {
		line("  %s", size)
	}
	if s.OVS != nil {
		line("  %s", s.OVS)
	}
	for _, note := range s.unseen {
		line("  %s", note)
	}
	if lines := s.Nova.Lines(); len(lines) > 0 {
		line("what Nova believes:")
		for _, l := range lines {
			line("  %s", l)
		}
	}
	for _, f := range s.Faults {
		line("could not be read: %s", f)
	}
	return err
}
