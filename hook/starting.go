package hook

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

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
	_, blind := addStarting(root, config, host, &ledger, self, time.Now().Add(max(config.Deadline/8, leisure)))
	if err == nil && len(blind) > 0 {
		err = blindTo(blind)
	}
	return err
}

// leisure is how long those look who ask beforehand: no start waits for them.
const leisure = 2 * time.Second

// readings is how often pools and processes are read until both are of one
// moment.
const readings = 6

// addStarting is AddStarting of a ledger that was read, until a time; it strikes
// off the claims that are ended, and notes the QEMUs that it sees.
//
// A starting QEMU takes its pages while it is looked at. Where the pools change
// under its eyes they are read again. What is read last is the processes, so
// that a page is rather counted as free than as gone twice.
//
// The kernel shows nothing of a process whose memory map another thread waits to
// change: of those that are blind nothing counts, unless they were seen before.
func addStarting(root sysfs.FS, config Config, host *guard.Host, ledger *claims.Ledger, self guard.Domain, end time.Time) (changed bool, blind []string) {
	pools := host.Pools // of the last look
	for again := readings - 1; ; again-- {
		l := look(root, config, ledger, self, end)
		changed = changed || l.changed
		if len(l.blind) > 0 && again < readings-1 {
			host.Pools = pools
			return changed, nil
		}
		host.Starting, pools = l.starting, host.Pools
		if again == 0 || !l.taking || len(l.blind) > 0 || host.Holders != nil || !refreshPools(root, host) {
			return changed, l.blind
		}
	}
}

// blindTo is that some starting guests' QEMUs showed nothing in time.
func blindTo(names []string) error {
	shown := make([]string, len(names))
	for i, name := range names {
		shown[i] = guard.Printable(name, 60)
	}
	return fmt.Errorf("what these have taken could not be seen in time: %s", strings.Join(shown, ", "))
}

// atMost returns the domains that are starting, each with what it can have still
// to take at the most: as if its QEMU had taken nothing since it was seen last.
func atMost(ledger claims.Ledger, self guard.Domain) []guard.Starting {
	var starting []guard.Starting
	for _, c := range ledger.Claims {
		if c.Of(self.UUID, self.Name) {
			continue
		}
		parts := slices.Clone(c.Parts)
		for i := range parts {
			if parts[i].Taken == 0 {
				parts[i].Mapped = 0 // it may have been without a reservation
			}
		}
		starting = append(starting, startingOf(c, c.QEMU, parts, 0))
	}
	return starting
}

// startingOf is a claim's domain with what its QEMU has still to take of parts,
// with so many threads that may be taking pages.
func startingOf(c claims.Claim, qemu claims.Process, parts []claims.Part, busy int) guard.Starting {
	s := guard.Starting{Domain: guard.Domain{Name: c.Name, UUID: c.UUID}, PID: qemu.PID}
	for _, p := range parts {
		left := guard.Claim{PageKiB: p.PageKiB, Pages: p.Pages - p.Taken, Mapped: p.Mapped, Nodes: p.Nodes, Hard: p.Hard}
		left.Clearing = min(left.Mapped, uint64(busy))
		if set := p.Cpuset; set != nil {
			left.Cpuset = guard.Cpuset{Nodes: set.Nodes, Union: set.Union, Restrictive: set.Restrictive}
		}
		s.Claims = append(s.Claims, left)
	}
	return s
}

// looked is what is to be seen of the starts of the ledger.
type looked struct {
	starting []guard.Starting
	taking   bool     // one of them has a QEMU that may be taking pages
	changed  bool     // the ledger is another now
	blind    []string // the names of those of whom nothing was seen in time
}

// look looks at each start of the ledger, until a time.
func look(root sysfs.FS, config Config, ledger *claims.Ledger, self guard.Domain, end time.Time) (l looked) {
	if len(ledger.Claims) == 0 {
		return l
	}
	daemon, daemonErr := byPidFile(root, "driver")
	now, nowErr := root.SinceBoot()
	views := viewAll(root, ledger.Claims, end)
	kept := ledger.Claims[:0:0]
	for i, c := range ledger.Claims {
		v := views[i]
		if v == nil || v.unreadable {
			// To count its pages twice could refuse what would start.
			if v == nil {
				l.blind = append(l.blind, c.Name)
			}
			kept = append(kept, c)
			continue
		}
		l.taking = l.taking || v.qemu.PID != 0
		seen := claims.Seen{Now: now, Daemon: daemon, QEMU: v.qemu, Looked: v.shown}
		if nowErr != nil {
			seen.Now = c.Since // a host that was captured without it
		}
		switch {
		case daemonErr == errGone:
			seen.Daemon = claims.Process{}
		case daemonErr != nil:
			seen.Daemon = c.Daemon // it is not known
		}
		seen.Parts = remaining(c.Parts, v.mappings)
		s := startingOf(c, v.qemu, seen.Parts, v.busy)
		if c.Ended(seen, config.StartingLimit) {
			l.changed = true
			continue
		}
		l.changed = c.See(seen) || l.changed
		kept = append(kept, c)
		// Of one that does not show what it maps nothing counts this time, as of
		// one that is gone and may still have pages.
		if v.shown && !c.Of(self.UUID, self.Name) {
			l.starting = append(l.starting, s)
		}
	}
	ledger.Claims = kept
	return l
}

// viewed is what is to be seen of one start.
type viewed struct {
	qemu       claims.Process
	unreadable bool // it is not known whether there is a QEMU
	shown      bool // what follows is all that it maps
	mappings   []sysfs.Mapping
	busy       int // threads that may be taking pages
}

// viewers is how many starts are looked at side by side: each may hang.
const viewers = 8

// viewAll looks at each start, until a time; nil is one that was not seen by then.
func viewAll(root sysfs.FS, list []claims.Claim, end time.Time) []*viewed {
	todo := make(chan int, len(list))
	for i := range list {
		todo <- i
	}
	close(todo)
	all := make([]*viewed, len(list)) // each read after its index has come
	done := make(chan int, len(list))
	for range min(viewers, len(list)) {
		go func() {
			for i := range todo {
				all[i] = viewStart(root, list[i])
				done <- i
			}
		}()
	}
	late := time.NewTimer(time.Until(end))
	defer late.Stop()
	views := make([]*viewed, len(list))
	for range list {
		select {
		case i := <-done:
			views[i] = all[i]
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
	qemu, err := byPidFile(root, c.Name)
	switch {
	case err != nil && err != errGone:
		v.unreadable = true
		return v
	case qemu.PID == c.Before, err == nil && qemu.Started+startTolerance < c.Since: // none, or that of an earlier start
		v.shown = true
		return v
	case err == errGone:
		return v
	}
	v.qemu = qemu
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

// startTolerance is how far apart the kernel's two readings of the same instant
// can be: both are in hundredths of a second.
const startTolerance = 20 * time.Millisecond

// errGone is that a process has ended.
var errGone = errors.New("it has ended")

// byPidFile returns the process that one of libvirt's pid files names; none where
// there is no such file, and its number alone, with errGone, of one that has ended.
func byPidFile(root sysfs.FS, name string) (claims.Process, error) {
	if strings.Contains(name, "/") {
		return claims.Process{}, nil // no domain's name
	}
	text, err := root.ReadFile(libvirtRun+"/"+name+".pid", pidFileLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return claims.Process{}, nil
	}
	if err != nil {
		return claims.Process{}, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 0 {
		return claims.Process{}, nil // libvirt makes the file before it writes to it
	}
	started, err := root.StartedAfterBoot(pid)
	var p sysfs.Process
	if err == nil {
		p, err = root.Process(pid)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ESRCH), err == nil && !p.Memory: // it was not waited for
		return claims.Process{PID: pid}, errGone
	case err != nil:
		return claims.Process{}, err
	}
	return claims.Process{PID: pid, Started: started}, nil
}

// startingMappings is far more than a QEMU has that has just been started.
const startingMappings = 1 << 12

// mappingsOf returns the huge pages that a starting QEMU maps. ok is false for
// one that does not show them.
func mappingsOf(root sysfs.FS, qemu claims.Process) (mappings []sysfs.Mapping, ok bool) {
	mappings, err := root.Mappings(qemu.PID, startingMappings)
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

// remaining is parts of a claim with what a QEMU that maps so much has taken and
// mapped of them. Each part is of one mapping, which has its size, and its pages
// lie where the part's may.
func remaining(parts []claims.Part, mappings []sysfs.Mapping) []claims.Part {
	all := slices.Clone(parts)
	for i := range all {
		all[i].Taken, all[i].Mapped = 0, 0
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
		p, taken := &all[i], touched(m)
		p.Taken = min(p.Pages, taken)
		p.Mapped = min(p.Pages-p.Taken, mappedPages(m)-min(mappedPages(m), taken))
		return true
	}
	// The likeness that tells most goes before the others for all of them: a
	// device that has no part here may be mapped, too. What has most pages goes
	// before what has none, which may be like any; then what was mapped first,
	// which the kernel places highest.
	mappings = slices.Clone(mappings)
	slices.SortFunc(mappings, func(a, b sysfs.Mapping) int {
		return cmp.Or(cmp.Compare(touched(b), touched(a)), cmp.Compare(b.Start, a.Start))
	})
	used := make([]bool, len(mappings))
	sized := func(m sysfs.Mapping, p claims.Part) bool { return p.Pages == mappedPages(m) && mayBeOf(m, p) }
	for _, like := range []func(sysfs.Mapping, claims.Part) bool{
		func(m sysfs.Mapping, p claims.Part) bool { return sized(m, p) && boundAs(m, p) },
		sized,
		mayBeOf,
		func(sysfs.Mapping, claims.Part) bool { return true },
	} {
		for k, m := range mappings {
			if !used[k] {
				used[k] = match(m, func(p claims.Part) bool { return like(m, p) })
			}
		}
	}
	return all
}

// boundAs says whether a mapping is bound just as a part is to be. The kernel
// leaves out the nodes that the cpuset does not have.
func boundAs(m sysfs.Mapping, p claims.Part) bool {
	if !p.Hard || len(m.Bound) == 0 {
		return p.Hard == (len(m.Bound) > 0)
	}
	return !slices.ContainsFunc(m.Bound, func(node int) bool { return !slices.Contains(p.Nodes, node) })
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
	daemon, daemonErr := byPidFile(root, "driver")
	if daemonErr != nil {
		daemon = claims.Process{} // it is not known
	}
	before, _ := byPidFile(root, v.Domain.Name)
	c := claims.Claim{UUID: v.Domain.UUID, Name: v.Domain.Name, Since: now, Daemon: daemon, Before: before.PID}
	for _, part := range v.Claims() {
		p := claims.Part{PageKiB: part.PageKiB, Pages: part.Pages, Nodes: part.Nodes, Hard: part.Hard}
		if set := part.Cpuset; set.Nodes != nil {
			p.Cpuset = &claims.Cpuset{Nodes: set.Nodes, Union: set.Union, Restrictive: set.Restrictive}
		}
		c.Parts = append(c.Parts, p)
	}
	return c, err
}
