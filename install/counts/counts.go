// Package counts keeps how often the hook had something to say.
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

// Other is what Counts has for a cause that this version does not know.
const Other guard.Cause = "other"

// Counts is how often the hook had something to say, by what it wrote to the journal. The journal forgets, so
// the counts are kept, with the entry that was counted last: they never fall, whatever becomes of the journal,
// and no entry counts twice. Starts that were made to see whether the hook is called do not count.
type Counts struct {
	// Refused is the starts that were refused, and Would those that would have been, but for mode = warn or
	// an exemption. Both have all of guard's causes, and Other.
	Refused map[guard.Cause]uint64 `json:"refused"`
	Would   map[guard.Cause]uint64 `json:"would_refuse"`
	// Warned is the starts that went on with a warning.
	Warned uint64 `json:"warned"`
	// Faults is what the hook said of itself: that it could not judge a start, or follow its configuration.
	Faults uint64 `json:"faults"`
	// Cursor is the journal's name for the last entry that is counted, "" for none.
	Cursor string `json:"cursor"`
}

func newCounts() Counts {
	c := Counts{Refused: map[guard.Cause]uint64{}, Would: map[guard.Cause]uint64{}}
	for _, cause := range append(guard.Causes(), Other) {
		c.Refused[cause], c.Would[cause] = 0, 0
	}
	return c
}

// Read returns the counts of this host as they were kept, brought up to date by the journal. They are nil
// where neither can be read. An error is about what could not be read; the counts beside it are what could.
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

// errUnread is that there may be counts which could not be read this time: they must not be begun anew for it.
var errUnread = errors.New("the counts could not be read")

// read reads what is kept; a file that does not say what it should is as good as none.
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
		err = fmt.Errorf("%s: %q is no cursor of the journal", name, counts.Cursor[:min(len(counts.Cursor), 400)])
	}
	if err != nil {
		return newCounts(), false, fmt.Errorf("the counts begin anew: %w", err)
	}
	return counts, true, nil
}

// isCursor says whether text looks like a cursor, so that journalctl will take it (journal_cursor in systemd's
// sd-journal.c: KEY=VALUE; and so on).
func isCursor(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && r != '=' && r != ';'
	})
}

// fields are the fields by which an entry counts.
var fields = []string{"PRIORITY", "HUGEGUARD_DECISION", "HUGEGUARD_CAUSE", "HUGEGUARD_CANARY"}

// update counts what the journal has after the cursor. Where the entry of the cursor is gone, journalctl goes to
// the one that followed it: by its number, else by its time.
func (c *Counts) update(ctx context.Context, j journal.Journal) error {
	last := c.Cursor
	args := []string{"_TRANSPORT=journal"} // nothing that a service of that name printed
	if last != "" {
		// --after-cursor passes over an entry even if it is another (systemd before 253).
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

// sameEntry says whether two cursors are of one entry, be it in two files: an entry keeps its boot, times and
// hash where journald moves it from /run to /var/log.
func sameEntry(a, b string) bool {
	return b != "" && slices.Equal(entryOf(a), entryOf(b))
}

// entryOf is a cursor without the file (s) and the entry's number in it (i).
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
		// journal.PriErr is 3: an entry of less weight is of a start that went on.
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
