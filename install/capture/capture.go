// Package capture takes what a verdict needs of a host, and nothing else, into one
// archive, from which the same is said on any machine, also of a domain that the
// host never had.
//
// What that is, is not listed anywhere: the host is surveyed as for a verdict, and
// what is read meanwhile is recorded ([sysfs.Recorder]). Of each file only what is
// made use of is kept (reduce.go).
package capture

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/ovs"
	"hugeguard/hook/config"
	"hugeguard/hook/survey"
	"hugeguard/install/place"
	"hugeguard/sysfs"
)

// Options are what a capture has besides what is read below the root.
type Options struct {
	Version string      // of hugeguard
	State   place.State // of the hook
	// Patience is how long it is looked for who holds pages.
	Patience time.Duration
}

// Bounds of a capture.
const (
	maxProcesses = 4000
	maxBytes     = 64 << 20     // of all files together
	maxOthers    = maxBytes / 2 // of those that are not about processes
	maxGroups    = 500          // control groups for domains
)

// Capture is what was taken of a host.
type Capture struct {
	files map[string]file
	// Notes say what is not as complete as it should be.
	Notes []string
}

// file is one entry of the archive.
type file struct {
	dir     bool
	link    string // where a symbolic link leads: a name without a slash
	data    []byte
	changed time.Time // the zero time where it does not matter
}

// taker collects what is read.
type taker struct {
	host   sysfs.FS // not recorded
	mounts []sysfs.Mount
	// cgroups are where hierarchies of control groups are mounted.
	cgroups []string

	sync.Mutex // of what follows: several readers are recorded at once
	files      map[string]file
	huge       map[int]map[uint64]bool // where mappings of huge pages begin, by process
	own        map[int][]sysfs.Mount   // hugetlbfs in mount namespaces of processes
	faults     map[string]error
}

// Take captures a host, or a captured one again, which makes no difference. An
// error means that there is nothing to judge by.
func Take(ctx context.Context, host sysfs.FS, o Options) (*Capture, error) {
	began := time.Now()
	t := taker{host: host, files: map[string]file{}, huge: map[int]map[uint64]bool{}, own: map[int][]sysfs.Mount{}, faults: map[string]error{}}
	mounts, err := host.Mounts()
	if err != nil {
		return nil, err
	}
	t.mounts = mounts.Hugetlb
	for _, mount := range []string{mounts.Cgroup.Unified, mounts.Cgroup.Cpuset, mounts.Cgroup.Hugetlb} {
		if mount != "" {
			t.cgroups = append(t.cgroups, mount)
		}
	}
	found, domains, err := t.survey(ctx, mounts, o)
	if err != nil {
		return nil, err
	}
	c := Capture{files: t.files}
	note := func(format string, args ...any) { c.Notes = append(c.Notes, fmt.Sprintf(format, args...)) }
	if host.Live() && os.Geteuid() != 0 {
		note("not taken by root: who holds pages, and what only root may read, is not in it")
	}
	if found.Holders.Cut {
		note("not everything was looked at, for want of time")
	}
	for _, name := range slices.Sorted(maps.Keys(t.faults)) {
		if n := len(c.Notes); n >= 50 {
			note("and %d more of such", len(t.faults)-n)
			break
		}
		note("%v", t.faults[name])
	}
	seen := c.prune(note)
	if err := c.answers(host, found, o); err != nil {
		return nil, err
	}
	c.about(host, o, began, domains, seen)
	return &c, nil
}

// survey reads all that a verdict on any domain can ask for. What takes long and
// changes meanwhile comes last, so that all of it is of one moment.
func (t *taker) survey(ctx context.Context, mounts sysfs.Mounts, o Options) (found guard.Host, domains int, err error) {
	rec := t.host.Recorded(t.record)
	conf, _ := config.Read(rec) // what is wrong with it will be seen again
	if found, err = survey.All(rec); err != nil {
		return found, 0, err
	}
	survey.Emulators(rec)
	survey.AddReleases(rec, &guard.Host{}, guard.Demand{})
	partitions := map[string]bool{}
	t.groups(mounts.Cgroup, partitions)
	for _, dir := range []string{"run/libvirt/qemu/", "etc/libvirt/qemu/"} {
		names, _ := rec.ReadDir(dir) // no libvirt
		for _, name := range names {
			if !strings.HasSuffix(name, ".xml") {
				continue
			}
			domains++
			if _, err := rec.ReadFile(dir+name, maxXML); err != nil {
				continue // which is noted
			}
			demand, err := domain.Parse(t.files[dir+name].data)
			if err == nil {
				partitions[demand.Partition] = true
				survey.AddReleases(rec, &guard.Host{}, demand)
			}
		}
	}
	autostart, _ := rec.ReadDir("etc/libvirt/qemu/autostart")
	for _, name := range autostart {
		_, _ = rec.Readlink("etc/libvirt/qemu/autostart/" + name)
	}
	for i, p := range slices.Sorted(maps.Keys(partitions)) {
		if i == maxGroups || ctx.Err() != nil {
			t.fault("control groups", fmt.Errorf("the resource partitions after %s: too many", guard.Printable(p, 80)))
			break
		}
		if _, err := survey.Partition(rec, p); err != nil {
			t.fault("control groups of "+p, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return found, 0, err
	}
	deadline := time.Now().Add(o.Patience)
	survey.AddHolders(rec, &found, deadline)
	_ = survey.AddStarting(rec, conf, &found, guard.Domain{}) // as with the configuration
	survey.AddOVS(rec, conf, &found, deadline)
	survey.AddNova(rec, conf, &found, deadline)
	return found, domains, ctx.Err()
}

// maxXML is more than libvirt's file of a domain has, in bytes.
const maxXML = 32 << 20

// groups adds the resource partitions that have control groups on this host. libvirt
// makes those below machine.slice, or of the name with ".partition".
func (t *taker) groups(mounts sysfs.CgroupMounts, partitions map[string]bool) {
	var look func(dir, below string)
	look = func(dir, below string) {
		names, _ := t.host.ReadDir(strings.TrimPrefix(dir, "/") + "/" + below)
		for _, name := range names {
			partition, slice := strings.CutSuffix(name, ".slice")
			part, partitioned := strings.CutSuffix(name, ".partition")
			switch {
			case len(partitions) > maxGroups:
				return
			case slice && (partition == "machine" || strings.HasPrefix(partition, "machine-")):
				parts := strings.Split(partition, "-")
				for i := range parts {
					parts[i] = unescapeUnit(parts[i])
				}
				partitions["/"+strings.Join(parts, "/")] = true
			case partitioned, below == "" && name == "machine":
				parent := strings.ReplaceAll(below, ".partition", "")
				partitions[path.Join("/", parent, part)] = true
			default:
				continue
			}
			look(dir, path.Join(below, name))
		}
	}
	for _, top := range []string{mounts.Cpuset, mounts.Unified} {
		if top != "" {
			look(top, "")
			return
		}
	}
}

// unescapeUnit undoes systemd's escapes in a part of a unit's name: \x2d is a dash.
func unescapeUnit(part string) string {
	var b strings.Builder
	for i := 0; i < len(part); i++ {
		if strings.HasPrefix(part[i:], `\x`) && i+4 <= len(part) {
			if c, err := strconv.ParseUint(part[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(part[i])
	}
	return b.String()
}

func (t *taker) fault(name string, err error) {
	t.Lock()
	defer t.Unlock()
	t.faults[name] = err
}

// record takes in what was read. It is a [sysfs.Recorder].
func (t *taker) record(name string, e sysfs.Entry) {
	if name == "" {
		return // there is a root
	}
	t.Lock()
	defer t.Unlock()
	delete(t.faults, name)
	if len(name) > maxName || strings.Count(name, "/") >= maxDepth {
		t.faults[name] = fmt.Errorf("%s: %w", guard.Printable(name, 200), errDeep)
		return
	}
	old := t.files[name]
	switch {
	case e.Gone:
		delete(t.files, name)
	case e.Err != nil:
		t.unreadable(name, e.Err)
	case e.Dir:
		t.files[name] = file{dir: true}
	case e.Link != "":
		// Nobody asks for more than the name, and it leads nowhere.
		target := path.Base(strings.TrimSuffix(e.Link, " (deleted)"))
		if strings.Trim(target, "./") != "" {
			t.files[name] = file{link: target}
		}
	case e.Data != nil:
		data, err := t.reduce(name, e)
		if err != nil {
			// The error may quote what is not to be taken.
			t.unreadable(name, fmt.Errorf("%s: %w", guard.Printable(name, 200), errOdd))
			return
		}
		if e.Cut {
			t.faults[name] = fmt.Errorf("%s: %w", guard.Printable(name, 200), errCut)
		}
		t.files[name] = file{data: data, changed: old.changed}
	case old.link == "":
		t.files[name] = file{data: old.data, changed: e.Changed}
	}
}

// unreadable notes a file that is there and of which nothing is known. It becomes a
// link to itself, which cannot be read either.
func (t *taker) unreadable(name string, err error) {
	t.files[name] = file{link: path.Base(name)}
	if pid, _ := process(name); pid == 0 || !errors.Is(err, fs.ErrPermission) {
		t.faults[name] = err
	}
}

// Why a file is not in a capture, or not all of it.
var (
	errOdd  = errors.New("it is not understood, and not in it")
	errDeep = errors.New("its name is too long, and it is not in it")
	errCut  = errors.New("it is longer than can be taken, and only its beginning is in it")
)

// process returns the number of the process that a file below /proc is about, and
// the rest of its name; 0 for other files.
func process(name string) (pid int, rest string) {
	below, ok := strings.CutPrefix(name, "proc/")
	if !ok {
		return 0, ""
	}
	dir, rest, _ := strings.Cut(below, "/")
	pid, err := strconv.Atoi(dir)
	if err != nil || pid < 0 {
		return 0, ""
	}
	return pid, rest
}

// firstMounts tells the host's first mount namespace, which a container has not.
const firstMounts = "proc/1/ns/mnt"

// prune leaves out the processes that were only looked at, and what is beyond the
// bounds. It returns how many processes there were.
func (c *Capture) prune(note func(string, ...any)) (seen int) {
	type processFiles struct {
		pid    int
		pages  uint64 // KiB
		keep   bool
		names  []string
		status bool
	}
	all := map[int]*processFiles{}
	at := func(pid int) *processFiles {
		if all[pid] == nil {
			all[pid] = &processFiles{pid: pid}
		}
		return all[pid]
	}
	size := 0
	for name, f := range c.files {
		if dir, base := path.Split(name); path.Ext(base) == ".pid" && strings.HasPrefix(dir, "run/") {
			if pid, err := strconv.Atoi(strings.TrimSpace(string(f.data))); err == nil {
				at(pid).keep = true
			}
		}
		pid, rest := process(name)
		if pid == 0 || name == firstMounts {
			size += len(f.data)
			continue
		}
		p := at(pid)
		p.names = append(p.names, name)
		switch {
		case rest == "status" && f.link == "":
			p.status = true
			p.pages = hugetlbKiB(f.data)
			p.keep = p.keep || p.pages > 0
		case f.link == path.Base(name): // it could not be read
			p.keep = true
		case rest == "numa_maps", rest == "smaps", rest == "fd.files", strings.HasPrefix(rest, "map_files/"):
			p.keep = p.keep || len(f.data) > 0
		case rest == "cmdline":
			p.keep = p.keep || isCompute(f.data)
		}
	}
	if size > maxOthers {
		size -= c.dropOthers(size-maxOthers, note)
	}
	drop := func(p *processFiles) {
		for _, name := range p.names {
			delete(c.files, name)
		}
	}
	var kept []*processFiles
	for _, p := range all {
		if p.status {
			seen++
		}
		if p.keep && p.status {
			kept = append(kept, p)
		} else {
			drop(p)
		}
	}
	slices.SortFunc(kept, func(a, b *processFiles) int {
		return cmp.Or(cmp.Compare(b.pages, a.pages), cmp.Compare(a.pid, b.pid))
	})
	left := 0
	for i, p := range kept {
		own := 0
		for _, name := range p.names {
			own += len(c.files[name].data)
		}
		if i >= maxProcesses || size+own > maxBytes {
			drop(p)
			left++
			continue
		}
		size += own
	}
	if left > 0 {
		note("%d of %d processes were left out, those with the fewest huge pages: a capture has %d at the most, and %d MiB", left, len(kept), maxProcesses, maxBytes>>20)
	}
	return seen
}

// dropOthers leaves out files that are not about processes until so many bytes have
// gone at least, and returns how many did. Domains that are off matter least to
// others, then the longest files: counters and limits are short.
func (c *Capture) dropOthers(over int, note func(string, ...any)) (gone int) {
	var others []string
	for name, f := range c.files {
		if pid, _ := process(name); pid == 0 && len(f.data) > 0 {
			others = append(others, name)
		}
	}
	off := func(name string) int {
		if dir, _ := path.Split(name); dir == "etc/libvirt/qemu/" && path.Ext(name) == ".xml" {
			return 1
		}
		return 0
	}
	slices.SortFunc(others, func(a, b string) int {
		return cmp.Or(cmp.Compare(off(b), off(a)), cmp.Compare(len(c.files[b].data), len(c.files[a].data)), cmp.Compare(a, b))
	})
	dropped := 0
	for _, name := range others {
		if gone >= over {
			break
		}
		gone += len(c.files[name].data)
		c.files[name] = file{link: path.Base(name)}
		dropped++
	}
	note("%d files that are not about processes were left out, such as %s: a capture has %d MiB of them", dropped, guard.Printable(others[0], 200), maxOthers>>20)
	return gone
}

// answers adds what is no file on a host.
func (c *Capture) answers(host sysfs.FS, found guard.Host, o Options) error {
	if host.Live() && found.OVS != nil {
		text, err := ovs.Answer(found.OVS.Config)
		if err != nil {
			return err
		}
		c.files[survey.CapturedOVS] = file{data: text}
	}
	text, err := json.Marshal(o.State)
	c.files[place.CapturedState] = file{data: append(text, '\n')}
	return err
}

// About is the file of a capture that says what it is, for people.
const About = "hugeguard-capture.txt"

// about adds it. A captured host has it already.
func (c *Capture) about(host sysfs.FS, o Options, began time.Time, domains, seen int) {
	if text, err := host.ReadFile(About, maxXML); err == nil && !host.Live() {
		c.files[About] = file{data: text}
		return
	}
	var b strings.Builder
	line := func(key, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s %s\n", key+":", guard.Printable(fmt.Sprintf(format, args...), 400))
	}
	fmt.Fprintln(&b, "A host as hugeguard sees it: hugeguard check --root FILE.tar DOMAIN|OTHER.xml")
	fmt.Fprintln(&b)
	line("hugeguard", "%s", o.Version)
	line("taken", "%s, in %v", began.UTC().Format(time.RFC3339), time.Since(began).Round(time.Millisecond))
	var uts unix.Utsname
	if unix.Uname(&uts) == nil && host.Live() {
		line("kernel", "%s %s, %s", unix.ByteSliceToString(uts.Sysname[:]), unix.ByteSliceToString(uts.Release[:]), unix.ByteSliceToString(uts.Machine[:]))
	}
	if kib, ok, err := host.BasePageKiB(); err == nil && ok {
		line("page size", "%d KiB", kib)
	}
	kept := map[int]bool{}
	for name := range c.files {
		if pid, _ := process(name); pid > 0 {
			kept[pid] = true
		}
	}
	line("processes", "%d of %d: those that have huge pages, nova-compute, and libvirt's daemon", len(kept), seen)
	line("domains", "%d, what decides about their memory", domains)
	b.WriteString(notInIt)
	for _, n := range c.Notes {
		line("but", "%s", n)
	}
	c.files[About] = file{data: []byte(b.String())}
}

const notInIt = `
In it are the kernel's counters and limits of huge pages, who maps or opens files of these, the settings of libvirt,
Open vSwitch and hugeguard that decide about them, and Nova's reserved_huge_pages. Not in it are the memory of guests or
processes, environments, other arguments, disks, displays, metadata and passwords of domains, and any other setting.
A file that could not be read is a symbolic link to itself.
`
