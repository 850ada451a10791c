package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hugeguard/guard"
	"hugeguard/guard/fix"
	"hugeguard/guard/words"
	"hugeguard/install/domains"
	"hugeguard/install/journal"
	"hugeguard/sysfs"
)

func newExplain() *cobra.Command {
	var c checker
	var root string
	cmd := &cobra.Command{
		Use:   "explain [--root DIR] [--json] [NAME|UUID]",
		Short: "Say what was refused or warned of, when and why, and what fixes it now",
		Long: `Say what the hook last refused or warned of, when and why, from the journal: about the domain of this name
or UUID, or about any domain. Then judge the start again on the host as it is now, so that the fixes are current.

hugeguard asks libvirt for the domain, or reads libvirt's files if libvirt does not run. If the domain is no longer
defined, for example because Nova removed the instance from this host, the fixes are those in the journal.

Only root and the group systemd-journal can read the journal. With --root it is the journal below that directory.

Exit status: 0 it is explained, or there is nothing to explain, 1 an error, 2 wrong usage.`,
		Example: `  hugeguard explain                        # the last one
  hugeguard explain instance-00000003
  hugeguard explain "$ID"                  # the id that openstack server show prints
  hugeguard explain --json | jq .entry`,
		DisableFlagsInUseLine: true,
		SuggestFor:            []string{"why", "describe"},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return takes("a domain")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			host, err := hostAt(cmd, root)
			if err != nil {
				return err
			}
			c.host, c.out, c.notes = host, cmd.OutOrStdout(), cmd.ErrOrStderr()
			c.configure()
			return c.runExplain(cmd.Context(), strings.Join(args, ""))
		},
	}
	cmd.Flags().BoolVar(&c.json, "json", false, "print one JSON object")
	rootFlag(cmd, &root)
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		host, err := hostAt(cmd, root)
		if len(args) > 0 || err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return domains.Names(host), cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}

// runExplain explains the last entry in the host's journal about a domain, or about any.
func (c *checker) runExplain(ctx context.Context, who string) error {
	j, err := journal.At(c.host)
	if err != nil {
		return err
	}
	known := domains.Open(c.host)
	defer known.Close()
	e, err := c.explain(ctx, j, known, who)
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(c.out, e)
	}
	_, err = io.WriteString(c.out, e.text())
	return err
}

// An explanation is what explain prints.
type explanation struct {
	// Entry is the last entry in the journal; nil where there is none.
	Entry *journal.Refusal `json:"entry"`
	// Text is what the entry says below its summary.
	Text []string `json:"text"`
	// Earlier is how many entries about the domain the journal has before that one, up to a hundred.
	Earlier int `json:"earlier"`
	// Nothing says why there may be no entry; "" where there is one.
	Nothing string `json:"nothing"`
	// Now is what would become of the domain's start now; nil where that is not known.
	Now *words.Report `json:"now"`
	// NotNow says why it is not known; "" where it is.
	NotNow string `json:"not_now"`

	verdict fix.Verdict // of now
}

// manyEntries is how many entries about a domain are read.
const manyEntries = 101

// explain explains the last entry about a domain, or about any.
func (c *checker) explain(ctx context.Context, j journal.Journal, known domains.Known, who string) (e explanation, err error) {
	name, uuid := who, ""
	if domains.IsUUID(who) {
		name, uuid = "", who
	}
	entries, unread := j.About(ctx, name, uuid, manyEntries)
	e.Text = []string{}
	if len(entries) == 0 {
		if unread == nil {
			e.Nothing, unread = nothing(ctx, j, c.host, who)
		}
		if unread != nil {
			e.Nothing = oneLine(unread.Error())
		}
		if who == "" {
			return e, unread
		}
		return e, c.explainNow(&e, known, who, who)
	}
	if unread != nil {
		c.note("not all of the journal could be read: %v", unread)
	}
	e.Entry = &entries[0]
	e.Text = append(e.Text, entries[0].Rest...)
	if who != "" {
		e.Earlier = len(entries) - 1
	}
	return e, c.explainNow(&e, known, entries[0].UUID, cmp.Or(name, entries[0].Domain))
}

// nothing says that the journal has no entry about a domain, or none at all, and how that may be.
func nothing(ctx context.Context, j journal.Journal, host sysfs.FS, who string) (string, error) {
	begin, err := j.Begin(ctx)
	if err != nil {
		return "", err
	}
	text := "the journal has no refusal and no warning"
	if who != "" {
		text += " of " + guard.Printable(who, 240)
	}
	if begin.IsZero() {
		text += ": it is empty"
	} else {
		text += ": it begins " + moment(begin)
	}
	if journal.Volatile(host) {
		text += ", and is lost at each boot (Storage=persistent in journald.conf keeps it)"
	}
	return text + `; "hugeguard status" says whether the hook is live`, nil
}

// explainNow judges the domain again, which its UUID or else its name finds.
func (c *checker) explainNow(e *explanation, known domains.Known, uuid, name string) error {
	d, err := domains.Domain{}, domains.ErrNone
	if domains.IsUUID(uuid) {
		d, err = known.ByUUID(uuid)
	}
	if errors.Is(err, domains.ErrNone) {
		d, err = known.Get(name)
	}
	switch {
	case errors.Is(err, domains.ErrNone) && e.Entry == nil:
		return fmt.Errorf("no domain %q is defined here, and %s", name, e.Nothing)
	case errors.Is(err, domains.ErrNone):
		e.NotNow = "it is no longer defined here, so that its start cannot be judged again: below is what was so then"
		return nil
	case err != nil:
		e.NotNow = oneLine(err.Error())
		return nil
	case d.Running:
		e.NotNow = "it runs"
		return nil
	}
	now := d.UUID()
	if now != "" && e.Entry != nil && e.Entry.UUID != "" && !strings.EqualFold(now, e.Entry.UUID) {
		c.note("%s has another UUID now (%s): it may be another domain", name, now)
	}
	v, err := c.judge(d)
	if err != nil {
		e.NotNow = oneLine(err.Error())
		return nil
	}
	report := words.NewReport(v)
	e.Now, e.verdict = &report, v
	return nil
}

// moment says a time for people.
func moment(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 MST") }

// text says an explanation for the terminal.
func (e explanation) text() string {
	var b strings.Builder
	if e.Entry == nil {
		fmt.Fprintln(&b, e.Nothing)
	} else {
		e.entry(&b)
	}
	switch {
	case e.NotNow != "":
		fmt.Fprintf(&b, "now: %s\n", e.NotNow)
	case e.Now != nil:
		then := "it would be " + done(e.verdict.Decision)
		if e.verdict.RefusedBy() == guard.ByLibvirt {
			then = "libvirt would refuse it"
		}
		fmt.Fprintf(&b, "now %s:\n", then)
		for _, line := range strings.Split(words.Text(e.verdict), "\n") {
			fmt.Fprintf(&b, "  %s\n", line)
		}
	}
	if e.Entry != nil && e.Now == nil {
		for _, line := range e.Text {
			fmt.Fprintf(&b, "  %s\n", line)
		}
	}
	return b.String()
}

// entry says what the journal has.
func (e explanation) entry(b *strings.Builder) {
	r := e.Entry
	what := "was " + done(guard.Decision(r.Decision))
	switch {
	case r.Decision == "":
		what = "was not judged"
	case r.Would:
		what = "was to be refused, and was allowed (mode = warn, or exempt)"
	}
	if r.Cause != "" {
		what += ", cause " + r.Cause
	}
	who := r.Domain
	if r.UUID != "" {
		who += " (" + r.UUID + ")"
	}
	summary, _, _ := strings.Cut(r.Summary, "; more: hugeguard explain")
	fmt.Fprintf(b, "%s: %s %s:\n  %s\n", moment(r.Time), who, what, summary)
	if e.Earlier > 0 {
		match := "HUGEGUARD_DOMAIN=" + r.Domain
		if r.UUID != "" {
			match = "HUGEGUARD_UUID=" + r.UUID
		}
		fmt.Fprintf(b, "earlier entries about it: %d, see journalctl -t hugeguard %s\n", e.Earlier, words.ShellWord(match))
	}
}

// done says a decision about a start that was made.
func done(d guard.Decision) string {
	switch d {
	case guard.Refuse:
		return "refused"
	case guard.Warn:
		return "allowed with a warning"
	}
	return "allowed"
}
