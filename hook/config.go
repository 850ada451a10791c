package hook

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hugeguard/guard"
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
	return Config{Mode: Enforce, Fail: FailOpen, Deadline: 2 * time.Second, Claims: true, StartingLimit: time.Minute}
}

const configLimit = 1 << 20

// ReadConfig reads the configuration. Without the file it is the defaults, and
// with one that is not root's alone. A line that makes no sense is left out and
// reported, with its number, in the error; what is returned is of use in any
// case.
func ReadConfig(root sysfs.FS) (Config, error) {
	read := root.ReadOwn
	if !root.Live() {
		read = root.ReadFile // whose it was is not captured
	}
	text, err := read(ConfigPath, configLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return defaultConfig(), nil
	}
	if err != nil {
		return defaultConfig(), fmt.Errorf("the configuration is not followed: %w", err)
	}
	config, err := parseConfig(string(text))
	if err != nil {
		err = fmt.Errorf("the configuration is followed only in part: %s: %w", root.Path(ConfigPath), err)
	}
	return config, err
}

// configure reads the configuration, for as long as a call may take.
func (c *call) configure() error {
	// Most hosts have none, which is seen without another thread: O_PATH asks
	// no file system for more than the name.
	fd, err := unix.Open(c.fs.Path(ConfigPath), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		c.config = defaultConfig()
		return nil
	}
	if err == nil {
		unix.Close(fd)
	}
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
		return fmt.Errorf("the configuration is not followed: %s: not read within %v", c.fs.Path(ConfigPath), c.config.Deadline/2)
	}
}

// parseConfig reads lines of "key = value"; # begins a comment, at the start of
// a line or after white space.
func parseConfig(text string) (Config, error) {
	config := defaultConfig()
	var wrong []error
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(" "+strings.ReplaceAll(line, "\t", " "), " #")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !ok || !config.set(key, value) {
			wrong = append(wrong, fmt.Errorf("line %d: %q is not a setting", i+1, guard.Printable(line, 60)))
		}
	}
	return config, errors.Join(wrong...)
}

func (c *Config) set(key, value string) (ok bool) {
	switch key {
	case "mode":
		return choose(&c.Mode, value, Enforce, WarnOnly, Off)
	case "fail":
		return choose(&c.Fail, value, FailOpen, FailClosed)
	case "deadline":
		return between(&c.Deadline, value, 10*time.Millisecond, time.Minute)
	case "wait_for_starting":
		return between(&c.WaitForStarting, value, 0, 30*time.Second)
	case "starting_limit":
		return between(&c.StartingLimit, value, time.Second, time.Hour)
	case "claims":
		if value != "on" && value != "off" {
			return false
		}
		c.Claims = value == "on"
		return true
	case "ovsdb":
		if value == "none" {
			c.OVSDB = []string{}
			return true
		}
		paths := strings.Fields(value)
		if len(paths) == 0 || slices.ContainsFunc(paths, func(p string) bool { return !path.IsAbs(p) }) {
			return false
		}
		c.OVSDB = paths
		return true
	case "nova_conf":
		paths := strings.Fields(value)
		if len(paths) == 0 || slices.ContainsFunc(paths, func(p string) bool { return !path.IsAbs(p) }) {
			return false
		}
		c.NovaConf = paths
		return true
	}
	return false
}

// between sets a duration, unless it lies outside of what makes sense.
func between(setting *time.Duration, text string, least, most time.Duration) (ok bool) {
	d, err := time.ParseDuration(text)
	if err != nil || d < least || d > most {
		return false
	}
	*setting = d
	return true
}

// choose sets a setting to the one of its values that text names.
func choose[T ~string](setting *T, text string, values ...T) (ok bool) {
	for _, value := range values {
		if string(value) == text {
			*setting = value
			return true
		}
	}
	return false
}
