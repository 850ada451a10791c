package install

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
)

// countsFile keeps Counts from one run to the next.
const countsFile = stateDir + "/metrics.json"

// CauseOther is what Counts has for a cause that this version does not know.
const CauseOther guard.Cause = "other"

// Counts is how often the hook had something to say, by what it wrote to the journal. The journal forgets, so
// the counts are kept, with the entry that was counted last: they never fall, whatever becomes of the journal,
// and no entry counts twice. Starts that were made to see whether the hook is called do not count.
type Counts struct {
	// Refused is the starts that were refused, and Would those that would have been, but for mode = warn or
	// an exemption. Both have all of guard's causes, and CauseOther.
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
	for _, cause := range append(guard.Causes(), CauseOther) {
		c.Refused[cause], c.Would[cause] = 0, 0
	}
	return c
}

// ReadCounts returns the counts of this host as they were kept, brought up to date by the journal. They are nil
// where neither can be read. An error is about what could not be read; the counts beside it are what could.
func ReadCounts(ctx context.Context) (*Counts, error) {
	counts, kept, err := readCounts(countsFile)
	if errors.Is(err, errUnread) {
		return nil, err
	}
	program, journalErr := findJournalctl()
	if journalErr == nil {
		journalErr = counts.update(ctx, program)
	}
	if err = errors.Join(err, journalErr); journalErr != nil && !kept && counts.Cursor == "" {
		return nil, err
	}
	return &counts, err
}

// Keep keeps the counts for the next run. Only root can.
func (c *Counts) Keep() error {
	if old, kept, err := readCounts(countsFile); err == nil && kept && old.Cursor == c.Cursor {
		return nil
	}
	if err := os.MkdirAll(stateDir, 0o755); err != nil {
		return err
	}
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return WriteFile(countsFile, append(data, '\n'))
}

// errUnread is that there may be counts which could not be read this time: they must not be begun anew for it.
var errUnread = errors.New("the counts could not be read")

// readCounts reads what is kept; a file that does not say what it should is as good as none.
func readCounts(name string) (counts Counts, kept bool, err error) {
	counts = newCounts()
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return counts, false, nil
	}
	if err != nil {
		return newCounts(), false, fmt.Errorf("%w: %w", errUnread, err)
	}
	if err = json.Unmarshal(data, &counts); err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	} else if counts.Refused == nil || counts.Would == nil {
		err = fmt.Errorf("%s: it has no counts", name)
	} else if !isCursor(counts.Cursor) {
		err = fmt.Errorf("%s: %q is no cursor of the journal", name, cut(counts.Cursor, longestNote))
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

// countFields are the fields by which an entry counts.
var countFields = []string{"PRIORITY", "HUGEGUARD_DECISION", "HUGEGUARD_CAUSE", "HUGEGUARD_CANARY"}

// update counts what the journal has after the cursor. Where the entry of the cursor is gone, journalctl goes to
// the one that followed it: by its number, else by its time.
func (c *Counts) update(ctx context.Context, program string) error {
	last := c.Cursor
	args := []string{"_TRANSPORT=journal"} // nothing that a service of that name printed
	if last != "" {
		// --after-cursor passes over an entry even if it is another (systemd before 253).
		args = append(args, "--cursor="+last)
	}
	return readJournal(ctx, program, countFields, args, func(e journalEntry) error {
		cursor := e.text("__CURSOR")
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
func (c *Counts) add(e journalEntry) {
	if e.text("HUGEGUARD_CANARY") != "" {
		return
	}
	switch guard.Decision(e.text("HUGEGUARD_DECISION")) {
	case guard.Refuse:
		cause := guard.Cause(e.text("HUGEGUARD_CAUSE"))
		if _, known := c.Refused[cause]; !known {
			cause = CauseOther
		}
		// journal.PriErr is 3: an entry of less weight is of a start that went on.
		if priority, err := strconv.Atoi(e.text("PRIORITY")); err == nil && priority <= 3 {
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

// WriteFile makes data the content of a file that everybody may read: whoever opens it finds the old or the new,
// never a part. Runs at the same time do not disturb each other.
func WriteFile(name string, data []byte) (err error) {
	dir, base := filepath.Split(name)
	f, err := os.CreateTemp(filepath.Clean(dir), "."+base+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
