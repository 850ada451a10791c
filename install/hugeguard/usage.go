package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hugeguard/install/place"
	"hugeguard/install/status"
)

// The exit statuses, of all commands.
const (
	exitOK      = 0 // it fits, or it is done
	exitError   = 1 // hugeguard could not do what it was asked
	exitUsage   = 2 // the command line is wrong
	exitRefused = 3 // the hook would refuse
	exitNotLive = 4 // libvirt does not call the hook, or may not
)

var (
	// errRefused and errNotLive end a command whose output has said why.
	errRefused = errors.New("refused")
	errNotLive = errors.New("the hook is not live")
)

// A usageError is a mistake on the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// exitStatus returns the exit status for an error.
func exitStatus(err error) int {
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, errRefused):
		return exitRefused
	case errors.Is(err, errNotLive), errors.Is(err, place.ErrNotTold):
		return exitNotLive
	default:
		return exitError
	}
}

// takes accepts the arguments of these names, no fewer and no more.
func takes(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usageError{fmt.Errorf("%s is missing: see %s --help", names[len(args)], c.CommandPath())}
		case len(args) > len(names):
			return usageError{fmt.Errorf("unexpected argument %q: see %s --help", args[len(names)], c.CommandPath())}
		}
		return nil
	}
}

// noCommand is the error of a command that does not exist, with those that have a similar name.
func noCommand(root *cobra.Command, name string) error {
	return usageError{fmt.Errorf("no command %q%s: see %s --help", name, meant(root.SuggestionsFor(name)), root.Name())}
}

// wrongFlag is the error of a flag that a command does not have, or not with that value.
func wrongFlag(c *cobra.Command, err error) error {
	hint := ""
	if unknown := new(pflag.NotExistError); errors.As(err, &unknown) {
		// cobra knows what is similar only of commands.
		flags := &cobra.Command{SuggestionsMinimumDistance: similar}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			flags.AddCommand(&cobra.Command{Use: f.Name, Run: func(*cobra.Command, []string) {}})
		})
		for _, name := range flags.SuggestionsFor(unknown.GetSpecifiedName()) {
			hint = meant([]string{"--" + name})
		}
	}
	return usageError{fmt.Errorf("%w%s: see %s --help", err, hint, c.CommandPath())}
}

// similar is how many letters of a name may be mistyped.
const similar = 2

// meant asks whether one of these names is meant; "" without any.
func meant(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return " (is " + strings.Join(names, " or ") + " meant?)"
}

// oneLine returns s on one line, which no name in it can break or turn into a terminal sequence.
func oneLine(s string) string { return status.OneLine(s) }

// note prints on standard error, on one line, what an answer does not say.
func note(stderr io.Writer, format string, args ...any) {
	fmt.Fprintf(stderr, "hugeguard: %s\n", oneLine(fmt.Sprintf(format, args...)))
}
