package status

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"

	"hugeguard/hook/config"
	"hugeguard/install/daemon"
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

// DaemonSettings returns the configuration that the hook reads when a daemon in a container calls it, and how it differs
// from the host's; differs is "" if it does not. A container without the host's processes has its own file. If that is
// mounted alone, it keeps what it had when somebody replaces it on the host by another.
func DaemonSettings(host daemon.Host, p daemon.Process, here config.Config) (there config.Config, differs string) {
	if !host.Contained(p) || host.SeesOutside(p) {
		return here, ""
	}
	there, _ = config.Read(sysfs.New(host.Root(p))) // what is wrong with it makes it differ
	if reflect.DeepEqual(there, here) {
		return here, ""
	}
	what := "settings"
	if there.Mode != here.Mode {
		what = fmt.Sprintf("mode = %s, not %s", there.Mode, here.Mode)
	}
	return there, fmt.Sprintf("%s (pid %d) runs in a container and reads another /%s than this host (%s): restart the container, or give it the host's processes (pid: host)",
		p.Name, p.PID, config.Path, what)
}
