package status

import (
	"errors"
	"fmt"
	"io/fs"

	"hugeguard/hook/config"
	"hugeguard/sysfs"
)

// Settings are the settings of /etc/hugeguard.conf that differ from their defaults.
type Settings struct {
	// Changed are those settings.
	Changed []config.Change `json:"changed"`
	// Wrong are the lines that are ignored, or why all are, in words.
	Wrong []string `json:"wrong,omitempty"`
	// ModeUnread reports whether the mode is warn only because the configured one cannot be read.
	ModeUnread bool `json:"mode_unread,omitempty"`

	Path string `json:"-"` // of the file
}

// ReadSettings returns the hook's configuration, and its settings to show.
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

// Unseen reports whether a configuration could not be read only because the program does not run as root, as the hook
// does.
func Unseen(host sysfs.FS, err error) bool { return errors.Is(err, fs.ErrPermission) && Hidden(host) }
