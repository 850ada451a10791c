package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/words"
	"hugeguard/hook"
	"hugeguard/hook/config"
	"hugeguard/hook/survey"
	"hugeguard/install/capture"
	"hugeguard/install/place"
	"hugeguard/install/status"
	"hugeguard/sysfs"
)

func newCheck() *cobra.Command {
	var c checker
	var root string
	var all bool
	cmd := &cobra.Command{
		Use:   "check [--root DIR|FILE.tar] [--json] FILE.xml|-|DOMAIN  (or --all)",
		Short: "Say whether a domain would be let start now",
		Long: `Say whether a domain would be let start now, why not, who holds the pages and what mends it: what
the hook would say to libvirt and the journal.

The argument is a file if it has a slash in it, ends in .xml or is one, - is standard input, anything else is
the name of a domain.

With --all every domain that does not run is asked about, each for itself, and those with autostart once more
as if they were started now, one after the other: who fits takes its pages before the next is judged. libvirt
has no order of its own (it goes through a hash table that it mixes anew whenever the daemon starts), so they
are taken by name: with another order others may be left without pages.

Exit status: 0 it fits, 1 an error, 2 wrong usage, 3 a domain would be refused, alone or after the others. One
that is exempt (see /etc/hugeguard.conf) would not: what is wanting is said, and that it goes on.`,
		Example: `  hugeguard check instance-00000003
  virsh dumpxml instance-00000003 | hugeguard check -
  hugeguard check --all
  hugeguard check --all --json | jq -r 'select(.decision == "refuse") | .domain.name'
  hugeguard check --root DIR instance-00000003.xml     # on a captured host`,
		DisableFlagsInUseLine: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if all {
				return takes(0)(cmd, args)
			}
			return takes(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if c.host, err = hostAt(cmd, root); err != nil {
				return err
			}
			c.out, c.notes = cmd.OutOrStdout(), cmd.ErrOrStderr()
			c.configure()
			if status.Hidden(c.host) {
				c.note("an ordinary user does not see everybody who holds pages or is starting: run it as root to hear what the hook would say")
			}
			if all {
				return c.all()
			}
			d, err := readDomain(args[0], cmd.InOrStdin(), c.host)
			if err != nil {
				return err
			}
			verdict, err := c.judge(d)
			if err != nil {
				return err
			}
			return c.print(verdict, words.Text(verdict))
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

// rootFlag adds --root of a command that reads.
func rootFlag(cmd *cobra.Command, root *string) {
	cmd.Flags().StringVar(root, "root", "", "read `DIR`/sys, proc, etc, run, var, or a capture, in place of this host's")
	cmd.MarkFlagFilename("root")
}

// hostAt returns the host below the root, or this one where the flag is not given.
// A capture in a file is unpacked until the command ends.
func hostAt(cmd *cobra.Command, root string) (sysfs.FS, error) {
	if !cmd.Flags().Changed("root") {
		return sysfs.New(""), nil
	}
	if root == "" {
		return sysfs.FS{}, usageError{errors.New("--root is empty: name a directory, or a file that capture wrote")}
	}
	info, err := os.Stat(root)
	if err != nil {
		return sysfs.FS{}, err
	}
	if info.Mode().IsRegular() {
		root, err = unpack(cmd, root)
	} else if _, err = os.ReadDir(root); err == nil { // or all of it would look like a host without huge pages
		root, err = filepath.Abs(root)
	}
	if err != nil {
		return sysfs.FS{}, err
	}
	return sysfs.New(root), nil
}

// unpack returns where a capture is unpacked until the command ends.
func unpack(cmd *cobra.Command, name string) (dir string, err error) {
	i := interruptOf(cmd)
	defer i.hold()() // it alone knows of a directory that is half unpacked
	if dir, err = capture.Unpack(cmd.Context(), name); err == nil {
		dir, err = filepath.Abs(dir)
		i.removes(dir)
	}
	return dir, err
}

// holdersDeadline bounds the search for those who hold pages; nobody waits for libvirt here.
var holdersDeadline = 10 * time.Second

// tellIfHung says on stderr that something does not answer, unless stop is called in good time.
func tellIfHung(stderr io.Writer) (stop func()) {
	timer := time.AfterFunc(2*holdersDeadline, func() {
		fmt.Fprintln(stderr, "hugeguard: still waiting: a file system or a process that hugeguard reads does not answer; "+
			"this command cannot be ended before it does")
	})
	return func() { timer.Stop() }
}

// A checker does what the hook does at a start, for one that is not happening.
type checker struct {
	host   sysfs.FS
	config config.Config
	before []place.OtherHook // that libvirt runs before the hook
	after  []place.OtherHook
	json   bool
	out    io.Writer
	notes  io.Writer // what a verdict does not say
}

func (c *checker) note(format string, args ...any) {
	fmt.Fprintf(c.notes, "hugeguard: %s\n", oneLine(fmt.Sprintf(format, args...)))
}

// configure reads the hook's configuration, and says if it keeps the hook from refusing.
func (c *checker) configure() {
	conf, err := config.Read(c.host)
	if err != nil {
		c.note("%v", err)
	}
	c.config = conf
	if c.before, c.after, err = place.OtherHooks(c.host.Root()); err != nil {
		c.note("the other hooks of this host are not known: %v", err)
	}
	if len(c.before) > 0 {
		c.note("libvirt runs other hooks before hugeguard's, which may make or take pages; this is judged without them: %s", place.Paths(c.before))
	}
	if conf.Mode != config.Enforce && !conf.ModeUnread {
		c.note("%s has mode = %s: the hook refuses nothing", c.host.Path(config.Path), conf.Mode)
	}
}

// unlessHooks returns a refusal for want of pages as a warning if another hook may still make them: any that runs after
// hugeguard's, as there, or one before it that speaks of huge pages.
func (c *checker) unlessHooks(v guard.Verdict) guard.Verdict {
	if !v.Shortage() {
		return v
	}
	if len(c.after) > 0 {
		var paths []string
		for _, h := range c.after {
			paths = append(paths, h.Path)
		}
		return v.Unless(hook.LaterMayMake(paths))
	}
	makers := slices.DeleteFunc(slices.Clone(c.before), func(h place.OtherHook) bool { return !h.HugePages })
	if len(makers) > 0 {
		return v.Unless("another hook may make the pages before hugeguard judges: " + place.Paths(makers))
	}
	return v
}

func (c *checker) judge(d foundDomain) (guard.Verdict, error) {
	demand, err := domain.Parse(d.xml)
	if err != nil {
		return guard.Verdict{}, err
	}
	demand.Exempt = c.config.Exempts(demand)
	if len(demand.Backends) == 0 {
		return guard.Judge(demand, guard.Host{}), nil // as the hook, without looking
	}
	defer tellIfHung(c.notes)()
	host, err := c.survey(survey.For(demand))
	if err != nil {
		return guard.Verdict{}, err
	}
	if d.running {
		pages := giveBack(&host, demand.Domain.Name)
		c.note("%s runs: this is about starting it anew, when it has given back the %d huge pages that it holds", demand.Domain.Name, pages)
	}
	v := c.unlessHooks(guard.Judge(demand, host))
	if v.Exempt != "" {
		would := "is not refused in any case"
		if v.Decision == guard.Refuse {
			would = "would be refused, and goes on"
		}
		c.note("%s %s: it is exempt by %s", demand.Domain.Name, would, v.Exempt)
	}
	return v, nil
}

// survey reads all that is to be known of the host.
func (c *checker) survey(of survey.Scope) (guard.Host, error) {
	host, blind, err := survey.Full(c.host, of, c.config, time.Now().Add(holdersDeadline))
	if blind != nil {
		c.note("it is not known which domains are starting: %v", blind)
	}
	return host, err
}

// giveBack changes the host to what it will be when the guest has ended, and returns how many pages that
// guest holds. The kernel keeps no surplus page that becomes free (mm/hugetlb.c, free_huge_folio).
func giveBack(host *guard.Host, guest string) (pages uint64) {
	host.Holders.List = slices.DeleteFunc(host.Holders.List, func(h guard.Holder) bool {
		if h.Kind != guard.HolderGuest || h.Name != guest {
			return false
		}
		for i := range host.Pools {
			pool := &host.Pools[i]
			if pool.PageKiB != h.PageKiB {
				continue
			}
			pool.Reserved -= min(h.Reserved, pool.Reserved)
			for k := range pool.Nodes {
				node := &pool.Nodes[k]
				held := h.Pages[node.Node]
				gone := min(held, node.Surplus)
				node.Total -= gone
				node.Surplus -= gone
				pool.Surplus -= min(gone, pool.Surplus)
				node.Free += held - gone
				pages += held
			}
		}
		return true
	})
	return pages
}

// print prints a verdict, as JSON or as the text, and returns what it means for the exit status.
func (c *checker) print(v guard.Verdict, text string) error {
	var err error
	if c.json {
		err = printJSON(c.out, words.NewReport(v))
	} else {
		_, err = fmt.Fprintln(c.out, text)
	}
	if err == nil && v.Decision == guard.Refuse && v.Exempt == "" {
		err = errRefused
	}
	return err
}
