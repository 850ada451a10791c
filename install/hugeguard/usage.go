package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

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

// takes accepts exactly n arguments.
func takes(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{fmt.Errorf("%d arguments are given: %s", len(args), c.UseLine())}
		}
		return nil
	}
}

// oneLine returns s on one line, which no name in it can break or turn into a terminal sequence.
func oneLine(s string) string { return status.OneLine(s) }

// note prints on standard error, on one line, what an answer does not say.
func note(stderr io.Writer, format string, args ...any) {
	fmt.Fprintf(stderr, "hugeguard: %s\n", oneLine(fmt.Sprintf(format, args...)))
}
