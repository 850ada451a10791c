package hook

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"hugeguard/guard"
	"hugeguard/guard/claims"
	"hugeguard/sysfs"
)

// libvirtRun is where libvirt's QEMU driver has its pid files, below the root:
// NAME.pid of each domain, and its own.
const libvirtRun = "run/libvirt/qemu"

// AddStarting adds the domains that are starting, as the ledger has them, with
// what they have still to take. self is the domain that is judged, which is not
// among them.
func AddStarting(root sysfs.FS, config Config, host *guard.Host, self guard.Domain) error {
	if !config.Claims {
		return nil
	}
	ledger, err := readLedger(root)
	addStarting(root, config, host, &ledger, self)
	return err
}

// readings is how often pools and processes are read until both are of one
// moment.
const readings = 5

// addStarting is AddStarting of a ledger that was read; it strikes off the
// claims that are ended, and notes the QEMUs that it sees.
//
// A starting QEMU takes its pages while it is looked at. Where the pools change
// under its eyes they are read again. What is read last is the processes, so
// that a page is rather counted as free than as gone twice. One that the kernel
// is clearing is neither free nor seen with its QEMU yet, and counts twice still.
func addStarting(root sysfs.FS, config Config, host *guard.Host, ledger *claims.Ledger, self guard.Domain) (changed bool) {
	for range readings {
		taking := false
		var ended bool
		host.Starting, taking, ended = look(root, config, ledger, self)
		changed = changed || ended
		if !taking || !refreshPools(root, host) {
			return changed
		}
	}
	var ended bool
	host.Starting, _, ended = look(root, config, ledger, self)
	return changed || ended
}

// inFull returns the domains that are starting, each with its whole claim, as
// if its QEMU had taken nothing.
func inFull(ledger claims.Ledger, self guard.Domain) []guard.Starting {
	var starting []guard.Starting
	for _, c := range ledger.Claims {
		if !isOf(c, self) {
			starting = append(starting, guard.Starting{Domain: guard.Domain{Name: c.Name, UUID: c.UUID}, Claims: remaining(c.Parts, nil)})
		}
	}
	return starting
}

// isOf says whether a claim is a domain's.
func isOf(c claims.Claim, d guard.Domain) bool { return c.UUID == d.UUID || c.Name == d.Name }

// look looks at each start of the ledger. taking says that one of them has a
// QEMU that may be taking pages, changed that the ledger is another now.
func look(root sysfs.FS, config Config, ledger *claims.Ledger, self guard.Domain) (starting []guard.Starting, taking, changed bool) {
	if len(ledger.Claims) == 0 {
		return nil, false, false
	}
	seen := claims.Seen{Daemon: runningSince(root, "driver")}
	now, err := root.SinceBoot()
	kept := ledger.Claims[:0:0]
	for _, c := range ledger.Claims {
		seen.Now = now
		if err != nil {
			seen.Now = c.Since // a host that was captured without it
		}
		seen.QEMU = qemuOf(root, c)
		if c.Ended(seen, config.StartingLimit) {
			changed = true
			continue
		}
		changed = changed || c.QEMU != seen.QEMU
		c.QEMU = seen.QEMU
		// Of one that does not show what it maps nothing counts this time: to
		// count its pages twice could refuse what would start.
		s := guard.Starting{Domain: guard.Domain{Name: c.Name, UUID: c.UUID}, PID: c.QEMU.PID}
		mappings, ok := mappingsOf(root, c.QEMU)
		if !ok {
			kept = append(kept, c)
			continue
		}
		s.Claims = remaining(c.Parts, mappings)
		if !slices.ContainsFunc(s.Claims, func(left guard.Claim) bool { return left.Pages > 0 }) {
			changed = true // it is up
			continue
		}
		kept = append(kept, c)
		if isOf(c, self) {
			continue
		}
		taking = taking || c.QEMU != claims.Process{}
		starting = append(starting, s)
	}
	ledger.Claims = kept
	return starting, taking, changed
}

// qemuOf returns the QEMU of a starting domain: the process that libvirt's pid
// file names, unless that was there before the start.
func qemuOf(root sysfs.FS, c claims.Claim) claims.Process {
	p := runningSince(root, c.Name)
	if p.Started+startTolerance < c.Since {
		return claims.Process{}
	}
	return p
}

// startTolerance is how far apart the kernel's two readings of the same instant
// can be: both are in hundredths of a second.
const startTolerance = 20 * time.Millisecond

// runningSince returns the process that one of libvirt's pid files names, none
// where it does not run.
func runningSince(root sysfs.FS, name string) claims.Process {
	if strings.Contains(name, "/") {
		return claims.Process{} // no domain's name
	}
	text, err := root.ReadFile(libvirtRun+"/"+name+".pid", pidFileLimit)
	if err != nil {
		return claims.Process{}
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 0 {
		return claims.Process{}
	}
	started, err := root.StartedAfterBoot(pid)
	if err != nil {
		return claims.Process{}
	}
	if p, err := root.Process(pid); err != nil || !p.Memory {
		return claims.Process{} // it has ended and was not waited for
	}
	return claims.Process{PID: pid, Started: started}
}

// mappingsOf returns the huge pages that a starting QEMU maps. ok is false for
// one that does not show them.
func mappingsOf(root sysfs.FS, qemu claims.Process) (mappings []sysfs.Mapping, ok bool) {
	if qemu.PID == 0 {
		return nil, true
	}
	mappings, err := root.Mappings(qemu.PID)
	if err != nil {
		return nil, false
	}
	if slices.ContainsFunc(mappings, func(m sysfs.Mapping) bool { return m.PageKiB == 0 }) {
		// Untouched, which hides the size of its pages.
		if err := root.Reservations(qemu.PID, mappings); err != nil {
			return nil, false
		}
	}
	return mappings, true
}

// remaining is what a QEMU that maps so much has still to take of its claim.
// Each part is of one mapping, which has its size, and its pages lie where the
// part's may.
func remaining(parts []claims.Part, mappings []sysfs.Mapping) []guard.Claim {
	left := make([]guard.Claim, len(parts))
	for i, p := range parts {
		left[i] = guard.Claim{PageKiB: p.PageKiB, Pages: p.Pages, Nodes: p.Nodes, Hard: p.Hard}
	}
	met := make([]bool, len(parts))
	match := func(m sysfs.Mapping, like func(claims.Part) bool) bool {
		i := -1
		for k, p := range parts {
			if !met[k] && p.PageKiB == m.PageKiB && like(p) {
				i = k
				break
			}
		}
		if i < 0 {
			return false
		}
		met[i] = true
		taken := touched(m)
		left[i].Pages -= min(left[i].Pages, taken)
		left[i].Mapped = min(left[i].Pages, mappedPages(m)-min(mappedPages(m), taken))
		return true
	}
	// The likeness that tells most goes before the others for all of them: a
	// device that has no part here may be mapped, too.
	used := make([]bool, len(mappings))
	for _, like := range []func(sysfs.Mapping, claims.Part) bool{
		func(m sysfs.Mapping, p claims.Part) bool { return p.Pages == mappedPages(m) && mayBeOf(m, p) },
		mayBeOf,
		func(sysfs.Mapping, claims.Part) bool { return true },
	} {
		for k, m := range mappings {
			if !used[k] {
				used[k] = match(m, func(p claims.Part) bool { return like(m, p) })
			}
		}
	}
	return left
}

// mayBeOf says whether what a mapping has touched may be a part's.
func mayBeOf(m sysfs.Mapping, p claims.Part) bool {
	for node, pages := range m.Pages {
		if pages > 0 && p.Hard && !slices.Contains(p.Nodes, node) {
			return false
		}
	}
	return true
}

// longestName is that of a file, in bytes: libvirt has one named after each
// domain.
const longestName = 255

// claimOf is the claim of a domain that is let start.
func claimOf(root sysfs.FS, v guard.Verdict) (claims.Claim, error) {
	if len(v.Domain.Name) > longestName {
		return claims.Claim{}, fmt.Errorf("a name of %d bytes is none of libvirt's", len(v.Domain.Name))
	}
	now, err := root.SinceBoot()
	c := claims.Claim{UUID: v.Domain.UUID, Name: v.Domain.Name, Since: now, Daemon: runningSince(root, "driver")}
	for _, part := range v.Claims() {
		c.Parts = append(c.Parts, claims.Part{PageKiB: part.PageKiB, Pages: part.Pages, Nodes: part.Nodes, Hard: part.Hard})
	}
	return c, err
}
