package guard

import (
	"cmp"
	"slices"

	"hugeguard/guard/nova"
	"hugeguard/guard/ovs"
)

// Host is what a host has to give, and who holds the rest.
type Host struct {
	// BasePageKiB is the size in KiB of the kernel's ordinary pages.
	BasePageKiB uint64
	// DefaultPageKiB is the kernel's default huge page size in KiB; 0 where the kernel has no huge pages.
	DefaultPageKiB uint64
	Nodes          []Node
	// Sizes are the kernel's huge page sizes in KiB, ascending; also those that nobody asked for.
	Sizes []uint64
	// Pools are the pools of the sizes that the demand can mean.
	Pools []SizePool
	// Mounts are the hugetlbfs mounts in the order in which libvirt looks.
	Mounts []Mount
	// Places are the paths of the demand that may lie on hugetlbfs.
	Places []Place
	// Configured says that Mounts are those that hugetlbfs_mount in qemu.conf names, for certain.
	Configured bool
	// Daemon is the systemd unit of libvirt's daemon, such as "virtqemud.service"; "" where that is not known.
	Daemon string
	// Releases is which libvirt and QEMU serve the host.
	Releases Releases
	// Cgroups are the control groups below which libvirt may start QEMU, the likeliest first: one where that is
	// certain, none where nothing is known of any.
	Cgroups []Cgroup
	// Starting are the guests that were allowed before this one and may not have all of their pages yet, the earliest
	// first.
	Starting []Starting
	// Holders is who holds huge pages; nil where nobody looked.
	Holders *Holders
	// Nova is what Nova is told and counts; nil where nobody looked, or there is no sign of it.
	Nova *Nova
	// Memory is what more huge pages can be made of; nil where nobody looked, or the host does not say.
	Memory *Memory
	// Platform is what the host is part of; the zero value where nobody looked.
	Platform Platform
	// OVS is what Open vSwitch was told; nil where nobody asked, or nobody answered.
	OVS *OVS
	// IdleHooks are hooks of the site's that libvirt does not run; nil where nobody looked.
	IdleHooks []IdleHook
	// NotKnown is the evidence that was looked for and did not become known in time, or not all of it.
	NotKnown []Evidence
}

// Node is an online NUMA node.
type Node struct {
	ID        int
	HasMemory bool
	HasCPU    bool
	CPUs      CPUSet      // that are online and belong to it; nil where nobody looked
	Distances map[int]int // to other nodes, 10 is itself; nil where nobody looked
}

// Cgroup is a control group, with what QEMU has from it and from those above.
type Cgroup struct {
	Path string // its directory
	// Nodes are the nodes that it leaves to memory, nil for all of them, and NodesFile is where that is written.
	Nodes     NodeSet
	NodesFile string
	// CPUs and CPUsFile are the same of the CPUs that its threads may run on.
	CPUs     CPUSet
	CPUsFile string
	// Confining are those of the group and of the groups above it, the topmost first, that themselves leave out nodes with
	// memory; nil where nobody looked.
	Confining []GroupNodes
	// Legacy says that Nodes and CPUs are those of a version 1 hierarchy. There QEMU is in that group only where
	// libvirt may use the cpuset controller, and what libvirt writes to the domain's own must be among them. In version
	// 2 it always is, and a domain's cpuset that has none of them does not count.
	Legacy bool
	// Limits are on the huge pages of the group and of those above it.
	Limits []PageLimit
}

// GroupNodes are which nodes a control group is told to leave to memory. Those above it may leave fewer.
type GroupNodes struct {
	Dir   string // of the group
	Nodes NodeSet
}

// Holders is the outcome of looking for those who hold huge pages.
type Holders struct {
	List []Holder
	// Unreadable are processes that would not show what they hold.
	Unreadable []Process
	// Cut says that time ran out before everything was looked at.
	Cut bool
	// Alone says that only the processes of hugeguard's own container can be seen.
	Alone bool
}

// IdleHook is a script that is to run before a domain starts and does not, as it is not executable.
type IdleHook struct {
	Path    string
	Makes   bool // it has to do with huge pages, and only root can change it
	Foreign bool // it is a link, or others than root can change it
}

// Process is a process of which no more is known than this.
type Process struct {
	Name       string // its own choice
	PID        int    // 0 where not even the list of processes could be read
	HugetlbKiB uint64 // huge pages of all sizes that it maps, others' among them
}

// Holder is somebody who holds huge pages of one size.
type Holder struct {
	Kind   HolderKind
	Name   string // a guest's libvirt name, the process's name, or where the files are; other people's input
	PID    int    // 0 for files
	Unit   string // the process's systemd unit or container; "" where that is not known
	Engine string // the program that stops the container: docker, podman or crictl; "" where that is not known
	// Service is the systemd unit that is the process's own: to stop it stops no other. "" where it has none,
	// or that is not certain.
	Service string
	Program string // the base name of the program that the process runs, "" where that is not known
	// Guest is the guest that is gone whose memory this is: its process, a vhost-user back end such as Open vSwitch,
	// still maps it or has it open. It is libvirt's name of that run, such as "7-rhel1", or [UnknownGuest]; "" for all
	// other pages.
	Guest string
	// Own says that Guest is an earlier run of the domain that is about to start, and Defined that Guest, or another guest
	// with the same short name, is still defined, so that it may start again, and then needs its back end.
	Own, Defined bool
	// Former says that it is the QEMU of an earlier run of the domain that is about to start, which libvirt takes for
	// ended, and Stuck that this waits in the kernel for something that no signal ends (state D).
	Former, Stuck bool

	PageKiB uint64
	Pages   map[int]uint64 // by node, in pages
	// Unplaced are pages of which nobody can tell on which node they lie: the kernel shows that only of pages that a
	// process has touched.
	Unplaced uint64
	// Reserved are pages that were promised and not yet touched. They are free, on no node in particular, and part of
	// the pool's Reserved.
	Reserved uint64
	// Files are what to delete to get the pages of a HolderFile back.
	Files []string
	// Prefix is what the paths of these begin with, and of no other file in their folder; "" where nothing is so.
	Prefix string
	// Within is a process in whose mount namespace alone the Files are, below its root directory; 0 for the host's.
	Within int
	// Segment is the id of a System V segment that is a HolderFile, else "".
	Segment string
	// Unsure says that the kernel does not tell whether the segment is of huge pages.
	Unsure bool
}

// ServesMany reports whether a process serves several guests. Libvirt starts some programs for one guest each, in its
// scope.
func (h Holder) ServesMany() bool {
	return GuestOfScope(h.Unit) == "" && !slices.Contains([]string{"virtiofsd", "passt", "vhost-user-gpu"}, cmp.Or(h.Program, h.Name))
}

// InPod reports whether it is a process of a pod of Kubernetes: crictl alone stops the containers of these.
func (h Holder) InPod() bool { return h.Engine == "crictl" }

// UnknownGuest is the [Holder.Guest] of memory that is a guest's by QEMU's name for it, which says no more.
const UnknownGuest = "?"

// HolderKind says what sort of holder one is.
type HolderKind string

// The kinds of holders.
const (
	HolderOVS     HolderKind = "ovs"     // Open vSwitch with DPDK
	HolderGuest   HolderKind = "guest"   // a libvirt guest
	HolderProcess HolderKind = "process" // any other process
	HolderFile    HolderKind = "file"    // files, or a System V segment, that nobody maps or has open
)

// Starting is a guest that was allowed and whose QEMU may not have taken all of its pages yet.
type Starting struct {
	Domain Domain
	PID    int // of its QEMU; 0 while there is none
	Claims []Claim
}

// Claim is pages of one size that a domain is to take and has not touched yet.
type Claim struct {
	PageKiB uint64
	Pages   uint64
	// Mapped are those of Pages that QEMU has mapped: they are part of the pool's Reserved already.
	Mapped uint64
	// Clearing are those of Mapped that may be neither free nor in Reserved any more: the kernel takes a page before it
	// clears it, which it does before it shows whose the page is (hugetlb_no_page).
	Clearing uint64
	Nodes    NodeSet // that they are to come from, nil for any
	Hard     bool    // they can come from no others
	// Cpuset is what confines them besides, where libvirt's rules have it so.
	Cpuset Cpuset
}

// Nova is what a host's nova-compute is told of huge pages, and which instances it counts.
type Nova struct {
	// Files is the configuration that was found, in the order in which nova-compute reads it, and SetIn those of it
	// that set reserved_huge_pages.
	Files, SetIn []string
	// Reserved is what the configuration keeps back from instances, and Read what nova-compute read when it started, if
	// that is Stale now; nil where it is not known.
	Reserved, Read nova.Reserved
	// Fault says why Reserved is not known, on one line; "" where it is.
	Fault string
	// PID is the running nova-compute, 0 where none is seen, and Unit its systemd unit or its container, "" where that
	// is not known.
	PID  int
	Unit string
	// Stale is a file of the configuration that was changed after nova-compute had read it; "" where none is known to
	// be.
	Stale string
	// Instances are the domains that Nova made.
	Instances []Instance
	// Unread is how many domains could not be read.
	Unread int
	// Refused are instances without a domain that Nova still counts: hugeguard refused their start, and their
	// directories are still there. Uncounted are others without a domain, by their directory or, if they have none, by
	// their UUID: what Nova counts for these is not known.
	Refused   []Instance
	Uncounted []string
	// Unlisted says why Uncounted may lack some, on one line; "" where it lacks none.
	Unlisted string
}

// Instance is a domain that Nova made, as its metadata says.
type Instance struct {
	Name, UUID string
	Running    bool                 // else it is defined and off, which Nova counts as well
	Pages      map[nova.Pool]uint64 // what Nova counts for it
}

// OVS is what Open vSwitch was told about huge pages, and how far it followed.
type OVS struct {
	ovs.Config
	// HeldKiB is how much huge memory of all sizes ovs-vswitchd maps, guests' among it; 0 where it does not run, nil
	// where that is not known.
	HeldKiB *uint64
	// Sizes are the page sizes in KiB of which the host has any pages; nil where that is not known.
	Sizes []uint64
	// Use is how much memory it uses; nil where that is not known.
	Use ovs.Use
}

// Using returns the same with how much memory it uses.
func (o *OVS) Using(use ovs.Use) *OVS {
	if o == nil || use == nil {
		return o
	}
	using := *o
	using.Use = use
	return &using
}

// Pool returns the pool of one page size in KiB.
func (h Host) Pool(kib uint64) (SizePool, bool) {
	for _, p := range h.Pools {
		if p.PageKiB == kib {
			return p, true
		}
	}
	return SizePool{}, false
}

// MemoryNodes returns the nodes that have memory. What the kernel promises it counts over all of them
// (hugetlb_acct_memory).
func (h Host) MemoryNodes() NodeSet {
	nodes := NodeSet{}
	for _, n := range h.Nodes {
		if n.HasMemory {
			nodes = append(nodes, n.ID)
		}
	}
	return nodes
}

// cgroup is the control group that QEMU is started below. It is for hosts that have no other.
func (h Host) cgroup() Cgroup {
	if len(h.Cgroups) == 0 {
		return Cgroup{}
	}
	return h.Cgroups[0]
}

// setAside says that some of a pool's reserved pages may be this guest's to take, since its mount sets them aside
// (hugepage_subpool_get_pages).
func (h Host) setAside(pool SizePool) bool {
	return slices.ContainsFunc(h.Mounts, func(m Mount) bool { return m.Minimum && m.PageKiB == pool.PageKiB })
}

// hasCPU reports whether one of the CPUs may belong to any of the nodes.
func (h Host) hasCPU(nodes NodeSet, cpus CPUSet) bool {
	return slices.ContainsFunc(h.Nodes, func(n Node) bool { return nodes.Has(n.ID) && n.runsOn(cpus) })
}

// runsOn reports whether one of the CPUs may belong to the node.
func (n Node) runsOn(cpus CPUSet) bool {
	return n.HasCPU && (n.CPUs == nil || cpus == nil || len(n.CPUs.and(cpus)) > 0)
}

// nodesOf returns the nodes that have some of the CPUs for certain.
func nodesOf(h Host, cpus CPUSet) NodeSet {
	nodes := NodeSet{}
	for _, n := range h.Nodes {
		if cpus != nil && n.CPUs != nil && len(n.CPUs.and(cpus)) > 0 {
			nodes = append(nodes, n.ID)
		}
	}
	return nodes
}

// Settle notes of a part of the evidence whether all of it became known in time.
func (h *Host) Settle(part Evidence, known bool) {
	h.NotKnown = slices.DeleteFunc(AllEvidence(), func(e Evidence) bool {
		if e == part {
			return known
		}
		return !slices.Contains(h.NotKnown, e)
	})
}

// AllNodes is all nodes of the host.
func (h Host) AllNodes() NodeSet {
	nodes := NodeSet{}
	for _, n := range h.Nodes {
		nodes = append(nodes, n.ID)
	}
	return nodes
}

func (h Host) mounted(kib uint64) bool {
	return slices.ContainsFunc(h.Mounts, func(m Mount) bool { return m.PageKiB == kib })
}

// manager returns whose guest a domain is, or else who places guests on the host. A sign on the host tells less than a
// domain's own metadata: a host can have several managers, and Nova's containers run below a kubelet too.
func (h Host) manager(d Domain) Manager {
	switch {
	case d.Manager != "":
		return d.Manager
	case h.Nova != nil:
		return ManagerNova
	}
	for _, m := range []Manager{ManagerOVirt, ManagerKubeVirt, ManagerOpenNebula} {
		if h.Platform.Has(m) {
			return m
		}
	}
	return ""
}

// Manager returns who places guests on the host, which domain it is aside; "" for nobody of whom there are signs.
func (h Host) Manager() Manager { return h.manager(Domain{}) }

// inside returns what hugeguard runs in: where libvirt is KubeVirt's, always a pod.
func (h Host) inside(d Domain) Inside {
	if d.Manager == ManagerKubeVirt {
		return InsidePod
	}
	return h.Platform.Inside
}
