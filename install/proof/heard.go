package proof

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"hugeguard/guard"
	"hugeguard/install/journal"
	"hugeguard/install/place"
)

// openJournal opens this host's journal. Tests replace it.
var openJournal = journal.Open

// heard returns what our hook wrote to the journal about a domain since then. It waits for an entry, for entryPatience
// at most.
func heard(ctx context.Context, domain string, since time.Time) ([]journal.Refusal, error) {
	j, err := openJournal()
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(entryPatience); ; time.Sleep(100 * time.Millisecond) {
		entries, err := j.Of(ctx, domain, since)
		if len(entries) > 0 || err != nil || time.Now().After(end) || ctx.Err() != nil {
			return entries, err
		}
	}
}

// auditLog is where auditd keeps what the kernel tells it and then not the journal.
const auditLog = "var/log/audit/audit.log"

// denials returns the last few denials of AppArmor or SELinux since then that may be about our hook. An error is about
// auditd's file.
func (v verifier) denials(ctx context.Context, since time.Time) (found []string, err error) {
	var lines []string
	if j, err := openJournal(); err == nil {
		lines = j.Kernel(ctx, since)
	}
	f, err := os.Open(v.root.Path(auditLog))
	switch {
	case err == nil:
		defer f.Close()
		var audited []string
		audited, err = auditedSince(f, since)
		lines = append(lines, audited...)
	case errors.Is(err, fs.ErrNotExist):
		err = nil // no auditd
	}
	for _, line := range lines {
		shown := guard.Printable(strings.TrimSpace(line), 400)
		if isDenial(line) && !slices.Contains(found, shown) {
			found = append(found, shown)
		}
	}
	return found[max(0, len(found)-5):], err
}

// isDenial reports whether a line of the kernel's log is a denial that may be about our hook: of what libvirt's daemons
// do in the folder of hooks, or of what the program does itself.
func isDenial(line string) bool {
	if !strings.Contains(line, `apparmor="DENIED"`) && !strings.Contains(line, "avc:  denied") {
		return false
	}
	return strings.Contains(line, place.HookDir) || strings.Contains(line, "hugeguard") || strings.Contains(line, `comm="qemu"`)
}

// auditedSince returns the lines of auditd's file that are no older, among its last MiB.
func auditedSince(f io.ReadSeeker, since time.Time) (lines []string, err error) {
	const most = 1 << 20
	if _, err := f.Seek(-most, io.SeekEnd); err != nil {
		f.Seek(0, io.SeekStart)
	}
	text, err := io.ReadAll(io.LimitReader(f, 2*most)) // it may grow meanwhile
	for _, line := range strings.Split(string(text), "\n") {
		// type=AVC msg=audit(1364481363.243:24287): avc:  denied ...
		_, rest, ok := strings.Cut(line, "msg=audit(")
		seconds, _, ok2 := strings.Cut(rest, ".")
		if at, err := strconv.ParseInt(seconds, 10, 64); ok && ok2 && err == nil && at >= since.Unix() {
			lines = append(lines, line)
		}
	}
	return lines, err
}
