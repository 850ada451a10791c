package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
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
		Use:   "reserve [--root DIR|FILE.tar] [--format FORMAT | --write | --remove] [--dry-run] [--restart]",
		Short: "Print the lines that make the scheduler agree with this host, or write them",
		Long: `Print the lines that make the scheduler agree with this host: the complete setting. It has what holders other
than guests use of the huge pages, and what is reserved already. Put the lines in place of the old setting. Without
--write and --timer, no file is changed.

Formats:
  nova               reserved_huge_pages, lines of nova.conf, one for each node
  tripleo            the parameter NovaReservedHugePages of an environment file
  rhoso              a ConfigMap for the data plane's service nova
  kolla              lines for /etc/kolla/config/nova/HOST/nova.conf of the deploying host
  openstack-ansible  the override of nova.conf in the host's variables
  kubelet            reservedMemory of KubeletConfiguration; kubelet up to 1.37 does not start with it
  vdsm               lines of oVirt's vdsm.conf, which knows one page size and no nodes
  json               node, page size and count of each pool

Without --format it prints the lines for Nova or for oVirt, if this host shows signs of one of them. On other hosts
nothing can be reserved, and it prints nothing.

--write writes the setting where nova-compute reads it, and shows first what changes: a file zz-hugeguard.conf in
nova.conf.d if that wins over the other files. Otherwise the last file that has the setting gets the new lines, and is
kept as FILE.before-hugeguard. It refuses if a deployment tool writes these files, or if it could not see all holders.
--remove takes away what --write wrote. nova-compute reads the setting when it starts: --restart restarts it if anything
changed. Both need root.

--timer is for hugeguard-reserve.timer: it looks, and does what the setting reserve in /etc/hugeguard.conf says, once
two looks in a row saw the same.

Exit status: 0 it is done, 1 an error, 2 wrong usage.`,
		Example: `  hugeguard reserve
  hugeguard reserve --format tripleo
  hugeguard reserve --root DIR           # for a captured host
  sudo hugeguard reserve --write --dry-run
  sudo hugeguard reserve --write --restart
  sudo hugeguard reserve --remove`,
		DisableFlagsInUseLine: true,
		Args:                  takes(),
		RunE:                  func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	formats := slices.Sorted(maps.Keys(reserveLines))[1:]
	f := cmd.Flags()
	f.StringVar(&o.format, "format", "", "what the lines are for: nova, tripleo, vdsm, or another `FORMAT`")
	cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	f.BoolVar(&o.write, "write", false, "write the setting where nova-compute reads it")
	f.BoolVar(&o.remove, "remove", false, "remove what --write wrote")
	f.BoolVar(&o.timer, "timer", false, "do what the setting reserve says")
	f.BoolVar(&o.dryRun, "dry-run", false, "show what would change and change nothing")
	f.BoolVar(&o.restart, "restart", false, "restart nova-compute if anything changed")
	rootFlag(cmd, &o.root)
	return cmd
}

// reserveOptions are the flags of reserve.
type reserveOptions struct {
	root, format                          string
	write, remove, timer, dryRun, restart bool

	read func() // is called when the host has been read
}

// reserveLines are what reserve prints, by its formats. Without one it is that of the host's manager, if it has any.
var reserveLines = map[string]func(guard.Host) []string{
	"":                  func(guard.Host) []string { return nil },
	"nova":              func(h guard.Host) []string { return words.Reserve(h.Reservations()) },
	"tripleo":           func(h guard.Host) []string { return words.ReserveTripleO(h.Reservations()) },
	"rhoso":             func(h guard.Host) []string { return words.ReserveRHOSO(h.Reservations()) },
	"kolla":             func(h guard.Host) []string { return words.Reserve(h.Reservations()) },
	"openstack-ansible": func(h guard.Host) []string { return words.ReserveOpenStackAnsible(h.Reservations()) },
	"kubelet":           func(h guard.Host) []string { return words.ReserveKubelet(h.Reservations()) },
	"vdsm":              func(h guard.Host) []string { return words.ReserveVDSM(fix.ReservedInVDSM(h, 0)) },
	"json":              func(h guard.Host) []string { return words.ReserveJSON(h.Reservations()) },
}

// reservePlaces says where the lines of a format go.
var reservePlaces = map[string]string{
	"tripleo":           "put it under the parameters of this host's role, deploy, and check that nova_compute was restarted",
	"rhoso":             "add the key to the ConfigMap, which holds for all node sets with the service nova, and deploy; for one node set, use a service and a ConfigMap of its own",
	"kolla":             "put the lines into /etc/kolla/config/nova/HOST/nova.conf of the deploying host, where HOST is this host in the inventory, and run kolla-ansible reconfigure",
	"openstack-ansible": "add it to the host's variables (/etc/openstack_deploy/host_vars), and run the playbook of nova; a user_*.yml in /etc/openstack_deploy that sets nova_nova_conf_overrides wins over them: move it there, or add it to that",
	"kubelet":           "kubelet up to 1.37 does not start with huge pages in reservedMemory that are not reserved otherwise (KEP-6252): try it on one host",
	"vdsm":              "put the lines " + words.VDSMEdit,
	"json":              "put these pages where the scheduler learns of them",
}

func (o reserveOptions) run(cmd *cobra.Command) error {
	changes := o.write || o.remove || o.timer
	asked := 0
	for _, name := range []string{"format", "write", "remove", "timer"} {
		if cmd.Flags().Changed(name) {
			asked++
		}
	}
	switch {
	case asked > 1:
		return usageError{errors.New("use one of --format, --write, --remove and --timer")}
	case reserveLines[o.format] == nil:
		return usageError{fmt.Errorf("unknown format %q: use one of %s", o.format, strings.Join(slices.Sorted(maps.Keys(reserveLines))[1:], ", "))}
	case (o.dryRun || o.restart) && !changes:
		return usageError{errors.New("--dry-run and --restart need --write or --remove")}
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
	o.read = tellIfHung(stderr)
	defer o.read()
	if o.remove {
		return o.change(cmd, fs, conf, guard.Host{})
	}
	host, _, err := survey.Full(fs, survey.All, conf, time.Now().Add(holdersDeadline))
	if err != nil {
		return err
	}
	switch {
	case o.timer:
		return o.runTimer(cmd, fs, conf, host)
	case o.write:
		return o.change(cmd, fs, conf, host)
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
	case format == "vdsm" || format == "kubelet" || format == "json":
		add("%s", reservePlaces[format])
	case host.Agrees():
		add("%s reserves this already", strings.Join(n.SetIn, ", "))
	case reservePlaces[format] != "":
		add("%s", reservePlaces[format])
	default:
		add("put the lines %s", words.NovaEdit(n))
	}
	if n != nil && n.Fault != "" {
		add("hugeguard does not know what is reserved now, so the lines lack it: %s", n.Fault)
	}
	if n != nil && len(n.Uncounted) > 0 {
		add("%s (the lines do not depend on it)", words.Uncounted(n.Uncounted))
	}
	if n != nil && n.Unlisted != "" {
		add("%s (the lines do not depend on it)", words.Unlisted(n.Unlisted))
	}
	if n != nil && n.Stale != "" {
		add("nova-compute (pid %d) was started before %s was changed: restart it in any case", n.PID, n.Stale)
	}
	return append(notes, unsure(host)...)
}

// unsure returns why the lines may lack something.
func unsure(host guard.Host) []string {
	var notes []string
	if o := host.OVSReport(); o != nil && (o.PageKiB == 0 || o.AnyMiB > 0) && o.Pending {
		notes = append(notes, words.OVS(*o)+": its pages or their node are unknown until it runs, so the lines lack it: ask again then")
	}
	for _, text := range words.Unseen(host.Holders) {
		notes = append(notes, text+": more may be held")
	}
	if missed := words.NotKnown(host.NotKnown); missed != "" {
		notes = append(notes, missed+": the lines may be wrong, so ask again")
	}
	return notes
}
