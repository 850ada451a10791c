package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hugeguard/guard"
	"hugeguard/guard/words"
	"hugeguard/hook/config"
	"hugeguard/hook/survey"
	"hugeguard/install/status"
)

func newReserve() *cobra.Command {
	var o reserveOptions
	cmd := &cobra.Command{
		Use:   "reserve [--root DIR|FILE.tar] [--format nova|tripleo]",
		Short: "Print the lines that make Nova agree with this host",
		Long: `Print the lines that make Nova agree with this host: the complete setting of reserved_huge_pages. It has
what holders other than guests use of each node's huge pages, and what is reserved already. Put the lines in place
of the old setting. No file is changed.

Formats:
  nova     lines of nova.conf (the default)
  tripleo  the parameter NovaReservedHugePages of an environment file

Exit status: 0 it is done, 1 an error, 2 wrong usage.`,
		Example: `  hugeguard reserve
  hugeguard reserve --format tripleo
  hugeguard reserve --root DIR           # for a captured host`,
		DisableFlagsInUseLine: true,
		Args:                  takes(),
		RunE:                  func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	cmd.Flags().StringVar(&o.format, "format", "nova", "what the lines are for: nova or tripleo")
	cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"nova", "tripleo"}, cobra.ShellCompDirectiveNoFileComp))
	rootFlag(cmd, &o.root)
	return cmd
}

// reserveOptions are the flags of reserve.
type reserveOptions struct{ root, format string }

func (o reserveOptions) run(cmd *cobra.Command) error {
	lines := map[string]func([]guard.Reservation) []string{"nova": words.Reserve, "tripleo": words.ReserveTripleO}[o.format]
	if lines == nil {
		return usageError{fmt.Errorf("unknown format %q: use nova or tripleo", o.format)}
	}
	fs, err := hostAt(cmd, o.root)
	if err != nil {
		return err
	}
	stderr := cmd.ErrOrStderr()
	if status.Hidden(fs) {
		note(stderr, "only root sees all holders: run it as root for complete lines")
	}
	conf, err := config.Read(fs)
	if err != nil {
		note(stderr, "%v", err)
	}
	defer tellIfHung(stderr)()
	host, _, err := survey.Full(fs, survey.All, conf, time.Now().Add(holdersDeadline))
	if err != nil {
		return err
	}
	for _, line := range lines(host.Reservations()) {
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), line); err != nil {
			return err
		}
	}
	for _, text := range reserveNotes(host, o.format) {
		note(stderr, "%s", text)
	}
	return nil
}

// reserveNotes returns what to do with the lines, and what they may lack.
func reserveNotes(host guard.Host, format string) []string {
	var notes []string
	add := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	n := host.Nova
	switch {
	case host.Reservations() == nil:
		add("only guests hold huge pages here: there is nothing to reserve")
	case host.Agrees():
		add("%s reserves this already", strings.Join(n.SetIn, ", "))
	case format == "tripleo":
		add("put it under the parameters of this host's role, deploy, and check that nova_compute was restarted")
	default:
		add("put the lines %s", words.NovaEdit(n))
	}
	if n != nil && n.Fault != "" {
		add("hugeguard does not know what is reserved now, so the lines lack it: %s", n.Fault)
	}
	if n != nil && n.Stale != "" {
		add("nova-compute (pid %d) was started before %s was changed: restart it in any case", n.PID, n.Stale)
	}
	if o := host.OVSReport(); o != nil && (o.PageKiB == 0 || o.AnyMiB > 0) && o.Pending {
		add("%s: its pages or their node are unknown until it runs, so the lines lack it: ask again then", words.OVS(*o))
	}
	for _, note := range words.Unseen(host.Holders) {
		add("%s: more may be held", note)
	}
	if missed := words.NotKnown(host.NotKnown); missed != "" {
		add("%s: the lines may be wrong, so ask again", missed)
	}
	return notes
}
