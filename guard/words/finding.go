package words

import (
	"fmt"
	"strings"

	"hugeguard/guard"
)

// Finding says what was found out, without an end.
func Finding(f guard.Finding) string {
	text := reason(f, f.Reason)
	if known := f.Releases.String(); known != "" {
		text += " (" + known + ")"
	}
	return text
}

// reason says a finding for a reason, which is its own or, of one under a condition, the one that is then.
func reason(f guard.Finding, why guard.Reason) string {
	page := guard.Size(f.PageKiB)
	switch why := why.(type) {
	case guard.Short:
		return short(f, why)
	case guard.NoSuchPages:
		has := "no huge pages at all"
		if len(why.Sizes) > 0 {
			has = sizes(why.Sizes, ", ")
		}
		return fmt.Sprintf("%s wants huge pages of %s, and this kernel has %s", f.Backend, page, has)
	case guard.WrongSize:
		return wrongSize(f, why)
	case guard.Unbindable:
		return fmt.Sprintf("%s cannot be bound to %s: %s", f.Backend, nodes(f.Nodes), obstacle(why))
	case guard.MountFull:
		return fmt.Sprintf("hugetlbfs at %s has %d of its %d %s pages left (size=), %d needed", path(why.Path), f.Free, f.Total, page, f.Needed)
	case guard.GroupFull:
		counted := "used"
		if why.Reserved {
			counted = "reserved"
		}
		return fmt.Sprintf("%s allows %d %s huge pages and %d are %s, %d needed", path(why.File), f.Total, page, why.Used, counted, f.Needed)
	case guard.Perhaps:
		return "it fails " + condition(f, why) + ": " + reason(f, why.Of)
	case guard.TooMany:
		return "its huge pages are not judged: " + tooMany(why)
	case guard.NoMount, guard.NoNode, guard.LateMount:
		return "libvirt will refuse it: " + leftToLibvirt(f, why)
	case guard.MayBeLate:
		return mayBeLate(why)
	case guard.OtherHooks:
		return why.Words
	}
	return risk(f, why)
}

// short says of a shortage where, and how much.
func short(f guard.Finding, s guard.Short) string {
	where, has := "this host", "has"
	if !s.Anywhere && !s.Promised {
		where = nodes(f.Nodes)
		if len(f.Nodes) > 1 {
			has = "have"
		}
	}
	text := fmt.Sprintf("%s %s %d free %s huge pages", where, has, f.Free, guard.Size(f.PageKiB))
	if s.Promised && (s.Reserved > 0 || s.Claimed == 0) {
		text += fmt.Sprintf(", %d of them reserved", s.Reserved)
	}
	if s.Claimed > 0 {
		text += fmt.Sprintf(", %d of them for guests that are starting (%s)", s.Claimed, guests(s.Starting))
	}
	text += fmt.Sprintf(", %d needed", f.Needed)
	if s.Keeper != "" {
		text += fmt.Sprintf(", and %s keeps QEMU there", path(s.Keeper))
	}
	return text
}

// sizes lists page sizes.
func sizes(kib []uint64, by string) string {
	each := make([]string, len(kib))
	for i, size := range kib {
		each[i] = guard.Size(size)
	}
	return strings.Join(each, by)
}

// wrongSize says what is wrong with a size.
func wrongSize(f guard.Finding, s guard.WrongSize) string {
	id, size, page := f.Backend, guard.Size(s.KiB), guard.Size(f.PageKiB)
	switch s.Why {
	case guard.SmallBlock:
		return fmt.Sprintf("%s is plugged in blocks of %s, less than its page of %s", id, size, page)
	case guard.BelowPage:
		return fmt.Sprintf("%s is %s, less than one page of %s", id, size, page)
	case guard.UnboundRests:
		where := "the nodes that numad chooses"
		if !s.Auto {
			where = nodes(s.HostNodes)
		}
		return fmt.Sprintf("%s is %s, no multiple of its %s page, so that the kernel cannot bind it to %s", id, size, page, where)
	}
	unit := page + " page"
	if s.UnitKiB > f.PageKiB {
		unit = guard.Size(s.UnitKiB) + " block"
	}
	return fmt.Sprintf("%s is %s, no multiple of its %s, as QEMU wants it to be", id, size, unit)
}

// obstacle says what keeps memory from nodes.
func obstacle(u guard.Unbindable) string {
	const prepares = ", and QEMU prepares memory from the CPUs of its nodes"
	switch u.Why {
	case guard.NoMemory:
		return "no memory belongs there"
	case guard.CgroupNodes:
		return fmt.Sprintf("%s keeps QEMU to %s", path(u.File), nodes(u.Kept))
	case guard.DomainNodes:
		return fmt.Sprintf("libvirt confines QEMU to %s, as numatune/memory says", nodes(u.Kept))
	case guard.NoCPU:
		return "no CPU belongs there" + prepares
	case guard.CgroupCPUs:
		return fmt.Sprintf("%s keeps QEMU to %s, none of them there", path(u.File), cpus(u.CPUs)) + prepares
	}
	return fmt.Sprintf("QEMU is pinned to %s, none of them there", cpus(u.CPUs)) + prepares
}

// condition says when a launch fails.
func condition(f guard.Finding, p guard.Perhaps) string {
	switch when := p.When.(type) {
	case guard.IfDefaultSize:
		return fmt.Sprintf("if libvirt takes pages of %s, the domain naming none", guard.Size(f.PageKiB))
	case guard.IfColdStart:
		return "unless it is restored or comes in by migration, where sizes are not rounded up"
	case guard.IfThisMount:
		return fmt.Sprintf("unless libvirt takes another mount of %s pages", guard.Size(f.PageKiB))
	case guard.IfBelowGroup:
		return "if libvirt puts QEMU below " + path(when.Path)
	case guard.IfThere:
		return fmt.Sprintf("if %s lies on the huge pages at %s, which is not certain", when.Backend, path(when.Path))
	case guard.IfReleases:
		return releases(when)
	}
	return ""
}

// tooMany says what a guest has more of than QEMU takes.
func tooMany(e guard.TooMany) string {
	if e.Devices {
		return fmt.Sprintf("%d memory devices are more than QEMU has slots for (%d)", e.Count, e.Most)
	}
	return fmt.Sprintf("%d guest cells are more than QEMU takes (%d)", e.Count, e.Most)
}

// risk says what may go wrong, or is not as it should be.
func risk(f guard.Finding, why guard.Reason) string {
	id, page, on := f.Backend, guard.Size(f.PageKiB), nodes(f.Nodes)
	switch why := why.(type) {
	case guard.Hidden:
		will := "may lie"
		if why.Certain {
			will = "will lie"
		}
		return fmt.Sprintf("%s is mounted over the huge pages at %s: %s %s there, on ordinary memory, until it is unmounted",
			path(why.By.Type), path(why.By.Path), id, will)
	case guard.Unjudged:
		return unjudged(f, why)
	case guard.OnTouch:
		return fmt.Sprintf("%s is bound to %s, where %d of its %d %s pages are free: QEMU starts and dies when the guest touches more",
			id, on, why.Fit, f.Needed, page)
	case guard.Numad:
		return numad(f, why)
	case guard.SetAside:
		return fmt.Sprintf("it fits only if enough of the %d reserved %s pages are those that a hugetlbfs mount sets aside for it (min_size)",
			why.Reserved, page)
	case guard.OnlyCleared:
		return fmt.Sprintf("it fits only if other guests that are starting (%s) have taken some of their %s pages already, which the kernel is clearing",
			guests(why.Starting), page)
	case guard.OnlySurplus:
		return fmt.Sprintf("it fits only if the kernel can make surplus %s pages where they are needed (nr_overcommit_hugepages), which it promises to nobody",
			page)
	case guard.OnlyOrder:
		if why.Reservation {
			return fmt.Sprintf("%s can be reserved only if the guest's other memory leaves as many pages free on %s, to which QEMU's own memory is bound",
				id, on)
		}
		return fmt.Sprintf("%s fits on %s only if the guest's other memory takes its pages elsewhere, which depends on the order in which the kernel hands them out",
			id, on)
	case guard.OnlyBeside:
		return fmt.Sprintf("%s fits on %s only if other guests that are starting (%s) take their pages elsewhere", id, on, guests(why.Starting))
	case guard.Spills:
		return fmt.Sprintf("%s asks for %s (%s), where only %d of its %d %s pages find room; the others will lie on other nodes",
			id, on, why.Policy, why.Fit, f.Needed, page)
	case guard.Doomed:
		return fmt.Sprintf("other guests that are starting (%s) want more %s pages than there are, and may take this guest's before they fail",
			guests(why.Starting), page)
	case guard.CannotPlug:
		return fmt.Sprintf("%s is to plug %d pages of %s after the start, and %d will be left", id, f.Needed, page, why.Left)
	case guard.OVSPending:
		return fmt.Sprintf("Open vSwitch was told to take %d pages of %s on %s and has not taken them yet: this start leaves it %d",
			f.Needed, page, on, why.Left)
	case guard.NoMempool:
		return fmt.Sprintf("this start leaves %d free %s huge pages on %s, fewer than the %d that Open vSwitch needs at least should it have to make one more mempool for vhost-user ports of MTU %d",
			why.Left, page, on, f.Needed, why.MTU)
	case guard.NovaStale:
		return stale(why)
	case guard.NovaPool:
		return NovaPool(why)
	}
	panic(fmt.Sprintf("no words for %T", why))
}

// stale says that nova-compute has not read its configuration.
func stale(s guard.NovaStale) string {
	return fmt.Sprintf("nova-compute (pid %d) runs since before %s was changed", s.PID, guard.Printable(s.File, 200))
}

// numad says what may be wrong with the nodes that numad chooses.
func numad(f guard.Finding, n guard.Numad) string {
	on := nodes(f.Nodes)
	switch n.Risk {
	case guard.NumadLeavesOut:
		return fmt.Sprintf("numad chooses the nodes that QEMU is kept to after this check: without %s among them %s cannot have its pages", on, f.Backend)
	case guard.NumadTooSmall:
		return fmt.Sprintf("numad chooses the nodes after this check and does not look at huge pages: %s could not hold %d %s pages",
			on, f.Needed, guard.Size(f.PageKiB))
	case guard.NumadDenied:
		return fmt.Sprintf("numad chooses the nodes after this check and does not know that %s keeps QEMU to %s", path(n.File), nodes(n.Kept))
	}
	return fmt.Sprintf("numad chooses the nodes after this check, and QEMU cannot prepare memory from the CPUs of %s, as it may run on none of them", on)
}
