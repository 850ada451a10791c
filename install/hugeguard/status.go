package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"hugeguard/install/status"
)

func newStatus() *cobra.Command {
	var o statusOptions
	cmd := &cobra.Command{
		Use:   "status [--root DIR|FILE.tar] [--json] [--watch[=SECONDS]] [--color WHEN]",
		Short: "Show the huge pages of this host, who holds them, what Nova believes, and whether the hook is live",
		Long: `Show on one screen whether the hook is live, as far as files and processes show; the pools of huge pages as
a picture, their holders, and what starting guests will still take; what Nova believes, and the drift: the pages
used outside Nova minus the pages reserved for that; and the last refusals, from the journal.

On a terminal, lines are as long as the terminal is wide, and small holders are only counted. If it has too few rows,
details are cut. Other output, and the JSON, is complete. Only terminals get colour, unless NO_COLOR is set.

Exit status: 0 the hook is live, 1 an error, 2 wrong usage, 4 the hook is not live.`,
		Example: `  hugeguard status
  hugeguard status --watch=5          # again every 5 seconds, until Ctrl-C
  hugeguard status --json | jq '.pools[] | {node, page_kib, free}'
  hugeguard status --root host.tar    # of a captured host`,
		DisableFlagsInUseLine: true,
		Args:                  takes(),
		RunE:                  func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.BoolVar(&o.json, "json", false, "print one JSON object")
	f.StringVar(&o.colour, "color", "auto", "when to use colour: `WHEN` is auto, always or never")
	f.StringVar(&o.every, "watch", "", "show it again every `SECONDS` (default 2), until Ctrl-C")
	f.Lookup("watch").NoOptDefVal = "2"
	cmd.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("watch", cobra.NoFileCompletions)
	rootFlag(cmd, &o.root)
	programFlag(cmd, &o.program)
	return cmd
}

// statusOptions are the flags of status.
type statusOptions struct {
	root, program, colour, every string
	json                         bool
}

func (o statusOptions) run(cmd *cobra.Command) error {
	host, err := hostAt(cmd, o.root)
	if err != nil {
		return err
	}
	if _, err := lookOf(io.Discard, o.colour); err != nil {
		return err
	}
	view := statusView{cmd.OutOrStdout(), o.colour, o.json}
	read := func(ctx context.Context) (status.Report, error) {
		defer tellIfHung(cmd.ErrOrStderr())()
		r, err := status.Read(ctx, host, o.program, holdersDeadline)
		if err == nil {
			r.ReadRefusals(ctx, host)
			r.ReadOwner(ctx, host)
		}
		return r, err
	}
	if cmd.Flags().Changed("watch") {
		interval, err := parseInterval(o.every)
		if err != nil {
			return err
		}
		interruptOf(cmd).hold() // leave the terminal as it was
		return watch(cmd.Context(), view, interval, read)
	}
	r, err := read(cmd.Context())
	if err != nil {
		return err
	}
	text, err := view.text(r)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(view.out, text); err != nil {
		return err
	}
	return liveness(r)
}
