package hook

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hugeguard/guard"
)

// entry is what goes to the journal.
type entry struct {
	Message  string
	Priority priority
	Fields   map[string]string
}

// A priority is one of syslog's (syslog(3)).
type priority int

const (
	failure priority = 3 // LOG_ERR
	warning priority = 4 // LOG_WARNING
)

// identifier is what "journalctl -t" selects by.
const identifier = "hugeguard"

// journalPatience is how long an entry may take: a journald that has stopped reading must not hold up the launch.
const journalPatience = 200 * time.Millisecond

var errNoJournal = errors.New("the journal did not accept the entry in time")

// initialPIDNamespace is the one in which journald and this program mean the
// same by a PID (PROC_PID_INIT_INO in the kernel's proc_ns.h).
const initialPIDNamespace = "pid:[4026531836]"

// sendToJournal sends one entry by journald's native protocol, which carries values of any content without letting them
// forge a field. The entry is about the daemon that called: by the time journald wants to know the unit that it comes
// from, this program may have ended, and "journalctl -u libvirtd" would not show it (OBJECT_PID in
// systemd.journal-fields(7)).
func sendToJournal(e entry) error {
	fields := map[string]string{"SYSLOG_IDENTIFIER": identifier, "PRIORITY": strconv.Itoa(int(e.Priority)), "MESSAGE": e.Message}
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
				sent <- bug(r)
			}
		}()
		sent <- sendFields(journalSocket, fields)
	}()
	select {
	case err := <-sent:
		return err
	case <-time.After(journalPatience):
		return errNoJournal
	}
}

// journalSocket is where journald takes entries.
const journalSocket = "/run/systemd/journal/socket"

// sendFields sends the fields of an entry to a journald, by the protocol that
// https://systemd.io/JOURNAL_NATIVE_PROTOCOL describes. Package journal of go-systemd would link package net for it, which
// costs each call of the hook 6 % more.
func sendFields(socket string, fields map[string]string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	var text []byte
	for name, value := range fields {
		text = appendField(text, name, value)
	}
	journald := &unix.SockaddrUnix{Name: socket}
	err = unix.Sendto(fd, text, 0, journald)
	if err != unix.EMSGSIZE && err != unix.ENOBUFS {
		return os.NewSyscallError("sendto", err)
	}
	file, err := sealedFile(text)
	if err != nil {
		file, err = namelessFile(text)
	}
	if err != nil {
		return err
	}
	defer file.Close()
	return os.NewSyscallError("sendmsg", unix.Sendmsg(fd, nil, unix.UnixRights(int(file.Fd())), journald, 0))
}

// appendField appends a field as the protocol has it: in a line of its own, or, if its value has more than one line, with
// the value's length.
func appendField(text []byte, name, value string) []byte {
	text = append(text, name...)
	if strings.Contains(value, "\n") {
		text = append(text, '\n')
		text = binary.LittleEndian.AppendUint64(text, uint64(len(value)))
	} else {
		text = append(text, '=')
	}
	text = append(text, value...)
	return append(text, '\n')
}

// sealedFile returns a file in memory that nobody can change any more: journald takes an entry that is too large for a
// message from it.
func sealedFile(text []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("journal-entry", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	file := os.NewFile(uintptr(fd), "journal-entry")
	_, err = file.Write(text)
	if err == nil {
		const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// namelessFile returns a file in /dev/shm without a name: journald accepts it, too, if memfd_create is denied,
// but none that was opened with O_TMPFILE (fd_verify_safe_flags).
func namelessFile(text []byte) (*os.File, error) {
	file, err := os.CreateTemp("/dev/shm", "journal-entry-")
	if err != nil {
		return nil, err
	}
	_, err = file.Write(text)
	err = errors.Join(os.Remove(file.Name()), err)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// bug returns a panic as an error.
func bug(r any) error { return fmt.Errorf("a bug in hugeguard: %v", r) }

// oneLine prints an error, which may quote what others wrote.
func oneLine(err error) string { return guard.Printable(err.Error(), 400) }
