package ledger

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hugeguard/guard"
	"hugeguard/sysfs"
)

// libvirtRun is where libvirt's QEMU driver has its pid files, below the root: NAME.pid of each domain, and its own.
const libvirtRun = "run/libvirt/qemu"

// AtMost returns the domains that are starting, but for self, each with what it can have still
// to take at the most: as if its QEMU had taken nothing since it was seen last.
func (l Ledger) AtMost(self guard.Domain) []guard.Starting {
	var starting []guard.Starting
	for _, c := range l.Claims {
		if c.Of(self.UUID, self.Name) {
			continue
		}
		parts := slices.Clone(c.Parts)
		for i := range parts {
			if c.PostCopy {
				parts[i].Taken = 0 // it may have given them back
			}
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
func startingOf(c Claim, qemu Process, parts []Part, busy int) guard.Starting {
	s := guard.Starting{Domain: guard.Domain{Name: c.Name, UUID: c.UUID}, PID: qemu.PID}
	for _, p := range parts {
		left := guard.Claim{PageKiB: p.PageKiB, Pages: p.Pages - p.Taken, Mapped: p.Mapped, Nodes: p.Nodes, Hard: p.Hard, Cpuset: p.Cpuset}
		left.Clearing = min(left.Mapped, uint64(busy))
		if c.PostCopy {
			left.Clearing = min(left.Pages, uint64(busy))
		}
		s.Claims = append(s.Claims, left)
	}
	return s
}

// Looked is what is to be seen of the starts of a ledger.
type Looked struct {
	Starting []guard.Starting // what they have still to take
	Taking   bool             // one of them has a QEMU that may be taking pages
	Changed  bool             // the ledger is another now
	Blind    error            // names those of whom nothing was seen in time
}

// Look looks at each start of the ledger but that of self, until a time; one without a QEMU for longer than limit is
// taken for lost. It strikes off the claims that are ended, and notes the QEMUs that it sees.
//
// The kernel shows nothing of a process whose memory map another thread waits to change: nothing of that process counts.
func (l *Ledger) Look(root sysfs.FS, self guard.Domain, limit time.Duration, end time.Time) (seen Looked) {
	if len(l.Claims) == 0 {
		return seen
	}
	host := lookAtHost(root)
	views := viewAll(root, l.Claims, end)
	var blind []string
	kept := l.Claims[:0:0]
	for i, c := range l.Claims {
		v := views[i]
		if v == nil || v.unreadable {
			// To count its pages twice could refuse what would start.
			if v == nil {
				blind = append(blind, guard.Printable(c.Name, 60))
			}
			kept = append(kept, c)
			continue
		}
		seen.Taking = seen.Taking || v.qemu.PID != 0
		now := host.seen(c, *v)
		if c.Ended(now, limit) {
			seen.Changed = true
			continue
		}
		s := startingOf(c, v.qemu, now.Parts, v.busy)
		news := c.See(now)
		seen.Changed = seen.Changed || news
		kept = append(kept, c)
		// Of one that does not show what it maps nothing counts this time, as of
		// one that is gone and may still have pages.
		if v.shown && !c.Of(self.UUID, self.Name) {
			seen.Starting = append(seen.Starting, s)
		}
	}
	l.Claims = kept
	if len(blind) > 0 {
		seen.Blind = fmt.Errorf("there was no time to see what these have taken: %s", strings.Join(blind, ", "))
	}
	return seen
}

// sighting is what of the host itself tells whether starts are over.
type sighting struct {
	now       time.Duration // since boot
	nowErr    error
	daemon    Process // libvirt's
	daemonErr error
}

func lookAtHost(root sysfs.FS) (s sighting) {
	s.daemon, s.daemonErr = byPidFile(root, "driver")
	s.now, s.nowErr = root.SinceBoot()
	return s
}

// seen returns what is to be seen of a start.
func (s sighting) seen(c Claim, v viewed) Seen {
	seen := Seen{Now: s.now, Daemon: s.daemon, QEMU: v.qemu, Looked: v.shown, Parts: c.remaining(v.mappings, v.promised), Arrives: v.arrives}
	if s.nowErr != nil {
		seen.Now = c.Since // a host that was captured without it
	}
	switch {
	case s.daemonErr == errGone:
		seen.Daemon = Process{}
	case s.daemonErr != nil:
		seen.Daemon = c.Daemon // it is not known
	}
	return seen
}

// viewed is what is to be seen of one start.
type viewed struct {
	qemu       Process
	unreadable bool // it is not known whether there is a QEMU
	shown      bool // what follows is all that it maps
	mappings   []sysfs.Mapping
	busy       int // threads that may be taking pages
	arrives    bool
	promised   map[uint64]uint64 // with PostCopy, by page size: see [kept]
}

// viewers is how many starts are looked at side by side: each may hang.
const viewers = 8

// viewAll looks at each start, until a time; nil is one that was not seen by then.
func viewAll(root sysfs.FS, list []Claim, end time.Time) []*viewed {
	queue := make(chan int, len(list))
	for i := range list {
		queue <- i
	}
	close(queue)
	all := make([]*viewed, len(list)) // each read after its index has come
	done := make(chan int, len(list))
	for range min(viewers, len(list)) {
		go func() {
			for i := range queue {
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
func viewStart(root sysfs.FS, c Claim) (v *viewed) {
	v = &viewed{}
	defer func() {
		if recover() != nil {
			v.shown = false // a bug must not end the program
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
	if c.PostCopy {
		v.promised = promised(root)
	}
	// Before the mappings: who has taken a page before and does not show it then, is busy with it now.
	busy, err := root.BusyThreads(v.qemu.PID)
	if err != nil && (root.Live() || !errors.Is(err, fs.ErrNotExist)) {
		return v
	}
	v.busy = busy
	v.arrives = c.PostCopy && arrives(root, c.Name)
	for kib := range v.promised {
		v.promised[kib] += uint64(busy) // the kernel may count a page that is being taken as promised no more
	}
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
func byPidFile(root sysfs.FS, name string) (Process, error) {
	if strings.Contains(name, "/") {
		return Process{}, nil // no domain's name
	}
	pid, err := root.ReadPID(libvirtRun + "/" + name + ".pid")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, sysfs.ErrNoPID) {
		return Process{}, nil
	}
	if err != nil {
		return Process{}, err
	}
	started, err := root.StartedAfterBoot(pid)
	var p sysfs.Process
	if err == nil {
		p, err = root.Process(pid)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ESRCH), err == nil && !p.Memory: // it was not waited for
		return Process{PID: pid}, errGone
	case err != nil:
		return Process{}, err
	}
	return Process{PID: pid, Started: started}, nil
}

// startingMappings is far more than a QEMU has that has just been started.
const startingMappings = 1 << 12

// mappingsOf returns the huge pages that a starting QEMU maps. ok is false for one that does not show them.
func mappingsOf(root sysfs.FS, qemu Process) (mappings []sysfs.Mapping, ok bool) {
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

// remaining is the claim's parts with what a QEMU that maps so much has taken and mapped of them. Each part is of one
// mapping, which has its size, and its pages lie where the part's may. With PostCopy, what they keep is taken from
// promised, as [kept] does.
func (c Claim) remaining(mappings []sysfs.Mapping, promised map[uint64]uint64) []Part {
	parts, all := c.Parts, slices.Clone(c.Parts)
	for i := range all {
		all[i].Taken, all[i].Mapped = 0, 0
	}
	met := make([]bool, len(parts))
	match := func(m sysfs.Mapping, like func(Part) bool) bool {
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
		p, taken := &all[i], m.Touched()
		p.Taken = min(p.Pages, taken)
		p.Mapped = min(p.Pages-p.Taken, untouched(m))
		if c.PostCopy {
			p.Mapped = kept(m, p.Mapped, promised)
		}
		return true
	}
	// The likeness that tells most goes before the others for all of them: a device that has no part here may be
	// mapped, too. What has most pages goes before what has none, which may be like any; then what was mapped first,
	// which the kernel places highest.
	mappings = slices.Clone(mappings)
	slices.SortFunc(mappings, func(a, b sysfs.Mapping) int {
		return cmp.Or(cmp.Compare(b.Touched(), a.Touched()), cmp.Compare(b.Start, a.Start))
	})
	used := make([]bool, len(mappings))
	sized := func(m sysfs.Mapping, p Part) bool { return p.Pages == m.Size() && mayBeOf(m, p) }
	for _, like := range []func(sysfs.Mapping, Part) bool{
		func(m sysfs.Mapping, p Part) bool { return sized(m, p) && boundAs(m, p) },
		sized,
		mayBeOf,
		func(sysfs.Mapping, Part) bool { return true },
	} {
		for k, m := range mappings {
			if !used[k] {
				used[k] = match(m, func(p Part) bool { return like(m, p) })
			}
		}
	}
	return all
}

// boundAs says whether a mapping is bound just as a part is to be. The kernel
// leaves out the nodes that the cpuset does not have.
func boundAs(m sysfs.Mapping, p Part) bool {
	if !p.Hard || len(m.Bound) == 0 {
		return p.Hard == (len(m.Bound) > 0)
	}
	return !slices.ContainsFunc(m.Bound, func(node int) bool { return !slices.Contains(p.Nodes, node) })
}

// mayBeOf says whether what a mapping has touched may be a part's.
func mayBeOf(m sysfs.Mapping, p Part) bool {
	for node, pages := range m.Pages {
		if pages > 0 && p.Hard && !slices.Contains(p.Nodes, node) {
			return false
		}
	}
	return true
}

// LongestName is that of a file, in bytes: libvirt has one named after each domain.
const LongestName = 255

// ClaimOf returns the claim of a domain that is allowed.
func ClaimOf(root sysfs.FS, v guard.Verdict) (Claim, error) {
	if len(v.Domain.Name) > LongestName {
		return Claim{}, fmt.Errorf("libvirt has no name of %d bytes", len(v.Domain.Name))
	}
	now, err := root.SinceBoot()
	daemon, daemonErr := byPidFile(root, "driver")
	if daemonErr != nil {
		daemon = Process{} // it is not known
	}
	before, _ := byPidFile(root, v.Domain.Name)
	c := Claim{UUID: v.Domain.UUID, Name: v.Domain.Name, Since: now, Daemon: daemon, Before: before.PID}
	for _, part := range v.Claims() {
		c.Parts = append(c.Parts, Part{PageKiB: part.PageKiB, Pages: part.Pages, Nodes: part.Nodes, Hard: part.Hard, Cpuset: part.Cpuset})
	}
	return c, cmp.Or(err, c.Check())
}
