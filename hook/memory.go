package hook

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// memory is what was read of a domain's XML, for a child to read again.
type memory struct {
	from  io.Reader
	start []byte   // all of it, if it is short
	file  *os.File // else
	err   error    // why there is none
}

// shortXML is how many bytes of XML stay in this program's memory, which is more than most domains have.
const shortXML = 256 << 10

func (m *memory) Read(p []byte) (int, error) {
	n, err := m.from.Read(p)
	switch {
	case m.err != nil:
	case m.file != nil:
		_, m.err = m.file.Write(p[:n])
	default:
		m.start = append(m.start, p[:n]...)
		if len(m.start) > shortXML {
			m.open()
		}
	}
	return n, err
}

// open returns a file in memory that has all that was read.
func (m *memory) open() (*os.File, error) {
	if m.err != nil || m.file != nil {
		return m.file, m.err
	}
	fd, err := unix.MemfdCreate("domain.xml", unix.MFD_CLOEXEC)
	if err != nil {
		m.err = os.NewSyscallError("memfd_create", err)
		return nil, m.err
	}
	m.file = os.NewFile(uintptr(fd), "domain.xml")
	_, m.err = m.file.Write(m.start)
	m.start = nil
	return m.file, m.err
}
