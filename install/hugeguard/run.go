package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"strings"

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

// Run runs the command with the arguments after its name and returns its exit status. An error is one
// line on stderr; a fault of hugeguard's own is one too, and so is an interrupt, which is that ctx is done.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (status int) {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := interruptible(ctx, func(ctx context.Context) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("internal error: %v", p)
			}
		}()
		return root.ExecuteContext(ctx)
	})
	if err != nil && err != errRefused && err != errNotLive {
		hint := ""
		if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
			hint = ": run it as root"
		}
		fmt.Fprintf(stderr, "hugeguard: %s%s\n", oneLine(err.Error()), hint)
	}
	return exitStatus(err)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "hugeguard",
		Short: "Refuse the start of a guest whose huge pages are not there, and say who holds them",
		Long: `hugeguard is a libvirt hook that refuses the start of a guest whose huge pages are not
there, and says who holds them. This command puts the hook in place and asks beforehand what it would
say.

Exit status:
  0  it fits, or it is done
  1  hugeguard's own error, said on standard error
  2  wrong usage
  3  a start would be refused
  4  the hook is not live`,
		Example: `  sudo hugeguard install                 # put the hook in place
  hugeguard status                       # pools, who holds them, what Nova believes, is the hook live
  hugeguard check instance-00000003      # would this domain start now?
  hugeguard reserve                      # what nova.conf should reserve
  hugeguard help check`,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("no command is given: see hugeguard --help")}
			}
			return usageError{fmt.Errorf("no command %q: see hugeguard --help", args[0])}
		},
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w: see %s --help", err, c.CommandPath())}
	})
	root.SetHelpCommand(newHelp())
	root.AddCommand(newCheck(), newStatus(), newReserve(), newCapture(), newMetrics(), newConfig(), newInstall(), newUninstall(), newVerify())
	return root
}

// newHelp is cobra's own command, but for a command that does not exist.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:                   "help [COMMAND]",
		Short:                 "Say how a command is used",
		DisableFlagsInUseLine: true,
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
			if len(args) == 0 {
				for _, sub := range c.Root().Commands() {
					names = append(names, sub.Name())
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			about, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usageError{fmt.Errorf("no command %q: see hugeguard --help", strings.Join(args, " "))}
			}
			about.InitDefaultHelpFlag()
			about.InitDefaultVersionFlag()
			return about.Help()
		},
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

// built is set by the build to the released version.
var built string

func version() string {
	if built != "" {
		return built
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// oneLine makes one line of s that no name in it can break or turn into a terminal sequence.
func oneLine(s string) string { return status.OneLine(s) }
