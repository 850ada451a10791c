package main

import (
	"github.com/spf13/cobra"
)

func newCheck() *cobra.Command {
	var c checker
	var root string
	var all bool
	cmd := &cobra.Command{
		Use:   "check [--root DIR|FILE.tar] [--json] FILE.xml|-|NAME|UUID|ID  (or --all)",
		Short: "Say whether a domain would be let start now",
		Long: `Say whether a domain would be let start now, why not, who holds the pages and what mends it: what
the hook would say to libvirt and the journal.

The argument is a file if it has a slash in it, ends in .xml or is one, - is standard input. Anything else is
the ID, the UUID or the name of a domain, which is asked of libvirt, or read from its files where it does not run.

With --all every domain that does not run is asked about, each for itself, and those with autostart once more
as if they were started now, one after the other: who fits takes its pages before the next is judged. libvirt
has no order of its own (it goes through a hash table that it mixes anew whenever the daemon starts), so they
are taken by name: with another order others may be left without pages.

Exit status: 0 it fits, 1 an error, 2 wrong usage, 3 a domain would be refused, by hugeguard or by libvirt
itself, alone or after the others. One that is exempt (see /etc/hugeguard.conf) would not: what is wanting is
said, and that it goes on.`,
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
	f.BoolVar(&all, "all", false, "ask about every domain that does not run")
	rootFlag(cmd, &root)
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		host, err := hostAt(cmd, root)
		if all || len(args) > 0 || err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return domainNames(host), cobra.ShellCompDirectiveDefault // or files
	}
	return cmd
}
