// Package words says what package guard found out: facts in, text out.
//
// [Summary] is the line that libvirt appends to its error, [Text] the whole for the terminal and the journal, [Fields]
// the journal's fields, and [NewReport] the object of "hugeguard check --json". What they have in common is said by
// [Finding] and [Fixes]; the other functions are for commands that show a host without judging.
//
// Names of domains, processes and files are other people's input: all of them pass [guard.Printable]. libvirt cuts the
// whole of an error at 1024 bytes, of which its own words take a third.
package words

import (
	"fmt"
	"slices"
	"strings"

	"hugeguard/guard"
)

const (
	maxName = 60  // bytes of a name that a line shows
	maxPath = 120 // bytes of a path
)

// path is a path as a line shows it.
func path(p string) string { return guard.Printable(p, maxPath) }

// name is a name as a line shows it.
func name(n string) string { return guard.Printable(n, maxName) }

// nodes says a set of nodes: "node 0", "nodes 0-1".
func nodes(s guard.NodeSet) string {
	if len(s) == 1 {
		return "node " + s.String()
	}
	return "nodes " + s.String()
}

// cpus says a set of CPUs, cut where it is long: "CPU 0", "CPUs 0-1".
func cpus(s guard.CPUSet) string {
	set := guard.NodeSet(s).String()
	if len(s) == 1 {
		return "CPU " + set
	}
	return "CPUs " + guard.Printable(set, 60)
}

// enumerate joins the first few of parts and says how many more there are.
func enumerate(parts []string, most int) string {
	if more := len(parts) - most; more > 0 {
		parts = append(slices.Clone(parts[:most]), fmt.Sprintf("%d more", more))
	}
	return strings.Join(parts, ", ")
}

// guests names starting guests.
func guests(names []string) string {
	var each []string
	for _, n := range names {
		each = append(each, name(n))
	}
	return enumerate(each, 3)
}
