// Package status is what there is to be known of a host without a domain: its pools and who holds them, what Nova
// believes of them, and whether the hook is live. The command shows it on a screen, as JSON and as metrics.
package status

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"hugeguard/guard"
	"hugeguard/guard/words"
	"hugeguard/hook/config"
	"hugeguard/hook/survey"
	"hugeguard/install/daemon"
	"hugeguard/install/journal"
	"hugeguard/install/place"
	"hugeguard/sysfs"
)

// A Report is the status of a host.
type Report struct {
	Hook place.State `json:"hook"`
	// Mode is the hook's, from its configuration: enforce, warn or off.
	Mode     config.Mode        `json:"mode"`
	Settings Settings           `json:"settings"`
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
	Emulators []Emulator `json:"emulators,omitempty"`
	// Refusals are the last ones that the journal has, the newest first; nil where it was not asked.
	Refusals []journal.Refusal `json:"refusals"`
	// Faults are what could not be read, each in a line of words.
	Faults []string `json:"faults,omitempty"`

	// Surveyed says that the pools could be read.
	Surveyed bool `json:"-"`
	// Unseen is what was not seen of the holders, in words.
	Unseen []string `json:"-"`
}

// An Emulator is a QEMU that libvirt knows.
type Emulator struct {
	Path string `json:"path"`
	*guard.ReleaseReport
	Releases guard.Releases `json:"-"`
}

// Read reads what it can of a host: what cannot be read is in Faults. An error means that nothing could be. program is
// the hook program that should be in place, "" for that of the running command; patience is how long it is looked for
// who holds pages.
func Read(ctx context.Context, host sysfs.FS, program string, patience time.Duration) (Report, error) {
	r := Report{Pools: []guard.PoolReport{}}
	o := place.Options{Root: host.Root(), Hook: program}
	if host.Live() {
		units, done, err := daemon.Systemd(ctx)
		defer done()
		r.fault(err)
		o.Units = units
	}
	var hookErr error
	r.Hook, hookErr = place.Inspect(ctx, o)
	if hookErr != nil {
		r.Hook.Live = false
		r.fault(hookErr)
	}
	var conf config.Config
	conf, r.Settings = ReadSettings(host)
	r.Mode = conf.Mode
	for _, e := range survey.Emulators(host) {
		r.Emulators = append(r.Emulators, Emulator{e.Path, e.Releases.Report(), e.Releases})
	}
	if Hidden(host) {
		r.fault(errors.New("what is for root (who holds pages, which domains are starting, the journal): run it as root"))
	}
	found, blind, err := survey.Full(host, survey.All, conf, time.Now().Add(patience))
	if err != nil {
		if hookErr != nil {
			return r, err
		}
		r.fault(err)
		return r, nil
	}
	r.fault(blind)
	r.add(found)
	return r, nil
}

// add adds what the survey of a host found.
func (r *Report) add(found guard.Host) {
	r.Surveyed = true
	r.Pools, r.Unreadable, r.Cut = found.Report(), len(found.Holders.Unreadable), found.Holders.Cut
	for _, p := range found.Holders.Unreadable {
		if p.PID > 0 {
			r.UnreadablePIDs = append(r.UnreadablePIDs, p.PID)
		}
	}
	r.Unseen = words.Unseen(found.Holders)
	r.Starting, r.Sizes, r.OVS = found.StartingReport(), found.SizeReport(), found.OVSReport()
	r.Nova = found.NovaReport("")
}

// fault adds an error to Faults, if it is one.
func (r *Report) fault(err error) {
	if err != nil {
		r.Faults = append(r.Faults, OneLine(err.Error()))
	}
}

const (
	// lastRefusals is how many refusals a report has.
	lastRefusals = 10
	// manyRefusals is how many are read, so that hugeguard verify, asked often, does not leave none.
	manyRefusals = 300
)

// ReadRefusals adds the last refusals, which only the journal of this host has.
func (r *Report) ReadRefusals(ctx context.Context, host sysfs.FS) {
	if !host.Live() {
		return
	}
	var last []journal.Refusal
	j, err := journal.Open()
	if err == nil {
		last, err = j.Refusals(ctx, manyRefusals)
	}
	r.fault(err)
	// What hugeguard verify had refused was no guest.
	last = slices.DeleteFunc(last, func(r journal.Refusal) bool { return r.Canary })
	r.Refusals = append([]journal.Refusal{}, last[:min(len(last), lastRefusals)]...)
}

// Hidden reports whether much of a host is not shown to whoever runs the program.
func Hidden(host sysfs.FS) bool { return host.Live() && os.Geteuid() != 0 }

// OneLine makes one line of s that no name in it can break or turn into a terminal sequence.
func OneLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return guard.Printable(strings.Join(lines, "; "), 4000)
}
