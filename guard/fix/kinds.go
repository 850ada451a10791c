package fix

import "hugeguard/guard"

// Fix is something that an admin can do about a refusal: one of the types of this file.
type Fix interface {
	// Kind names the type, as "grow-pools". It is part of the JSON output and never changes.
	Kind() string
}

func (GrowPools) Kind() string      { return "grow-pools" }
func (BootPools) Kind() string      { return "boot-pools" }
func (FreeMemory) Kind() string     { return "free-memory" }
func (RaiseLimits) Kind() string    { return "raise-limits" }
func (FreeDeadGuests) Kind() string { return "free-dead-guests" }
func (RestartKeepers) Kind() string { return "restart-keepers" }
func (EndFormer) Kind() string      { return "end-former" }
func (Reboot) Kind() string         { return "reboot" }
func (ShrinkOVS) Kind() string      { return "shrink-ovs" }
func (TuneProcess) Kind() string    { return "tune-process" }
func (StopProcesses) Kind() string  { return "stop-processes" }
func (DeleteFiles) Kind() string    { return "delete-files" }
func (LookUnconfined) Kind() string { return "look-unconfined" }
func (ReserveInNova) Kind() string  { return "reserve-in-nova" }
func (RestartNova) Kind() string    { return "restart-nova" }
func (ReserveInVDSM) Kind() string  { return "reserve-in-vdsm" }
func (RunInPod) Kind() string       { return "run-in-pod" }
func (SetStarlingX) Kind() string   { return "set-starling-x" }
func (RaisePodLimit) Kind() string  { return "raise-pod-limit" }
func (ChangeDomain) Kind() string   { return "change-domain" }
func (TakeOrdinary) Kind() string   { return "take-ordinary" }
func (TryAgain) Kind() string       { return "try-again" }
func (MoveBackingDir) Kind() string { return "move-backing-dir" }
func (ChangePages) Kind() string    { return "change-pages" }
func (MountPages) Kind() string     { return "mount-pages" }
func (RestartDaemon) Kind() string  { return "restart-daemon" }
func (WidenCpuset) Kind() string    { return "widen-cpuset" }
func (EnableHooks) Kind() string    { return "enable-hooks" }
func (StopGuest) Kind() string      { return "stop-guest" }

// GrowPools makes pools larger, by telling the kernel their new numbers of pages.
type GrowPools struct {
	Limits []Limit // to raise first
	// Shrink are pools of larger pages, which give free ones back first: there is no other memory for Pools.
	Shrink []PoolSize
	Pools  []PoolSize
	// Compact says that the free memory is in pieces that are too small: caches have to go, and memory has to be moved.
	Compact bool
	// Seek says that no block of free memory is as large as a page: the kernel has to clear a place for each, and may
	// find fewer.
	Seek bool
	// Unsure says that it is not known whether there is memory for the pages.
	Unsure bool
	// Files are to be deleted afterwards. Their pages are surplus, so that they would go back to the kernel before.
	Files  *DeleteFiles
	NoNUMA bool // the kernel has no files for each node
	Keep   Keep
}

// PoolSize is how many pages one node's pool should have, without surplus ones.
type PoolSize struct {
	Node         int
	PageKiB      uint64
	Pages        uint64
	Now          uint64 // pages that it has, surplus ones included
	Surplus      uint64 // of these
	AvailableKiB uint64 // memory that the node has for more; 0 where that is not known
}

// Made is how many pages the kernel has to make: surplus pages become the pool's first.
func (p PoolSize) Made() uint64 { return minus(p.Pages, p.Now) }

// BootPools sets pools up at boot, as the kernel cannot be expected to find the memory later.
type BootPools struct {
	Bare   uint64  // the page size in KiB of a hugepagesz= that asks for no pages, as in [guard.Boot]; 0 for none
	Limits []Limit // to be larger, too
	Line   BootLine
	// Sysctl and Setting are as in [Keep], where the setting would undo what Line says.
	Sysctl  uint64
	Setting string
	Pools   []PoolSize
	Lost    uint64 // pages that the last boot did not make of those it was asked for, and which are asked for on top
	// Scattered says that there is memory now, but hardly in pieces as large as these pages.
	Scattered bool
	Failed    bool // the kernel was told to make these, and made fewer
	// Node is where all else that runs finds only RestKiB of memory then: less than the UsedKiB that it uses now, and
	// what the host lives on; -1 for none.
	Node             int
	RestKiB, UsedKiB uint64
}

// FreeMemory has other programs give back memory: no node has as much as the pages take.
type FreeMemory struct {
	Places []MemoryShort
	Then   GrowPools // afterwards
}

// MemoryShort is what a node has too little memory for.
type MemoryShort struct {
	Node         int
	PageKiB      uint64
	Pages        uint64 // to be made
	AvailableKiB uint64
	KeptKiB      uint64 // what the host lives on
	MissingKiB   uint64 // to be freed, so that the host keeps that
}

// Keep is how pools keep their sizes beyond the next boot.
type Keep struct {
	Asked   bool   // the kernel's command line asks for as many already
	Sysctl  uint64 // for vm.nr_hugepages, which is of the default size on all nodes; 0 where that will not do
	Set     uint64 // what vm.nr_hugepages is set to at each boot now, in the file Setting, "" for none
	Setting string
	Undone  bool       // Setting gives the pools fewer pages after the command line gave them theirs
	Line    *BootLine  // nil where the kernel's command line cannot say it
	Pools   []PoolSize // what else would have to be written at each boot
}

// BootLine is what the kernel's command line is to say.
type BootLine struct {
	Pools []guard.BootPool
	Was   []guard.BootPool // what it says now of these sizes
	CMA   bool             // it has hugetlb_cma=, which keeps the kernel from making gigantic pages at boot
	Tool  string           // as in [guard.Boot]
	Tuned string
	// Spread says that the kernel gives each of several nodes as many pages.
	Spread bool
}

// RaiseLimits lets a mount, or a control group, have more pages.
type RaiseLimits struct{ Limits []Limit }

// Limit is how many pages a limit is to be.
type Limit struct {
	Path    string // of the mount, or of the control group's file
	PageKiB uint64
	Pages   uint64
	Mount   bool
}

// WidenCpuset lets what runs below control groups have memory of more nodes.
type WidenCpuset struct {
	Groups      []guard.GroupNodes // with the nodes that they need, the topmost first
	Kept, Nodes guard.NodeSet      // what they leave together, now and then
	Shown       string             // the file that shows this
	Legacy      bool               // as in [guard.Cgroup]
}

// EnableHooks has libvirt run hooks of the site's that may make huge pages. What they make is not known.
type EnableHooks struct{ Hooks []guard.IdleHook }

// TryAgain starts the guest again, if one of those that are starting fails, or another guest has ended.
type TryAgain struct {
	Domain   guard.Domain
	Starting []string
}

// FreeDeadGuests has back ends give back the memory of guests that are gone, and serve the others on.
type FreeDeadGuests struct {
	Keepers []guard.Holder
	Again   bool         // one of these guests may start again, and nobody gives it its devices again
	Domain  guard.Domain // that is about to start
	Nova    bool         // it is Nova's, who gives it its devices again
}

// RestartKeepers restarts back ends that keep the memory of guests that are gone.
type RestartKeepers struct{ Keepers []guard.Holder }

// EndFormer ends the earlier QEMU of the guest that is about to start.
type EndFormer struct{ Former guard.Holder }

// Reboot restarts the host, which gives back what nothing else does.
type Reboot struct{ Why RebootWhy }

// RebootWhy is what a reboot is for.
type RebootWhy int

// What reboots are for.
const (
	EndStuck  RebootWhy = iota // it ends a process that no signal ends
	FindPages                  // it gives back unexplained pages
)

// ShrinkOVS has Open vSwitch take less memory at its start. Sizes are MiB, by node.
type ShrinkOVS struct {
	OVS  guard.Holder
	Told []uint64
	Less []uint64
	Used []uint64 // rounded up; nil where it is not known
	// Limit is the most that it may ever take, 0 for no limit, if Limited: then it makes a smaller pool of packets.
	Limit   []uint64
	Limited bool
}

// TuneProcess has a process do with fewer pages by a switch of its own, where one is known.
type TuneProcess struct {
	Holder guard.Holder
	Fewer  map[int]uint64 // pages of each node that it has to do without
	// Ordinary says that there is ordinary memory for all that it has.
	Ordinary bool
}

// StopProcesses ends processes, which give their pages back.
type StopProcesses struct{ Holders []guard.Holder }

// StopGuest ends another guest, which has as many pages as are missing.
type StopGuest struct{ Guest guard.Holder }

// DeleteFiles gives the pages of leftover files back.
type DeleteFiles struct {
	Holders []guard.Holder // each a [guard.HolderFile]
	Certain bool           // all processes were asked whether they use them
}

// LookUnconfined has somebody look where libvirt's confinement does not hide who holds pages, or from outside of the
// container of which alone the processes can be seen.
type LookUnconfined struct{ Alone bool }

// ReserveInNova has Nova keep back what others than its instances hold.
type ReserveInNova struct {
	Reservations []guard.Reservation
	Nova         *guard.Nova // nil where nobody looked
	// Full says that no node of the host has room for the guest: Nova can only place it on another host.
	Full bool
	// Strangers are guests whose pages Nova does not count even then.
	Strangers []guard.Stranger
}

// RestartNova has nova-compute, which is this systemd unit, read its configuration again.
type RestartNova struct{ Unit string }

// ReserveInVDSM has oVirt's agent keep pages of one size back from its guests. It knows one size, and no nodes.
type ReserveInVDSM struct {
	PageKiB uint64
	Count   uint64
}

// RunInPod has Kubernetes count the pages of processes: kubelet keeps none back for what runs outside of pods.
type RunInPod struct {
	Holders []guard.Holder // each a process that holds pages of this size
	PageKiB uint64
}

// SetStarlingX sets what StarlingX sets up of huge pages on a host at its boot: how many pages of a node are its virtual
// switch's, or are for all else.
type SetStarlingX struct {
	VSwitch bool
	Pools   []PoolSize
}

// RaisePodLimit lets the container that runs libvirt have more pages.
type RaisePodLimit struct{ Limits []Limit }

// ChangeDomain changes what the domain asks for.
type ChangeDomain struct {
	Changes []Change
	Sets    []string      // the elements of the XML whose nodeset has to change to that of the changes
	Manager guard.Manager // whose the domain is, who makes it again at each start
}

// Change is what to change of one of the domain's backends.
type Change struct {
	Do      Action
	Backend string
	From    string        // the element of the XML that binds it; "" where that is not what changes
	Nodes   guard.NodeSet // to bind it to, or to whose CPUs to pin the emulator
	KiB     []uint64      // the size to make it, or of its blocks; the page sizes that it may have
}

// Action is how to change a domain.
type Action int

// The actions.
const (
	Bind         Action = iota // bind it to other nodes
	PinEmulator                // pin the emulator to CPUs of its nodes, too
	Resize                     // make it of another size
	ResizeBlocks               // plug it in blocks of another size
	TakePages                  // take pages of another size for it
	Shrink                     // make it smaller, so that it fits
)

// TakeOrdinary has memory of the domain take ordinary memory. It is on huge pages only because a directory there is named.
type TakeOrdinary struct {
	Backends []string
	KiB      uint64 // of all of them
	Own      bool   // by an argument in the domain's qemu:commandline, else by memory_backing_dir in qemu.conf
}

// MoveBackingDir has libvirt keep the files of guests' memory in ordinary memory, or on disk, the domain's among them.
type MoveBackingDir struct {
	KiB    uint64 // that these are
	Disk   bool   // the host has no ordinary memory for them
	Daemon string // see [guard.Host]
}

// ChangePages has the domain take pages of a size that libvirt has a mount for.
type ChangePages struct {
	Backends []string
	PageKiB  uint64
	Smaller  bool          // than those that it has
	Then     Fix           // what is to be done besides, nil for nothing
	Manager  guard.Manager // see [ChangeDomain]
}

// MountPages mounts a hugetlbfs for libvirt, and has its daemon find it.
type MountPages struct {
	PageKiB uint64
	Path    string
	Conf    []string // the whole value of hugetlbfs_mount in qemu.conf after it; nil if it is not set
	Daemon  string   // see [guard.Host]
	Then    Fix      // what is to be done besides, nil for nothing
}

// RestartDaemon has libvirt's daemon find a mount.
type RestartDaemon struct {
	Path   string
	Daemon string // see [guard.Host]
}
