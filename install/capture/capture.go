// Package capture takes what a verdict needs of a host, and nothing else, into one archive, from which the same is said
// on any machine, also of a domain that the host never had.
//
// What that is, is not listed anywhere: the host is surveyed as for a verdict, and what is read meanwhile is recorded
// ([sysfs.Recorder]). Of each file only what its reader makes use of is kept ([sysfs.Reducer]).
package capture

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"hugeguard/guard"
	"hugeguard/guard/ovs"
	"hugeguard/hook/survey"
	"hugeguard/install/place"
	"hugeguard/sysfs"
)

// Options are what a capture has besides what is read below the root.
type Options struct {
	Version string      // of hugeguard
	State   place.State // of the hook
	// Patience is how long to look for the holders of pages.
	Patience time.Duration
}

// Capture is what was taken of a host.
type Capture struct {
	files map[string]file
	// Notes say what is not as complete as it should be.
	Notes []string
}

// file is one entry of the archive.
type file struct {
	dir     bool
	link    string // where a symbolic link leads: a name without a slash
	data    []byte
	changed time.Time // the zero time where it does not matter
}

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
		c.note("not taken by root: who holds pages, and what only root may read, is not in it")
	}
	if found.Holders.Cut {
		c.note("not everything was looked at, for want of time")
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

func (c *Capture) note(format string, args ...any) {
	c.Notes = append(c.Notes, fmt.Sprintf(format, args...))
}

// noteAll notes what is wrong with files, up to a bound.
func (c *Capture) noteAll(faults map[string]error) {
	const most = 50
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		n := len(c.Notes)
		if n >= most {
			c.note("and %d more of such", len(faults)-n)
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
		c.files[survey.CapturedOVS] = file{data: text}
	}
	text, err := json.Marshal(o.State)
	c.files[place.CapturedState] = file{data: append(text, '\n')}
	return err
}
