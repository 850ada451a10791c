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
	for _, program := range journalctl {
		if _, err := os.Stat(program); err == nil {
			return refusals(ctx, program, since, limit)
		}
	}
	return nil, fmt.Errorf("the journal: %w", &fs.PathError{Op: "run", Path: journalctl[0], Err: fs.ErrNotExist})
}

// journalctl is where the program may be: the environment does not choose what root runs.
var journalctl = []string{"/usr/bin/journalctl", "/bin/journalctl", "/run/current-system/sw/bin/journalctl"}

const (
	journalPatience = 10 * time.Second
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
	ctx, cancel := context.WithTimeout(ctx, journalPatience)
	defer cancel()
	// Without --all a message of more than 4 KiB would come as null.
	args := []string{"--no-pager", "--all", "--output=json", "--output-fields=" + strings.Join(journalFields, ","),
		"--reverse", "--lines=" + strconv.Itoa(limit)}
	if !since.IsZero() {
		args = append(args, fmt.Sprintf("--since=@%d.%06d", since.Unix(), since.Nanosecond()/1000))
	}
	cmd := exec.CommandContext(ctx, program, append(args, "SYSLOG_IDENTIFIER=hugeguard", "_UID=0", "HUGEGUARD_DECISION="+string(guard.Refuse))...)
	cmd.Env = []string{"LC_ALL=C"}
	cmd.WaitDelay = time.Second
	notes := &head{most: longestNote}
	cmd.Stderr = notes
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("the journal: %w", err)
	}
	list, readErr := readRefusals(out, limit)
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
	return list, err
}

// readRefusals reads what journalctl prints: one JSON object a line. Other lines are its remarks.
func readRefusals(r io.Reader, limit int) ([]Refusal, error) {
	var list []Refusal
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longestEntry)
	for lines.Scan() && len(list) < limit {
		if !bytes.HasPrefix(lines.Bytes(), []byte("{")) {
			continue
		}
		refusal, err := parseRefusal(lines.Bytes())
		if err != nil {
			return list, fmt.Errorf("an entry that is none: %q: %w", cut(lines.Text(), longestNote), err)
		}
		list = append(list, refusal)
	}
	return list, lines.Err()
}

// parseRefusal parses an entry of the journal's JSON format (systemd.io/JOURNAL_EXPORT_FORMATS).
func parseRefusal(line []byte) (Refusal, error) {
	var entry map[string]json.RawMessage
	if err := json.Unmarshal(line, &entry); err != nil {
		return Refusal{}, err
	}
	micros, err := strconv.ParseInt(journalText(entry["__REALTIME_TIMESTAMP"]), 10, 64)
	if err != nil {
		return Refusal{}, fmt.Errorf("__REALTIME_TIMESTAMP: %w", err)
	}
	field := func(name string) string { return plain(journalText(entry[name]), longestField) }
	summary, _, _ := strings.Cut(journalText(entry["MESSAGE"]), "\n")
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
