package status

import (
	"errors"
	"fmt"
	"io/fs"

	"hugeguard/hook"
	"hugeguard/sysfs"
)

// Settings is what /etc/hugeguard.conf makes different from a host without one.
type Settings struct {
	// Changed are the settings that are not at their defaults.
	Changed []hook.Change `json:"changed"`
	// Wrong are the lines that are not followed, or why none is, in words.
	Wrong []string `json:"wrong,omitempty"`
	// ModeUnread says that the mode is warn only because the one that is wanted cannot be read.
	ModeUnread bool `json:"mode_unread,omitempty"`

	Path string `json:"-"` // of the file
}

// ReadSettings reads the hook's configuration, for use and for show.
func ReadSettings(host sysfs.FS) (hook.Config, Settings) {
	config, err := hook.ReadConfig(host)
	if Unseen(host, err) {
		config, _, _ = hook.ParseConfig("")
		err = fmt.Errorf("only root can read it: %w", err)
	}
	s := Settings{Changed: config.Changes(), ModeUnread: config.ModeUnread, Path: host.Path(hook.ConfigPath)}
	if s.Changed == nil {
		s.Changed = []hook.Change{}
	}
	var lines *hook.ConfigError
	switch {
	case errors.As(err, &lines):
		for _, w := range lines.Wrong {
			s.Wrong = append(s.Wrong, w.String())
		}
	case err != nil:
		s.Wrong = []string{OneLine(err.Error())}
	}
	return config, s
}

// Unseen reports whether a configuration could not be read for a reason that the hook does not have: it is not run by
// root.
func Unseen(host sysfs.FS, err error) bool { return errors.Is(err, fs.ErrPermission) && Hidden(host) }
