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
		Short: "Take this host's facts into a file, for a support case or a test",
		Long: `Take what a verdict needs of this host into a file, from which check, status and reserve say the same on any
machine, also of a domain that this host does not have. It needs root to see who holds huge pages.

In it are the counters and limits of huge pages, who maps or opens files of these, what decides about memory in the
domains' XML, the settings of libvirt, Open vSwitch and hugeguard that do so, and Nova's reserved_huge_pages. Names of
domains, processes and files of huge pages are as they are. Not in it are the memory of guests or processes,
environments, other arguments, passwords, disks and metadata, and any other setting. What it is, and what could not be
taken, stands in it as ` + capture.About + `.

The file is new and for its owner alone; - is standard output. check, status and reserve take it as --root.

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
					return fmt.Errorf("%w: it is replaced with --force only", err)
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
	cmd.Flags().BoolVar(&force, "force", false, "replace a file that is there")
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
