package guard

// Awareness is whether libvirt's running daemon knows a hugetlbfs mount. The daemon reads its mounts when it starts, and
// never again (virQEMUDriverConfigNew).
type Awareness int

// What can be known of a daemon and a mount.
const (
	Unasked Awareness = iota // nobody looked
	Aware                    // the daemon knows the mount, or will when it starts
	Unaware                  // it was mounted after the daemon had started
	Untold                   // nothing tells
)

// Mount is a hugetlbfs mount.
type Mount struct {
	Path    string
	PageKiB uint64
	Minimum bool // pages are set aside for it: reserved, but not for others
	// Limit is how many pages its files can have together (size=), nil for as many as there are. The files of private
	// mappings count, too.
	Limit *PageLimit
	// Over is what is mounted over the place of QEMU's files: these lie on that, and not on the mount. nil where
	// nothing is.
	Over *OverMount
	// Daemon is whether libvirt's daemon knows it.
	Daemon Awareness
}

// OverMount is a mount that lies over a part of another.
type OverMount struct {
	Path string
	Type string // its file system, such as "tmpfs"
}

// Place is a path where QEMU is told to put memory, and what it lies on.
type Place struct {
	Path    string // as in [Backend]
	At      string // the directory or file that it means
	Mount   *Mount // of hugetlbfs; nil for another file system
	Certain bool   // it is so for libvirt and for QEMU
	Unread  string // the file or link that says where it is, where that could not be read
}

// PageLimit is how many huge pages of one size the files of a mount, or the processes of a control group, can have
// together.
type PageLimit struct {
	PageKiB uint64
	File    string // that holds the limit; "" for a mount's
	// Reserved: it counts pages from when they are mapped (ENOMEM there), not from when they are touched (EFAULT
	// there).
	Reserved bool
	Pages    uint64 // the limit
	Used     uint64 // pages that count against it already
}

// left is how many pages more fit under a limit.
func (l PageLimit) left() uint64 { return minus(l.Pages, l.Used) }

// usualMount is mounted by systemd at boot, before all daemons (dev-hugepages.mount).
const UsualMount = "/dev/hugepages"
