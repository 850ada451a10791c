package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"hugeguard/guard"
	"hugeguard/hook"
	"hugeguard/sysfs"
)

// settings is what /etc/hugeguard.conf makes different from a host without one.
type settings struct {
	// Changed are the settings that are not at their defaults.
	Changed []hook.Change `json:"changed"`
	// Wrong are the lines that are not followed, or why none is, in words.
	Wrong []string `json:"wrong,omitempty"`
	// ModeUnread says that the mode is warn only because the one that is wanted cannot be read.
	ModeUnread bool `json:"mode_unread,omitempty"`

	path string
}

// readSettings reads the hook's configuration, for use and for show.
func readSettings(fs sysfs.FS) (hook.Config, settings) {
	config, err := hook.ReadConfig(fs)
	if unseen(fs, err) {
		config, _, _ = hook.ParseConfig("")
		err = fmt.Errorf("only root can read it: %w", err)
	}
	s := settings{Changed: config.Changes(), ModeUnread: config.ModeUnread, path: fs.Path(hook.ConfigPath)}
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
		s.Wrong = []string{oneLine(err.Error())}
	}
	return config, s
}

// unseen says that a configuration could not be read for a reason that the hook does not have: it is not run by root.
func unseen(fs sysfs.FS, err error) bool { return errors.Is(err, os.ErrPermission) && hidden(fs) }

// mostWrong is how many wrong lines a screen shows.
const mostWrong = 10

// lines are what a screen shows of it, none where all is as by default.
func (s settings) lines() []string {
	var lines, each []string
	for _, c := range s.Changed {
		each = append(each, guard.Printable(c.Name+" = "+c.Value, 200))
	}
	switch {
	case len(each) > 0:
		lines = append(lines, fmt.Sprintf("settings: %s (%s)", strings.Join(each, ", "), oneLine(s.path)))
	case len(s.Wrong) > 0:
		lines = append(lines, fmt.Sprintf("settings: all by default (%s)", oneLine(s.path)))
	}
	for i, wrong := range s.Wrong {
		if i == mostWrong {
			lines = append(lines, fmt.Sprintf("  not followed: %d more lines", len(s.Wrong)-i))
			break
		}
		lines = append(lines, "  not followed: "+wrong)
	}
	return lines
}
