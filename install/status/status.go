// Package status reports on a host: its pools and who holds them, what Nova believes about them, and whether the hook
// is live. The command shows the report on a screen, as JSON and as metrics.
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
	"hugeguard/hook/survey/libvirt"
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
	// Starting are the pages that starting guests are still to take.
	Starting []guard.StartingReport `json:"starting,omitempty"`
	// Sizes is what is known about pages of a size without knowing their node.
	Sizes []guard.SizeReport `json:"sizes,omitempty"`
	// OVS is what Open vSwitch was told and what it holds; nil if it was not asked.
	OVS *guard.OVSReport `json:"ovs,omitempty"`
	// Unreadable is the number of processes whose pages could not be read.
	Unreadable int `json:"unreadable"`
	// UnreadablePIDs are these processes, unless the list of processes itself could not be read.
	UnreadablePIDs []int `json:"unreadable_pids,omitempty"`
	// Cut reports whether something was not examined, mostly for lack of time.
	Cut bool `json:"cut"`
	// NotKnown is the evidence that did not become known in time: holders, ovs, nova.
	NotKnown []guard.Evidence `json:"not_known,omitempty"`
	// Nova is what Nova believes about the pools; nil if there is no sign of Nova.
	Nova *guard.NovaReport `json:"nova,omitempty"`
	// Emulators are those that libvirt knows, with the releases for which launches with them are judged.
	Emulators []Emulator `json:"emulators,omitempty"`
	// Refusals are the last refusals in the journal, the newest first; nil if it was not asked.
	Refusals []journal.Refusal `json:"refusals"`
	// Faults are what could not be read, each on one line.
	Faults []string `json:"faults,omitempty"`

	// Surveyed reports whether the pools could be read.
	Surveyed bool `json:"-"`
	// Unseen is what could not be seen, in words.
	Unseen []string `json:"-"`
}

// An Emulator is a QEMU that libvirt knows.
type Emulator struct {
	Path string `json:"path"`
	*guard.ReleaseReport
	Releases guard.Releases `json:"-"`
}

// Read returns the status of a host. What cannot be read is in its Faults; an error means that nothing could be read.
// program is the hook program that should be in place, "" for the one of the running command. patience limits the
// search for holders.
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
	if host.Live() {
		for _, d := range r.Hook.Daemons {
			there, differs := DaemonSettings(daemon.On(host), daemon.Process{Name: d.Name, PID: d.PID}, conf)
			if differs != "" {
				r.Mode, r.Hook.Why = there.Mode, append(r.Hook.Why, differs)
			}
		}
	}
	for _, e := range libvirt.Emulators(host) {
		r.Emulators = append(r.Emulators, Emulator{e.Path, e.Releases.Report(), e.Releases})
	}
	if Hidden(host) {
		r.fault(errors.New("what only root can see (who holds pages, which guests are starting, the journal): run it as root"))
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
	r.NotKnown, r.Unseen = found.NotKnown, words.Unseen(found.Holders)
	if missed := words.NotKnown(found.NotKnown); missed != "" {
		r.Unseen = append(r.Unseen, missed)
	}
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
	// manyRefusals is how many are read, so that frequent runs of hugeguard verify do not hide the others.
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
	// Those of hugeguard verify are not about guests.
	last = slices.DeleteFunc(last, func(r journal.Refusal) bool { return r.Canary })
	r.Refusals = append([]journal.Refusal{}, last[:min(len(last), lastRefusals)]...)
}

// ReadOwner adds which package the hook was installed from, if it is a copy of a package's.
func (r *Report) ReadOwner(ctx context.Context, host sysfs.FS) {
	if host.Live() && r.Hook.Current != nil && *r.Hook.Current {
		r.Hook.Package = place.Owner(ctx, r.Hook.Source)
	}
}

// Hidden reports whether much of the host is hidden from the user who runs the program.
func Hidden(host sysfs.FS) bool { return host.Live() && os.Geteuid() != 0 }

// OneLine returns s on one line, which no name in it can break or turn into a terminal sequence.
func OneLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return guard.Printable(strings.Join(lines, "; "), 4000)
}
