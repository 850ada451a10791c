package words

import (
	"fmt"
	"strings"

	"hugeguard/guard"
)

// Finding says what was found out, without an end. What it is about, and the node, come first.
func Finding(f guard.Finding) string {
	text := reason(f, f.Reason)
	if known := f.Releases.String(); known != "" {
		text += " (" + known + ")"
	}
	return text
}

// reason says a finding for a reason, which is its own or, of one under a condition, the one that is then.
func reason(f guard.Finding, why guard.Reason) string {
	switch why := why.(type) {
	case guard.Short:
		return short(f) + ": " + counts(f, why)
	case guard.NoSuchPages:
		has := "no huge pages at all"
		if len(why.Sizes) > 0 {
			has = pageNames(why.Sizes, "and")
		}
		return fmt.Sprintf("this kernel has no %s pages: it has %s, and %s needs %s", pageName(f.PageKiB), has, f.Backend, Pages(f.Needed, f.PageKiB))
	case guard.WrongSize:
		return wrongSize(f, why)
	case guard.Unbindable:
		return fmt.Sprintf("cannot bind RAM to %s for %s: %s", place(f), f.Backend, obstacle(why))
	case guard.MountFull:
		return fmt.Sprintf("mount limit is too low for %s pages: size= of %s leaves %d of %d, %d needed (%s)",
			pageName(f.PageKiB), path(why.Path), f.Free, f.Total, f.Needed, Amount(f.Needed, f.PageKiB))
	case guard.GroupFull:
		counted := "used"
		if why.Reserved {
			counted = "used or promised"
		}
		return fmt.Sprintf("cgroup limit is too low for %s pages: %s leaves %d of %d (%d %s), %d needed (%s)",
			pageName(f.PageKiB), path(why.File), f.Free, f.Total, why.Used, counted, f.Needed, Amount(f.Needed, f.PageKiB))
	case guard.Perhaps:
		return perhaps(f, why) + "; it fails " + condition(f, why)
	case guard.Unknown:
		return fmt.Sprintf("unknown value %s: hugeguard does not know what libvirt makes of it, and refuses nothing for the memory that it concerns", unknown(why))
	case guard.TooMany:
		return tooMany(why) + ": its huge pages are not judged"
	case guard.NoMount, guard.NoNode, guard.LateMount:
		return "libvirt will refuse to start this guest: " + leftToLibvirt(f, why)
	case guard.MayBeLate:
		return mayBeLate(why)
	case guard.OtherHooks:
		return why.Words
	}
	return risk(f, why)
}

// perhaps says what a launch fails of under a condition.
func perhaps(f guard.Finding, p guard.Perhaps) string {
	text := reason(f, p.Of)
	switch of := p.Of.(type) {
	case guard.Short:
		return "may lack " + pool(f) + ": " + counts(f, of)
	case guard.Unbindable:
		return "may not" + strings.TrimPrefix(text, "cannot")
	}
	return text
}

// wrongSize says what is wrong with a size.
func wrongSize(f guard.Finding, s guard.WrongSize) string {
	id, size, page := f.Backend, guard.Size(s.KiB), pageName(f.PageKiB)
	switch s.Why {
	case guard.SmallBlock:
		return fmt.Sprintf("blocks are smaller than a %s page: %s is plugged in blocks of %s", page, id, size)
	case guard.BelowPage:
		return fmt.Sprintf("size is less than one %s page: %s is %s", page, id, size)
	case guard.UnboundRests:
		where := "the nodes that numad chooses"
		if !s.Auto {
			where = nodes(s.HostNodes)
		}
		return fmt.Sprintf("size is no multiple of %s pages: %s is %s, so the kernel cannot bind it to %s", page, id, size, where)
	}
	unit := page + " pages"
	if s.UnitKiB > f.PageKiB {
		unit = guard.Size(s.UnitKiB) + " blocks"
	}
	return fmt.Sprintf("size is no multiple of %s: %s is %s, and QEMU requires a multiple", unit, id, size)
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
		return fmt.Sprintf("if libvirt takes %s pages, as the domain names no size", pageName(f.PageKiB))
	case guard.IfColdStart:
		return "unless it is restored or migrated here, where sizes are not rounded up"
	case guard.IfThisMount:
		return fmt.Sprintf("unless libvirt takes another mount of %s pages", pageName(f.PageKiB))
	case guard.IfBelowGroup:
		return "if libvirt puts QEMU below " + path(when.Path)
	case guard.IfThere:
		where := "huge pages"
		if when.Path != "" {
			where = "the huge pages at " + path(when.Path)
		}
		return fmt.Sprintf("if %s lies on %s, which is not certain", when.Backend, where)
	case guard.IfUnknown:
		return fmt.Sprintf("unless %s allows other memory", unknown(when.Unknown))
	case guard.IfReleases:
		return releases(when)
	}
	return ""
}

// unknown names a value that hugeguard does not know.
func unknown(u guard.Unknown) string {
	return fmt.Sprintf("%s='%s'", u.Where, guard.Printable(u.Value, 20))
}

// tooMany says what a guest has more of than QEMU takes.
func tooMany(e guard.TooMany) string {
	if e.Devices {
		return fmt.Sprintf("too many memory devices: QEMU takes at most %d, and it has %d", e.Most, e.Count)
	}
	return fmt.Sprintf("too many guest cells: QEMU takes at most %d, and it has %d", e.Most, e.Count)
}

// risk says what may go wrong, or is not as it should be.
func risk(f guard.Finding, why guard.Reason) string {
	id, page := f.Backend, pageName(f.PageKiB)
	switch why := why.(type) {
	case guard.Hidden:
		will := "may lie"
		if why.Certain {
			will = "will lie"
		}
		return fmt.Sprintf("%s is mounted over %s pages at %s: until it is unmounted, %s %s on it, in ordinary memory",
			cut(why.By.Type, 9), page, path(why.By.Path), id, will)
	case guard.Unjudged:
		return unjudged(f, why)
	case guard.OnTouch:
		return fmt.Sprintf("guest may die on %s: %s is bound there, where only %d of its %s of %s are free: QEMU starts and dies when the guest touches more",
			place(f), id, why.Fit, Pages(f.Needed, f.PageKiB), page)
	case guard.Numad:
		return numad(f, why)
	case guard.SetAside:
		return fmt.Sprintf("may lack promised %s pages: of the %d promised, enough must be those that a hugetlbfs mount sets aside for it (min_size)",
			page, why.Reserved)
	case guard.OnlyCleared:
		return fmt.Sprintf("starting guests may need the %s pages: it fits only if %s took some of theirs already, which the kernel is clearing",
			page, guests(why.Starting))
	case guard.OnlySurplus:
		return fmt.Sprintf("may lack surplus %s pages: the kernel must make them where they are needed, and does not promise to (nr_overcommit_hugepages)", page)
	case guard.OnlyOrder:
		if why.Reservation {
			return fmt.Sprintf("may lack %s: they can be reserved for %s only if the guest's other memory leaves enough there, to which QEMU's own memory is bound",
				pool(f), id)
		}
		return fmt.Sprintf("may lack %s: %s fits there only if the guest's other memory takes its pages elsewhere, which depends on the kernel's order",
			pool(f), id)
	case guard.OnlyBeside:
		return fmt.Sprintf("may lack %s: %s fits there only if other starting guests (%s) take their pages elsewhere", pool(f), id, guests(why.Starting))
	case guard.Spills:
		return fmt.Sprintf("will spill from %s: only %d of the %s of %s find room there (%s), the others will lie on other nodes",
			place(f), why.Fit, Pages(f.Needed, f.PageKiB), id, why.Policy)
	case guard.Doomed:
		return fmt.Sprintf("starting guests lack %s pages: %s need more than there are, and may take this guest's before they fail", page, guests(why.Starting))
	case guard.CannotPlug:
		return fmt.Sprintf("may lack %s pages to plug: %s is to plug %s after the start, and %d will be left", page, id, Pages(f.Needed, f.PageKiB), why.Left)
	case guard.OVSPending:
		return fmt.Sprintf("OVS-DPDK lacks %s: it was told to take %s and has not taken them yet, this start leaves it %d",
			pool(f), Pages(f.Needed, f.PageKiB), why.Left)
	case guard.NoMempool:
		return fmt.Sprintf("OVS-DPDK may lack %s: this start leaves %s, and one more mempool for vhost-user ports of MTU %d takes at least %d",
			pool(f), Pages(why.Left, f.PageKiB), why.MTU, f.Needed)
	case guard.NovaStale:
		return stale(why)
	case guard.NovaPool:
		return NovaPool(why)
	}
	panic(fmt.Sprintf("no words for %T", why))
}

// numad says what may be wrong with the nodes that numad chooses.
func numad(f guard.Finding, n guard.Numad) string {
	switch n.Risk {
	case guard.NumadLeavesOut:
		return fmt.Sprintf("numad may leave out %s: it chooses nodes after this check, and %s must have its pages there", place(f), f.Backend)
	case guard.NumadTooSmall:
		return fmt.Sprintf("numad may choose %s: it chooses after this check and ignores huge pages, and %s cannot have %s there",
			place(f), f.Backend, Pages(f.Needed, f.PageKiB))
	case guard.NumadDenied:
		return fmt.Sprintf("numad may choose wrong nodes: it chooses after this check and does not know that %s keeps QEMU to %s", path(n.File), nodes(n.Kept))
	}
	return fmt.Sprintf("numad may choose %s: it chooses after this check, and QEMU cannot prepare memory from CPUs there, as it may run on none of them", place(f))
}
