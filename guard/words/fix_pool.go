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
	commands = append(commands, "cat "+strings.Join(poolFiles(slices.Concat(g.Shrink, g.Pools), g.NoNUMA), " "))
	f := onHost(growing(g), commands...)
	if g.Files != nil {
		for _, h := range g.Files.Holders {
			f.Lines = append(f.Lines, within(h)...)
		}
		if len(f.Lines) > 0 {
			f.Lines = append([]string{"then delete:"}, f.Lines...)
		}
	}
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
	if g.Compact {
		return "free memory is in pieces that are too small: " + compact + resizing(g)
	}
	return resizing(g)
}

const compact = "drop caches, compact memory, and "

// resizing says which sizes pools get, and what to see to.
func resizing(g fix.GrowPools) string {
	var each []string
	for _, p := range g.Pools {
		each = append(each, poolGrowth(p))
	}
	text := enumerate(each, 4)
	for _, p := range g.Shrink {
		text = fmt.Sprintf("give back %s of node %d that nobody uses, and ", pagesOf(p.Now-p.Pages, p.PageKiB), p.Node) + text
	}
	if len(g.Limits) > 0 {
		text = "raise the limit and " + text
	}
	if g.Files != nil {
		text += ". Then delete the leftover files: no process uses them. Keep this order: without it all their pages go back to the kernel"
	}
	var numbers []string
	for _, p := range g.Shrink {
		numbers = append(numbers, fmt.Sprint(p.Pages))
	}
	for _, p := range g.Pools {
		if g.Files != nil { // whose pages count until they are deleted
			numbers = append(numbers, fmt.Sprintf("%d or more", p.Pages))
			continue
		}
		numbers = append(numbers, fmt.Sprint(max(p.Pages, p.Now))) // with surplus pages that are in use still
	}
	text += ". The last command must print " + strings.Join(numbers, " and ")
	if slices.ContainsFunc(g.Pools, func(p fix.PoolSize) bool { return p.Made() > 0 }) {
		text += ". If it prints fewer, the kernel finds no more memory in one piece: hugeguard explain then says what helps"
	}
	return text
}

// poolGrowth says what becomes of a pool.
func poolGrowth(p fix.PoolSize) string {
	size, pages, made := pageName(p.PageKiB), Pages(p.Pages, p.PageKiB), p.Made()
	if p.Now == 0 {
		return fmt.Sprintf("make a %s pool of %s on node %d", size, pages, p.Node)
	}
	text := fmt.Sprintf("set node %d's %s pool to %s", p.Node, size, pages)
	switch {
	case p.Surplus > 0 && made == 0:
		return text + fmt.Sprintf(": %d of its %d surplus pages stay in the pool when they are freed, and none is new", p.Surplus-(p.Now-p.Pages), p.Surplus)
	case p.Surplus > 0:
		return text + fmt.Sprintf(": its %d surplus pages, which else go back to the kernel when they are freed, are counted in first, so %s are new",
			p.Surplus, Count(made, p.PageKiB))
	}
	return text + fmt.Sprintf(", %d of them new", made)
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
	f := Fix{For: "host", What: "set the pool up at boot: " + enumerate(each, 4), Cost: rebootCost}
	f.Lines = append(lineSteps(b.Line), keepLimits(b.Limits)...)
	if b.Sysctl > 0 {
		f.Lines = append(f.Lines, "and, as "+path(b.Setting)+" sets fewer after that: "+sysctlSetting(fix.Keep{Sysctl: b.Sysctl, Setting: b.Setting}))
	}
	if len(b.Limits) > 0 {
		f.What += ", and raise the limit"
	}
	if b.Lost > 0 {
		f.What += fmt.Sprintf(". The last boot made %d fewer than it was asked for, so ask for %d more than needed, and run hugeguard status after the boot", b.Lost, b.Lost)
	}
	if b.Bare > 0 {
		f.What += fmt.Sprintf(". The kernel command line has hugepagesz=%s without hugepages= behind it, which asks for no pages: hugepages= is about the hugepagesz= before it", pageName(b.Bare))
	}
	if b.Failed {
		f.What += ". The kernel was told to do so after an earlier refusal and made fewer pages: before a reboot it finds no more memory in one piece"
	} else if b.Scattered {
		f.What += ". On a running host a free block of " + guard.Size(b.Pools[0].PageKiB) + " is unlikely"
	}
	if b.Line.CMA {
		f.What += ". hugetlb_cma= on the kernel command line keeps the kernel from it: remove that"
	}
	for _, p := range b.Pools {
		if made := p.Made(); made > 0 && b.Line.Spread {
			f.Cost += fmt.Sprintf("; takes %s more of each node's memory, as this kernel spreads the pages", Amount(made, p.PageKiB))
		} else if made > 0 {
			f.Cost += fmt.Sprintf("; takes %s more of node %d's memory", Amount(made, p.PageKiB), p.Node)
		}
	}
	if b.Node >= 0 {
		f.Cost += fmt.Sprintf("; WARNING: after the reboot everything else on node %d has %s, and it uses %s now", b.Node, Amount(b.RestKiB, 1), Amount(b.UsedKiB, 1))
	}
	f.short = "boot with " + bootLine(b.Line.Pools)
	return f
}

// lineSteps says how to change the kernel's command line.
func lineSteps(l fix.BootLine) []string {
	line, instead := bootLine(l.Pools), ""
	change := "add " + line + " to"
	if len(l.Was) > 0 {
		was := bootLine(l.Was)
		change, instead = fmt.Sprintf("change %s to %s in", was, line), " # in place of "+was
	}
	var steps []string
	switch l.Tool {
	case "grubby":
		steps = append(steps, fmt.Sprintf("grubby --update-kernel=ALL --args='%s'%s", line, instead))
	case "update-grub":
		steps = append(steps, change+" GRUB_CMDLINE_LINUX of /etc/default/grub, then run update-grub")
	default:
		steps = append(steps, change+" the kernel command line")
	}
	if l.Tuned != "" {
		steps = append(steps, fmt.Sprintf("or with TuneD: cmdline_hugepages=+%s in the [bootloader] section of a profile with include=%s", line, name(l.Tuned)))
	}
	return steps
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
	then := growPools(m.Then)
	f := Fix{For: "host", What: "stop programs, " + compact + resizing(m.Then), Lasting: then.Lasting,
		Cost: "the services of those programs are down; files are read from disk again, and the host is slow for a moment"}
	for _, p := range m.Places {
		f.Lines = append(f.Lines, fmt.Sprintf("stop programs that use %s on node %d: it has %s of memory available, %s take %s, and %s must stay for the host",
			Amount(p.MissingKiB, 1), p.Node, Amount(p.AvailableKiB, 1), morePages(p.Pages, p.PageKiB), Amount(p.Pages, p.PageKiB), Amount(p.KeptKiB, 1)))
	}
	f.Lines = append(f.Lines, "then run:")
	for _, command := range slices.Concat(then.Commands, then.Lines) {
		f.Lines = append(f.Lines, "  "+command)
	}
	p := m.Places[0]
	f.short = fmt.Sprintf("stop programs that use %s on node %d, where only %s of memory is available", Amount(p.MissingKiB, 1), p.Node, Amount(p.AvailableKiB, 1))
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
	case k.Sysctl > 0 && k.Set >= k.Sysctl:
		return []string{"nothing to do: " + path(k.Setting) + " asks for as many already"}
	case k.Sysctl > 0:
		lines = append(lines, sysctlSetting(k))
	default:
		lines = append(lines, poolSettings(k.Pools, noNUMA)...)
	}
	if k.Line != nil && !k.Line.CMA && !k.Undone {
		steps := lineSteps(*k.Line)
		steps[0] = "or: " + steps[0]
		lines = append(lines, steps...)
	}
	return lines
}

// sysctlSetting is the command that has systemd set vm.nr_hugepages at each boot: in the file that sets it now, where that is
// the admin's, else in one whose name comes later (sysctl.d(5)).
func sysctlSetting(k fix.Keep) string {
	if file := ShellWord(k.Setting); strings.HasPrefix(file, "/etc/") {
		return fmt.Sprintf("sed -i 's|^[[:blank:]-]*vm[./]nr_hugepages[[:blank:]]*=.*|vm.nr_hugepages = %d|' %s", k.Sysctl, file)
	}
	name := "90-hugepages.conf"
	if k.Setting[strings.LastIndexByte(k.Setting, '/')+1:] >= name {
		name = "zz-hugepages.conf"
	}
	return fmt.Sprintf("echo 'vm.nr_hugepages = %d' >> /etc/sysctl.d/%s", k.Sysctl, name)
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
