package capture

import (
	"cmp"
	"path"
	"slices"
	"strconv"
	"strings"

	"hugeguard/guard"
	"hugeguard/hook/survey"
	"hugeguard/hook/survey/process"
	"hugeguard/sysfs"
)

// Bounds of a capture.
const (
	maxProcesses = 4000
	maxBytes     = 64 << 20     // of all files together
	maxOthers    = maxBytes / 2 // of those that are not about processes
)

// firstMounts tells the host's first mount namespace, which a container has not.
const firstMounts = "proc/1/ns/mnt"

// processFiles is what a capture has of one process.
type processFiles struct {
	pid    int
	names  []string // of the files
	bytes  int      // of all files together
	status bool     // it has a status
	pages  uint64   // huge pages, in KiB
	keep   bool     // it has to do with huge pages, or is of a manager or libvirt's daemon
}

// add takes in one of its files.
func (p *processFiles) add(name string, f file) {
	_, rest := sysfs.OfProcess(name)
	p.names = append(p.names, name)
	p.bytes += len(f.data)
	switch {
	case rest == "status" && f.link == "":
		status, _ := sysfs.ParseStatus(f.data) // it was reduced
		p.status = true
		p.pages = status.HugetlbKiB
		p.keep = p.keep || p.pages > 0 || survey.IsManager(status.Name)
	case f.link == path.Base(name): // it could not be read
		p.keep = true
	case rest == "numa_maps", rest == "smaps", rest == "fd.files", strings.HasPrefix(rest, "map_files/"):
		p.keep = p.keep || len(f.data) > 0
	case rest == "cmdline":
		a := process.ParseArguments(strings.Split(string(f.data), "\x00"))
		p.keep = p.keep || a.Compute != nil
	}
}

// processes returns the processes of which there are files or pid files, and how many bytes all other files have.
func (c *Capture) processes() (all map[int]*processFiles, others int) {
	all = map[int]*processFiles{}
	for name, f := range c.files {
		pid, _ := sysfs.OfProcess(name)
		if pid > 0 && name != firstMounts {
			at(all, pid).add(name, f)
			continue
		}
		others += len(f.data)
		if daemon, ok := pidFile(name, f); ok {
			at(all, daemon).keep = true
		}
	}
	return all, others
}

func at(all map[int]*processFiles, pid int) *processFiles {
	if all[pid] == nil {
		all[pid] = &processFiles{pid: pid}
	}
	return all[pid]
}

// pidFile returns the process that a pid file names.
func pidFile(name string, f file) (pid int, ok bool) {
	if path.Ext(name) != ".pid" || !strings.HasPrefix(name, "run/") {
		return 0, false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(f.data)))
	return pid, err == nil
}

// prune leaves out the processes that were only looked at, and what is beyond the bounds. It returns how many processes
// there were.
func (c *Capture) prune() (seen int) {
	all, size := c.processes()
	if size > maxOthers {
		size -= c.dropOthers(size - maxOthers)
	}
	var kept []*processFiles
	for _, p := range all {
		if p.status {
			seen++
		}
		if p.keep && p.status {
			kept = append(kept, p)
		} else {
			c.drop(p)
		}
	}
	slices.SortFunc(kept, func(a, b *processFiles) int {
		return cmp.Or(cmp.Compare(b.pages, a.pages), cmp.Compare(a.pid, b.pid))
	})
	left := 0
	for i, p := range kept {
		if i >= maxProcesses || size+p.bytes > maxBytes {
			c.drop(p)
			left++
			continue
		}
		size += p.bytes
	}
	if left > 0 {
		c.note("%d of %d processes were left out, those with the fewest huge pages: a capture has at most %d processes and %d MiB", left, len(kept), maxProcesses, maxBytes>>20)
	}
	return seen
}

// drop leaves a process out.
func (c *Capture) drop(p *processFiles) {
	for _, name := range p.names {
		delete(c.files, name)
	}
}

// dropOthers leaves out files that are not about processes until at least so many bytes have gone, and returns how many
// did. Domains that are off matter least to others, then the longest files: counters and limits are short.
func (c *Capture) dropOthers(over int) (gone int) {
	var others []string
	for name, f := range c.files {
		if pid, _ := sysfs.OfProcess(name); pid == 0 && len(f.data) > 0 {
			others = append(others, name)
		}
	}
	slices.SortFunc(others, func(a, b string) int {
		return cmp.Or(cmp.Compare(ofDomainOff(b), ofDomainOff(a)), cmp.Compare(len(c.files[b].data), len(c.files[a].data)), cmp.Compare(a, b))
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
	c.note("%d files that are not about processes were left out, for example %s: a capture has at most %d MiB of them", dropped, guard.Printable(others[0], 200), maxOthers>>20)
	return gone
}

// ofDomainOff returns 1 for the file of a domain that is off, else 0.
func ofDomainOff(name string) int {
	dir, base := path.Split(name)
	if dir == "etc/libvirt/qemu/" && path.Ext(base) == ".xml" {
		return 1
	}
	return 0
}
