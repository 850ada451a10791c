package hook

import (
	"errors"
	"fmt"
	"time"

	"hugeguard/hook/config"
	"hugeguard/sysfs"
)

// configure reads the configuration, if it is near, and tells what is wrong with it.
func (c *call) configure() (known bool) {
	read, err := config.Read(c.fs)
	if errors.Is(err, sysfs.ErrFar) {
		c.config = config.Default()
		return false
	}
	c.config = read
	if err != nil && read.Mode != config.Off {
		c.note(entry{Message: configWarning(err), Priority: warning})
	}
	return true
}

// configWarning is an error of the configuration for the journal.
func configWarning(err error) string {
	if wrong := (*config.Error)(nil); errors.As(err, &wrong) {
		return wrong.Error() // printable as it is, and worth more than a few words
	}
	return oneLine(err)
}

// configureInTime reads the configuration, for as long as a call may take.
func (c *call) configureInTime() error {
	type read struct {
		config config.Config
		err    error
	}
	done := make(chan read, 1)
	go func() {
		r := read{config: config.Default()}
		defer func() {
			if p := recover(); p != nil {
				r.err = bug(p)
			}
			done <- r
		}()
		r.config, r.err = config.Read(c.fs)
	}()
	c.config = config.Default()
	select {
	case r := <-done:
		c.config = r.config
		return r.err
	case <-time.After(c.config.Deadline / 2):
		var err error
		c.config, err = c.notInTime()
		c.config.Claims = false // the thread that waits would keep the ledger's lock when this process is killed
		return err
	}
}

// notInTime is what holds where the configuration was not read in time.
func (c *call) notInTime() (config.Config, error) {
	limit := config.Default().Deadline / 2
	return config.Unread(c.fs, fmt.Errorf("%s: not read within %v", c.fs.Path(config.Path), limit))
}

// unsettled is the configuration that no child has told either.
func (c *call) unsettled() config.Config {
	unread, err := c.notInTime()
	c.note(entry{Message: oneLine(err), Priority: warning})
	return unread
}
