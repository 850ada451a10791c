package ledger

import (
	"bytes"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"hugeguard/guard"
	"hugeguard/sysfs"
)

// A guest that is moved here while it runs has all of its pages before libvirt says that it has started. If the
// migration may go over to post-copy, QEMU gives them back at once (postcopy_ram_incoming_init), and takes each again
// when its contents arrive. Of shared memory nothing is promised to it meanwhile: a hole in a file of hugetlbfs gives
// the reservation back with the page (hugetlbfs_punch_hole). Of private memory the kernel restores the reservation
// (__unmap_hugepage_range): Linux 7.2 did when tried, 5.10 and 6.1 did not, and none does as long as there are surplus
// pages. So its claim stays until the migration is over.

// flagPostCopy is VIR_MIGRATE_POSTCOPY among a migration's flags (include/libvirt/libvirt-domain.h).
const flagPostCopy = 1 << 15

// statusLimit is more than libvirt's status of a domain has, in bytes.
const statusLimit = 8 << 20

// arrives reports whether a domain is being moved here, by a migration that may go over to post-copy.
func arrives(root sysfs.FS, name string) bool {
	if strings.Contains(name, "/") {
		return false // no domain's name
	}
	status, err := root.ReadFile(libvirtRun+"/"+name+".xml", statusLimit)
	return err == nil && Arrives(status)
}

// Arrives reports whether libvirt's status of a domain says that the domain is being moved here, by a migration that may
// go over to post-copy. libvirt writes an element a line, and the job before the domain's own XML
// (qemuDomainObjPrivateXMLFormatJob).
func Arrives(status []byte) bool {
	for line := range bytes.Lines(status) {
		line = bytes.TrimSpace(line)
		switch {
		case bytes.HasPrefix(line, []byte("<job ")):
			return bytes.Contains(line, []byte(" async='migration in'")) && flagsOf(line)&flagPostCopy != 0
		case bytes.HasPrefix(line, []byte("<domain")):
			return false
		}
	}
	return false
}

// ReducedArrival is what a capture keeps of this kind of status before the domain's own XML, and ReducedEnd comes after that.
const (
	ReducedArrival = "<domstatus>\n<job async='migration in' flags='0x8000'/>\n"
	ReducedEnd     = "</domstatus>\n"
)

// flagsOf returns the flags of a job; 0 where they are not understood.
func flagsOf(job []byte) uint64 {
	_, rest, _ := bytes.Cut(job, []byte(" flags='"))
	text, _, _ := bytes.Cut(rest, []byte("'"))
	flags, err := strconv.ParseUint(string(text), 0, 64)
	if err != nil {
		return 0
	}
	return flags
}

// promised returns how many pages of each size are promised to anybody. It goes before a look at threads and mappings: a
// page that arrives in between then counts as promised, and not twice.
func promised(root sysfs.FS) map[uint64]uint64 {
	pages := map[uint64]uint64{}
	nodes, nodesErr := root.Nodes()
	sizes, err := root.PageSizes()
	if err != nil || nodesErr != nil {
		return pages
	}
	for _, kib := range sizes {
		if pool, ok, err := root.Pool(kib, nodes); err == nil && ok {
			pages[kib] = pool.Reserved
		}
	}
	return pages
}

// kept returns how many of so many pages that a guest gave back may still be promised to it, and takes them from
// promised. Nothing shows whose a reservation is: the guest has all that are not those of another of its mappings.
func kept(m sysfs.Mapping, pages uint64, promised map[uint64]uint64) uint64 {
	if !m.Private {
		return 0
	}
	pages = min(pages, promised[m.PageKiB])
	promised[m.PageKiB] -= pages
	return pages
}

// untouched is how many pages of a mapping its process does not have.
func untouched(m sysfs.Mapping) uint64 { return m.Size() - min(m.Size(), m.Touched()) }

// staying is the text of a ledger in which the claim of a domain of that name stays, as one of post-copy.
func staying(text []byte, boot, name string) []byte {
	l, err := Parse(text, boot)
	if err != nil {
		return nil
	}
	for i := range l.Claims {
		if l.Claims[i].Name == name {
			l.Claims[i].PostCopy = true
		}
	}
	return l.Text()
}

// Arriving returns the domains but self that are being moved here by post-copy and have no claim, as when they began to
// come before hugeguard was there: what they map without a page is owed to them. Guests are those that run, by pid.
func (l Ledger) Arriving(root sysfs.FS, guests map[int]string, self guard.Domain, end time.Time) (arriving []guard.Starting) {
	for _, pid := range slices.Sorted(maps.Keys(guests)) {
		name := guests[pid]
		claimed := slices.ContainsFunc(l.Claims, func(c Claim) bool { return c.Name == name })
		if claimed || name == self.Name || !arrives(root, name) || time.Now().After(end) {
			continue
		}
		promised := promised(root)
		mappings, err := root.Mappings(pid, startingMappings)
		if err != nil || root.Reservations(pid, mappings) != nil {
			continue // nothing of it counts
		}
		s := guard.Starting{Domain: guard.Domain{Name: name}, PID: pid}
		for _, m := range mappings {
			left := untouched(m)
			if left == 0 || !m.Reserve { // or it is a device that takes them later
				continue
			}
			s.Claims = append(s.Claims, guard.Claim{PageKiB: m.PageKiB, Pages: left, Mapped: kept(m, left, promised), Nodes: m.Bound, Hard: len(m.Bound) > 0})
		}
		if len(s.Claims) > 0 {
			arriving = append(arriving, s)
		}
	}
	return arriving
}
