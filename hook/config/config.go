// Package config is /etc/hugeguard.conf: the settings that an admin can change, what each may be, and which line sets it.
// Whatever is wrong with the file, there is a configuration that holds.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"hugeguard/sysfs"
)

// Path is where an admin may change the hook's ways, below the root.
const Path = "etc/hugeguard.conf"

// Config is what the file can set.
type Config struct {
	Mode     Mode
	Fail     Fail
	Deadline time.Duration // of a whole call; from 10 ms to a minute
	// Claims: the pages that a starting guest will take count for later starts.
	Claims bool
	// WaitForStarting is how long a start that fits but for other starting guests
	// waits for these; at most 30 s, which the deadline does not count.
	WaitForStarting time.Duration
	// StartingLimit is how long a start may go without a QEMU process before its claim is dropped.
	StartingLimit time.Duration
	// NovaConf is the files and directories that nova-compute reads its
	// configuration from, in its order; nil leaves them to be found.
	NovaConf []string
	// Reserve is what hugeguard-reserve.timer does about pages that Nova does not reserve.
	Reserve Reserve
	// OVSDB is the sockets at which Open vSwitch's database is asked, the first
	// that answers; nil are the usual ones, empty is none.
	OVSDB []string
	// Exempt is the patterns (path.Match) of the names of domains that are judged and never refused.
	Exempt []string
	// ExemptMetadata: so are domains whose metadata says so.
	ExemptMetadata bool
	// ModeUnread says that the mode which the admin wants cannot be read. Mode
	// is [WarnOnly] then: a slip of the pen must refuse no start.
	ModeUnread bool
}

// Mode is what a verdict leads to.
type Mode string

// The modes.
const (
	Enforce  Mode = "enforce" // refuse what must fail; the default
	WarnOnly Mode = "warn"    // say so in the journal, never refuse
	Off      Mode = "off"     // do nothing at all
)

// Reserve is what is done about pages that others hold and Nova does not reserve.
type Reserve string

// What can be done about them.
const (
	ReserveOff     Reserve = "off"     // nothing
	ReserveReport  Reserve = "report"  // write it to the journal; the default
	ReserveWrite   Reserve = "write"   // also write Nova's configuration
	ReserveRestart Reserve = "restart" // also restart nova-compute
)

// Fail is what becomes of a launch that could not be judged.
type Fail string

// The ways to fail.
const (
	FailOpen   Fail = "open"   // it is allowed; the default
	FailClosed Fail = "closed" // it is refused
)

// Default is the configuration without the file.
func Default() Config {
	return Config{Mode: Enforce, Fail: FailOpen, Deadline: 2 * time.Second, Claims: true, StartingLimit: time.Minute, ExemptMetadata: true, Reserve: ReserveReport}
}

// Limit is how many bytes a configuration may have.
const Limit = 1 << 20

// Read reads the configuration. Without the file it is the defaults. A line that makes no sense is left out and
// reported, with its number, in the error, a [*Error]; what is returned is of use in any case.
//
// A file that others than root can have written counts as absent: they must not be able to switch the guard off. One
// that is root's and cannot be read hides which mode root wants, so nothing is refused.
//
// In a container the file of the host counts, if the container has the host's processes ([sysfs.FS.Outer]) and the host
// has the file: a file that is mounted alone keeps what it had when somebody replaces it on the host by another.
func Read(root sysfs.FS) (Config, error) {
	config, _, err := ReadLines(root)
	return config, err
}

// ReadLines is [Read], and returns with it the number of the line
// that sets each setting. Those that no line sets are missing.
func ReadLines(root sysfs.FS) (Config, map[string]int, error) {
	root, text, err := find(root)
	if errors.Is(err, fs.ErrNotExist) {
		return Default(), nil, nil
	}
	if err != nil {
		config, err := Unread(root, err)
		return config, nil, err
	}
	config, lines, wrong := Parse(string(text))
	if len(wrong) > 0 {
		return config, lines, &Error{Path: root.Path(Path), Wrong: wrong, ModeUnread: config.ModeUnread}
	}
	return config, lines, nil
}

// find returns the text of the file that counts, and the tree that has it.
func find(root sysfs.FS) (sysfs.FS, []byte, error) {
	if !root.Live() {
		text, err := root.ReadFile(Path, Limit) // whose it was is not captured
		return root, text, err
	}
	outer, err := root.Outer()
	if err != nil {
		return root, nil, err
	}
	text, err := outer.ReadOwn(Path, Limit)
	if !outer.Live() && errors.Is(err, fs.ErrNotExist) {
		outer = root
		text, err = root.ReadOwn(Path, Limit)
	}
	return outer, text, err
}

// Unread returns the configuration that holds where the file cannot be read for some reason, and what to say of it.
func Unread(root sysfs.FS, err error) (Config, error) {
	config := Default()
	// A link may lead to where others decide what comes of reading.
	_, notLink := root.Readlink(Path)
	if errors.Is(err, sysfs.ErrOthers) || notLink == nil {
		return config, fmt.Errorf("hugeguard ignores the configuration and uses mode = %s: %w", config.Mode, err)
	}
	config.Mode, config.ModeUnread = WarnOnly, true
	return config, fmt.Errorf("the configuration cannot be read, so hugeguard refuses nothing (mode = %s): %w", config.Mode, err)
}

// valid says whether all that a Config has is within its bounds.
func (c Config) Valid() bool {
	for _, s := range allSettings {
		// What cannot be set again is no value of its.
		if value := s.Value(c); value != s.Default {
			if again := c; !s.of(&again).set(value) {
				return false
			}
		}
	}
	return true
}

// Reduce returns what a capture keeps of the file: all of it.
func Reduce(text []byte) ([]byte, error) { return text, nil }
