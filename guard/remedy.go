package guard

import (
	"fmt"
	"slices"
	"strings"
)

// remedies returns what an admin can do about failures of one cause.
func remedies(host Host, must []failure, b blame) []Remedy {
	var found []Remedy
	add := func(what, how string, lines []string) {
		if len(lines) > 0 {
			found = append(found, Remedy{For: what, How: how, Lines: lines})
		}
	}
	switch b.cause {
	case CauseOVS, CauseOtherHolder:
		if !host.Agrees() {
			add("nova", host.Nova.Edit(), host.Reserve())
		} else if host.Nova.Stale != "" && strings.HasSuffix(host.Nova.Unit, ".service") {
			add("host", "as root on this host", []string{"systemctl restart " + shellWord(host.Nova.Unit)})
		} // else what keeps Nova from knowing is in the summary
	case CausePoolMissing, CausePoolTooSmall, CauseGuests, CauseKernelReserved:
		add("host", "as root on this host, until its next boot (fewer pages appear where memory is short)", growth(host, must))
	case CauseMountLimit, CauseCgroupLimit:
		add("host", "as root on this host, until its next boot", each(must))
	case CauseSizeMismatch, CausePageSizeUnsupported, CauseBindingImpossible:
		add("domain", "in the domain, or in what made it", each(must))
	case CauseUnaccounted:
		add("host", "as root on this host, out of libvirt's confinement, which may see more", []string{"hugeguard status"})
	}
	add("host", "as root on this host", removal(host, b.holders))
	return found
}

// each returns the failures' own remedies.
func each(must []failure) []string {
	var lines []string
	for _, f := range must {
		if f.remedy != "" {
			lines = append(lines, f.remedy)
		}
	}
	return lines
}

// Edit says where the lines of [Host.Reserve] go, and what to do then.
func (n *Nova) Edit() string {
	where, restart := "in nova.conf of this host", "restart nova-compute"
	if n != nil && len(n.SetIn) > 0 {
		var files []string
		for _, file := range n.SetIn {
			files = append(files, Printable(file, 200))
		}
		where = "in place of reserved_huge_pages in " + strings.Join(files, ", ")
	}
	if n != nil && strings.HasSuffix(n.Unit, ".service") {
		restart = "run systemctl restart " + Printable(n.Unit, maxName)
	} else if n != nil && n.Unit != "" {
		restart += " (" + Printable(n.Unit, maxName) + ")"
	}
	return where + ", then " + restart
}

// removal returns the commands that delete leftover files: only where all
// processes could be asked whether they use them, else the command that asks.
func removal(host Host, holders []Holder) []string {
	var lines []string
	size, more := 0, 0
	for _, h := range holders {
		switch {
		case h.Kind != HolderFile:
		case h.Segment != "":
			lines = append(lines, "ipcrm -m "+h.Segment)
		default:
			for files := range slices.Chunk(h.Files, maxFiles) {
				if size > maxRemoval {
					more += len(files)
					continue
				}
				command := "rm"
				if len(host.Holders.Unreadable) > 0 || host.Holders.Cut {
					command = "fuser -v"
				}
				for _, file := range files {
					command += " " + shellWord(file)
				}
				lines = append(lines, command)
				size += len(command)
			}
		}
	}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("# and %d more files", more))
	}
	return lines
}

const (
	maxFiles   = 20       // how many files one command names
	maxRemoval = 32 << 10 // after how many bytes of commands no more are told
)

// shellWord quotes a file's name for a POSIX shell, so that nothing in it acts
// on a terminal.
func shellWord(name string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@%,=", r)
	}
	odd := func(r rune) bool { return r < ' ' || r > '~' }
	quote := func(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
	switch {
	case strings.IndexFunc(name, odd) >= 0:
		var format strings.Builder
		for i := range len(name) {
			switch c := name[i]; {
			case c == '%' || c == '\\':
				format.Write([]byte{c, c})
			case odd(rune(c)):
				fmt.Fprintf(&format, `\%03o`, c)
			default:
				format.WriteByte(c)
			}
		}
		return `"$(printf ` + quote(format.String()) + `)"`
	case strings.IndexFunc(name, func(r rune) bool { return !plain(r) }) >= 0:
		return quote(name)
	}
	return name
}

// growth returns the commands that set up as many more pages as are missing
// now. Where several nodes would do, the first gets them.
func growth(host Host, must []failure) []string {
	type place struct {
		kib  uint64
		node int
	}
	var places []place
	missing := map[place]uint64{}
	for _, f := range must {
		pool, _ := host.pool(f.pageKiB)
		at := place{f.pageKiB, f.nodes[0]}
		if missing[at] == 0 {
			places = append(places, at)
		}
		have := f.free
		if f.code == codeReserved {
			have = minus(have, pool.Reserved)
		}
		missing[at] += minus(f.needed+f.claimed, have)
	}
	var lines []string
	for _, at := range places {
		pool, _ := host.pool(at.kib)
		n := pool.node(at.node)
		lines = append(lines, fmt.Sprintf("echo %d > /sys/devices/system/node/node%d/hugepages/hugepages-%dkB/nr_hugepages",
			minus(n.Total, n.Surplus)+missing[at], at.node, at.kib))
	}
	return lines
}

// alternatives returns the nodes that have as many free pages as a shortage
// on other nodes wants, the nearest first.
func alternatives(host Host, f failure) []NodePool {
	pool, _ := host.pool(f.pageKiB)
	open := host.inherited(ruleCpuset)
	var found []NodePool
	for _, n := range pool.Nodes {
		n.Free = minus(n.Free, host.claimedOn(pool, n.Node))
		if !f.nodes.Has(n.Node) && open.Has(n.Node) && n.Free >= f.needed {
			found = append(found, n)
		}
	}
	distance := func(to int) int {
		for _, n := range host.Nodes {
			if n.ID == f.nodes[0] {
				return n.Distances[to]
			}
		}
		return 0
	}
	slices.SortStableFunc(found, func(a, b NodePool) int { return distance(a.Node) - distance(b.Node) })
	return found
}
