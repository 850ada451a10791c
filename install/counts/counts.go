// Package counts counts what the hook wrote to the journal, for metrics that never fall.
package counts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"hugeguard/guard"
	"hugeguard/install/atomicfile"
	"hugeguard/install/journal"
)

// File keeps [Counts] from one run to the next.
const File = "/var/lib/hugeguard/metrics.json"

// Other stands for a cause that this version does not know.
const Other guard.Cause = "other"

// Counts are how often the hook wrote to the journal, by subject. The journal forgets, so the counts are kept in a file
// with the entry that was counted last: they never fall, and no entry counts twice. Starts of hugeguard verify do not
// count.
type Counts struct {
	// Refused are the starts that were refused, and Would those that mode = warn or an exemption allowed. Both have all
	// of guard's causes, and Other.
	Refused map[guard.Cause]uint64 `json:"refused"`
	Would   map[guard.Cause]uint64 `json:"would_refuse"`
	// Warned are the starts that were allowed with a warning.
	Warned uint64 `json:"warned"`
	// Faults are the hook's messages about itself: that it could not judge a start, or follow its configuration.
	Faults uint64 `json:"faults"`
	// Cursor is the journal's name of the last entry that was counted; "" for none.
	Cursor string `json:"cursor"`
}

func newCounts() Counts {
	c := Counts{Refused: map[guard.Cause]uint64{}, Would: map[guard.Cause]uint64{}}
	for _, cause := range append(guard.Causes(), Other) {
		c.Refused[cause], c.Would[cause] = 0, 0
	}
	return c
}

// Read returns the counts of this host as they were kept, brought up to date from the journal. They are nil if neither
// can be read. If one cannot, it returns an error and the counts from the other.
func Read(ctx context.Context) (*Counts, error) {
	counts, kept, err := read(File)
	if errors.Is(err, errUnread) {
		return nil, err
	}
	j, journalErr := journal.Open()
	if journalErr == nil {
		journalErr = counts.update(ctx, j)
	}
	err = errors.Join(err, journalErr)
	if journalErr != nil && !kept && counts.Cursor == "" {
		return nil, err
	}
	return &counts, err
}

// Keep keeps the counts for the next run. Only root can.
func (c *Counts) Keep() error {
	if old, kept, err := read(File); err == nil && kept && old.Cursor == c.Cursor {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(File), 0o755); err != nil {
		return err
	}
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(File, append(data, '\n'), 0o644)
}

// errUnread is wrapped by the error of counts that may exist but could not be read this time: they must not start again
// from nothing.
var errUnread = errors.New("the counts could not be read")

// read reads the counts that were kept; kept is false if there are none, or the file makes no sense.
func read(name string) (counts Counts, kept bool, err error) {
	counts = newCounts()
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return counts, false, nil
	}
	if err != nil {
		return newCounts(), false, fmt.Errorf("%w: %w", errUnread, err)
	}
	err = json.Unmarshal(data, &counts)
	switch {
	case err != nil:
		err = fmt.Errorf("%s: %w", name, err)
	case counts.Refused == nil || counts.Would == nil:
		err = fmt.Errorf("%s: it has no counts", name)
	case !isCursor(counts.Cursor):
		err = fmt.Errorf("%s: %q is not a journal cursor", name, counts.Cursor[:min(len(counts.Cursor), 400)])
	}
	if err != nil {
		return newCounts(), false, fmt.Errorf("the counts start again at zero: %w", err)
	}
	return counts, true, nil
}

// isCursor reports whether text looks like a cursor that journalctl will accept (sd_journal_get_cursor in systemd's
// sd-journal.c: KEY=VALUE;...).
func isCursor(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && r != '=' && r != ';'
	})
}

// fields are the fields by which an entry counts.
var fields = []string{"PRIORITY", "HUGEGUARD_DECISION", "HUGEGUARD_CAUSE", "HUGEGUARD_CANARY"}

// update counts the entries of the journal after the cursor. If the cursor's entry is gone, journalctl begins with the
// one that followed it, by its number or else by its time.
func (c *Counts) update(ctx context.Context, j journal.Journal) error {
	last := c.Cursor
	args := []string{"_TRANSPORT=journal"} // not what a service of that name printed
	if last != "" {
		// --after-cursor skips an entry even if it is another one (systemd before 253).
		args = append(args, "--cursor="+last)
	}
	return j.Read(ctx, fields, args, func(e journal.Entry) error {
		cursor := e.Text("__CURSOR")
		if cursor == "" || !isCursor(cursor) {
			return errors.New("it has no __CURSOR")
		}
		if !sameEntry(cursor, last) {
			c.add(e)
		}
		c.Cursor, last = cursor, ""
		return nil
	})
}

// sameEntry reports whether two cursors are of the same entry, even in two files: an entry keeps its boot, times and
// hash when journald moves it from /run to /var/log.
func sameEntry(a, b string) bool {
	return b != "" && slices.Equal(entryOf(a), entryOf(b))
}

// entryOf returns a cursor without the file (s) and the entry's number in it (i).
func entryOf(cursor string) []string {
	return slices.DeleteFunc(strings.Split(cursor, ";"), func(part string) bool {
		return strings.HasPrefix(part, "s=") || strings.HasPrefix(part, "i=")
	})
}

// add counts one entry.
func (c *Counts) add(e journal.Entry) {
	if e.Text("HUGEGUARD_CANARY") != "" {
		return
	}
	switch guard.Decision(e.Text("HUGEGUARD_DECISION")) {
	case guard.Refuse:
		cause := guard.Cause(e.Text("HUGEGUARD_CAUSE"))
		if _, known := c.Refused[cause]; !known {
			cause = Other
		}
		// journal.PriErr is 3: an entry of lower priority is about a start that was allowed.
		if priority, err := strconv.Atoi(e.Text("PRIORITY")); err == nil && priority <= 3 {
			c.Refused[cause]++
		} else {
			c.Would[cause]++
		}
	case guard.Warn:
		c.Warned++
	default:
		c.Faults++
	}
}
