package install

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"hugeguard/guard"
)

// A Refusal is a start that the hook refused, or would have, as the journal has it. No text in it can act on
// a terminal or end a line: what the hook wrote is so already, and what is not is escaped.
type Refusal struct {
	Time time.Time `json:"time"`
	// Decision is the journal's HUGEGUARD_DECISION: refuse.
	Decision string `json:"decision"`
	// Would says that the hook was told to warn only, so that the start went on.
	Would   bool   `json:"would,omitempty"`
	Cause   string `json:"cause"` // one of guard's causes; "" where the entry has none
	Domain  string `json:"domain"`
	UUID    string `json:"uuid"`
	Summary string `json:"summary"` // what libvirt was told, one line
	// Canary says that the start was no guest's: it was made to see whether libvirt calls the hook
	// (HUGEGUARD_CANARY).
	Canary bool `json:"canary,omitempty"`
}

// ErrJournalHidden is that whoever asks may not read the system's journal.
var ErrJournalHidden = errors.New("the system's journal is shown to root and the group systemd-journal only")

// Refusals returns the last refusals since then (a zero time is since ever), at most limit of them, the
// newest first. It runs journalctl, of systemd 236 or later: the library that reads journals needs cgo.
// Entries count only as far as journald vouches that root wrote them (_UID), since everybody may write to
// the journal.
//
// An error is about what could not be read; the refusals beside it are what could.
func Refusals(ctx context.Context, since time.Time, limit int) ([]Refusal, error) {
	program, err := findJournalctl()
	if err != nil {
		return nil, err
	}
	return refusals(ctx, program, since, limit)
}

// journalctl is where the program may be: the environment does not choose what root runs.
var journalctl = []string{"/usr/bin/journalctl", "/bin/journalctl", "/run/current-system/sw/bin/journalctl"}

// findJournalctl returns the first of them that is there.
func findJournalctl() (string, error) {
	for _, program := range journalctl {
		if _, err := os.Stat(program); err == nil {
			return program, nil
		}
	}
	return "", fmt.Errorf("the journal: %w", &fs.PathError{Op: "run", Path: journalctl[0], Err: fs.ErrNotExist})
}

// journalPatience is how long journalctl may take.
var journalPatience = 10 * time.Second

const (
	// longestEntry is more than the fields asked for have in any entry of the hook's, in bytes.
	longestEntry = 1 << 20
	// longestSummary and longestField are in bytes.
	longestSummary = 2000
	longestField   = 1000
	longestNote    = 400 // of what journalctl says on standard error
)

// journalFields are the fields that a Refusal is made of, beside the time.
var journalFields = []string{"PRIORITY", "MESSAGE", "HUGEGUARD_DECISION", "HUGEGUARD_CAUSE", "HUGEGUARD_DOMAIN", "HUGEGUARD_UUID", "HUGEGUARD_CANARY"}

func refusals(ctx context.Context, program string, since time.Time, limit int) ([]Refusal, error) {
	if limit <= 0 {
		return nil, nil
	}
	args := []string{"--reverse", "--lines=" + strconv.Itoa(limit)}
	if !since.IsZero() {
		args = append(args, fmt.Sprintf("--since=@%d.%06d", since.Unix(), since.Nanosecond()/1000))
	}
	args = append(args, "HUGEGUARD_DECISION="+string(guard.Refuse))
	var list []Refusal
	err := readJournal(ctx, program, journalFields, args, func(entry journalEntry) error {
		refusal, err := parseRefusal(entry)
		if err == nil && len(list) < limit {
			list = append(list, refusal)
		}
		return err
	})
	return list, err
}

// journalEntry is an entry of the journal's JSON format (systemd.io/JOURNAL_EXPORT_FORMATS).
type journalEntry map[string]json.RawMessage

// text is a field's value.
func (e journalEntry) text(name string) string { return journalText(e[name]) }

// readJournal has journalctl print root's entries of the hook's that the arguments select, with some fields of
// each, and has each taken until one is not.
func readJournal(ctx context.Context, program string, fields, args []string, take func(journalEntry) error) error {
	ctx, cancel := context.WithTimeout(ctx, journalPatience)
	defer cancel()
	// Without --all a message of more than 4 KiB would come as null.
	args = append([]string{"--no-pager", "--all", "--output=json", "--output-fields=" + strings.Join(fields, ",")}, args...)
	cmd := exec.CommandContext(ctx, program, append(args, "SYSLOG_IDENTIFIER=hugeguard", "_UID=0")...)
	cmd.Env = []string{"LC_ALL=C"}
	cmd.WaitDelay = time.Second
	notes := &head{most: longestNote}
	cmd.Stderr = notes
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("the journal: %w", err)
	}
	readErr := readEntries(out, take)
	if readErr != nil {
		cancel() // nobody reads the rest
	}
	err = cmd.Wait()
	note, _, _ := strings.Cut(strings.TrimSpace(notes.String()), "\n")
	switch {
	case readErr != nil:
		err = readErr
	case ctx.Err() != nil:
		err = ctx.Err()
	case strings.Contains(note, "not seeing messages") || strings.Contains(note, "insufficient permissions"):
		err = ErrJournalHidden
	case note != "":
		err = errors.New(guard.Printable(note, longestNote))
	}
	if err != nil {
		err = fmt.Errorf("the journal: %s: %w", program, err)
	}
	return err
}

// readEntries reads what journalctl prints: one JSON object a line. Other lines are its remarks.
func readEntries(r io.Reader, take func(journalEntry) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longestEntry)
	for lines.Scan() {
		if !bytes.HasPrefix(lines.Bytes(), []byte("{")) {
			continue
		}
		var entry journalEntry
		err := json.Unmarshal(lines.Bytes(), &entry)
		if err == nil {
			err = take(entry)
		}
		if err != nil {
			return fmt.Errorf("an entry that is none: %q: %w", cut(lines.Text(), longestNote), err)
		}
	}
	return lines.Err()
}

// parseRefusal makes a Refusal of an entry.
func parseRefusal(entry journalEntry) (Refusal, error) {
	micros, err := strconv.ParseInt(entry.text("__REALTIME_TIMESTAMP"), 10, 64)
	if err != nil {
		return Refusal{}, fmt.Errorf("__REALTIME_TIMESTAMP: %w", err)
	}
	field := func(name string) string { return plain(entry.text(name), longestField) }
	summary, _, _ := strings.Cut(entry.text("MESSAGE"), "\n")
	summary, would := strings.CutPrefix(summary, "would refuse: ")
	return Refusal{
		Time:     time.UnixMicro(micros),
		Decision: field("HUGEGUARD_DECISION"),
		Would:    would,
		Cause:    field("HUGEGUARD_CAUSE"),
		Domain:   field("HUGEGUARD_DOMAIN"),
		UUID:     field("HUGEGUARD_UUID"),
		Summary:  plain(summary, longestSummary),
		Canary:   field("HUGEGUARD_CANARY") != "",
	}, nil
}

// journalText is a field's value: a string, the numbers of its bytes where it is no plain text, null where it
// is too long, or a list of these where the entry has the field several times, of which the first counts.
func journalText(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	var octets []uint8
	var numbers []uint16 // as bytes they would be taken for base64
	if json.Unmarshal(value, &numbers) == nil {
		for _, n := range numbers {
			octets = append(octets, uint8(n))
		}
		return string(octets)
	}
	var values []json.RawMessage
	if json.Unmarshal(value, &values) == nil && len(values) > 0 {
		// Of those a list of lists would be no field.
		return journalText(values[0])
	}
	return ""
}

// plain returns text that is printable already as it is, and any other escaped.
func plain(text string, most int) string {
	if len(text) <= most && utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return text
	}
	return guard.Printable(text, most)
}

// cut returns the first bytes of a text.
func cut(text string, most int) string { return text[:min(len(text), most)] }

// head keeps the first bytes that are written to it.
type head struct {
	bytes.Buffer
	most int
}

func (h *head) Write(p []byte) (int, error) {
	h.Buffer.Write(p[:min(len(p), h.most-h.Len())])
	return len(p), nil
}
