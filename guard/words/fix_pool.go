package words

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"hugeguard/guard"
	"hugeguard/guard/fix"
)

// growPools says how to make pools larger now.
func growPools(g fix.GrowPools) Fix {
	commands := limits(g.Limits)
	if g.Compact {
		commands = append(commands, "sync", "echo 3 > /proc/sys/vm/drop_caches", "echo 1 > /proc/sys/vm/compact_memory")
	}
	writes := append(poolWrites(g.Shrink, g.NoNUMA), poolWrites(g.Pools, g.NoNUMA)...)
	commands = append(commands, writes...)
	if g.Files != nil {
		commands = append(commands, removal(*g.Files)...)
	}
	if g.Seek || g.Compact {
		commands = append(commands, "cat "+strings.Join(poolFiles(g.Pools, g.NoNUMA), " "))
	}
	f := onHost(growing(g), commands...)
	f.short = growingShort(g, writes)
	f.Cost, f.Lasting = growingCost(g), keepPools(g.Keep, g.NoNUMA)
	return f
}

// growingShort says it for the one line.
func growingShort(g fix.GrowPools, writes []string) string {
	write := strings.Join(append(limits(g.Limits), writes...), "; ")
	switch {
	case g.Files != nil:
		return write + ", then delete the leftover files"
	case g.Compact:
		return "drop caches, compact memory, then " + write
	}
	return write
}

// growing says what making pools larger does.
func growing(g fix.GrowPools) string {
	var each []string
	for _, p := range g.Pools {
		each = append(each, poolGrowth(p))
	}
	text := "make the pool larger: " + enumerate(each, 4)
	for _, p := range g.Shrink {
		text = fmt.Sprintf("give back %s of node %d that nobody uses, and ", pagesOf(p.Now-p.Pages, p.PageKiB), p.Node) + text
	}
	if len(g.Limits) > 0 {
		text = "raise the limit and " + text
	}
	switch {
	case g.Files != nil:
		text += ". Then delete the leftover files: their pages stay in the pool. If they are deleted first, their pages go back to the kernel"
	case g.Compact:
		text = "free memory is in pieces that are too small: drop caches, compact memory, and " + text + ". The last command prints what there is"
	case g.Seek:
		text += ". The kernel has to find each page in one piece: the last command prints what there is"
	case g.Unsure:
		text += " (fewer appear where memory is short)"
	}
	return text
}

// poolGrowth says what becomes of a pool.
func poolGrowth(p fix.PoolSize) string {
	text := fmt.Sprintf("node %d gets %s", p.Node, Pages(p.Pages, p.PageKiB))
	switch made := p.Made(); {
	case p.Surplus > 0 && made == 0:
		text += fmt.Sprintf(", none of them new: surplus pages become the pool's (%d of its %d are surplus)", p.Surplus, p.Now)
	case p.Surplus > 0:
		text += fmt.Sprintf(", %d of them new: its %d surplus pages become the pool's first", made, p.Surplus)
	case p.Now > 0:
		text += fmt.Sprintf(", %d of them new", made)
	}
	return text
}

// growingCost says what else follows from larger pools.
func growingCost(g fix.GrowPools) string {
	var costs []string
	for _, p := range g.Pools {
		if made := p.Made(); made > 0 && p.AvailableKiB > 0 && g.Shrink == nil {
			costs = append(costs, fmt.Sprintf("takes %s of the %s of memory available on node %d", Amount(made, p.PageKiB), Amount(p.AvailableKiB, 1), p.Node))
		}
	}
	for _, p := range g.Shrink {
		costs = append(costs, fmt.Sprintf("node %d has %s in place of %d for those who need pages of %s", p.Node, pagesOf(p.Pages, p.PageKiB), p.Now, pageName(p.PageKiB)))
	}
	if g.Compact {
		costs = append(costs, "files are read from disk again, and the host is slow for a moment")
	}
	if g.Files != nil {
		costs = append(costs, "what is in the files is lost")
	}
	if len(g.Limits) > 0 {
		costs = append(costs, limitCost(g.Limits))
	}
	return strings.Join(costs, "; ")
}

// bootPools says how to have larger pools from the next boot on.
func bootPools(b fix.BootPools) Fix {
	var each []string
	for _, p := range b.Pools {
		each = append(each, fmt.Sprintf("%s on node %d", Pages(p.Pages, p.PageKiB), p.Node))
	}
	f := Fix{For: "host", What: "set the pool up at boot: " + enumerate(each, 4), Cost: "reboots the host"}
	f.Lines = append(lineSteps(b.Line), keepLimits(b.Limits)...)
	if len(b.Limits) > 0 {
		f.What += ", and raise the limit"
	}
	if b.Lost > 0 {
		f.What += fmt.Sprintf(". The last boot made %d fewer than it was asked for, so ask for as many more", b.Lost)
	}
	if b.Bare > 0 {
		f.What += fmt.Sprintf(". The kernel command line has hugepagesz=%s without hugepages= behind it, which asks for no pages: hugepages= is about the hugepagesz= before it", pageName(b.Bare))
	}
	if b.Scattered {
		f.What += ". While it runs, the kernel is unlikely to find memory in pieces of that size"
	}
	if b.Line.CMA {
		f.What += ". hugetlb_cma= on the kernel command line keeps the kernel from it: remove that"
	}
	if b.Node >= 0 {
		f.Cost += fmt.Sprintf("; what else runs on node %d uses %s now and finds %s then", b.Node, Amount(b.UsedKiB, 1), Amount(b.RestKiB, 1))
	}
	f.short = "boot with " + bootLine(b.Line.Pools)
	if len(b.Short) > 0 {
		short := b.Short[0]
		f.short = fmt.Sprintf("node %d has only %s of memory available: free %s more, or %s", short.Node, Amount(short.AvailableKiB, 1), Amount(short.MissingKiB, 1), f.short)
	}
	return f
}

// lineSteps says how to change the kernel's command line.
func lineSteps(l fix.BootLine) []string {
	line, instead := bootLine(l.Pools), ""
	if len(l.Was) > 0 {
		instead = " in place of " + bootLine(l.Was)
	}
	var steps []string
	switch l.Tool {
	case "grubby":
		steps = append(steps, fmt.Sprintf("grubby --update-kernel=ALL --args='%s'%s", line, comment(instead)))
	case "update-grub":
		steps = append(steps, fmt.Sprintf("%s%s in GRUB_CMDLINE_LINUX of /etc/default/grub, then update-grub", line, instead))
	default:
		steps = append(steps, fmt.Sprintf("%s%s on the kernel command line", line, instead))
	}
	if l.Tuned != "" {
		steps = append(steps, fmt.Sprintf("or with TuneD: cmdline_hugepages=+%s in the [bootloader] section of a profile with include=%s", line, name(l.Tuned)))
	}
	return steps
}

// comment is text behind a command.
func comment(text string) string {
	if text == "" {
		return ""
	}
	return " #" + text
}

// bootLine is what the kernel's command line has of pools.
func bootLine(pools []guard.BootPool) string {
	var words []string
	for _, p := range pools {
		words = append(words, fmt.Sprintf("hugepagesz=%s hugepages=%s", pageName(p.PageKiB), bootCount(p)))
	}
	return strings.Join(words, " ")
}

// bootCount says how many pages: "16", "0:16,1:8".
func bootCount(p guard.BootPool) string {
	var each []string
	for _, node := range slices.Sorted(maps.Keys(p.Nodes)) {
		if n := p.Nodes[node]; n > 0 {
			each = append(each, fmt.Sprintf("%d:%d", node, n))
		}
	}
	if each == nil {
		return fmt.Sprint(p.Pages)
	}
	return strings.Join(each, ",")
}

// freeMemory says that no node has the memory, and what would help.
func freeMemory(m fix.FreeMemory) Fix {
	f := Fix{For: "host", What: "free memory first: until then nothing on this host helps"}
	var first string
	for _, p := range m.Places {
		f.Lines = append(f.Lines, fmt.Sprintf("node %d has %s of memory available, and %s take %s, which leaves too little for the host: stop programs that use %s there, or start the guest on another host",
			p.Node, Amount(p.AvailableKiB, 1), morePages(p.Pages, p.PageKiB), Amount(p.Pages, p.PageKiB), Amount(p.MissingKiB, 1)))
		if first == "" {
			first = fmt.Sprintf("node %d has only %s of memory available: free %s more", p.Node, Amount(p.AvailableKiB, 1), Amount(p.MissingKiB, 1))
		}
	}
	then := growPools(m.Then)
	f.Lines = append(f.Lines, "then run: "+strings.Join(then.Commands, "; "))
	f.Lasting = then.Lasting
	f.short = first
	return f
}

func morePages(n, kib uint64) string {
	if n == 1 {
		return "one more page of " + pageName(kib)
	}
	return fmt.Sprintf("%d more pages of %s", n, pageName(kib))
}

// keepPools says how pools keep their sizes beyond the next boot.
func keepPools(k fix.Keep, noNUMA bool) (lines []string) {
	switch {
	case k.Asked:
		return []string{"nothing to do: the kernel command line asks for as many already"}
	case k.Sysctl > 0:
		lines = append(lines, fmt.Sprintf("echo 'vm.nr_hugepages = %d' > /etc/sysctl.d/90-hugepages.conf", k.Sysctl))
	default:
		lines = append(lines, poolSettings(k.Pools, noNUMA)...)
	}
	if k.Line != nil && !k.Line.CMA {
		steps := lineSteps(*k.Line)
		steps[0] = "or: " + steps[0]
		lines = append(lines, steps...)
	}
	return lines
}

// poolSettings are commands that have systemd write pools' sizes at each boot (tmpfiles.d), before guests start.
func poolSettings(pools []fix.PoolSize, noNUMA bool) (commands []string) {
	for i, file := range poolFiles(pools, noNUMA) {
		p := pools[i]
		commands = append(commands, fmt.Sprintf("echo 'w %s - - - - %d' > /etc/tmpfiles.d/hugepages-%dkB-node%d.conf", file, p.Pages, p.PageKiB, p.Node))
	}
	return commands
}

// poolWrites returns the commands that set pools' sizes.
func poolWrites(pools []fix.PoolSize, noNUMA bool) (commands []string) {
	for i, file := range poolFiles(pools, noNUMA) {
		commands = append(commands, fmt.Sprintf("echo %d > %s", pools[i].Pages, file))
	}
	return commands
}

// poolFiles are where pools' sizes are written. That of a node leaves other nodes' pools alone.
func poolFiles(pools []fix.PoolSize, noNUMA bool) (files []string) {
	for _, p := range pools {
		dir := fmt.Sprintf("/sys/devices/system/node/node%d/hugepages", p.Node)
		if noNUMA {
			dir = "/sys/kernel/mm/hugepages"
		}
		files = append(files, fmt.Sprintf("%s/hugepages-%dkB/nr_hugepages", dir, p.PageKiB))
	}
	return files
}
