package hook

import (
	"errors"
	"fmt"
	"io/fs"
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
// among them. Pools are read again while they change, unless the host has
// holders already, which are of the moment of its pools.
func AddStarting(root sysfs.FS, config Config, host *guard.Host, self guard.Domain) error {
	if !config.Claims {
		return nil
	}
	ledger, err := readLedger(root)
	if _, blind := addStarting(root, config, host, &ledger, self); err == nil && len(blind) > 0 {
		err = blindTo(blind)
	}
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
// that a page is rather counted as free than as gone twice.
//
// It takes an eighth of the deadline at the most: the kernel shows nothing of a
// process whose memory map another thread waits to change. Of those that are
// blind nothing counts.
func addStarting(root sysfs.FS, config Config, host *guard.Host, ledger *claims.Ledger, self guard.Domain) (changed bool, blind []string) {
	end := time.Now().Add(config.Deadline / 8)
	for range readings {
		var l looked
		l, blind = look(root, config, ledger, self, end)
		host.Starting = l.starting
		changed = changed || l.changed
		if !l.taking || len(blind) > 0 || host.Holders != nil || !refreshPools(root, host) {
			return changed, blind
		}
	}
	l, blind := look(root, config, ledger, self, end)
	host.Starting = l.starting
	return changed || l.changed, blind
}

// blindTo is that some starting guests' QEMUs showed nothing in time.
func blindTo(names []string) error {
	for i, name := range names {
		names[i] = guard.Printable(name, 60)
	}
	return fmt.Errorf("what these have taken could not be seen in time: %s", strings.Join(names, ", "))
}

// inFull returns the domains that are starting, each with its whole claim, as
// if its QEMU had taken nothing.
func inFull(ledger claims.Ledger, self guard.Domain) []guard.Starting {
	var starting []guard.Starting
	for _, c := range ledger.Claims {
		if !c.Of(self.UUID, self.Name) {
			starting = append(starting, guard.Starting{Domain: guard.Domain{Name: c.Name, UUID: c.UUID}, Claims: remaining(c.Parts, nil, 0)})
		}
	}
	return starting
}

// looked is what is to be seen of the starts of the ledger.
type looked struct {
	starting []guard.Starting
	taking   bool // one of them has a QEMU that may be taking pages
	changed  bool // the ledger is another now
}

// look looks at each start of the ledger, until a time; blind are those of which
// nothing was seen until then.
func look(root sysfs.FS, config Config, ledger *claims.Ledger, self guard.Domain, end time.Time) (l looked, blind []string) {
	if len(ledger.Claims) == 0 {
		return l, nil
	}
	daemon := runningSince(root, "driver")
	now, err := root.SinceBoot()
	views := viewAll(root, ledger.Claims, end)
	kept := ledger.Claims[:0:0]
	for i, c := range ledger.Claims {
		view := views[i]
		if view == nil {
			blind = append(blind, c.Name)
			kept = append(kept, c)
			continue
		}
		seen := claims.Seen{Now: now, Daemon: daemon, QEMU: view.qemu, Looked: view.shown}
		if err != nil {
			seen.Now = c.Since // a host that was captured without it
		}
		s := guard.Starting{Domain: guard.Domain{Name: c.Name, UUID: c.UUID}, PID: view.qemu.PID, Claims: remaining(c.Parts, view.mappings, view.busy)}
		for _, left := range s.Claims {
			seen.Left += left.Pages
		}
		if c.Ended(seen, config.StartingLimit) {
			l.changed = true
			continue
		}
		l.changed = c.See(seen) || l.changed
		kept = append(kept, c)
		// Of one that does not show what it maps nothing counts this time: to
		// count its pages twice could refuse what would start.
		if !view.shown || c.Of(self.UUID, self.Name) {
			continue
		}
		l.taking = l.taking || c.QEMU != claims.Process{}
		l.starting = append(l.starting, s)
	}
	ledger.Claims = kept
	return l, blind
}

// viewed is what is to be seen of one start.
type viewed struct {
	qemu     claims.Process
	shown    bool // what follows is all that it maps
	mappings []sysfs.Mapping
	busy     int // threads that may be taking pages
}

// viewers is how many starts are looked at side by side: each may hang.
const viewers = 8

// viewAll looks at each start, until a time; nil is one that was not seen by then.
func viewAll(root sysfs.FS, list []claims.Claim, end time.Time) []*viewed {
	type numbered struct {
		i int
		*viewed
	}
	todo := make(chan int, len(list))
	for i := range list {
		todo <- i
	}
	close(todo)
	done := make(chan numbered, len(list))
	for range min(viewers, len(list)) {
		go func() {
			for i := range todo {
				done <- numbered{i, viewStart(root, list[i])}
			}
		}()
	}
	late := time.NewTimer(time.Until(end))
	defer late.Stop()
	views := make([]*viewed, len(list))
	for range list {
		select {
		case v := <-done:
			views[v.i] = v.viewed
		case <-late.C:
			return views
		}
	}
	return views
}

// viewStart looks at one start.
func viewStart(root sysfs.FS, c claims.Claim) (v *viewed) {
	v = &viewed{}
	defer func() {
		if recover() != nil {
			v.shown = false // a defect must not cost the program
		}
	}()
	if v.qemu = qemuOf(root, c); v.qemu.PID == 0 {
		v.shown = true
		return v
	}
	// Before the mappings: who has taken a page before and does not show it
	// then, is busy with it now.
	busy, err := root.BusyThreads(v.qemu.PID)
	if err != nil && (root.Live() || !errors.Is(err, fs.ErrNotExist)) {
		return v
	}
	v.busy = busy
	v.mappings, v.shown = mappingsOf(root, v.qemu)
	return v
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

// remaining is what a QEMU that maps so much, with so many threads that may be
// taking pages, has still to take of its claim. Each part is of one mapping,
// which has its size, and its pages lie where the part's may.
func remaining(parts []claims.Part, mappings []sysfs.Mapping, busy int) []guard.Claim {
	left := make([]guard.Claim, len(parts))
	for i, p := range parts {
		left[i] = guard.Claim{PageKiB: p.PageKiB, Pages: p.Pages, Nodes: p.Nodes, Hard: p.Hard}
		if c := p.Cpuset; c != nil {
			left[i].Cpuset = guard.Cpuset{Nodes: c.Nodes, Union: c.Union, Restrictive: c.Restrictive}
		}
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
		left[i].Clearing = min(left[i].Mapped, uint64(busy))
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
		p := claims.Part{PageKiB: part.PageKiB, Pages: part.Pages, Nodes: part.Nodes, Hard: part.Hard}
		if set := part.Cpuset; set.Nodes != nil {
			p.Cpuset = &claims.Cpuset{Nodes: set.Nodes, Union: set.Union, Restrictive: set.Restrictive}
		}
		c.Parts = append(c.Parts, p)
	}
	return c, err
}
