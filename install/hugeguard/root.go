package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "hugeguard",
		Short: "Refuse the start of a guest that cannot get its huge pages, and say who holds them",
		Long: `hugeguard is a libvirt hook. It refuses the start of a guest that cannot get its huge pages, and says who
holds them and what fixes it. This command installs the hook, and says beforehand what the hook would say.

Exit status:
  0  it fits, or it is done
  1  hugeguard failed, and standard error says why
  2  wrong usage
  3  a start would be refused
  4  the hook is not live`,
		Example: `  sudo hugeguard install                 # install the hook
  hugeguard status                       # pools, holders, what Nova believes, whether the hook is live
  hugeguard check instance-00000003      # would this domain start now?
  hugeguard reserve                      # what nova.conf should reserve
  hugeguard help check`,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("name a command: see hugeguard --help")}
			}
			return noCommand(c, args[0])
		},
		SuggestionsMinimumDistance: similar,
	}
	root.SetFlagErrorFunc(wrongFlag)
	root.SetHelpCommand(newHelp())
	root.AddCommand(newCheck(), newExplain(), newRoom(), newStatus(), newReserve(), newCapture(), newMetrics(), newConfig(), newInstall(), newUninstall(), newVerify())
	return root
}

// newHelp is cobra's own help, except that a command which does not exist is an error.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:                   "help [COMMAND]",
		Short:                 "Show the help of a command",
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
				return noCommand(c.Root(), strings.Join(args, " "))
			}
			about.InitDefaultHelpFlag()
			about.InitDefaultVersionFlag()
			return about.Help()
		},
	}
}
