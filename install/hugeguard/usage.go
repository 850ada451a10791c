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
	exitError   = 1 // hugeguard could not do or find out what it was asked
	exitUsage   = 2 // it was asked in a way that it does not know
	exitRefused = 3 // the hook would refuse
	exitNotLive = 4 // libvirt does not call the hook, or may not
)

var (
	// errRefused and errNotLive end a command whose output already said why.
	errRefused = errors.New("refused")
	errNotLive = errors.New("the hook is not live")
)

// A usageError is a fault of the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// exitStatus is the table of exit statuses.
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

// takes makes n arguments a matter of usage.
func takes(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{fmt.Errorf("%d arguments are given: %s", len(args), c.UseLine())}
		}
		return nil
	}
}

// oneLine makes one line of s that no name in it can break or turn into a terminal sequence.
func oneLine(s string) string { return status.OneLine(s) }

// note says on standard error, in one line, what an answer does not say.
func note(stderr io.Writer, format string, args ...any) {
	fmt.Fprintf(stderr, "hugeguard: %s\n", oneLine(fmt.Sprintf(format, args...)))
}
