package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hugeguard/guard"
	"hugeguard/guard/fix"
	"hugeguard/guard/words"
	"hugeguard/hook/config"
	"hugeguard/hook/survey"
	"hugeguard/install/status"
)

func newReserve() *cobra.Command {
	var o reserveOptions
	cmd := &cobra.Command{
		Use:   "reserve [--root DIR|FILE.tar] [--format nova|tripleo|vdsm]",
		Short: "Print the lines that make the scheduler agree with this host",
		Long: `Print the lines that make the scheduler agree with this host: the complete setting. It has what holders other
than guests use of the huge pages, and what is reserved already. Put the lines in place of the old setting. No file is
changed.

Formats:
  nova     reserved_huge_pages, lines of nova.conf, one for each node
  tripleo  the parameter NovaReservedHugePages of an environment file
  vdsm     lines of oVirt's vdsm.conf, which knows one page size and no nodes

Without --format it prints the lines for Nova or for oVirt, if this host shows signs of one of them. On other hosts
nothing can be reserved, and it prints nothing.

Exit status: 0 it is done, 1 an error, 2 wrong usage.`,
		Example: `  hugeguard reserve
  hugeguard reserve --format tripleo
  hugeguard reserve --root DIR           # for a captured host`,
		DisableFlagsInUseLine: true,
		Args:                  takes(),
		RunE:                  func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	cmd.Flags().StringVar(&o.format, "format", "", "what the lines are for: nova, tripleo or vdsm")
	cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"nova", "tripleo", "vdsm"}, cobra.ShellCompDirectiveNoFileComp))
	rootFlag(cmd, &o.root)
	return cmd
}

// reserveOptions are the flags of reserve.
type reserveOptions struct{ root, format string }

// reserveLines are what reserve prints, by its formats. Without one it is that of the host's manager, if it has any.
var reserveLines = map[string]func(guard.Host) []string{
	"":        func(guard.Host) []string { return nil },
	"nova":    func(h guard.Host) []string { return words.Reserve(h.Reservations()) },
	"tripleo": func(h guard.Host) []string { return words.ReserveTripleO(h.Reservations()) },
	"vdsm":    func(h guard.Host) []string { return words.ReserveVDSM(fix.ReservedInVDSM(h, 0)) },
}

func (o reserveOptions) run(cmd *cobra.Command) error {
	if reserveLines[o.format] == nil {
		return usageError{fmt.Errorf("unknown format %q: use nova, tripleo or vdsm", o.format)}
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
	format := cmp.Or(o.format, map[guard.Manager]string{guard.ManagerNova: "nova", guard.ManagerOVirt: "vdsm"}[host.Manager()])
	for _, line := range reserveLines[format](host) {
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), line); err != nil {
			return err
		}
	}
	for _, text := range reserveNotes(host, format) {
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
	case format == "":
		add("this host shows no sign of Nova or oVirt, so nothing can be reserved (--format nova prints the lines for Nova anyway)")
	case format == "vdsm":
		add("put the lines %s", words.VDSMEdit)
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
