package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/fix"
	"hugeguard/guard/room"
	"hugeguard/guard/words"
	"hugeguard/hook/survey"
	"hugeguard/install/domains"
	"hugeguard/install/place"
)

func newRoom() *cobra.Command {
	var o roomOptions
	cmd := &cobra.Command{
		Use:   "room [--root DIR|FILE.tar] [--json] --like FILE.xml|NAME|UUID|ID, or --memory SIZE [--page SIZE] [--node N]",
		Short: "Say how many more guests fit, and what is in the way of the next",
		Long: `Say how many more guests of one kind fit, on each node and in all, and what is in the way of the next.
hugeguard judges each guest as the hook would judge its start, with the guests before it in their places. Starting
guests count, and so do the limits of hugetlbfs mounts and of control groups.

--like counts guests like a domain. --memory counts guests with that much memory, on pages of that size. Sizes are as in
libvirt: 4G, 512M; a number alone is in KiB. Without --page the pages have libvirt's default size.

A guest that is bound to one node, or to none, is counted on each node as if it were bound there. Any other guest, for
example one with cells on two nodes, is counted as it is.

Exit status: 0 it is counted, also if there is room for none, 1 an error, 2 wrong usage.`,
		Example: `  hugeguard room --like instance-00000003
  hugeguard room --memory 4G --page 2M
  hugeguard room --memory 16G --page 1G --node 1 --json | jq .in_all.fit`,
		DisableFlagsInUseLine: true,
		SuggestFor:            []string{"capacity", "fit", "free"},
		Args:                  takes(),
		RunE:                  func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.BoolVar(&o.json, "json", false, "print one JSON object")
	f.StringVar(&o.like, "like", "", "count guests like this `DOMAIN`, as check takes it")
	f.StringVar(&o.memory, "memory", "", "count guests with memory of this `SIZE`")
	f.StringVar(&o.page, "page", "", "on huge pages of this `SIZE`")
	f.IntVar(&o.node, "node", -1, "bound to node `N`")
	rootFlag(cmd, &o.root)
	for _, name := range []string{"memory", "page", "node"} {
		cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	cmd.RegisterFlagCompletionFunc("like", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		host, err := hostAt(cmd, o.root)
		if err != nil {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return domains.Names(host), cobra.ShellCompDirectiveDefault // or files
	})
	return cmd
}

// roomOptions are the flags of room.
type roomOptions struct {
	root, like, memory, page string
	node                     int
	json                     bool
}

// A roomReport is what room prints as JSON.
type roomReport struct {
	// Like is the domain that the guests are like; nil where they are given by their size.
	Like *guard.Domain `json:"like"`
	// Demand is what one guest asks for, as in a verdict.
	Demand []guard.Backend `json:"demand"`
	// Nodes is the room of each node, with all of a guest's memory there; nil where that cannot be.
	Nodes []nodeRoom `json:"nodes"`
	InAll roomCount  `json:"in_all"`
}

type nodeRoom struct {
	Node int `json:"node"`
	roomCount
}

// A roomCount is for how many more guests there is room.
type roomCount struct {
	Fit int `json:"fit"`
	// Sure is how many of these are allowed without a warning.
	Sure int `json:"sure"`
	// AtLeast reports whether it was not counted further.
	AtLeast bool `json:"at_least"`
	// Doubt is what the first guest is warned of that is; nil where none is.
	Doubt *obstacle `json:"doubt"`
	// Next is what is in the way of one more; nil where that is for each node to say, or it was not counted further.
	Next *obstacle `json:"next"`
}

// An obstacle is what is in the way of a guest.
type obstacle struct {
	Decision guard.Decision `json:"decision"`
	Cause    guard.Cause    `json:"cause"` // of a refusal, else ""
	Summary  string         `json:"summary"`
	// RefusedBy is who refuses the start, "hugeguard" or "libvirt"; "" for nobody.
	RefusedBy string `json:"refused_by"`
}

func (o roomOptions) run(cmd *cobra.Command) error {
	flags := cmd.Flags()
	switch {
	case (o.like != "") == (o.memory != ""):
		return usageError{fmt.Errorf("name the guests to count with either --like or --memory: see %s --help", cmd.CommandPath())}
	case o.like != "" && (flags.Changed("page") || flags.Changed("node")):
		return usageError{fmt.Errorf("--page and --node go with --memory: see %s --help", cmd.CommandPath())}
	}
	host, err := hostAt(cmd, o.root)
	if err != nil {
		return err
	}
	c := checker{host: host, out: cmd.OutOrStdout(), notes: cmd.ErrOrStderr()}
	demand, err := o.demand(&c, cmd.InOrStdin())
	if err != nil {
		return err
	}
	c.configure()
	if len(c.after) > 0 {
		c.note("another hook runs after hugeguard's and may add or take pages; this count is without it: %s", place.Paths(c.after))
	}
	of := demand
	of.Domain = guard.Domain{Name: "more like " + demand.Domain.Name} // the domain itself stays where it is
	takes, nodes, all, err := c.count(of, flags.Changed("node"))
	if err != nil {
		return err
	}
	if o.json {
		r := roomReport{Demand: takes, InAll: newRoomCount(all)}
		if o.like != "" {
			r.Like = &demand.Domain
		}
		for _, n := range nodes {
			r.Nodes = append(r.Nodes, nodeRoom{n.Node, newRoomCount(n.Room)})
		}
		return printJSON(c.out, r)
	}
	_, err = io.WriteString(c.out, roomText(takes, nodes, all))
	return err
}

// roomText says for how many more guests there is room.
func roomText(takes []guard.Backend, nodes []room.OfNode, all room.Room) string {
	var b strings.Builder
	fmt.Fprintf(&b, "each takes %s\n", words.Takes(takes))
	part := func(where string, r room.Room) {
		fmt.Fprintf(&b, "%s: %s\n", where, strings.Join(words.Room(r), "\n  "))
	}
	for _, n := range nodes {
		part(fmt.Sprintf("node %d", n.Node), n.Room)
	}
	part("in all", all)
	return b.String()
}

// demand returns what one guest asks for.
func (o roomOptions) demand(c *checker, stdin io.Reader) (guard.Demand, error) {
	if o.like != "" {
		d, err := domains.Read(o.like, stdin, c.host)
		if err != nil {
			return guard.Demand{}, err
		}
		demand, err := domain.Parse(d.XML)
		if err != nil {
			return demand, fmt.Errorf("%s: %w", d.From, err)
		}
		return demand, nil
	}
	kib, err := domain.Size(o.memory)
	if err != nil {
		return guard.Demand{}, usageError{fmt.Errorf("--memory: %w", err)}
	}
	page := ""
	if o.page != "" {
		pageKiB, err := domain.Size(o.page)
		if err != nil {
			return guard.Demand{}, usageError{fmt.Errorf("--page: %w", err)}
		}
		page = fmt.Sprintf("<page size='%d' unit='KiB'/>", pageKiB)
	}
	demand, err := domain.Parse(fmt.Appendf(nil, `<domain type='kvm'><name>guest</name><memory unit='KiB'>%d</memory>
<memoryBacking><hugepages>%s</hugepages></memoryBacking><os><type>hvm</type></os></domain>`, kib, page))
	switch {
	case err != nil || len(demand.Backends) == 0 || o.node < -1:
		return demand, usageError{errors.New("--memory is at least 1K, and --node a number")}
	case o.node >= 0:
		return room.BoundTo(demand, o.node), nil
	}
	return demand, nil
}

// count counts for how many more guests there is room, on each node unless they are to be taken as they are, and returns
// what one takes.
func (c *checker) count(demand guard.Demand, asIs bool) (takes []guard.Backend, nodes []room.OfNode, all room.Room, err error) {
	defer tellIfHung(c.notes)()
	host, err := c.survey(survey.For(demand))
	if err != nil {
		return nil, nil, all, err
	}
	all, countable := room.For(demand, host)
	if !countable {
		return nil, nil, all, errors.New("it is not certain to take huge pages when it starts: there is nothing to count")
	}
	if room.Movable(demand) && !asIs {
		nodes, all = room.ByNode(demand, host)
	}
	return guard.Judge(demand, host).Demand, nodes, all, nil
}

func newRoomCount(r room.Room) roomCount {
	return roomCount{Fit: r.Fit, Sure: r.Sure, AtLeast: r.Fit == room.Most, Doubt: newObstacle(r.Doubt), Next: newObstacle(r.Next)}
}

func newObstacle(v *fix.Verdict) *obstacle {
	if v == nil {
		return nil
	}
	return &obstacle{v.Decision, v.Cause, words.InTheWay(*v), v.RefusedBy()}
}
