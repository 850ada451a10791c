package hook

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"hugeguard/sysfs"
)

// ConfigPath is where an admin may change the hook's ways, below the root.
const ConfigPath = "etc/hugeguard.conf"

// Config is what /etc/hugeguard.conf can set.
type Config struct {
	Mode     Mode
	Fail     Fail
	Deadline time.Duration // of a whole call; from 10 ms to a minute
	// Claims: a start that is let go on counts for those that follow until it
	// is over.
	Claims bool
	// WaitForStarting is how long a start that fits but for others in flight
	// waits for these; at most 30 s, which the deadline does not count.
	WaitForStarting time.Duration
	// StartingLimit is how long after it was let go on a start without a QEMU
	// is taken for lost; from 1 s to an hour.
	StartingLimit time.Duration
	// NovaConf is the files and directories that nova-compute reads its
	// configuration from, in its order; nil leaves them to be found.
	NovaConf []string
	// OVSDB is the sockets at which Open vSwitch's database is asked, the first
	// that answers; nil are the usual ones, empty is none.
	OVSDB []string
	// Exempt is the patterns (path.Match) of the names of domains that are
	// judged and never refused.
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

// Fail is what becomes of a launch that could not be judged.
type Fail string

// The ways to fail.
const (
	FailOpen   Fail = "open"   // it goes on; the default
	FailClosed Fail = "closed" // it is refused
)

func defaultConfig() Config {
	return Config{Mode: Enforce, Fail: FailOpen, Deadline: 2 * time.Second, Claims: true, StartingLimit: time.Minute, ExemptMetadata: true}
}

// ConfigLimit is how many bytes a configuration may have.
const ConfigLimit = 1 << 20

// ReadConfig reads the configuration. Without the file it is the defaults. A
// line that makes no sense is left out and reported, with its number, in the
// error, a [*ConfigError]; what is returned is of use in any case.
//
// A file that others than root can have written counts as absent: they must not
// be able to switch the guard off. One that is root's and cannot be read hides
// which mode root wants, so nothing is refused.
func ReadConfig(root sysfs.FS) (Config, error) {
	config, _, err := ReadConfigLines(root)
	return config, err
}

// ReadConfigLines is [ReadConfig], and returns with it the number of the line
// that sets each setting. Those that no line sets are missing.
func ReadConfigLines(root sysfs.FS) (Config, map[string]int, error) {
	read := root.ReadOwn
	if !root.Live() {
		read = root.ReadFile // whose it was is not captured
	}
	text, err := read(ConfigPath, ConfigLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return defaultConfig(), nil, nil
	}
	if err != nil {
		config, err := unreadConfig(root, err)
		return config, nil, err
	}
	config, lines, wrong := ParseConfig(string(text))
	if len(wrong) > 0 {
		return config, lines, &ConfigError{Path: root.Path(ConfigPath), Wrong: wrong, ModeUnread: config.ModeUnread}
	}
	return config, lines, nil
}

// unreadConfig returns what holds where the file cannot be read, and what there
// is to say of it.
func unreadConfig(root sysfs.FS, err error) (Config, error) {
	config := defaultConfig()
	// A link may lead to where others decide what comes of reading.
	_, notLink := root.Readlink(ConfigPath)
	if errors.Is(err, sysfs.ErrOthers) || notLink == nil {
		return config, fmt.Errorf("the configuration is not followed, so mode = %s: %w", config.Mode, err)
	}
	config.Mode, config.ModeUnread = WarnOnly, true
	return config, fmt.Errorf("the configuration cannot be read, so hugeguard refuses nothing (mode = %s): %w", config.Mode, err)
}

// configure reads the configuration, if it is near, and tells what is wrong with it.
func (c *call) configure() (known bool) {
	config, err := ReadConfig(c.fs)
	if errors.Is(err, sysfs.ErrFar) {
		c.config = defaultConfig()
		return false
	}
	if c.config = config; err != nil && config.Mode != Off {
		c.note(entry{Message: configWarning(err), Priority: warning})
	}
	return true
}

// configWarning is an error of the configuration for the journal.
func configWarning(err error) string {
	if wrong := (*ConfigError)(nil); errors.As(err, &wrong) {
		return wrong.Error() // printable as it is, and worth more than a few words
	}
	return oneLine(err)
}

// configureInTime reads the configuration, for as long as a call may take.
func (c *call) configureInTime() error {
	type read struct {
		config Config
		err    error
	}
	done := make(chan read, 1)
	go func() {
		r := read{config: defaultConfig()}
		defer func() {
			if p := recover(); p != nil {
				r.err = defect(p)
			}
			done <- r
		}()
		r.config, r.err = ReadConfig(c.fs)
	}()
	c.config = defaultConfig()
	select {
	case r := <-done:
		c.config = r.config
		return r.err
	case <-time.After(c.config.Deadline / 2):
		config, err := c.notInTime()
		c.config = config
		c.config.Claims = false // the thread that waits would keep the ledger's lock when this process is killed
		return err
	}
}

// notInTime is what holds where the configuration was not read in time.
func (c *call) notInTime() (Config, error) {
	limit := defaultConfig().Deadline / 2
	return unreadConfig(c.fs, fmt.Errorf("%s: not read within %v", c.fs.Path(ConfigPath), limit))
}

// unsettled is the configuration that no child has told either.
func (c *call) unsettled() Config {
	config, err := c.notInTime()
	c.note(entry{Message: oneLine(err), Priority: warning})
	return config
}
