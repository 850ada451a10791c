package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"hugeguard/guard"
	"hugeguard/hook/config"
	"hugeguard/install/status"
	"hugeguard/sysfs"
)

// mostWrong is how many wrong lines a screen shows.
const mostWrong = 10

func newConfig() *cobra.Command {
	var root string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "config [--root DIR|FILE.tar] [--json] [FILE|-]",
		Short: "Show the settings in effect, where each comes from, and what is wrong with them",
		Long: `Show the settings in effect, and for each the line that sets it, or that it is the default. The output is
itself a configuration with the same settings.

With FILE, or - for standard input, show what these lines would set in /etc/hugeguard.conf, before you install them.
FILE may belong to any user. But the hook ignores /etc/hugeguard.conf unless root owns it and others cannot write to
it.

Exit status: 0 every line is right, 1 a line is wrong, or the file cannot be read or is ignored, 2 wrong usage.`,
		Example: `  hugeguard config
  hugeguard config hugeguard.conf.new      # before you install it; in Ansible: validate: hugeguard config %s
  hugeguard config --json | jq '.settings[] | select(.line)'`,
		DisableFlagsInUseLine: true,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return usageError{fmt.Errorf("unexpected argument %q: see %s --help", args[1], cmd.CommandPath())}
			case len(args) == 1 && cmd.Flags().Changed("root"):
				return usageError{fmt.Errorf("--root and FILE exclude each other: %s", cmd.UseLine())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var e effective
			var wrong error
			if len(args) == 1 {
				text, err := readCandidate(args[0], cmd.InOrStdin(), cmd.ErrOrStderr())
				if err != nil {
					return err
				}
				e, wrong = judgeLines(args[0], text)
			} else {
				host, err := hostAt(cmd, root)
				if err != nil {
					return err
				}
				e, wrong = effectiveOn(host)
			}
			if e.Settings == nil {
				return wrong
			}
			if asJSON {
				return cmp.Or(printJSON(cmd.OutOrStdout(), e), wrong)
			}
			_, err := io.WriteString(cmd.OutOrStdout(), e.text())
			return cmp.Or(err, wrong)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	rootFlag(cmd, &root)
	return cmd
}

// effective is what a configuration amounts to.
type effective struct {
	File     string        `json:"file"` // "-" for standard input
	Settings []inEffect    `json:"settings"`
	Wrong    []wrongInFile `json:"wrong,omitempty"`
	// ModeUnread reports whether the mode is warn only because the configured one cannot be read.
	ModeUnread bool `json:"mode_unread,omitempty"`
}

// An inEffect is a setting with its value, and the line that sets it.
type inEffect struct {
	Name    string `json:"name"`
	Value   string `json:"value"`             // "" where it has no default and no line sets it
	Default string `json:"default,omitempty"` // "" where only a line can set it
	Line    int    `json:"line,omitempty"`    // 0 for the default
}

// A wrongInFile is a line that is ignored.
type wrongInFile struct {
	Line int    `json:"line"`
	Text string `json:"text"`
	Why  string `json:"why"`
}

// effectiveOn returns the configuration that the hook obeys on a host. An error is what it ignores.
func effectiveOn(host sysfs.FS) (effective, error) {
	conf, lines, err := config.ReadLines(host)
	if status.Unseen(host, err) {
		return effective{}, err
	}
	var wrong *config.Error
	errors.As(err, &wrong)
	return newEffective(host.Path(config.Path), conf, lines, wrong), err
}

// judgeLines returns what the lines of a file would configure. An error is what is wrong with them.
func judgeLines(name, text string) (effective, error) {
	conf, lines, wrong := config.Parse(text)
	if len(wrong) == 0 {
		return newEffective(name, conf, lines, nil), nil
	}
	err := &config.Error{Path: guard.Printable(name, 400), Wrong: wrong, ModeUnread: conf.ModeUnread}
	return newEffective(name, conf, lines, err), err
}

func newEffective(name string, conf config.Config, lines map[string]int, wrong *config.Error) effective {
	e := effective{File: name, ModeUnread: conf.ModeUnread}
	for _, s := range config.Settings() {
		e.Settings = append(e.Settings, inEffect{s.Name, s.Value(conf), s.Default, lines[s.Name]})
	}
	if wrong != nil {
		for _, w := range wrong.Wrong[:min(len(wrong.Wrong), 10*mostWrong)] {
			e.Wrong = append(e.Wrong, wrongInFile{w.Line, guard.Printable(w.Text, 200), w.Why})
		}
	}
	return e
}

// text returns the settings as lines of a configuration, each with its origin.
func (e effective) text() string {
	var lines, from []string
	for _, s := range e.Settings {
		line := s.Name + " = " + s.Value
		where := "default"
		switch {
		case s.Name == "mode" && e.ModeUnread:
			where = "the mode cannot be read"
		case s.Line > 0:
			where = fmt.Sprintf("%s:%d", oneLine(e.File), s.Line)
		case s.Value == "":
			line, where = "# "+s.Name, "not set"
		}
		lines, from = append(lines, line), append(from, where)
	}
	width := 0
	for _, line := range lines {
		width = max(width, min(len(line), 40))
	}
	var b strings.Builder
	for i, line := range lines {
		fmt.Fprintf(&b, "%-*s  # %s\n", width, guard.Printable(line, 4000), from[i])
	}
	return b.String()
}

// readCandidate reads lines that may become the configuration, and notes why the hook would ignore the file as it is.
func readCandidate(name string, stdin io.Reader, notes io.Writer) (string, error) {
	from := stdin
	if name != "-" {
		f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO may have no writer
		if err != nil {
			return "", err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return "", err
		}
		var stat unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
			return "", &os.PathError{Op: "stat", Path: name, Err: err}
		}
		switch {
		case !info.Mode().IsRegular():
			return "", fmt.Errorf("%s: not a regular file", name)
		case stat.Uid != 0 || info.Mode()&0o022 != 0:
			fmt.Fprintf(notes, "hugeguard: %s: the hook ignores this file until root owns it and others cannot write to it\n", oneLine(name))
		}
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, config.Limit+1))
	if err != nil {
		return "", err
	}
	if len(text) > config.Limit {
		return "", fmt.Errorf("%s: %w: more than %d bytes", name, sysfs.ErrTooLarge, config.Limit)
	}
	return string(text), nil
}
