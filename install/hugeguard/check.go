package main

import (
	"github.com/spf13/cobra"

	"hugeguard/install/domains"
)

func newCheck() *cobra.Command {
	var c checker
	var root string
	var all bool
	cmd := &cobra.Command{
		Use:   "check [--root DIR|FILE.tar] [--json] FILE.xml|-|NAME|UUID|ID  (or --all)",
		Short: "Say whether a domain would start now",
		Long: `Say whether hugeguard would allow the start of a domain now. If not, say why, who holds the pages, and what
fixes it, as the hook would tell libvirt and the journal.

The argument is a file if it contains a slash, ends in .xml, or exists as a file; - is standard input. Otherwise it is
the ID, the UUID or the name of a domain. hugeguard asks libvirt for it, or reads libvirt's files if libvirt does not
run.

With --all, judge every domain that does not run, each by itself. Then judge those with autostart again, as if they
started now, one after the other: each guest that fits takes its pages before the next is judged. libvirt's own order is
random, so hugeguard takes them by name. In another order other guests may get no pages.

Exit status: 0 it fits, 1 an error, 2 wrong usage, 3 a domain would be refused, by hugeguard or by libvirt
itself, alone or after the others. An exempt domain (see /etc/hugeguard.conf) does not count:
check says what it lacks, and that it is allowed.`,
		Example: `  hugeguard check instance-00000003
  virsh dumpxml instance-00000003 | hugeguard check -
  hugeguard check --all
  hugeguard check --all --json | jq -r 'select(.decision == "refuse") | .domain.name'
  hugeguard check --root DIR instance-00000003.xml     # on a captured host`,
		DisableFlagsInUseLine: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if all {
				return takes()(cmd, args)
			}
			return takes("a domain or its file")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			host, err := hostAt(cmd, root)
			if err != nil {
				return err
			}
			c.host, c.out, c.notes = host, cmd.OutOrStdout(), cmd.ErrOrStderr()
			c.configure()
			if all {
				return c.all()
			}
			return c.one(args[0], cmd.InOrStdin())
		},
	}
	f := cmd.Flags()
	f.BoolVar(&c.json, "json", false, "print one JSON object for each domain")
	f.BoolVar(&all, "all", false, "judge every domain that does not run")
	rootFlag(cmd, &root)
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		host, err := hostAt(cmd, root)
		if all || len(args) > 0 || err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return domains.Names(host), cobra.ShellCompDirectiveDefault // or files
	}
	return cmd
}
