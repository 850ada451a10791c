package hook

import (
	"errors"
	"os"
	"strconv"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
)

// entry is what goes to the journal.
type entry struct {
	Message  string
	Priority journal.Priority
	Fields   map[string]string
}

const (
	warning = journal.PriWarning
	failure = journal.PriErr
)

// identifier is what "journalctl -t" selects by.
const identifier = "hugeguard"

// journalPatience is how long an entry may take: a journald that has stopped
// reading must not hold up the launch.
const journalPatience = 200 * time.Millisecond

var errNoJournal = errors.New("the journal did not take the entry in time")

// note writes to the journal as well as it can; there is nobody to tell if it
// cannot.
func (c *call) note(e entry) {
	_ = c.journal(e)
}

// initialPIDNamespace is the one in which journald and this program mean the
// same by a PID (PROC_PID_INIT_INO in the kernel's proc_ns.h).
const initialPIDNamespace = "pid:[4026531836]"

// sendToJournal sends one entry by journald's native protocol, which carries
// values of any content without letting them forge a field. The entry is about
// the daemon that called: by the time journald wants to know the unit that it
// comes from, this program may have ended, and "journalctl -u libvirtd" would
// not show it (OBJECT_PID in systemd.journal-fields(7)).
func sendToJournal(e entry) error {
	fields := map[string]string{"SYSLOG_IDENTIFIER": identifier}
	if namespace, err := os.Readlink("/proc/self/ns/pid"); err == nil && namespace == initialPIDNamespace {
		fields["OBJECT_PID"] = strconv.Itoa(os.Getppid())
	}
	for key, value := range e.Fields {
		fields[key] = value
	}
	sent := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				sent <- defect(r)
			}
		}()
		sent <- journal.Send(e.Message, e.Priority, fields)
	}()
	select {
	case err := <-sent:
		return err
	case <-time.After(journalPatience):
		return errNoJournal
	}
}
