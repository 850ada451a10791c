package holders

import (
	"cmp"
	"slices"
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
	guest   string // that is gone and whose memory it keeps, as in guard.Holder
}

// fileKey names the pages of one file, which several processes may map, each by another path. A System V segment lies
// on the device of memfds, and its inode is its own number.
type fileKey struct {
	device string
	inode  uint64
	sysv   bool
}

func keyOf(device string, inode uint64, path string) fileKey {
	return fileKey{device, inode, strings.HasPrefix(path, "/SYSV")}
}

// share is what one process has touched of a part of a file, in pages by node.
type share struct {
	holder holderKey
	offset uint64 // where the part begins
	pages  map[int]uint64
}

// file is the pages of one file, or of one mapping that only a process and its children have.
type file struct {
	pageKiB uint64
	shares  []share
	// users are all who map it or have it open, also those who have touched none of it.
	users []holderKey
	// pages is how many it has, where stat said so; 0 where nobody asked.
	pages uint64
	// copied are pages of it among those that private mappings show as their own, on whichever node.
	copied uint64
	// mapped are the parts of it whose pages were promised to a mapping.
	mapped []extent
	// path is where it was found below a mount; "" for what has no name.
	path string
	// name is what those who use it call it.
	name string
}

// extent is a part of a file, in bytes.
type extent struct{ from, to uint64 }

// tally adds up who holds how many pages, each page once.
type tally struct {
	private  []share
	reserved map[holderKey]uint64 // by private mappings that have not touched them
	files    map[fileKey]*file
	qemus    map[int]bool // the processes that are a QEMU, started by anybody
	// complete says that all were asked who may use a file.
	complete bool
}

// add enters a process's mappings. Private copies are its own; the pages of a
// shared file wait until all who map it are known.
func (t *tally) add(who holderKey, mappings []sysfs.Mapping) {
	for _, m := range mappings {
		who.pageKiB = m.PageKiB
		touched := m.Touched()
		s := share{who, m.Offset, m.Pages}
		key := keyOf(m.Device, m.Inode, m.File)
		switch {
		case m.Device == "":
			t.private = append(t.private, s)
		case m.Private && m.MapMax < 2:
			t.private = append(t.private, s)
			if m.Anon < touched {
				t.file(key).copied += touched - m.Anon
			}
			if size := m.Size(); size > m.Anon && m.Reserve {
				t.reserve(who, size-m.Anon)
			}
		case m.Private:
			// Inherited from a parent: until somebody writes, the pages are
			// the same. Its mapping is told apart from those of the file.
			key.device += " private"
			fallthrough
		default:
			f := t.file(key)
			f.pageKiB = max(f.pageKiB, m.PageKiB)
			f.use(who, m.File)
			if touched > 0 {
				f.shares = append(f.shares, s)
			}
			if m.Reserve && !m.Private && m.End > m.Start {
				f.mapped = append(f.mapped, extent{m.Offset, m.Offset + (m.End - m.Start)})
			}
		}
	}
}

func (t *tally) reserve(who holderKey, pages uint64) {
	if t.reserved == nil {
		t.reserved = map[holderKey]uint64{}
	}
	t.reserved[who] += pages
}

func (t *tally) file(key fileKey) *file {
	if t.files == nil {
		t.files = map[fileKey]*file{}
	}
	if t.files[key] == nil {
		t.files[key] = &file{}
	}
	return t.files[key]
}

// measure enters what stat says of a file; who uses it, if anybody.
func (t *tally) measure(found sysfs.File, who *holderKey) {
	f := t.file(keyOf(found.Device, found.Inode, found.Path))
	f.pageKiB, f.pages = found.PageKiB, found.Pages
	if who != nil {
		f.use(*who, found.Path)
	} else {
		f.path = cmp.Or(f.path, found.Path) // the host's own comes first
	}
}

func (f *file) use(who holderKey, name string) {
	f.name = cmp.Or(f.name, name)
	who.pageKiB = 0
	if !slices.Contains(f.users, who) {
		f.users = append(f.users, who)
	}
}

// touched is what is seen of a file's pages, by node: every process has touched
// some of them, so the largest share on a node is at most what lies there.
func (f *file) touched() map[int]uint64 {
	pages := map[int]uint64{}
	for _, s := range mergeMappings(f.shares) {
		atLeast(pages, s.pages)
	}
	return pages
}

// owner is whom a file's pages belong to: the guest among those who use it, since a vhost-user back end such as Open
// vSwitch maps the memory of the guests that it serves, once for each of their ports.
func (f *file) owner() holderKey {
	owner := slices.MinFunc(f.users, func(a, b holderKey) int {
		return cmp.Or(cmp.Compare(rank(a.kind), rank(b.kind)), cmp.Compare(a.pid, b.pid))
	})
	owner.pageKiB = f.pageKiB
	return owner
}

// promised is how many pages were promised to a file's mappings beyond those that it has, at the least.
func (f *file) promised() uint64 {
	if f.pageKiB == 0 {
		return 0
	}
	have := f.pages
	if have == 0 {
		// Nobody asked. Each process may have touched other pages.
		for _, s := range mergeMappings(f.shares) {
			for _, n := range s.pages {
				have += n
			}
		}
	}
	slices.SortFunc(f.mapped, func(a, b extent) int { return cmp.Compare(a.from, b.from) })
	var bytes, end uint64
	for _, e := range f.mapped {
		if from := max(e.from, end); e.to > from {
			bytes += e.to - from
			end = e.to
		}
	}
	return bytes/1024/f.pageKiB - min(bytes/1024/f.pageKiB, have)
}

// holders returns the sum of it all, without the files that nobody uses.
func (t *tally) holders() []guard.Holder {
	sums := map[holderKey]*guard.Holder{}
	of := func(who holderKey) *guard.Holder {
		if sums[who] == nil {
			sums[who] = &guard.Holder{Kind: who.kind, Name: who.name, PID: who.pid, PageKiB: who.pageKiB, Guest: who.guest, Pages: map[int]uint64{}}
		}
		return sums[who]
	}
	charge := func(who holderKey, pages map[int]uint64) (sum uint64) {
		for node, n := range pages {
			of(who).Pages[node] += n
			sum += n
		}
		return sum
	}
	for _, s := range t.private {
		charge(s.holder, s.pages)
	}
	for who, pages := range t.reserved {
		of(who).Reserved += pages
	}
	for _, f := range t.files {
		if len(f.users) == 0 {
			continue
		}
		owner := f.owner()
		owner.guest = t.deadGuest(f)
		have := charge(owner, f.touched())
		if all := f.pages - min(f.pages, f.copied); all > have {
			of(owner).Unplaced += all - have
		}
		if promised := f.promised(); promised > 0 {
			of(owner).Reserved += promised
		}
	}
	list := make([]guard.Holder, 0, len(sums))
	for _, holder := range sums {
		list = append(list, *holder)
	}
	slices.SortFunc(list, func(a, b guard.Holder) int {
		return cmp.Or(cmp.Compare(a.PID, b.PID), cmp.Compare(a.PageKiB, b.PageKiB), cmp.Compare(a.Guest, b.Guest))
	})
	return list
}

// leftover returns the files that nobody uses, those of one folder whose names
// differ in their last number alone together: DPDK's rtemap_0, rtemap_1, ...
func (t *tally) leftover() []guard.Holder {
	type group struct {
		name    string
		pageKiB uint64
	}
	groups := map[group]*guard.Holder{}
	for _, f := range t.files {
		pages := f.pages - min(f.pages, f.copied)
		if len(f.users) > 0 || f.path == "" || pages == 0 {
			continue
		}
		g := group{strings.TrimRight(f.path, "0123456789"), f.pageKiB}
		if groups[g] == nil {
			groups[g] = &guard.Holder{Kind: guard.HolderFile, PageKiB: f.pageKiB}
		}
		groups[g].Unplaced += pages
		groups[g].Files = append(groups[g].Files, f.path)
	}
	var list []guard.Holder
	for g, holder := range groups {
		slices.Sort(holder.Files)
		holder.Name = g.name + "*"
		if len(holder.Files) == 1 {
			holder.Name = holder.Files[0]
		} else if !strings.HasSuffix(g.name, "/") && t.begin(g.name) == len(holder.Files) {
			holder.Prefix = g.name
		}
		list = append(list, *holder)
	}
	slices.SortFunc(list, func(a, b guard.Holder) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// begin returns how many files on the mounts, used or not, a shell finds by the beginning of their paths.
func (t *tally) begin(prefix string) (n int) {
	for _, f := range t.files {
		if rest, ok := strings.CutPrefix(f.path, prefix); ok && !strings.Contains(rest, "/") {
			n++
		}
	}
	return n
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

// rank says who of several that map a file owns it: the guest, else the process that Open vSwitch serves.
func rank(kind guard.HolderKind) int {
	return slices.Index([]guard.HolderKind{guard.HolderGuest, guard.HolderProcess, guard.HolderOVS}, kind)
}
