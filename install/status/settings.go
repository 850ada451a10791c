package status

import (
	"errors"
	"fmt"
	"io/fs"

	"hugeguard/hook/config"
	"hugeguard/sysfs"
)

// Settings is what /etc/hugeguard.conf makes different from a host without one.
type Settings struct {
	// Changed are the settings that are not at their defaults.
	Changed []config.Change `json:"changed"`
	// Wrong are the lines that are not followed, or why none is, in words.
	Wrong []string `json:"wrong,omitempty"`
	// ModeUnread says that the mode is warn only because the one that is wanted cannot be read.
	ModeUnread bool `json:"mode_unread,omitempty"`

	Path string `json:"-"` // of the file
}

// ReadSettings reads the hook's configuration, for use and for show.
func ReadSettings(host sysfs.FS) (config.Config, Settings) {
	conf, err := config.Read(host)
	if Unseen(host, err) {
		conf, _, _ = config.Parse("")
		err = fmt.Errorf("only root can read it: %w", err)
	}
	s := Settings{Changed: conf.Changes(), ModeUnread: conf.ModeUnread, Path: host.Path(config.Path)}
	if s.Changed == nil {
		s.Changed = []config.Change{}
	}
	var lines *config.Error
	switch {
	case errors.As(err, &lines):
		for _, w := range lines.Wrong {
			s.Wrong = append(s.Wrong, w.String())
		}
	case err != nil:
		s.Wrong = []string{OneLine(err.Error())}
	}
	return conf, s
}

// Unseen reports whether a configuration could not be read for a reason that the hook does not have: it is not run by
// root.
func Unseen(host sysfs.FS, err error) bool { return errors.Is(err, fs.ErrPermission) && Hidden(host) }
