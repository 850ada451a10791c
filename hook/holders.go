package hook

import (
	"cmp"
	"path"
	"slices"
	"strconv"
	"strings"

	"hugeguard/guard"
	"hugeguard/sysfs"
)

// holderKey names a holder of pages of one size.
type holderKey struct {
	kind    guard.HolderKind
	name    string
	pid     int
	pageKiB uint64
}

// fileKey names the pages of one file, which several processes may map, each
// by another path. A System V segment lies on the device of memfds, and its
// inode is its own number.
type fileKey struct {
	device string
	inode  uint64
	sysv   bool
}

// share is what one process has touched of a part of a file, in pages by node.
type share struct {
	holder holderKey
	offset uint64 // where the part begins
	pages  map[int]uint64
}

// ledger adds up who holds how many pages, each page once.
type ledger struct {
	private []share
	files   map[fileKey][]share
}

// add enters a process's mappings. Private copies are its own; the pages of a
// shared file wait until all who map it are known.
func (l *ledger) add(who holderKey, mappings []sysfs.Mapping) {
	for _, m := range mappings {
		if len(m.Pages) == 0 {
			continue
		}
		who.pageKiB = m.PageKiB
		s := share{who, m.Offset, m.Pages}
		if m.Anon > 0 || m.Device == "" {
			l.private = append(l.private, s)
			continue
		}
		if l.files == nil {
			l.files = map[fileKey][]share{}
		}
		key := fileKey{m.Device, m.Inode, strings.HasPrefix(m.File, "/SYSV")}
		l.files[key] = append(l.files[key], s)
	}
}

// holders returns the sum of it all. A file's pages count once, and belong to
// the guest among those who map it: a vhost-user back end such as Open vSwitch
// maps the memory of the guests that it serves, once for each of their ports.
// Every process has touched some of a file's pages, so the largest share on a
// node is at most what lies there.
func (l *ledger) holders() []guard.Holder {
	sums := map[holderKey]map[int]uint64{}
	charge := func(who holderKey, pages map[int]uint64) {
		if sums[who] == nil {
			sums[who] = map[int]uint64{}
		}
		for node, n := range pages {
			sums[who][node] += n
		}
	}
	for _, s := range l.private {
		charge(s.holder, s.pages)
	}
	for _, shares := range l.files {
		shares = mergeMappings(shares)
		owner := slices.MinFunc(shares, func(a, b share) int {
			return cmp.Or(cmp.Compare(rank(a.holder.kind), rank(b.holder.kind)), cmp.Compare(a.holder.pid, b.holder.pid))
		})
		pages := map[int]uint64{}
		for _, s := range shares {
			atLeast(pages, s.pages)
		}
		charge(owner.holder, pages)
	}
	list := make([]guard.Holder, 0, len(sums))
	for who, pages := range sums {
		list = append(list, guard.Holder{Kind: who.kind, Name: who.name, PID: who.pid, PageKiB: who.pageKiB, Pages: pages})
	}
	slices.SortFunc(list, func(a, b guard.Holder) int {
		return cmp.Or(cmp.Compare(a.PID, b.PID), cmp.Compare(a.PageKiB, b.PageKiB))
	})
	return list
}

// mergeMappings adds up what one process has of one file: parts of it, as DPDK
// maps its memory segments, each of which it may map several times.
func mergeMappings(shares []share) []share {
	type part struct {
		pid    int
		offset uint64
	}
	parts := map[part]map[int]uint64{}
	holders := map[int]holderKey{}
	for _, s := range shares {
		p := part{s.holder.pid, s.offset}
		if parts[p] == nil {
			parts[p] = map[int]uint64{}
		}
		atLeast(parts[p], s.pages)
		holders[s.holder.pid] = s.holder
	}
	sums := map[int]map[int]uint64{}
	for p, pages := range parts {
		if sums[p.pid] == nil {
			sums[p.pid] = map[int]uint64{}
		}
		for node, n := range pages {
			sums[p.pid][node] += n
		}
	}
	merged := make([]share, 0, len(sums))
	for pid, pages := range sums {
		merged = append(merged, share{holder: holders[pid], pages: pages})
	}
	return merged
}

// atLeast raises the counts of pages to those of other.
func atLeast(pages, other map[int]uint64) {
	for node, n := range other {
		pages[node] = max(pages[node], n)
	}
}

// rank says who of several that map a file owns it: the guest, else the
// process that Open vSwitch serves.
func rank(kind guard.HolderKind) int {
	return slices.Index([]guard.HolderKind{guard.HolderGuest, guard.HolderProcess, guard.HolderOVS}, kind)
}

// identify says what sort of holder a process is and how it is called.
func identify(fs sysfs.FS, p sysfs.Process, guests map[int]string) holderKey {
	who := holderKey{kind: guard.HolderProcess, name: p.Name, pid: p.PID}
	if name, ok := guests[p.PID]; ok {
		who.kind, who.name = guard.HolderGuest, name
		return who
	}
	arguments, _ := fs.Arguments(p.PID)
	switch {
	case isOVS(p.Name) || len(arguments) > 0 && isOVS(path.Base(arguments[0])):
		who.kind = guard.HolderOVS
	default:
		if name, ok := guestName(arguments); ok {
			who.kind, who.name = guard.HolderGuest, name
		}
	}
	return who
}

// isOVS recognises Open vSwitch's daemon by its program's name, which Debian
// lengthens (ovs-vswitchd-dpdk) and the kernel cuts to 15 bytes.
func isOVS(program string) bool { return strings.HasPrefix(program, "ovs-vswitchd") }

// guestNames returns the names of libvirt's running guests by pid, from the
// pid files of its QEMU driver. driver.pid among them is the daemon's own.
func guestNames(fs sysfs.FS) map[int]string {
	const dir = "run/libvirt/qemu"
	guests := map[int]string{}
	files, _ := fs.ReadDir(dir) // no guests, or no libvirt
	for _, file := range files {
		name, ok := strings.CutSuffix(file, ".pid")
		if !ok || name == "driver" {
			continue
		}
		text, err := fs.ReadFile(dir+"/"+file, pidFileLimit)
		if err != nil {
			continue
		}
		if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			guests[pid] = name
		}
	}
	return guests
}

// pidFileLimit is more bytes than a pid file has.
const pidFileLimit = 64

// guestName finds the name in the command line that libvirt gives QEMU:
// -name guest=NAME,debug-threads=on, with commas in the name doubled. It
// serves for guests of session daemons, whose pid files lie elsewhere.
func guestName(arguments []string) (string, bool) {
	at := slices.Index(arguments, "-name")
	if at < 0 || at+1 >= len(arguments) {
		return "", false
	}
	name, ok := strings.CutPrefix(arguments[at+1], "guest=")
	if !ok {
		return "", false
	}
	const comma = "\x00" // no argument can hold one
	name = strings.ReplaceAll(name, ",,", comma)
	name, _, _ = strings.Cut(name, ",")
	return strings.ReplaceAll(name, comma, ","), true
}
