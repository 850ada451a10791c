package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"hugeguard/install/daemon"
	"hugeguard/install/place"
	"hugeguard/install/proof"
)

func newVerify() *cobra.Command {
	var program string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify [--json]",
		Short: "Prove that libvirt calls the hook",
		Long: `Prove that libvirt calls the hook. verify asks the running daemon to start a domain that fits on no host,
and the hook must refuse it. The domain is transient: hugeguard-verify-RANDOM, without disk and network, with 4
PiB of memory on huge pages. If nobody refuses it, its QEMU ends before it gets a page. Nothing of it stays: no
domain, file, log or page. Its journal entry has the field HUGEGUARD_CANARY=1, and does not count as a refusal.

It needs root, libvirt's library (Debian: libvirt0; RPM: libvirt-libs) and a QEMU. If the refusal does not come back,
verify says which of the usual reasons applies. If the hook is set to refuse nothing (mode = warn, or a pattern that
exempts this domain), it is live if the journal says what it would refuse. With mode = off verify can prove nothing.
It does not ask a user's own daemon (qemu:///session).

Exit status: 0 every running daemon calls the hook, 1 verify cannot tell, 2 wrong usage, 4 a daemon does not call
it, or the hook does not judge.`,
		Example: `  hugeguard verify                        # after an install, or an upgrade of libvirt
  hugeguard verify --json | jq '.[].live' # for a machine
  hugeguard verify || journalctl -t hugeguard -t libvirtd --since -5min`,
		DisableFlagsInUseLine: true,
		Args:                  takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			interruptOf(cmd).hold() // leave nothing of the domain
			ctx := cmd.Context()
			units, done, _ := daemon.Systemd(ctx) // without it there are the pid files
			defer done()
			results, err := proof.Verify(ctx, place.Options{Hook: program, Units: units}, connectDaemon)
			if len(results) > 0 {
				var printErr error
				if asJSON {
					printErr = printJSONList(cmd.OutOrStdout(), results)
				} else {
					printErr = printResults(cmd.OutOrStdout(), results)
				}
				if err == nil {
					err = printErr
				}
			}
			for _, p := range results {
				if err == nil && !p.Live {
					err = errNotLive
				}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON array, with an object for each daemon")
	programFlag(cmd, &program)
	return cmd
}

// printResults prints what was found out, in the form of the first lines of status.
func printResults(w io.Writer, results []proof.Result) error {
	var err error
	line := func(format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintf(w, format+"\n", args...)
		}
	}
	for _, p := range results {
		who := "libvirt"
		if p.PID != 0 {
			who = fmt.Sprintf("%s (pid %d)", p.Daemon, p.PID)
		}
		switch {
		case p.Live && p.Told != "":
			line("hook: live, but set to refuse nothing here (%s): %s called it for %s", p.Told, who, p.Canary.Name)
		case p.Live:
			line("hook: live: %s called it for %s, which it refused", who, p.Canary.Name)
		case p.Canary.Name == "":
			line("hook: NOT LIVE")
		default:
			line("hook: NOT LIVE: %s was asked to start %s", who, p.Canary.Name)
		}
		if p.Summary != "" {
			line("  it says: %s", p.Summary)
		}
		for _, why := range p.Why {
			line("  %s", oneLine(why))
		}
		if !p.Refused && p.Libvirt != "" {
			line("  libvirt says: %s", p.Libvirt)
		}
	}
	return err
}
