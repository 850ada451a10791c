package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "hugeguard",
		Short: "Refuse the start of a guest whose huge pages are not there, and say who holds them",
		Long: `hugeguard is a libvirt hook that refuses the start of a guest whose huge pages are not
there, and says who holds them. This command puts the hook in place and asks beforehand what it would
say.

Exit status:
  0  it fits, or it is done
  1  hugeguard's own error, said on standard error
  2  wrong usage
  3  a start would be refused
  4  the hook is not live`,
		Example: `  sudo hugeguard install                 # put the hook in place
  hugeguard status                       # pools, who holds them, what Nova believes, is the hook live
  hugeguard check instance-00000003      # would this domain start now?
  hugeguard reserve                      # what nova.conf should reserve
  hugeguard help check`,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("no command is given: see hugeguard --help")}
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
		Short:                 "Say how a command is used",
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
