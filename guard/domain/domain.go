// Package domain works out from a libvirt domain's XML what QEMU will ask of the host's huge pages: a [guard.Demand].
package domain

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"libvirt.org/go/libvirtxml"

	"hugeguard/guard"
)

// Parse is [Read] of XML that is at hand.
func Parse(text []byte) (guard.Demand, error) { return Read(bytes.NewReader(text)) }

// Read works out a domain's demand from its XML as libvirt gives it to the hook at prepare. A domain without huge pages
// has no backends. However much there is to read, it is never held in memory.
//
// Page sizes that the host decides stay open: [guard.Judge] settles the default size, and drops pages that are no huge
// ones on this host.
func Read(in io.Reader) (guard.Demand, error) {
	b := builder{}
	stream := newDomainStream(in)
	if err := xml.NewTokenDecoder(stream).Decode(&b.domainXML); err != nil {
		return guard.Demand{}, fmt.Errorf("domain XML: %w", notNumber(stream.last, err))
	}
	if stream.marks.exempt {
		b.demand.Exempt = guard.ExemptByMetadata
	}
	b.demand.Domain = guard.Domain{Name: b.domainXML.Name, UUID: b.domainXML.UUID, Manager: stream.marks.manager}
	b.demand.Partition = b.domainXML.Partition
	if err := b.build(); err != nil {
		return guard.Demand{}, fmt.Errorf("domain XML: %w", err)
	}
	// Of a guest's own the mark must hide nothing.
	b.demand.Canary = stream.marks.canary && strings.HasPrefix(b.Name, guard.CanaryPrefix) &&
		slices.ContainsFunc(b.demand.Backends, func(backend guard.Backend) bool { return backend.Bytes >= guard.CanaryBytes })
	return b.demand, nil
}

// domainXML is the part of libvirtxml.Domain that decides about memory. Taking only that costs half of the time, and
// nothing odd in a disk or in metadata keeps the memory from being judged.
type domainXML struct {
	XMLName       xml.Name                        `xml:"domain"`
	Kind          string                          `xml:"type,attr"`
	Name          string                          `xml:"name"`
	UUID          string                          `xml:"uuid"`
	Memory        *libvirtxml.DomainMemory        `xml:"memory"`
	MemoryBacking *libvirtxml.DomainMemoryBacking `xml:"memoryBacking"`
	VCPU          struct {
		Placement string `xml:"placement,attr"`
		CPUSet    string `xml:"cpuset,attr"`
	} `xml:"vcpu"`
	Partition   string `xml:"resource>partition"`
	EmulatorPin *struct {
		CPUSet string `xml:"cpuset,attr"`
	} `xml:"cputune>emulatorpin"`
	VCPUPin     *struct{} `xml:"cputune>vcpupin"`
	IOThreadPin *struct{} `xml:"cputune>iothreadpin"`
	NUMATune    struct {
		// libvirt takes the first.
		Memory   []libvirtxml.DomainNUMATuneMemory  `xml:"memory"`
		MemNodes []libvirtxml.DomainNUMATuneMemNode `xml:"memnode"`
	} `xml:"numatune"`
	Type       libvirtxml.DomainOSType      `xml:"os>type"`
	Cells      []libvirtxml.DomainCell      `xml:"cpu>numa>cell"`
	HMAT       *struct{}                    `xml:"cpu>numa>interconnects"`
	Devices    []libvirtxml.DomainMemorydev `xml:"devices>memory"`
	Interfaces []interfaceXML               `xml:"devices>interface"`
	Emulator   string                       `xml:"devices>emulator"`
	// Capabilities changes what libvirt believes of QEMU.
	Capabilities *struct{} `xml:"http://libvirt.org/schemas/domain/qemu/1.0 capabilities"`
	// Commandline is what QEMU is told beside libvirt.
	Commandline *commandline `xml:"http://libvirt.org/schemas/domain/qemu/1.0 commandline"`
}

// interfaceXML is a network interface. Its MTU is text, so that one that is no number keeps nothing from being judged.
type interfaceXML struct {
	Type string `xml:"type,attr"`
	MTU  struct {
		Size string `xml:"size,attr"`
	} `xml:"mtu"`
}

// usualMTU is what Open vSwitch gives a port where nobody says otherwise.
const usualMTU = 1500

func (b *builder) readInterfaces() {
	for _, i := range b.Interfaces {
		if i.Type != "vhostuser" {
			continue
		}
		mtu, err := strconv.ParseUint(i.MTU.Size, 10, 16)
		if err != nil || mtu == 0 {
			mtu = usualMTU
		}
		b.demand.VhostMTUs = append(b.demand.VhostMTUs, mtu)
	}
}

// builder follows libvirt's way from a domain to QEMU's memory backends: qemuBuildMemoryGetPagesize,
// qemuBuildMemoryBackendProps and qemuDomainAlignMemorySizes.
type builder struct {
	domainXML
	demand guard.Demand

	pages    []pageElement
	prealloc bool  // -mem-prealloc is given
	memory   *tune // numatune/memory
	memnodes map[int]tune
	named    int  // members of all sets
	unsure   bool // an unknown value concerns all memory
}

// noCell stands for the RAM of a guest without cells.
const noCell = -1

// pageElement is one memoryBacking/hugepages/page.
type pageElement struct {
	kib   uint64        // 0: the default size
	cells guard.NodeSet // nil: all that no other element names
	from  string
}

// tune is numatune/memory or one memnode.
type tune struct {
	mode  string
	nodes guard.NodeSet // nil with auto
	auto  bool
	from  string
	// unknown says that the mode is, so that its memory may lie anywhere.
	unknown bool
}

// What QEMU takes of a guest: MAX_NODES cells, and ACPI_MAX_RAM_SLOTS DIMMs.
const (
	maxCells   = 128
	maxDevices = 256
)

func (b *builder) build() error {
	if n := len(b.Cells); n > maxCells {
		b.demand.TooMany = guard.TooMany{Count: n, Most: maxCells}
		b.Cells = b.Cells[:maxCells]
	}
	if n := len(b.Devices); n > maxDevices {
		b.demand.TooMany = guard.TooMany{Devices: true, Count: n, Most: maxDevices}
		b.Devices = b.Devices[:maxDevices]
	}
	if err := b.readPages(); err != nil {
		return err
	}
	b.readUnknown()
	own := b.Commandline.read()
	if len(b.pages) == 0 && !slices.ContainsFunc(b.Devices, ownPageSize) && !slices.ContainsFunc(b.Devices, atPath) && !b.anyInFile() && own.path == "" && own.objects == nil {
		return nil
	}
	b.readInterfaces()
	if err := b.readTuning(); err != nil {
		return err
	}
	b.confine()
	if b.Capabilities == nil {
		b.demand.Emulator = strings.TrimSpace(b.domainXML.Emulator)
		b.demand.Machine = guard.Machine{Kind: b.Kind, Name: b.Type.Machine}
	}
	cells, err := b.sortedCells()
	if err != nil {
		return err
	}
	divides, byPath := dividesRAM(b.Type.Machine), b.leavesRAM(cells)
	if byPath {
		// Found out about the machine, the contrary of what its name says counts.
		if err := b.addAll(cells, own, !divides); err != nil {
			return err
		}
		b.demand.Otherwise, b.demand.Divides, b.demand.Backends, b.named = b.demand.Backends, divides, nil, 0
	}
	return b.addAll(cells, own, byPath && divides)
}

// addAll adds all memory in QEMU's order. byPath says that the cells' RAM is left to QEMU.
func (b *builder) addAll(cells []guestCell, own arguments, byPath bool) error {
	devices := b.Devices
	b.prealloc = false
	if mb := b.MemoryBacking; byPath {
		b.prealloc = len(b.pages) > 0 && b.pages[0].kib != smallestPage ||
			mb != nil && mb.MemoryAllocation != nil && mb.MemoryAllocation.Mode == "immediate"
	}
	switch {
	case len(cells) == 0:
		if err := b.addWholeRAM(devices); err != nil {
			return err
		}
	case !byPath:
		b.addCells(cells)
	}
	names := aliases(devices)
	for i, dev := range devices {
		if err := b.addDevice(dev, i, names[i]); err != nil {
			return fmt.Errorf("devices/memory[%d]: %w", i+1, err)
		}
	}
	if err := b.addOwn(own); err != nil {
		return err
	}
	if byPath {
		// QEMU's board makes it, after all objects (qmp_x_exit_preconfig).
		return b.addPathRAM(cells)
	}
	return nil
}

// maxNamed is how many members the sets of a domain can have together: those of 128 cells, of which QEMU has no more,
// on a host with the kernel's 1,024 nodes, twice.
const maxNamed = 2 * 128 * 1024

// nodeSet reads a set of nodes or cells of the domain's.
func (b *builder) nodeSet(text string) (guard.NodeSet, error) {
	set, err := parseNodeSet(text)
	b.named += len(set)
	if err == nil && b.named > maxNamed {
		err = errors.New("all sets together have more nodes than a host can have")
	}
	return set, err
}

// atPath reports whether a device is a file or a device of the host, at a path of the admin's.
func atPath(dev libvirtxml.DomainMemorydev) bool {
	return slices.Contains([]string{"nvdimm", "virtio-pmem", "egm"}, dev.Model) && dev.Source != nil && dev.Source.Path != ""
}

// ownPageSize reports whether a device names its page size; 0 names none.
func ownPageSize(dev libvirtxml.DomainMemorydev) bool {
	return dev.Source != nil && dev.Source.PageSize != nil && dev.Source.PageSize.Value != 0
}

func (b *builder) readPages() error {
	if b.MemoryBacking == nil || b.MemoryBacking.MemoryHugePages == nil {
		return nil
	}
	elements := b.MemoryBacking.MemoryHugePages.Hugepages
	if len(elements) == 0 {
		b.pages = []pageElement{{from: "memoryBacking/hugepages"}}
	}
	for i, element := range elements {
		page := pageElement{from: fmt.Sprintf("memoryBacking/hugepages/page[%d]", i+1)}
		var err error
		page.kib, err = scale(uint64(element.Size), element.Unit)
		if err != nil {
			return fmt.Errorf("%s: %w", page.from, err)
		}
		if element.Nodeset != "" {
			page.cells, err = b.nodeSet(element.Nodeset)
			if err != nil {
				return fmt.Errorf("%s: %w", page.from, err)
			}
			// Without cells libvirt takes nodeset 0 for the whole guest (virDomainDefPostParseMemtune).
			if len(b.Cells) == 0 && slices.Equal(page.cells, guard.NodeSet{0}) {
				page.cells = nil
			}
		}
		b.pages = append(b.pages, page)
	}
	return nil
}

func (b *builder) readTuning() error {
	b.memnodes = map[int]tune{}
	for _, element := range b.NUMATune.MemNodes {
		t := tune{mode: element.Mode, from: fmt.Sprintf("numatune/memnode[@cellid='%d']", element.CellID)}
		var err error
		t.nodes, err = b.nodeSet(element.Nodeset)
		if err != nil {
			return fmt.Errorf("%s: %w", t.from, err)
		}
		t.unknown = b.unknown(t.from+"/@mode", t.mode, tuningModes)
		b.memnodes[int(element.CellID)] = t
	}
	// Left to itself, libvirt lets numad place the memory of a guest whose CPUs numad places (virDomainNumatuneSet).
	autoCPU := b.VCPU.Placement == "auto"
	b.unsure = b.unknown("vcpu/@placement", b.VCPU.Placement, placements) || b.unsure
	t := tune{from: "numatune/memory"}
	if len(b.NUMATune.Memory) > 0 {
		element := b.NUMATune.Memory[0]
		t.mode = element.Mode
		t.unknown = b.unknown(t.from+"/@mode", t.mode, tuningModes)
		b.unsure = b.unknown(t.from+"/@placement", element.Placement, placements) || b.unsure
		t.auto = element.Placement == "auto" || element.Placement == "" && element.Nodeset == "" && autoCPU
		if element.Nodeset != "" && !t.auto {
			var err error
			t.nodes, err = b.nodeSet(element.Nodeset)
			if err != nil {
				return fmt.Errorf("%s: %w", t.from, err)
			}
		}
	} else if autoCPU && len(b.memnodes) == 0 {
		t.auto, t.from = true, "vcpu[@placement='auto']"
	}
	if t.auto || t.nodes != nil || t.unknown {
		b.memory = &t
	}
	return nil
}

// confine works out the domain's cpuset.mems.
func (b *builder) confine() {
	m := b.memory
	if m == nil || (m.mode != "" && m.mode != "strict" && m.mode != "restrictive") {
		return
	}
	c := guard.Cpuset{Nodes: m.nodes, Union: m.nodes, Restrictive: m.mode == "restrictive", Auto: m.auto}
	if !c.Restrictive && !c.Auto {
		for _, node := range b.memnodes {
			c.Union = c.Union.Or(node.nodes)
		}
	}
	b.demand.Cpuset = c
}

// pageFor finds the page size of a cell, as qemuBuildMemoryGetPagesize does: the first element that names it, else the
// one that names none.
func (b *builder) pageFor(cell int) (pageElement, bool) {
	for _, page := range b.pages {
		if cell != noCell && page.cells.Has(cell) {
			return page, true
		}
	}
	for _, page := range b.pages {
		if page.cells == nil {
			return page, true
		}
	}
	return pageElement{}, false
}

// bind fills in where a backend's pages may lie: own, a device's own nodemask, goes before the tuning of its cell
// (virDomainNumatuneMaybeGetNodeset).
func (b *builder) bind(backend *guard.Backend, cell int, own guard.NodeSet, ownFrom string) {
	node, hasNode := b.memnodes[cell]
	mode := "strict"
	switch {
	case hasNode:
		mode, backend.Unsure = node.mode, node.unknown
	case b.memory != nil && b.memory.mode != "":
		mode, backend.Unsure = b.memory.mode, b.memory.unknown
	}
	var nodes guard.NodeSet
	switch {
	case own != nil:
		nodes, backend.From = own, ownFrom
	case b.memory != nil && b.memory.auto:
		backend.Auto, backend.From = true, b.memory.from
	case hasNode:
		nodes, backend.From = node.nodes, node.from
	case b.memory != nil:
		nodes, backend.From = b.memory.nodes, b.memory.from
	}
	backend.Policy, backend.Strength = guard.PolicyDefault, guard.Soft
	switch {
	case backend.Unsure:
		nodes, backend.Auto = nil, false
	case nodes == nil && !backend.Auto:
	case mode == "preferred":
		backend.Policy = guard.PolicyPreferred
	case mode == "interleave":
		backend.Policy = guard.PolicyInterleave
	case mode == "restrictive":
		// QEMU is told nothing, the cpuset alone confines the pages, which is that of numatune/memory. A set of the
		// backend's own is only that of the threads that prepare it.
		backend.Threads, nodes, backend.From = nodes, nil, ""
		backend.Cpuset, backend.Auto = b.demand.Cpuset.Nodes, b.memory != nil && b.memory.auto
		if backend.Cpuset != nil || backend.Auto {
			backend.Strength, backend.From = guard.Hard, b.memory.from
		}
	default:
		backend.Policy, backend.Strength = guard.PolicyBind, guard.Hard
	}
	if own != nil && backend.Policy != guard.PolicyBind {
		backend.Nodemask = guard.Nodemask{Nodes: own, From: ownFrom}
	}
	backend.HostNodes = nodes
	backend.Pinned, backend.PinnedTo = b.pinned()
}

// pinned reports whether QEMU's own threads are pinned to certain CPUs, and to which (qemuProcessSetupPid): by the
// domain, or by numad, which places them too where it places the memory and nothing else is pinned
// (virDomainDefTunablesParse).
func (b *builder) pinned() (is bool, to guard.CPUSet) {
	switch {
	case b.EmulatorPin != nil:
		return true, parseCPUSet(b.EmulatorPin.CPUSet)
	case b.VCPU.Placement == "auto":
		return true, nil
	case b.VCPU.CPUSet != "":
		return true, parseCPUSet(b.VCPU.CPUSet)
	}
	return b.memory != nil && b.memory.auto && b.VCPUPin == nil && b.IOThreadPin == nil, nil
}

// guestCell is one cpu/numa/cell.
type guestCell struct {
	id     int
	kib    uint64
	shares bool // it says how its memory is mapped (memAccess)
	caches bool
}

// sortedCells reads the cells in the order of their numbers, which is QEMU's.
func (b *builder) sortedCells() ([]guestCell, error) {
	cells := make([]guestCell, len(b.Cells))
	for i, element := range b.Cells {
		c := guestCell{id: i, shares: element.MemAccess != "", caches: len(element.Caches) > 0}
		if element.ID != nil {
			c.id = int(*element.ID)
		}
		var err error
		c.kib, err = scale(uint64(element.Memory), element.Unit)
		if err != nil {
			return nil, fmt.Errorf("cpu/numa/cell[@id='%d']: %w", c.id, err)
		}
		cells[i] = c
	}
	slices.SortStableFunc(cells, func(x, y guestCell) int { return x.id - y.id })
	return cells, nil
}

func (b *builder) addCells(cells []guestCell) {
	for _, c := range cells {
		page, huge := b.pageFor(c.id)
		backend := guard.Backend{ID: fmt.Sprintf("ram-node%d", c.id), Cell: &c.id}
		if !huge {
			b.addInFile(backend, c.id, nil, "", c.shares, c.kib, roundUp(c.kib, b.ramAlignment()))
			continue
		}
		b.bind(&backend, c.id, nil, "")
		b.add(backend, c.kib, roundUp(c.kib, b.ramAlignment()), page)
	}
}

// leavesRAM reports whether libvirt leaves the RAM of all cells to QEMU as a whole, by -mem-path, where the machine
// divides RAM by itself: no cell asks for anything of its own (qemuBuildNumaCommandLine).
func (b *builder) leavesRAM(cells []guestCell) bool {
	if len(cells) == 0 || b.HMAT != nil {
		return false
	}
	if mb := b.MemoryBacking; mb != nil {
		if mb.MemoryAccess != nil && mb.MemoryAccess.Mode != "" ||
			mb.MemorySource != nil && (mb.MemorySource.Type == "file" || mb.MemorySource.Type == "memfd") {
			return false
		}
	}
	return !slices.ContainsFunc(cells, func(c guestCell) bool {
		page, huge := b.pageFor(c.id)
		_, tuned := b.memnodes[c.id]
		return c.shares || c.caches || tuned || huge && page.cells != nil && page.kib != smallestPage
	})
}

// smallestPage is the size in KiB that counts as the ordinary page of machines of these types. An element that names it is
// as good as none.
const smallestPage = 4

// dividesRAM reports whether QEMU can divide RAM among the cells of a machine type (numa_mem_supported): those up to
// 5.0, up to 8.2 of Red Hat's and up to groovy of Ubuntu's.
func dividesRAM(machine string) bool {
	_, version, ok := strings.Cut(machine, "-")
	if !ok {
		return false // an alias of the newest
	}
	version = strings.TrimPrefix(strings.TrimPrefix(version, "q35-"), "i440fx-")
	version, redHat := strings.CutPrefix(version, "rhel")
	first, rest, _ := strings.Cut(version, ".")
	major, err := strconv.Atoi(first)
	minor, errMinor := strconv.Atoi(rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))])
	if err != nil || errMinor != nil {
		name, _, _ := strings.Cut(version, "-")
		return slices.Contains(oldUbuntu, name)
	}
	if redHat {
		return major < 8 || major == 8 && minor <= 2
	}
	return major < 5 || major == 5 && minor == 0
}

// oldUbuntu are the releases of Ubuntu that had QEMU up to 5.0.
var oldUbuntu = []string{"trusty", "utopic", "vivid", "wily", "xenial", "yakkety", "zesty", "artful", "bionic", "cosmic", "disco", "eoan", "focal", "groovy"}

// addPathRAM adds RAM that -mem-path alone puts on pages: of the first page element's size (qemuBuildMemPathStr), and
// nowhere in particular but where the whole of QEMU is confined to.
func (b *builder) addPathRAM(cells []guestCell) error {
	if len(b.pages) == 0 {
		return nil
	}
	var kib, aligned uint64
	for _, c := range cells {
		kib += c.kib
		aligned += roundUp(c.kib, b.ramAlignment())
		if aligned > maxKiB {
			return errors.New("cpu/numa: the cells are more memory than libvirt can count")
		}
	}
	backend := guard.Backend{ID: b.ramID()}
	b.bind(&backend, noCell, nil, "")
	backend.Policy, backend.HostNodes, backend.Threads = guard.PolicyDefault, nil, nil
	if backend.Strength == guard.Hard {
		backend.Cpuset = b.demand.Cpuset.Nodes
	} else {
		backend.Auto, backend.From = false, ""
	}
	b.add(backend, kib, aligned, b.pages[0])
	return nil
}

// addWholeRAM adds the RAM of a guest without cells: what memory says, less the memory devices, which it includes
// (virDomainDefGetMemoryInitial).
func (b *builder) addWholeRAM(devices []libvirtxml.DomainMemorydev) error {
	page, huge := b.pageFor(noCell)
	if filed, _ := b.inFile(false); !huge && !filed || b.Memory == nil {
		return nil
	}
	kib, err := scale(uint64(b.Memory.Value), b.Memory.Unit)
	if err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	for i, dev := range devices {
		size, err := deviceSize(dev)
		if err != nil {
			return fmt.Errorf("devices/memory[%d]: %w", i+1, err)
		}
		kib -= min(kib, size)
	}
	backend := guard.Backend{ID: b.ramID()}
	if !huge {
		b.addInFile(backend, noCell, nil, "", false, kib, roundUp(kib, b.ramAlignment()))
		return nil
	}
	b.bind(&backend, noCell, nil, "")
	backend.Whole = true
	b.add(backend, kib, roundUp(kib, b.ramAlignment()), page)
	return nil
}

// aliases returns each memory device's name, as qemuAssignDeviceMemoryAlias gives it where the admin gave none: DIMMs,
// NVDIMMs among them, go by their slot, all others count their kind.
func aliases(devices []libvirtxml.DomainMemorydev) []string {
	isDIMM := func(dev libvirtxml.DomainMemorydev) bool { return dev.Model == "dimm" || dev.Model == "nvdimm" }
	slot := func(dev libvirtxml.DomainMemorydev) *uint {
		if dev.Address == nil || dev.Address.DIMM == nil {
			return nil
		}
		return dev.Address.DIMM.Slot
	}
	used := map[int]bool{}
	for _, dev := range devices {
		if s := slot(dev); isDIMM(dev) && s != nil {
			used[int(*s)] = true
		}
	}
	names := make([]string, len(devices))
	counts := map[string]int{}
	free := 0
	for i, dev := range devices {
		var number int
		switch s := slot(dev); {
		case isDIMM(dev) && s != nil:
			number = int(*s)
		case isDIMM(dev):
			for used[free] {
				free++
			}
			number = free
			free++
		}
		switch {
		case dev.Alias != nil && strings.HasPrefix(dev.Alias.Name, userAlias):
			names[i] = dev.Alias.Name
			continue
		case !isDIMM(dev):
			number = counts[dev.Model]
			counts[dev.Model]++
		}
		names[i] = fmt.Sprintf("%s%d", strings.ReplaceAll(dev.Model, "-", ""), number)
	}
	return names
}

// userAlias begins the name that an admin gives a device; any other is libvirt's, and only of the guest's last run
// (virDomainDeviceInfoParseXML).
const userAlias = "ua-"

func (b *builder) addDevice(dev libvirtxml.DomainMemorydev, index int, name string) error {
	if dev.Model != "dimm" && dev.Model != guard.VirtioMem && !atPath(dev) {
		return nil // sgx-epc is the processor's own memory
	}
	kib, err := deviceSize(dev)
	if err != nil {
		return err
	}
	cell, backend := noCell, guard.Backend{Device: dev.Model}
	if dev.Target != nil && dev.Target.Node != nil {
		cell = int(dev.Target.Node.Value)
		backend.Cell = &cell
	}
	element := fmt.Sprintf("devices/memory[%d]", index+1)
	if atPath(dev) {
		backend.ID, backend.Path = "mem"+name, dev.Source.Path
		// Only an NVDIMM that is none of hardware's is prepared (qemuBuildMemoryGetPagesize).
		backend.Lazy = dev.Model != "nvdimm" || dev.Source.PMem != nil
		b.bind(&backend, cell, nil, "")
		b.add(backend, kib, roundUp(kib, b.deviceAlignment()), pageElement{from: element + "/source/path"})
		return nil
	}
	page, huge := b.pageFor(cell)
	if ownPageSize(dev) {
		page, huge = pageElement{from: element + "/source/pagesize"}, true
		page.kib, err = scale(dev.Source.PageSize.Value, dev.Source.PageSize.Unit)
		if err != nil {
			return fmt.Errorf("source/pagesize: %w", err)
		}
	}
	filed, _ := b.inFile(dev.Access != "")
	if !huge && (!filed || dev.Model == guard.VirtioMem) {
		return nil
	}
	var own guard.NodeSet
	if dev.Source != nil && dev.Source.NodeMask != "" {
		own, err = b.nodeSet(dev.Source.NodeMask)
		if err != nil {
			return fmt.Errorf("source/nodemask: %w", err)
		}
	}
	backend.ID = "mem" + name
	if !huge {
		b.addInFile(backend, cell, own, element+"/source/nodemask", dev.Access != "", kib, roundUp(kib, b.deviceAlignment()))
		return nil
	}
	if err := plugged(&backend, dev); err != nil {
		return err
	}
	b.bind(&backend, cell, own, element+"/source/nodemask")
	b.add(backend, kib, roundUp(kib, b.deviceAlignment()), page)
	return nil
}

// plugged reads how much of a virtio-mem device the guest gets first, and in how large pieces.
func plugged(backend *guard.Backend, dev libvirtxml.DomainMemorydev) (err error) {
	if dev.Model != guard.VirtioMem || dev.Target == nil {
		return nil
	}
	if requested := dev.Target.Requested; requested != nil {
		backend.Requested, err = scale(uint64(requested.Value), requested.Unit)
		if err != nil {
			return fmt.Errorf("target/requested: %w", err)
		}
	}
	if block := dev.Target.Block; block != nil {
		backend.Block, err = scale(uint64(block.Value), block.Unit)
		if err != nil {
			return fmt.Errorf("target/block: %w", err)
		}
	}
	return nil
}

// add appends a backend of kib KiB, which a cold start rounds to aligned.
func (b *builder) add(backend guard.Backend, kib, aligned uint64, page pageElement) {
	if kib == 0 {
		return
	}
	backend.ExactBytes = kib * 1024
	backend.Bytes = aligned * 1024
	backend.PageKiB = page.kib
	if backend.From == "" {
		backend.From = page.from
	}
	mb := b.MemoryBacking
	backend.Unsure = backend.Unsure || b.unsure
	backend.Global = b.prealloc
	backend.Memfd = backend.Path == "" && mb != nil && mb.MemorySource != nil && mb.MemorySource.Type == "memfd"
	b.demand.Backends = append(b.demand.Backends, backend)
}

func deviceSize(dev libvirtxml.DomainMemorydev) (kib uint64, err error) {
	if dev.Target == nil || dev.Target.Size == nil {
		return 0, nil
	}
	kib, err = scale(uint64(dev.Target.Size.Value), dev.Target.Size.Unit)
	if err != nil {
		return 0, fmt.Errorf("target/size: %w", err)
	}
	return kib, nil
}

func (b *builder) isPPC64() bool { return strings.HasPrefix(b.Type.Arch, "ppc64") }

// ramAlignment is what a cold start rounds RAM up to, in KiB (qemuDomainGetMemorySizeAlignment).
func (b *builder) ramAlignment() uint64 {
	if b.isPPC64() {
		return 256 << 10
	}
	return 1 << 10
}

// deviceAlignment is the same for memory devices (qemuDomainGetMemoryModuleSizeAlignment).
func (b *builder) deviceAlignment() uint64 {
	if b.isPPC64() {
		return 256 << 10
	}
	return 2 << 10
}

// ramID is QEMU's name for the RAM of a machine without cells (default_ram_id of its machine classes).
func (b *builder) ramID() string {
	switch arch := b.Type.Arch; {
	case arch == "x86_64" || arch == "i686":
		return "pc.ram"
	case arch == "aarch64" || arch == "armv7l":
		return "mach-virt.ram"
	case b.isPPC64():
		return "ppc_spapr.ram"
	case arch == "s390x":
		return "s390.ram"
	case strings.HasPrefix(arch, "riscv"):
		return "riscv_virt_board.ram"
	default:
		return "ram"
	}
}

func roundUp(n, multiple uint64) uint64 { return (n + multiple - 1) / multiple * multiple }
