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
	"syscall"
	"time"

	"hugeguard/guard"
	"hugeguard/install/confine"
	"hugeguard/install/daemon"
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

// denials returns the last few denials of AppArmor or SELinux since then that are about our hook, as the state of the
// host has it and the daemon is confined. An error is about auditd's file.
func (v verifier) denials(ctx context.Context, since time.Time, st place.State, asked daemon.Process) (found []string, err error) {
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
	about := v.subject(st, asked)
	for _, line := range lines {
		shown := guard.Printable(strings.TrimSpace(line), 400)
		if about.isDenied(line) && !slices.Contains(found, shown) {
			found = append(found, shown)
		}
	}
	return found[max(0, len(found)-5):], err
}

// A subject is what a denial is about: the context of the daemon that was asked, and the files and folders of the hook.
type subject struct {
	context string
	inodes  []uint64
}

// subject returns what a denial must be about. The kernel names a file by its last element alone, or not at all, so the
// inode decides.
func (v verifier) subject(st place.State, asked daemon.Process) subject {
	s := subject{context: v.host.Confinement(asked.PID)}
	for _, name := range []string{v.root.Path(place.HookDir), v.root.Path(place.HookDir + "/qemu.d"), st.Path} {
		if fi, err := os.Stat(name); err == nil {
			s.inodes = append(s.inodes, fi.Sys().(*syscall.Stat_t).Ino)
		}
	}
	return s
}

// isDenied reports whether a line of the kernel's log is a denial about our hook: of what the program did itself, or of what
// the daemon did to it or its folder.
func (s subject) isDenied(line string) bool {
	if strings.Contains(line, `apparmor="DENIED"`) {
		return strings.Contains(line, place.HookDir) || strings.Contains(line, "hugeguard") || strings.Contains(line, `comm="qemu"`)
	}
	a, ok := confine.ParseAVC(line)
	switch {
	case !ok:
		return false
	case a.ByHook(), strings.HasPrefix(a.Path, place.HookDir):
		return true
	}
	return a.Source == s.context && (a.Class == "file" || a.Class == "dir") && slices.Contains(s.inodes, a.Inode)
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
