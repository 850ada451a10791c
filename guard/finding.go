package guard

// Severity is what a finding means for the launch.
type Severity string

// The severities.
const (
	SeverityRefuse Severity = "refuse"
	SeverityWarn   Severity = "warn"
	SeverityInfo   Severity = "info"
)

// Finding is one thing that Judge found out. Counts are pages of PageKiB.
type Finding struct {
	Code     string
	Severity Severity
	Backend  string  // QEMU's id of the memory that it is about, "" for none in particular
	Nodes    NodeSet // the host's, that it is about
	PageKiB  uint64
	Needed   uint64
	Free     uint64
	Total    uint64
	Reason   Reason
	// Releases is what had to be known of libvirt and QEMU for a refusal to be certain, the zero value where it is so
	// with any.
	Releases Releases
}

// Codes of findings. They are part of the JSON output.
const (
	codeNodeShort    = "node-short"        // nodes have too few free pages
	codeReserved     = "reserved"          // the free pages are promised to others
	codePageSize     = "page-size"         // the kernel has no such pages
	codeSize         = "size-mismatch"     // a size that is no multiple of its page
	codeBinding      = "binding"           // a binding that fails whatever is free
	codeOvercommit   = "overcommit"        // it fits only with surplus pages
	codeOrder        = "order"             // it depends on who takes which page first
	codeSpill        = "spill"             // pages will lie on other nodes than wished
	codeAuto         = "placement-auto"    // numad chooses the nodes later
	codeGrow         = "virtio-mem"        // the guest cannot grow as far as it is to
	codeDefault      = "default-page-size" // it depends on the page size that libvirt takes where none is named
	codeRestore      = "restore"           // it fails at the size to which a cold start rounds
	codeSome         = "release"           // it fails with some releases only
	codeNovaDrift    = "nova-drift"        // Nova believes other pages free than are
	codeNovaStale    = "nova-stale"        // nova-compute has not read its configuration since it was changed
	codeMountLimit   = "mount-limit"       // size= of the hugetlbfs mount
	codeCgroupLimit  = "cgroup-limit"      // a control group's limit on huge pages
	codeCgroup       = "cgroup"            // it depends on the control group that QEMU is put into
	codeStarting     = "starting"          // it depends on starting guests
	codeHidden       = "hidden-mount"      // QEMU's files will not lie on huge pages
	codeHooks        = "other-hooks"       // it depends on what other hooks do
	codeTooMany      = "too-many"          // QEMU takes no guest with so many cells or memory devices
	codeLeftToOthers = "left-to-libvirt"   // libvirt itself will refuse, and say why
	codeUnknown      = "unknown-value"     // the domain has a value that hugeguard does not know
	codeElsewhere    = "elsewhere"         // it depends on whether memory is on huge pages
	codeUnjudged     = "unjudged"          // it is not known how much memory is
	codeOnTouch      = "on-touch"          // pages that QEMU does not touch at the start may be gone later
	codeMountAge     = "mount-age"         // libvirt refuses if its daemon is older than the mount
	codeOVSPending   = "ovs-pending"       // Open vSwitch has not taken its own pages yet
	codeOVSMempool   = "ovs-mempool"       // there is no room for one more mempool of Open vSwitch
)

func newFinding(code string, severity Severity, pool SizePool, nodes NodeSet, needed uint64, reason Reason) Finding {
	sum := pool.On(nodes)
	return Finding{Code: code, Severity: severity, Nodes: nodes, PageKiB: pool.PageKiB,
		Needed: needed, Free: sum.Free, Total: sum.Total, Reason: reason}
}

// of returns the finding as one about a backend.
func (f Finding) of(b Backend) Finding {
	f.Backend = b.ID
	return f
}

// Reason is the facts behind a finding that its numbers do not tell: one of the types below. Package words says them.
type Reason any

// Short: fewer pages are free than are needed.
type Short struct {
	Anywhere bool // the nodes are all that have memory
	// Promised says that the kernel's reservation fails. It counts the free pages of all nodes, without those that it
	// has Reserved for others.
	Promised bool
	Reserved uint64   // 0, too, where there are other nodes: reservations lie on none
	Claimed  uint64   // so many of the free pages are for starting guests
	Starting []string // the names of these
	// Keeper is the file that keeps QEMU to the nodes, where the domain's own tuning would let it go elsewhere.
	Keeper string
}

// NoSuchPages: the kernel has no pages of the size, but those of Sizes in KiB.
type NoSuchPages struct{ Sizes []uint64 }

// WrongSize: memory of this size cannot be made of its pages.
type WrongSize struct {
	Why       SizeFault
	KiB       uint64  // the size that is wrong
	UnitKiB   uint64  // what it should be a multiple of: the page, or the larger block
	RightKiB  uint64  // the next size that would do, of the device or of its blocks
	Auto      bool    // numad chooses the nodes
	HostNodes NodeSet // else to these it is bound
}

// SizeFault is what is wrong with a size.
type SizeFault int

// The faults of sizes.
const (
	SmallBlock   SizeFault = iota // a device is plugged in blocks smaller than a page
	BelowPage                     // it is less than a page
	NoMultiple                    // QEMU takes multiples alone
	UnboundRests                  // the kernel binds multiples alone
)

// Unbindable: QEMU cannot have memory on the nodes, whatever is free there.
type Unbindable struct {
	Why  Obstacle
	File string  // of the control group, where that is why
	Kept NodeSet // to these QEMU is kept
	CPUs CPUSet  // on these it may run
	Able NodeSet // nodes to which QEMU could bind it; nil for none
}

// Obstacle is what keeps memory from a node. QEMU prepares memory from the CPUs of its nodes, so that a node without
// one can be an obstacle, too.
type Obstacle int

// The obstacles.
const (
	NoMemory      Obstacle = iota // the node has none
	CgroupNodes                   // the control group leaves QEMU other nodes
	DomainNodes                   // numatune/memory does
	NoCPU                         // the node has none
	CgroupCPUs                    // the control group leaves QEMU none of the node's CPUs
	PinnedToOther                 // QEMU is pinned to CPUs of other nodes
)

// MountFull: the files of a hugetlbfs mount can have no more pages (size=).
type MountFull struct {
	Path string
	Used uint64
}

// GroupFull: the processes of a control group can have no more pages.
type GroupFull struct {
	File     string // that holds the limit
	Used     uint64
	Reserved bool // pages count from when they are mapped
}

// Perhaps is what a launch fails of under a condition alone.
type Perhaps struct {
	When Condition
	Of   Reason
}

// Condition is when a launch fails: one of the types that begin with If.
type Condition any

// IfDefaultSize: libvirt takes the pages of this size by default.
type IfDefaultSize struct{}

// IfColdStart: it is no restore and no incoming migration.
type IfColdStart struct{}

// IfThisMount: libvirt takes no other mount of that size.
type IfThisMount struct{}

// IfBelowGroup: libvirt puts QEMU below a control group.
type IfBelowGroup struct{ Path string }

// IfReleases: libvirt and QEMU are in All of some combinations; with none given, in such as cannot be said shortly.
type IfReleases struct {
	Known Releases
	All   []Combinations
}

// Numad chooses the nodes when the hook has answered, and may choose wrong ones.
type Numad struct {
	Risk NumadRisk
	File string  // of the control group, where that keeps QEMU to others
	Kept NodeSet // namely these
}

// NumadRisk is what may be wrong with the nodes that numad chooses.
type NumadRisk int

// The risks of numad's choice.
const (
	NumadLeavesOut NumadRisk = iota // it does not choose those that memory is bound to
	NumadTooSmall                   // they have too few pages
	NumadDenied                     // the control group keeps QEMU to others
	NumadIdle                       // QEMU may run on none of their CPUs
)

// SetAside: it fits if the Reserved pages are those that the mount keeps for it.
type SetAside struct{ Reserved uint64 }

// OnlySurplus: it fits if the kernel makes surplus pages.
type OnlySurplus struct{}

// OnlyCleared: it fits if starting guests have taken pages that the kernel clears.
type OnlyCleared struct{ Starting []string }

// OnlyOrder: it fits if the guest's other memory takes its pages elsewhere; where Reservation, if that leaves as many
// free where QEMU's own memory is bound to.
type OnlyOrder struct{ Reservation bool }

// OnlyBeside: it fits if starting guests take their pages elsewhere.
type OnlyBeside struct{ Starting []string }

// Spills: only so many of the pages find room on the nodes that they are to lie on.
type Spills struct {
	Policy Policy
	Fit    uint64
}

// Doomed starting guests want more than there is, and may take this one's pages first.
type Doomed struct{ Starting []string }

// Hidden: what is mounted over the hugetlbfs takes QEMU's files, for certain or perhaps.
type Hidden struct {
	By      OverMount
	Certain bool
}

// CannotPlug: after the start fewer pages are left than a virtio-mem device asks for.
type CannotPlug struct{ Left uint64 }

// OVSPending: Open vSwitch is to take pages of which fewer will be left.
type OVSPending struct{ Left uint64 }

// NoMempool: fewer pages will be left than Open vSwitch needs for one more port.
type NoMempool struct {
	Left uint64
	MTU  uint64
}

// NovaStale: nova-compute was started before a file of its configuration was changed.
type NovaStale struct {
	PID  int
	File string
}

// OtherHooks is what other hooks may still do, in words.
type OtherHooks struct{ Words string }

// IfThere: the backend's file lies at a path of hugetlbfs, which is not certain.
type IfThere struct{ Backend, Path string }

// IfUnknown: libvirt makes of a value that hugeguard does not know nothing that helps.
type IfUnknown struct{ Unknown }

// Unjudged: memory may be on huge pages and is not judged.
type Unjudged struct {
	Path   string // as in [Place]
	Unread string // as in [Place]; "" where its size is not understood
}

// OnTouch: of pages that QEMU does not touch at the start only so many are free on their nodes.
type OnTouch struct{ Fit uint64 }
