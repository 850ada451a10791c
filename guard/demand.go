package guard

// Demand is the huge pages that QEMU will ask for when a domain starts cold.
type Demand struct {
	Domain Domain
	// Backends are the memory backends on huge pages, in the order in which QEMU creates them: guest cells first, then
	// memory devices.
	Backends []Backend
	// Otherwise is what Backends are if libvirt found out that the machine divides RAM among cells by itself where its
	// name says that it does not, or does not where its name says that it does, which is Divides; nil where that is the
	// same.
	Otherwise []Backend
	Divides   bool
	// Cpuset is what libvirt confines QEMU's memory to before it runs.
	Cpuset Cpuset
	// VhostMTUs are the MTUs of the domain's vhost-user interfaces, 1500 where the domain names none: what a virtual
	// switch that has its own memory on huge pages is to serve.
	VhostMTUs []uint64
	// TooMany is what the guest has more of than QEMU takes, the zero value for no such thing. QEMU refuses it, so that
	// its pages are not judged, and Backends has only the first.
	TooMany TooMany
	// Unknown are values that decide about the guest's memory and that hugeguard does not know, as a newer libvirt may.
	// The memory that they concern is [Backend.Unsure], or is none of Backends.
	Unknown []Unknown
	// Emulator is the path of the QEMU that libvirt will run, whose release decides; "" where the domain does not say,
	// or tells libvirt to believe other things of that QEMU than it found out.
	Emulator string
	// Machine is what that QEMU emulates.
	Machine Machine
	// Partition is the resource partition of the domain, "" for libvirt's default, /machine.
	Partition string
	// Exempt is by what the domain is exempt from being refused, in words, such as [ExemptByMetadata]; "" for all
	// others. It changes nothing in the verdict.
	Exempt string
	// Canary says that the domain is the one by which "hugeguard verify" proves that the hook is called. The verdict
	// says so, and has no fixes.
	Canary bool
}

// On returns the demand with the backends that libvirt makes by what it found out about the machine.
func (d Demand) On(found Releases) Demand {
	if d.Otherwise != nil && found.QEMU.DividesRAM == Certainly(!d.Divides) {
		d.Backends = d.Otherwise
	}
	d.Otherwise = nil
	return d
}

// Machine is what QEMU emulates.
type Machine struct {
	Kind string // the type of the domain: kvm, qemu
	Name string // such as "pc-q35-7.2"
}

// Unknown is a value in a domain's XML that hugeguard does not know.
type Unknown struct {
	Where string // the attribute, such as "numatune/memory/@mode"
	Value string // other people's
}

// AsksNothing reports whether there is nothing to judge: nothing is on huge pages, for all that is understood.
func (d Demand) AsksNothing() bool { return len(d.Backends) == 0 && len(d.Unknown) == 0 }

// TooMany is more cells, or memory devices, than QEMU takes.
type TooMany struct {
	Devices     bool
	Count, Most int // Count 0: there is no excess
}

// A canary is told by its mark in the metadata, by its name and by what it asks for: no guest has all three, so that
// nobody's own start passes for one.
const (
	// CanaryPrefix begins the names of canaries; the rest is different each time.
	CanaryPrefix = "hugeguard-verify-"
	// CanaryBytes is what a canary asks for at least: 4 PiB, more than a process has addresses for (128 TiB of x86-64,
	// Documentation/arch/x86/x86_64/mm.rst; 256 TiB of arm64). Should nobody refuse it, QEMU's first step is to ask for
	// so many addresses, which the kernel denies before it looks at a page: none is taken, and none made, whatever
	// overcommit allows.
	CanaryBytes = 4 << 50
)

// Namespace is that of the elements in a domain's metadata that are meant for hugeguard: exempt, and canary.
const Namespace = "urn:hugeguard:1"

// ExemptByMetadata is the Exempt of a domain whose metadata has the element.
const ExemptByMetadata = "metadata"

// Backend is one memory-backend object of QEMU that lies on huge pages.
type Backend struct {
	ID      string `json:"backend"`  // QEMU's id: "ram-node0", "memdimm0"
	Cell    *int   `json:"cell"`     // the guest cell that it is, or that its device belongs to; nil without cells
	Bytes   uint64 `json:"bytes"`    // its size in bytes, as libvirt rounds it for a cold start
	PageKiB uint64 `json:"page_kib"` // its page size in KiB; 0 in a Demand is the default that libvirt picks from the mounts
	Pages   uint64 `json:"pages"`    // how many pages QEMU allocates at the start; 0 in a Demand, and for virtio-mem
	// HostNodes and Policy are what QEMU gets as host-nodes and policy.
	HostNodes NodeSet  `json:"host_nodes"`
	Policy    Policy   `json:"policy"`
	Strength  Strength `json:"strength"`
	From      string   `json:"from"` // the XML element that decided the nodes, or else the page size
	// Cpuset is the set that confines it where QEMU is told no nodes: in restrictive mode, and strict where libvirt
	// leaves RAM to -mem-path; nil otherwise.
	Cpuset NodeSet `json:"cpuset,omitempty"`

	// Path is where QEMU is told to put its file, which need not lie on hugetlbfs: a path, or [BackingDir] in a Demand;
	// "" where libvirt takes a hugetlbfs mount by the page size.
	Path string `json:"path,omitempty"`

	// Nodemask is a memory device's own set, where the mode of its cell or of numatune/memory is not strict.
	Nodemask Nodemask `json:"-"`
	// Threads are the nodes whose CPUs QEMU is to prepare restrictive memory from (qemuBuildThreadContextProps); nil
	// otherwise.
	Threads NodeSet `json:"-"`
	// Pinned says that QEMU's own threads are pinned to certain CPUs, PinnedTo to which; nil where numad will choose
	// them.
	Pinned   bool   `json:"-"`
	PinnedTo CPUSet `json:"-"`
	// ExactBytes is the size in bytes as the XML has it, which is what counts at a restore or an incoming migration.
	ExactBytes uint64 `json:"-"`
	// Whole says that it is the RAM of a guest without cells.
	Whole bool `json:"-"`
	// Memfd says that the pages come from a memfd rather than from a file on a hugetlbfs mount.
	Memfd bool `json:"-"`
	// Global says that QEMU allocates the pages because of -mem-prealloc, for which libvirt makes no thread-context.
	Global bool `json:"-"`
	// Auto says that numad will choose the nodes after the hook has run.
	Auto bool `json:"-"`
	// Device is the model of a memory device, "" for the guest's RAM.
	Device string `json:"-"`
	// Own says that QEMU is told of it beside libvirt, in the domain's qemu:commandline.
	Own bool `json:"-"`
	// Unsure says that it may not be so: another release, or what is not understood, decides.
	Unsure bool `json:"-"`
	// Lazy says that QEMU has its pages reserved at the start and does not touch them.
	Lazy bool       `json:"-"`
	over *OverMount // what lies over its Path, once that is known
	// Requested is how much of a virtio-mem device the guest gets first, in KiB. QEMU starts without it.
	Requested uint64 `json:"-"`
	// Block is in how large pieces a virtio-mem device is plugged, in KiB; 0 for all else.
	Block uint64 `json:"-"`
}

// Nodemask is a memory device's own set of nodes; the zero value is none.
type Nodemask struct {
	Nodes NodeSet
	From  string // the XML element
}

// BackingDir stands for the directory of QEMU's files that memory_backing_dir in qemu.conf names.
const BackingDir = "memory_backing_dir"

// Policy is the memory policy of a backend, by QEMU's names (HostMemPolicy in qapi/qom.json).
type Policy string

// The policies that libvirt uses.
const (
	PolicyDefault    Policy = "default"
	PolicyPreferred  Policy = "preferred"
	PolicyBind       Policy = "bind"
	PolicyInterleave Policy = "interleave"
)

// Strength reports whether a backend's pages must lie on certain nodes.
type Strength string

const (
	// Hard pages that their nodes do not have fail the launch.
	Hard Strength = "hard"
	// Soft pages go elsewhere when their nodes are full.
	Soft Strength = "soft"
)

// VirtioMem is the model of the device that takes its pages after the start.
const VirtioMem = "virtio-mem"

// Cpuset is the set of nodes that libvirt writes to the domain's cpuset.mems before QEMU runs
// (qemuProcessSetupEmulator). It bounds every allocation.
type Cpuset struct {
	// Nodes is the nodeset of numatune/memory where its mode is strict or restrictive, nil otherwise: what libvirt
	// before 9.5 writes.
	Nodes NodeSet
	// Union is Nodes and those of all memnode elements, what libvirt since 9.5 writes for strict. It is Nodes for
	// restrictive. The process's own policy, which libvirt sets where it may not use cpusets, is Nodes with every
	// release (qemuProcessHook).
	Union NodeSet
	// Restrictive says that nothing but the cpuset confines the pages, so that they are unconfined where libvirt may
	// not use that controller.
	Restrictive bool
	// Auto says that numad will choose the nodes, when the hook has answered.
	Auto bool
}

// OnMount reports whether libvirt takes a mount by the page size for the backend's file.
func (b Backend) OnMount() bool { return !b.Memfd && b.Path == "" }

// byDefault reports whether libvirt takes the default page size for it.
func (b Backend) byDefault() bool { return b.PageKiB == 0 && b.Path == "" && !b.Own }

// pages is how many pages a backend's bytes take, the last one in part.
func (b Backend) pages() uint64 {
	page := b.PageKiB * 1024
	pages := b.Bytes / page
	if b.Bytes%page != 0 {
		pages++
	}
	return pages
}
