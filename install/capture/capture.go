// Package capture takes what a verdict needs of a host, and nothing else, into one archive, from which the same is said
// on any machine, also of a domain that the host never had.
//
// What that is, is not listed anywhere: the host is surveyed as for a verdict, and what is read meanwhile is recorded
// ([sysfs.Recorder]). Of each file only what its reader makes use of is kept ([sysfs.Reducer]).
package capture

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"time"

	"hugeguard/guard"
	"hugeguard/guard/ovs"
	"hugeguard/hook/survey"
	"hugeguard/hook/survey/vswitch"
	"hugeguard/install/place"
	"hugeguard/sysfs"
)

// Take captures a host, or a captured one again, which makes no difference. An error means that there is nothing to
// judge by.
func Take(ctx context.Context, host sysfs.FS, o Options) (*Capture, error) {
	began := time.Now()
	t := taker{host: host, reducer: sysfs.NewReducer(survey.Reductions), files: map[string]file{}, faults: map[string]error{}}
	found, domains, err := t.survey(ctx, o)
	if err != nil {
		return nil, err
	}
	c := Capture{files: t.files}
	if host.Live() && os.Geteuid() != 0 {
		c.note("taken without root: it lacks the holders of pages, and what only root can read")
	}
	if found.Holders.Cut {
		c.note("some things were not read in time")
	}
	c.noteAll(t.faults)
	seen := c.prune()
	err = c.answers(host, found, o)
	if err != nil {
		return nil, err
	}
	c.about(host, o, began, domains, seen)
	return &c, nil
}

// noteAll notes what is wrong with files, up to a bound.
func (c *Capture) noteAll(faults map[string]error) {
	const most = 50
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		n := len(c.Notes)
		if n >= most {
			c.note("and %d more like these", len(faults)-n)
			return
		}
		c.note("%v", faults[name])
	}
}

// answers adds what is no file on a host.
func (c *Capture) answers(host sysfs.FS, found guard.Host, o Options) error {
	if host.Live() && found.OVS != nil {
		text, err := ovs.Answer(found.OVS.Config)
		if err != nil {
			return err
		}
		c.files[vswitch.Captured] = file{data: text}
	}
	if host.Live() && found.OVS != nil && found.OVS.Use != nil {
		text, err := ovs.UseAnswer(found.OVS.Use)
		if err != nil {
			return err
		}
		c.files[vswitch.CapturedUse] = file{data: text}
	}
	text, err := json.Marshal(o.State)
	c.files[place.CapturedState] = file{data: append(text, '\n')}
	return err
}
