package sysfs

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// pidFileLimit is more bytes than a pid file has.
const pidFileLimit = 64

// ErrNoPID is that there is no number in a pid file, or none yet: it is made before it is written to.
var ErrNoPID = errors.New("there is no pid in it")

// ReadPID returns the number in a pid file, which is that of some process or of none.
func (f FS) ReadPID(name string) (int, error) {
	text, err := f.ReadFile(name, pidFileLimit)
	if err != nil {
		return 0, err
	}
	pid, err := parsePID(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", f.Path(name), err)
	}
	return pid, nil
}

func parsePID(text []byte) (int, error) {
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 0 {
		return 0, ErrNoPID
	}
	return pid, nil
}

// reducePID keeps the number.
func reducePID(text []byte) ([]byte, error) {
	pid, err := parsePID(text)
	if err != nil {
		return nil, err
	}
	return fmt.Appendln(nil, pid), nil
}
