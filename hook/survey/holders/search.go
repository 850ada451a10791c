// Package holders finds out who holds a host's huge pages: the processes that map them or have them open, and the files
// that nobody uses.
package holders

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"hugeguard/guard"
	"hugeguard/hook/survey/process"
	"hugeguard/sysfs"
)

// Find looks for those who hold a host's huge pages, until the deadline at the latest. self is the guest that is about
// to start, none where that is any. It returns the processes that it saw, too, and whether there was time for all.
func Find(root sysfs.FS, host guard.Host, self guard.Domain, deadline time.Time) (found guard.Holders, processes []sysfs.Process, known bool) {
	f := finder{FS: root, host: host, self: self, deadline: deadline, known: map[int]holderKey{}}
	processes, cut, err := process.List(root, deadline)
	f.found.Cut = cut
	if err != nil {
		f.found.Unreadable = []guard.Process{{}}
	}
	f.run(processes)
	return f.found, processes, !f.found.Cut || !f.late()
}

// finder is one look for those who hold huge pages.
type finder struct {
	sysfs.FS
	host     guard.Host
	self     guard.Domain // that is about to start; none where that is any
	deadline time.Time
	guests   map[int]string
	parents  map[int]int       // of the processes
	known    map[int]holderKey // by pid, those who were identified
	kept     atomic.Int64      // mappings
	tally    tally
	found    guard.Holders
}

func (f *finder) late() bool { return time.Now().After(f.deadline) }

const (
	// mostMappings is how many are kept of all processes together: one can have
	// nearly all but fewMappings of it by default (vm.max_map_count).
	mostMappings = 1<<16 + fewMappings
	// fewMappings is how many a process can have that is read at once; Open vSwitch has some thousands. Who has more
	// comes after all others, so that it costs nobody else a place.
	fewMappings = 1 << 13
)

// mappings returns what a process maps, most of it at the most.
func (f *finder) mappings(pid, most int) ([]sysfs.Mapping, error) {
	left := mostMappings - int(f.kept.Load())
	mappings, err := f.Mappings(pid, max(0, min(most, left)))
	f.kept.Add(int64(len(mappings)))
	return mappings, err
}

// view is what one process shows.
type view struct {
	sysfs.Process
	mappings []sysfs.Mapping
	files    []sysfs.File  // that it maps or has open
	own      []sysfs.Mount // of hugetlbfs, where its mounts are not the host's
	partly   bool          // not all of it could be seen
	many     bool          // it has more mappings than fewMappings
}

func (f *finder) run(processes []sysfs.Process) {
	f.guests = process.Guests(f.FS)
	f.parents = map[int]int{}
	for _, p := range processes {
		f.parents[p.PID] = p.Parent
	}
	views := make([]view, len(processes))
	for _, most := range []int{fewMappings, mostMappings} {
		for i, p := range processes {
			v := &views[i]
			v.Process = p
			if p.HugetlbKiB == 0 || most > fewMappings && !v.many {
				continue
			}
			if f.late() {
				f.found.Cut = true
				break
			}
			var err error
			v.mappings, err = f.mappings(p.PID, most)
			if most == fewMappings && errors.Is(err, sysfs.ErrManyMappings) {
				v.many = true
			} else if err != nil {
				f.unreadable(p)
			}
		}
	}
	f.enter(views)
	// Nearly always that is all. Where pages are missing still, they are in files that nobody maps, or whose pages none
	// of those who use them has touched; where some are reserved, somebody may have touched none yet; and the QEMU of a
	// guest that seems to be gone may have touched none of its memory.
	missing, reserved := f.missing(), f.reserved()
	if missing || reserved || f.tally.keepsDead() {
		f.lookCloser(views, missing, reserved)
	}
	f.tally.complete = !f.found.Cut && len(f.found.Unreadable) == 0
	f.found.List = append(f.tally.holders(), f.tally.leftover()...)
	if missing {
		f.addSegments()
	}
	for i := range f.found.List {
		f.describe(&f.found.List[i])
	}
}

// describe adds what only the words and the fixes depend on.
func (f *finder) describe(h *guard.Holder) {
	switch {
	case h.Kind == guard.HolderGuest && h.Name == f.self.Name:
		// Another user's guest can have the same name.
		h.Former = cmp.Or(process.ArgumentsOf(f.FS, h.PID).UUID, f.self.UUID) == f.self.UUID
		p, _ := f.Process(h.PID)
		h.Stuck = p.Stuck
	case h.Kind == guard.HolderFile:
		if _, err := fmt.Sscanf(h.Name, "/proc/%d/root/", &h.Within); err == nil {
			place, _ := f.Place(h.Within)
			h.Unit, h.Engine = place.String(), place.Engine
		}
	case h.Kind == guard.HolderProcess || h.Kind == guard.HolderOVS:
		place, _ := f.Place(h.PID)
		h.Unit, h.Engine, h.Service = place.String(), place.Engine, f.service(h, place)
		f.describeDead(h)
		if program := f.Program(h.PID); program != "" {
			h.Program = path.Base(program)
		}
	}
}

// service returns the systemd unit that is a holder's own, as guard.Holder has it.
func (f *finder) service(h *guard.Holder, place sysfs.Place) string {
	own := h.Kind == guard.HolderOVS && process.OpenVSwitch.RunsIn(place.Unit)
	if !strings.HasSuffix(place.Unit, ".service") || place.Container != "" || place.User || !own && !f.hasUnit(h.PID) {
		return ""
	}
	return place.Unit
}

// hasUnit reports whether a process has a unit to itself: all others there descend from it. So it is the unit's main
// process, and not one that a daemon such as cron or libvirtd has started, nor a container's.
func (f *finder) hasUnit(pid int) bool {
	pids, err := f.UnitProcesses(pid)
	return err == nil && slices.Contains(pids, pid) && !slices.ContainsFunc(pids, func(other int) bool { return !f.descends(other, pid) })
}

// mostGenerations bounds how far a process is followed up, should the kernel's answers be of different moments.
const mostGenerations = 100

// descends reports whether a process is another, or was started by it, or by one of which that is so.
func (f *finder) descends(pid, from int) bool {
	for range mostGenerations {
		if pid == from {
			return true
		}
		pid = f.parents[pid]
	}
	return false
}

// lookCloser fills the tally again with what takes more time to see: who maps
// or opens huge pages without having touched them, and the files on the mounts.
func (f *finder) lookCloser(views []view, missing, reserved bool) {
	all, err := f.Mounts()
	if err != nil {
		f.found.Cut = true
	}
	points := all.Points()
	views, cut := process.SideBySide(views, f.deadline, func(v view) (view, bool) {
		if v.HugetlbKiB > 0 {
			v.many = false // it was read
		}
		f.look(&v, points, missing, reserved, fewMappings)
		return v, len(v.mappings) > 0 || len(v.files) > 0 || len(v.own) > 0 || v.partly || v.many
	})
	f.found.Cut = f.found.Cut || cut
	// The answers come in no order, and owners are chosen by their pids.
	slices.SortFunc(views, func(a, b view) int { return cmp.Compare(a.PID, b.PID) })
	for i := range views {
		if v := &views[i]; v.many {
			v.many = false
			f.look(v, points, missing, reserved, mostMappings)
			v.partly = v.partly || v.many
		}
	}
	f.enter(views)
	for _, v := range views {
		if v.partly {
			f.unreadable(v.Process)
		}
	}
	if !missing {
		return
	}
	devices := map[string]bool{}
	for _, m := range all.Hugetlb {
		devices[f.HugetlbDevice(m.Path)] = true
		f.addFiles(m)
	}
	f.addElsewhere(views, devices)
}

// addFiles enters the files on a mount.
func (f *finder) addFiles(m sysfs.Mount) {
	files, err := f.Files(m.Path, f.deadline)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.found.Cut = true
	}
	for _, file := range files {
		// Another file system may be mounted over it.
		if file.PageKiB == cmp.Or(m.PageKiB, f.host.DefaultPageKiB) {
			f.tally.measure(file, nil)
		}
	}
}

// addElsewhere enters the files on hugetlbfs mounts that the host does not have and a process has, by its mount
// namespace; devices are of those that are known.
func (f *finder) addElsewhere(views []view, devices map[string]bool) {
	namespaces := map[string]bool{}
	for _, v := range views {
		namespace, _ := f.Readlink(fmt.Sprintf("proc/%d/ns/mnt", v.PID))
		if namespaces[namespace] {
			continue
		}
		for _, m := range v.own {
			namespaces[namespace] = true
			m.Path = rootOf(v.PID) + m.Path
			device := f.HugetlbDevice(m.Path)
			if f.Live() && (device == "" || devices[device]) {
				continue // or it is the host's, by another path
			}
			devices[device] = true
			f.addFiles(m)
		}
	}
}

// rootOf is the root directory of a process.
func rootOf(pid int) string { return fmt.Sprintf("/proc/%d/root", pid) }

// look sees what a process has without having touched it. What is not there
// is no loss: the process has ended, or the host was captured without it.
func (f *finder) look(v *view, host sysfs.MountPoints, missing, reserved bool, most int) {
	note := func(err error) { v.partly = v.partly || err != nil && !errors.Is(err, fs.ErrNotExist) }
	var own sysfs.MountPoints
	if process.InContainer(f.FS, v.PID) {
		mounts, err := f.MountsOf(v.PID)
		note(err)
		own, v.own = mounts.Points(), mounts.Hugetlb
	}
	if v.HugetlbKiB == 0 {
		huge, err := f.MapsHuge(v.PID, host, own)
		if err == nil && huge {
			v.mappings, err = f.mappings(v.PID, most)
		}
		if errors.Is(err, sysfs.ErrManyMappings) {
			v.many = true
			return
		}
		note(err)
	}
	if reserved && slices.ContainsFunc(v.mappings, hasRoom) {
		note(f.Reservations(v.PID, v.mappings))
	}
	shared := func(m sysfs.Mapping) bool { return hasRoom(m) && !m.Private }
	if !missing && !slices.ContainsFunc(v.mappings, shared) {
		return
	}
	var err error
	v.files, err = f.OpenFiles(v.PID, host, own)
	note(err)
	for _, m := range v.mappings {
		// One that has it open was seen. What was closed is told by the mapping alone, for which AppArmor may note a
		// right that was not given, and that is not needed.
		open := slices.ContainsFunc(v.files, func(file sysfs.File) bool { return file.Device == m.Device && file.Inode == m.Inode })
		if shared(m) && !open {
			if file, ok, err := f.MappedFile(v.PID, m); err == nil && ok {
				v.files = append(v.files, file)
			}
		}
	}
}

// hasRoom says whether a process has touched less than it maps.
func hasRoom(m sysfs.Mapping) bool {
	n := m.Touched()
	return n == 0 || n < m.Size()
}

// unreadable notes a process that would not show what it holds, unless it has ended.
func (f *finder) unreadable(p sysfs.Process) {
	if now, err := f.Process(p.PID); err != nil || !now.Memory {
		return
	}
	if !slices.ContainsFunc(f.found.Unreadable, func(known guard.Process) bool { return known.PID == p.PID }) {
		f.found.Unreadable = append(f.found.Unreadable, guard.Process{Name: p.Name, PID: p.PID, HugetlbKiB: p.HugetlbKiB})
	}
}

// who identifies a process.
func (f *finder) who(p sysfs.Process) holderKey {
	who, ok := f.known[p.PID]
	if !ok {
		who.pid = p.PID
		who.kind, who.name = process.Identify(f.FS, p, f.guests)
		f.known[p.PID] = who
	}
	return who
}

// enter begins the tally with what processes show.
func (f *finder) enter(views []view) {
	f.tally = tally{qemus: map[int]bool{}, complete: true}
	for _, v := range views {
		if len(v.mappings) == 0 && len(v.files) == 0 {
			continue
		}
		who := f.who(v.Process)
		if process.IsQEMU(f.FS, v.Process) {
			f.tally.qemus[v.PID] = true
		}
		f.tally.add(who, v.mappings)
		for _, file := range v.files {
			f.tally.measure(file, &who)
		}
	}
}

// unaccounted is how many pages of a size in KiB are taken and not seen with any of some holders, on whichever node.
func (f *finder) unaccounted(pageKiB uint64, holders []guard.Holder) uint64 {
	var left uint64
	for _, p := range f.host.Pools {
		if p.PageKiB != pageKiB {
			continue
		}
		for _, n := range p.Nodes {
			left += n.Total - min(n.Total, n.Free)
		}
	}
	for _, h := range holders {
		if h.PageKiB != pageKiB {
			continue
		}
		left -= min(left, h.Unplaced)
		for _, n := range h.Pages {
			left -= min(left, n)
		}
	}
	return left
}

// missing says whether pages are taken that were not yet seen with anybody.
func (f *finder) missing() bool {
	holders := f.tally.holders()
	return slices.ContainsFunc(f.host.Pools, func(p guard.SizePool) bool { return f.unaccounted(p.PageKiB, holders) > 0 })
}

// addSegments adds the System V segments that nobody has attached. The kernel does not say which of them are of huge
// pages, and a command that deletes one goes with it: where its size does not show it either, those that can be are
// taken for these only if together they are just what is missing.
func (f *finder) addSegments() {
	segments, err := f.Segments()
	if err != nil {
		f.found.Cut = true
	}
	for _, p := range f.host.Pools {
		var possible []guard.Holder
		var sum uint64
		for _, s := range segments {
			pages, ok := s.Pages(p.PageKiB, f.host.BasePageKiB)
			if !ok || s.Attached > 0 {
				continue
			}
			id := strconv.FormatUint(s.ID, 10)
			holder := guard.Holder{Kind: guard.HolderFile, Name: "System V segment " + id, Segment: id, PageKiB: p.PageKiB, Unplaced: pages}
			if !s.Huge(p.PageKiB) {
				holder.Unsure = true
				possible = append(possible, holder)
				sum += pages
			} else if pages <= f.unaccounted(p.PageKiB, f.found.List) {
				f.found.List = append(f.found.List, holder)
			}
		}
		if sum > 0 && sum == f.unaccounted(p.PageKiB, f.found.List) {
			f.found.List = append(f.found.List, possible...)
		}
	}
}

// reserved says whether pages are promised to somebody.
func (f *finder) reserved() bool {
	return slices.ContainsFunc(f.host.Pools, func(p guard.SizePool) bool { return p.Reserved > 0 })
}
