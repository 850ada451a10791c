package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"hugeguard/guard"
	"hugeguard/install/capture"
	"hugeguard/install/daemon"
	"hugeguard/install/place"
	"hugeguard/sysfs"
)

func newCapture() *cobra.Command {
	var root string
	var force bool
	cmd := &cobra.Command{
		Use:   "capture [--root DIR] [--force] FILE.tar|FILE.tar.gz|-",
		Short: "Write this host's facts into a file, for a support case or a test",
		Long: `Write what a verdict needs to know about this host into a file. From it check, status and reserve give the
same answers on any machine, also about a domain that this host does not have. Run it as root: only root sees who
holds huge pages.

The file has the counters and limits of huge pages, the processes that map or open huge page files, and Nova's
reserved_huge_pages. It has the parts of the domains' XML, and the settings of libvirt, Open vSwitch and hugeguard,
that affect memory. The names of domains, processes and huge page files stay as they are. The file does not have the
memory of guests or processes, environments, other arguments, passwords, disks, metadata, or any other setting. What
it is, and what
is missing, is in it as ` + capture.About + `.

The file is new and only its owner can read it; - is standard output. Pass it to check, status and reserve with --root.

Exit status: 0 it is done, 1 an error, 2 wrong usage.`,
		Example: `  hugeguard capture host.tar               # as root; anywhere else: check --root host.tar DOMAIN
  hugeguard capture --force host.tar.gz
  hugeguard capture - | gzip > host.tar.gz`,
		DisableFlagsInUseLine: true,
		Args:                  takes("FILE.tar"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			if name != "-" && !force {
				if err := capture.Exists(name); err != nil {
					return fmt.Errorf("%w: use --force to replace it", err)
				}
			}
			host, err := hostAt(cmd, root)
			if err != nil {
				return err
			}
			c, err := capture.Take(cmd.Context(), host, capture.Options{
				Version: version(), State: hookOf(cmd, host), Patience: holdersDeadline,
			})
			if err != nil {
				return err
			}
			for _, n := range c.Notes {
				fmt.Fprintf(cmd.ErrOrStderr(), "hugeguard: %s\n", oneLine(n))
			}
			if name == "-" {
				return c.Pack(cmd.OutOrStdout())
			}
			interruptOf(cmd).hold() // leave no part of a file
			return c.Create(cmd.Context(), name, force)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace an existing file")
	rootFlag(cmd, &root)
	return cmd
}

// hookOf returns the state of the hook. If it cannot be read, the rest of the capture is still of use.
func hookOf(cmd *cobra.Command, host sysfs.FS) place.State {
	o := place.Options{Root: host.Root()}
	if host.Live() {
		units, done, _ := daemon.Systemd(cmd.Context())
		defer done()
		o.Units = units
	}
	state, err := place.Inspect(cmd.Context(), o)
	if err != nil {
		state.Live = false
		state.Why = append(state.Why, guard.Printable(err.Error(), 400))
	}
	return state
}
