package words

import (
	"cmp"
	"fmt"
	"slices"

	"hugeguard/guard"
	"hugeguard/guard/fix"
)

// changeDomain says what to change in a domain.
func changeDomain(c fix.ChangeDomain) Fix {
	f := Fix{For: "domain", What: "change " + maker(c.Manager), Lines: changes(c)}
	if len(f.Lines) > 0 {
		f.short, f.Cost = f.Lines[0], "stops nothing"
	}
	if slices.ContainsFunc(c.Changes, func(c fix.Change) bool { return c.Do == fix.Shrink }) {
		f.Cost = "the guest has less memory"
	}
	if len(c.Sets) > 0 {
		f.What += fmt.Sprintf(": nodeset='%s' in %s", c.Changes[0].Nodes, enumerate(c.Sets, 4))
		f.Cost = "the guest is slower where its vCPUs run on other nodes than its memory: pin them to the same (cputune)"
	}
	return f
}

// changes says each of them.
func changes(g fix.ChangeDomain) (lines []string) {
	for _, c := range g.Changes {
		lines = append(lines, change(c, g.Manager))
	}
	return lines
}

// tryAgain says when a guest can start.
func tryAgain(t fix.TryAgain) Fix {
	who := guests(t.Starting)
	if len(t.Starting) != 1 {
		who = "one of " + who
	}
	return Fix{For: "host", What: fmt.Sprintf("wait until %s has failed to start, or another guest has ended. Once this command says that it fits, start this guest. "+
		"With wait_for_starting in /etc/hugeguard.conf the hook waits for starting guests", who),
		Commands: []string{"hugeguard check " + cmp.Or(ShellWord(t.Domain.Name), t.Domain.UUID)}, short: "try again if " + who + " fails to start"}
}

// takeOrdinary says how memory takes ordinary memory that can be shared as that in files can.
func takeOrdinary(t fix.TakeOrdinary) Fix {
	who, line := enumerate(t.Backends, 3), "<source type='memfd'/> in memoryBacking, in place of another source"
	if t.Own {
		line = "in qemu:commandline: memory-backend-memfd in place of memory-backend-file, without mem-path="
	}
	return Fix{For: "domain", What: "change the domain (virsh edit), so that " + who + " takes ordinary memory", Lines: []string{line},
		Cost: fmt.Sprintf("the guest takes %s of ordinary memory and is slower without huge pages", Amount(t.KiB, 1)), short: "have " + who + " take ordinary memory: " + line}
}

// moveBackingDir says how files of guests' memory come to lie off huge pages: in memory, or where libvirt has them by
// default.
func moveBackingDir(m fix.MoveBackingDir) Fix {
	dir, where, cost := "/dev/shm", "in ordinary memory", fmt.Sprintf("the guest takes %s of ordinary memory and is slower without huge pages", Amount(m.KiB, 1))
	if m.Disk {
		dir, where, cost = "/var/lib/libvirt/qemu/ram", "on disk", fmt.Sprintf("the guest's memory is a file of %s there, and slow", Amount(m.KiB, 1))
	}
	f := onHost(fmt.Sprintf("have libvirt keep files of guests' memory %s: memory_backing_dir in /etc/libvirt/qemu.conf", where),
		fmt.Sprintf(`sed -i 's|^[[:blank:]]*memory_backing_dir[[:blank:]]*=.*|memory_backing_dir = "%s"|' /etc/libvirt/qemu.conf`, dir),
		fmt.Sprintf(`grep '^memory_backing_dir = "%s"$' /etc/libvirt/qemu.conf`, dir), restartDaemon(m.Daemon))
	f.short = fmt.Sprintf(`memory_backing_dir = "%s" in qemu.conf, and restart libvirt's daemon`, dir)
	f.Cost = fmt.Sprintf("%s; %s, and so do others with memory in files once they start again", daemonCost, cost)
	if m.Disk {
		f.Cost = fmt.Sprintf("%s; %s, as is that of others with memory in files once they start again", daemonCost, cost)
	}
	return f
}

func change(c fix.Change, m guard.Manager) string {
	switch c.Do {
	case fix.Bind:
		return fmt.Sprintf("bind %s to %s%s", c.Backend, nodes(c.Nodes), inParentheses(c.From))
	case fix.PinEmulator:
		return fmt.Sprintf("pin the emulator to CPUs of %s, too (cputune/emulatorpin)", nodes(c.Nodes))
	case fix.TakePages:
		return fmt.Sprintf("give %s %s pages (%s)", c.Backend, pageNames(c.KiB, "or"), pageSetting(m, c.KiB...))
	case fix.Shrink:
		return fmt.Sprintf("give the guest %s, which fits: %d KiB in memory and currentMemory, and in numa/cell where it has one", guard.Size(c.KiB[0]), c.KiB[0])
	case fix.ResizeBlocks:
		return fmt.Sprintf("make the blocks of %s %s", c.Backend, guard.Size(c.KiB[0]))
	}
	return fmt.Sprintf("make %s %s", c.Backend, guard.Size(c.KiB[0]))
}
