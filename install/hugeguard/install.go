package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"hugeguard/install/daemon"
	"hugeguard/install/place"
)

func newInstall() *cobra.Command {
	var o place.Options
	var layout string
	c := &cobra.Command{
		Use:   "install [--layout main|drop-in|chain] [--hook FILE] [--root DIR] [--dry-run]",
		Short: "Install the hook where libvirt runs it",
		Long: `Install the hook where libvirt runs it, and tell the running daemon (it is reloaded, never restarted). The
site's own hook stays in force. A second install replaces the hook with this version, or changes nothing.

Layouts:
  main     /etc/libvirt/hooks/qemu, if the site has no hook of its own
  drop-in  /etc/libvirt/hooks/qemu.d/zz-hugeguard, the last of all qemu hooks (libvirt 6.5 and later)
  chain    /etc/libvirt/hooks/qemu; the site's own hook becomes qemu.site, and hugeguard calls it first (any libvirt)

hugeguard judges last, because other hooks may add or take pages. Without --layout it uses main if the site has no
other qemu hook. Otherwise it uses drop-in, or chain if libvirt is older than 6.5 or its version is unknown. If an
older version put the hook elsewhere, or another hook now runs after it, install moves it. At every moment libvirt
finds a guard and the site's hook.

If SELinux, AppArmor or the mount denies the daemon to execute the hook, no guest would start. Then hugeguard does
not place the hook, or takes it away, and says what to do. If the kernel does not answer, hugeguard places nothing.
The policy of hugeguard-selinux allows only drop-in, so install prefers that in an image whose SELinux will be on.

It needs root.

Exit status: 0 it is done, 1 an error, 2 wrong usage, 4 the hook is installed, but a running daemon could not be
told.`,
		Example: `  sudo hugeguard install --dry-run       # print what it would do
  sudo hugeguard install
  hugeguard install --root DIR           # into a package or an image`,
		Args:                  takes(),
		DisableFlagsInUseLine: true,
		RunE: func(c *cobra.Command, _ []string) error {
			if c.Flags().Changed("layout") {
				l, err := place.ParseLayout(layout)
				if err != nil {
					return usageError{err}
				}
				o.Layout = l
			}
			return change(c, o, place.Install)
		},
	}
	f := c.Flags()
	f.StringVar(&layout, "layout", "", "install in the `LAYOUT` main, drop-in or chain")
	f.StringVar(&o.Hook, "hook", "", "use the hook program `FILE` (default: qemu beside this command, or /usr/lib/hugeguard/qemu)")
	changeFlags(c, &o)
	c.MarkFlagFilename("hook")
	c.RegisterFlagCompletionFunc("layout", cobra.FixedCompletions(
		[]string{string(place.Main), string(place.DropIn), string(place.Chain)}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func newUninstall() *cobra.Command {
	var o place.Options
	var ifDenied bool
	c := &cobra.Command{
		Use:   "uninstall [--if-denied] [--root DIR] [--dry-run]",
		Short: "Remove the hook and restore libvirt's hooks",
		Long: `Remove the hook and restore libvirt's hooks. The site's own hook gets its own name back, and the
directories that install made are removed if they are empty. Files that others changed since then stay as they
are.

With --if-denied it acts only if SELinux, AppArmor or the mount denies a daemon to execute the hook, because then no
guest would start. It moves the hook to where it may be executed, as install does, or else removes it and says why.
Otherwise it changes and prints nothing. The timer of the metrics does this.

It needs root.

Exit status: 0 it is done, 1 an error, 2 wrong usage.`,
		Example: `  sudo hugeguard uninstall --dry-run     # print what it would do
  sudo hugeguard uninstall`,
		Args:                  takes(),
		DisableFlagsInUseLine: true,
		RunE: func(c *cobra.Command, _ []string) error {
			if !ifDenied {
				return change(c, o, place.Uninstall)
			}
			err := change(c, o, place.WithdrawDenied)
			if errors.Is(err, place.ErrWithdrawn) {
				fmt.Fprintf(c.ErrOrStderr(), "hugeguard: %s\n", oneLine(err.Error()))
				return nil
			}
			return err
		},
	}
	c.Flags().BoolVar(&ifDenied, "if-denied", false, "move or remove the hook only if a daemon may not execute it")
	changeFlags(c, &o)
	return c
}

func changeFlags(c *cobra.Command, o *place.Options) {
	f := c.Flags()
	f.StringVar(&o.Root, "root", "", "install below `DIR` (a package, an image) and tell no daemon")
	f.BoolVar(&o.DryRun, "dry-run", false, "print each step and change nothing")
	c.MarkFlagDirname("root")
}

// change runs Install or Uninstall as the command line says.
func change(c *cobra.Command, o place.Options, do func(context.Context, place.Options) error) error {
	if c.Flags().Changed("root") && o.Root == "" {
		return usageError{errors.New("--root is empty: name a directory")} // an unset variable must not mean this host
	}
	o.Out = c.OutOrStdout()
	// A change ends between two of its steps; a command that only reads ends at once.
	ctx := c.Context()
	interruptOf(c).hold()
	if o.Root == "" {
		units, done, err := daemon.Systemd(ctx)
		defer done()
		if err != nil {
			fmt.Fprintf(c.ErrOrStderr(), "hugeguard: systemd does not answer, so hugeguard finds the daemons by their pid files: %s\n", oneLine(err.Error()))
		}
		o.Units = units
	}
	return do(ctx, o)
}
