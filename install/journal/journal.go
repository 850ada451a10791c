// Package journal reads what the hook wrote to the system's journal, as journalctl prints it: the library that reads
// journals needs cgo.
package journal

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"hugeguard/guard"
	"hugeguard/sysfs"
)

// A Refusal is a start that the hook refused, or would have refused, as the journal has it. No text in it can control a
// terminal or end a line.
type Refusal struct {
	Time time.Time `json:"time"`
	// Decision is the journal's HUGEGUARD_DECISION: refuse.
	Decision string `json:"decision"`
	// Would reports whether the hook was told only to warn, so that it allowed the start.
	Would   bool   `json:"would,omitempty"`
	Cause   string `json:"cause"` // one of guard's causes; "" where the entry has none
	Domain  string `json:"domain"`
	UUID    string `json:"uuid"`
	Summary string `json:"summary"` // what libvirt was told, one line
	// Canary reports whether the start was made only to see whether libvirt calls the hook (HUGEGUARD_CANARY).
	Canary bool `json:"canary,omitempty"`
	// Rest is what the entry says below the summary, a line each.
	Rest []string `json:"-"`
}

// ErrHidden is wrapped by the error of a user who may not read the system's journal.
var ErrHidden = errors.New("the system's journal may not be read")

// hidden returns that error with the reason: root may read it unless something else denies that.
func hidden(uid int) error {
	if uid == 0 {
		return fmt.Errorf("%w: SELinux, AppArmor or the limits of a service or container deny it", ErrHidden)
	}
	return fmt.Errorf("%w: only root and the group systemd-journal can", ErrHidden)
}

// A Journal is the system's journal.
type Journal struct {
	Program  string        // journalctl, of systemd 236 or later
	Patience time.Duration // how long one run of it may take
	// Dir is where the journal's files are; "" for those of this host.
	Dir string
}

// programs are where journalctl may be: the environment must not choose what root runs.
var programs = []string{"/usr/bin/journalctl", "/bin/journalctl", "/run/current-system/sw/bin/journalctl"}

// Open returns the journal of this host.
func Open() (Journal, error) {
	for _, program := range programs {
		if _, err := os.Stat(program); err == nil {
			return Journal{Program: program, Patience: 10 * time.Second}, nil
		}
	}
	return Journal{}, fmt.Errorf("the journal: %w", &fs.PathError{Op: "run", Path: programs[0], Err: fs.ErrNotExist})
}

// The folders of journal files, the one that outlasts a boot first.
const (
	keptDir     = "var/log/journal"
	volatileDir = "run/log/journal"
)

// ErrNone is wrapped by the error of a root without a journal.
var ErrNone = errors.New("there is no journal")

// At returns the journal of a host.
func At(host sysfs.FS) (Journal, error) {
	j, err := Open()
	if err != nil || host.Live() {
		return j, err
	}
	for _, dir := range []string{keptDir, volatileDir} {
		if _, err := host.ReadDir(dir); err == nil {
			j.Dir = host.Path(dir)
			return j, nil
		}
	}
	return j, fmt.Errorf("%w in %s", ErrNone, host.Path(keptDir))
}

// Volatile reports whether a host forgets its journal when it boots (Storage= in journald.conf(5)).
func Volatile(host sysfs.FS) bool {
	_, err := host.ReadDir(keptDir)
	return errors.Is(err, fs.ErrNotExist)
}

const (
	// longestEntry is longer than the fields that are asked for in any entry of the hook, in bytes.
	longestEntry = 1 << 20
	// longestSummary and longestField are in bytes.
	longestSummary = 2000
	longestField   = 1000
	longestNote    = 400 // of what journalctl says on standard error
)

// refusalFields are the fields of which a Refusal is made, beside the time.
var refusalFields = []string{"PRIORITY", "MESSAGE", "HUGEGUARD_DECISION", "HUGEGUARD_CAUSE", "HUGEGUARD_DOMAIN", "HUGEGUARD_UUID", "HUGEGUARD_CANARY"}

// Refusals returns the last refusals, at most limit of them, the newest first. Since everybody may write to the
// journal, only entries count that journald knows to be written by root (_UID).
//
// If not all could be read, it returns an error and the refusals that could.
func (j Journal) Refusals(ctx context.Context, limit int) ([]Refusal, error) {
	if limit <= 0 {
		return nil, nil
	}
	list, err := j.entries(ctx, "--reverse", "--lines="+strconv.Itoa(limit), "HUGEGUARD_DECISION="+string(guard.Refuse))
	return list[:min(len(list), limit)], err
}

// Of returns what the hook wrote about a domain since then, to the second. An entry that is no refusal has another
// Decision, or "".
func (j Journal) Of(ctx context.Context, domain string, since time.Time) ([]Refusal, error) {
	return j.entries(ctx, fmt.Sprintf("--since=@%d", since.Unix()-1), "HUGEGUARD_DOMAIN="+domain)
}

// About returns the last entries about a domain, by its name or its UUID, at most limit of them, the newest first; with
// neither those of all domains that were refused or warned of. It leaves out the starts of hugeguard verify.
func (j Journal) About(ctx context.Context, name, uuid string, limit int) ([]Refusal, error) {
	// Matches of one field are alternatives.
	match := []string{"HUGEGUARD_DECISION=" + string(guard.Refuse), "HUGEGUARD_DECISION=" + string(guard.Warn)}
	switch {
	case uuid != "":
		match = []string{"HUGEGUARD_UUID=" + strings.ToLower(uuid)}
	case name != "":
		match = []string{"HUGEGUARD_DOMAIN=" + guard.Printable(name, longestDomain)}
	}
	list, err := j.entries(ctx, append([]string{"--reverse", "--lines=" + strconv.Itoa(limit)}, match...)...)
	return slices.DeleteFunc(list, func(r Refusal) bool { return r.Canary }), err
}

// longestDomain is how many bytes of a domain's name the hook writes, escaped.
const longestDomain = 240

// errEnough ends a reading that has what it wants.
var errEnough = errors.New("enough")

// Begin returns the time of the oldest entry of all; the zero time where there is none.
func (j Journal) Begin(ctx context.Context) (begin time.Time, err error) {
	err = j.run(ctx, []string{"_BOOT_ID"}, nil, func(e Entry) error {
		begin, err = e.time()
		return cmp.Or(err, errEnough)
	})
	return begin, err
}

// entries returns the entries that the arguments select.
func (j Journal) entries(ctx context.Context, args ...string) (list []Refusal, err error) {
	err = j.Read(ctx, refusalFields, args, func(e Entry) error {
		entry, err := parseRefusal(e)
		if err == nil {
			list = append(list, entry)
		}
		return err
	})
	return list, err
}

// An Entry is an entry in the journal's JSON format (systemd.io/JOURNAL_EXPORT_FORMATS).
type Entry map[string]json.RawMessage

// Text returns a field's value, "" if there is no such field.
func (e Entry) Text(name string) string { return fieldText(e[name]) }

// Read calls take for each entry of the hook, written by root, that the arguments of journalctl select, with the fields
// that are named. It stops at an error.
func (j Journal) Read(ctx context.Context, fields, args []string, take func(Entry) error) error {
	return j.run(ctx, fields, append(slices.Clone(args), "SYSLOG_IDENTIFIER=hugeguard", "_UID=0"), take)
}

// run calls take for each entry that the arguments of journalctl select.
func (j Journal) run(ctx context.Context, fields, args []string, take func(Entry) error) error {
	ctx, cancel := context.WithTimeout(ctx, j.Patience)
	defer cancel()
	// Without --all a message of more than 4 KiB would come as null.
	args = append([]string{"--no-pager", "--all", "--output=json", "--output-fields=" + strings.Join(fields, ",")}, args...)
	if j.Dir != "" {
		args = append([]string{"--directory=" + j.Dir}, args...)
	}
	cmd := exec.CommandContext(ctx, j.Program, args...)
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
	case errors.Is(readErr, errEnough):
		err = nil
	case readErr != nil:
		err = readErr
	case ctx.Err() != nil:
		err = ctx.Err()
	case strings.Contains(note, "not seeing messages") || strings.Contains(note, "insufficient permissions"):
		err = hidden(os.Geteuid())
	case note != "":
		err = errors.New(guard.Printable(note, longestNote))
	}
	if err != nil {
		err = fmt.Errorf("the journal: %s: %w", j.Program, err)
	}
	return err
}

// Kernel returns the last lines of the kernel and of auditd since then, to the second; none if they cannot be read.
func (j Journal) Kernel(ctx context.Context, since time.Time) []string {
	ctx, cancel := context.WithTimeout(ctx, j.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, j.Program, "--no-pager", "--output=cat", "--lines=10000", fmt.Sprintf("--since=@%d", since.Unix()),
		"_TRANSPORT=kernel", "+", "_TRANSPORT=audit")
	cmd.Env = []string{"LC_ALL=C"}
	out, _ := cmd.Output()
	return strings.Split(string(out), "\n")
}

// readEntries reads what journalctl prints: one JSON object a line. Other lines are its remarks.
func readEntries(r io.Reader, take func(Entry) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longestEntry)
	for lines.Scan() {
		if !bytes.HasPrefix(lines.Bytes(), []byte("{")) {
			continue
		}
		var entry Entry
		err := json.Unmarshal(lines.Bytes(), &entry)
		if err == nil {
			err = take(entry)
		}
		if err != nil {
			return fmt.Errorf("not a journal entry: %q: %w", cut(lines.Text(), longestNote), err)
		}
	}
	return lines.Err()
}

// parseRefusal makes a Refusal of an entry.
func parseRefusal(entry Entry) (Refusal, error) {
	when, err := entry.time()
	if err != nil {
		return Refusal{}, err
	}
	field := func(name string) string { return plain(entry.Text(name), longestField) }
	summary, below, more := strings.Cut(entry.Text("MESSAGE"), "\n")
	summary, would := strings.CutPrefix(summary, "would refuse: ")
	var rest []string
	if more {
		for _, line := range strings.Split(below, "\n") {
			rest = append(rest, plain(line, longestSummary))
		}
	}
	return Refusal{
		Time:     when,
		Decision: field("HUGEGUARD_DECISION"),
		Would:    would,
		Cause:    field("HUGEGUARD_CAUSE"),
		Domain:   field("HUGEGUARD_DOMAIN"),
		UUID:     field("HUGEGUARD_UUID"),
		Summary:  plain(summary, longestSummary),
		Canary:   field("HUGEGUARD_CANARY") != "",
		Rest:     rest,
	}, nil
}

// time is when journald received the entry.
func (e Entry) time() (time.Time, error) {
	micros, err := strconv.ParseInt(e.Text("__REALTIME_TIMESTAMP"), 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("__REALTIME_TIMESTAMP: %w", err)
	}
	return time.UnixMicro(micros), nil
}

// fieldText returns a field's value. It is a string; the numbers of its bytes if it is no plain text; null if it is too
// long; or a list of these if the entry has the field several times, of which the first counts.
func fieldText(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	var octets []uint8
	var numbers []uint16 // bytes would be taken for base64
	if json.Unmarshal(value, &numbers) == nil {
		for _, n := range numbers {
			octets = append(octets, uint8(n))
		}
		return string(octets)
	}
	var values []json.RawMessage
	if json.Unmarshal(value, &values) == nil && len(values) > 0 {
		// There are no lists of lists.
		return fieldText(values[0])
	}
	return ""
}

// plain returns printable text as it is, and any other escaped.
func plain(text string, most int) string {
	if len(text) <= most && utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return text
	}
	return guard.Printable(text, most)
}

// cut returns the first bytes of a text.
func cut(text string, most int) string { return text[:min(len(text), most)] }

// head keeps the first bytes written to it.
type head struct {
	bytes.Buffer
	most int
}

func (h *head) Write(p []byte) (int, error) {
	h.Buffer.Write(p[:min(len(p), h.most-h.Len())])
	return len(p), nil
}
