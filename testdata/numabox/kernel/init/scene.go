package main

import (
	"fmt"
	"slices"
	"strings"

	"hugeguard/guard"
)

// scene is one case: pools, those who hold pages already, and a domain.
type scene struct {
	Pools      []int    // pages, by node
	Overcommit int      `json:",omitempty"`
	Holders    []holder `json:",omitempty"`
	// Resized are the pools that the nodes get when the holders have theirs;
	// nil leaves them alone. Pages in use beyond it become surplus ones.
	Resized []int `json:",omitempty"`
	// Mount lies over the mount that libvirt uses, Group is above the
	// domain's control group.
	Mount  mount
	Group  group
	Domain domain
}

// holder is somebody else's mapping.
type holder struct {
	Kind      kind
	Shared    bool `json:",omitempty"`
	NoReserve bool `json:",omitempty"`
	Pages     int
	Touched   int           `json:",omitempty"`
	Mode      int           `json:",omitempty"` // of mbind
	Nodes     guard.NodeSet `json:",omitempty"`
	Left      bool          `json:",omitempty"` // a file that nobody maps any more
}

func (h holder) String() string {
	text := fmt.Sprintf("%d pages, %d touched, %s", h.Pages, h.Touched, h.Kind)
	if h.Shared {
		text += ", shared"
	} else {
		text += ", private"
	}
	if h.NoReserve {
		text += ", not reserved"
	}
	if h.Left {
		text += ", left behind unmapped"
	}
	if h.Mode != mpolDefault {
		text += fmt.Sprintf(", %s %s", modeNames[h.Mode], h.Nodes)
	}
	return text
}

var modeNames = map[int]string{mpolPreferred: "preferred", mpolBind: "bound to", mpolInterleave: "interleaved over", mpolPreferredMany: "preferred-many"}

func (h holder) command(cpu int) command {
	c := command{Order: apart, Threads: 1, Mappings: []mapping{{
		ID: "holder", Kind: h.Kind, Bytes: uint64(h.Pages) * pageBytes, Shared: h.Shared, NoReserve: h.NoReserve,
		Mode: h.Mode, Nodes: mask(h.Nodes), Touch: h.Touched, Left: h.Left,
	}}}
	c.CPU.Set(cpu)
	return c
}

// domain is what matters of a domain. Its backends are worked out twice: from
// its XML by the guard, and from here, as libvirt does it, by [domain.backends].
type domain struct {
	// Cells are the guest's; a guest without has WholeMiB.
	Cells    []cell   `json:",omitempty"`
	WholeMiB int      `json:",omitempty"`
	Devices  []device `json:",omitempty"`
	Memory   *tuning  `json:",omitempty"` // numatune/memory
	Source   string   `json:",omitempty"` // "", "file" or "memfd"
	Shared   bool     `json:",omitempty"`
	Pages    string   // the way in which the pages' size is given: one of pageForms
	// Pin is what the emulator is pinned to, nil for nothing.
	Pin guard.CPUSet `json:",omitempty"`
	// Partition is the resource partition, "" for libvirt's own.
	Partition string `json:",omitempty"`
}

type cell struct {
	MiB     int
	Memnode *tuning `json:",omitempty"`
	Normal  bool    `json:",omitempty"` // its memory is no huge pages
}

type device struct {
	Model string // "dimm" or "virtio-mem"
	MiB   int
	Cell  int
	Nodes guard.NodeSet `json:",omitempty"` // its own nodemask
	Own   bool          `json:",omitempty"` // it has a page size of its own
}

// tuning is a mode and nodes; Auto leaves the nodes to numad.
type tuning struct {
	Mode  string        `json:",omitempty"` // "": not given, which is strict
	Nodes guard.NodeSet `json:",omitempty"`
	Auto  bool          `json:",omitempty"`
}

// The ways in which a domain can ask for huge pages.
const (
	pagesDefault = "default"                   // <hugepages/>
	pagesSize    = "size"                      // one element for all
	pagesCells   = "by cell"                   // one element with the cells that have them
	pagesMixed   = "size 4 KiB for the others" // the same, with ordinary ones for the others
)

func (d domain) xml(name string) []byte {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	total := d.WholeMiB
	for _, c := range d.Cells {
		total += c.MiB
	}
	for _, dev := range d.Devices {
		total += dev.MiB
	}
	p("<domain type='kvm' id='1'>")
	p("  <name>%s</name>", name)
	p("  <uuid>6c1a2f04-8a51-4d5e-9f0b-0123456789ab</uuid>")
	if len(d.Devices) > 0 {
		p("  <maxMemory slots='8' unit='KiB'>%d</maxMemory>", 2*total*1024)
	}
	p("  <memory unit='KiB'>%d</memory>", total*1024)
	p("  <currentMemory unit='KiB'>%d</currentMemory>", total*1024)
	if d.Partition != "" {
		p("  <resource>\n    <partition>%s</partition>\n  </resource>", d.Partition)
	}
	p("  <memoryBacking>")
	var huge guard.NodeSet
	for i, c := range d.Cells {
		if !c.Normal {
			huge = append(huge, i)
		}
	}
	switch d.Pages {
	case pagesSize:
		p("    <hugepages>\n      <page size='2048' unit='KiB'/>\n    </hugepages>")
	case pagesCells:
		p("    <hugepages>\n      <page size='2048' unit='KiB' nodeset='%s'/>\n    </hugepages>", huge)
	case pagesMixed:
		p("    <hugepages>\n      <page size='2' unit='M' nodeset='%s'/>\n      <page size='4' unit='KiB'/>\n    </hugepages>", huge)
	default:
		p("    <hugepages/>")
	}
	if d.Source != "" {
		p("    <source type='%s'/>", d.Source)
	}
	if d.Shared {
		p("    <access mode='shared'/>")
	}
	p("  </memoryBacking>")
	p("  <vcpu placement='static'>%d</vcpu>", max(len(d.Cells), 1))
	if d.Pin != nil {
		p("  <cputune>\n    <emulatorpin cpuset='%s'/>\n  </cputune>", guard.NodeSet(d.Pin))
	}
	var tune []string
	if d.Memory != nil {
		tune = append(tune, "    <memory"+d.Memory.attributes()+"/>")
	}
	for i, c := range d.Cells {
		if c.Memnode != nil {
			tune = append(tune, fmt.Sprintf("    <memnode cellid='%d'%s/>", i, c.Memnode.attributes()))
		}
	}
	if len(tune) > 0 {
		p("  <numatune>\n%s\n  </numatune>", strings.Join(tune, "\n"))
	}
	p("  <os>\n    <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>\n  </os>")
	if len(d.Cells) > 0 {
		p("  <cpu mode='host-model'>\n    <numa>")
		for i, c := range d.Cells {
			p("      <cell id='%d' cpus='%d' memory='%d' unit='KiB'/>", i, i, c.MiB*1024)
		}
		p("    </numa>\n  </cpu>")
	}
	p("  <devices>\n    <emulator>/usr/bin/qemu-system-x86_64</emulator>")
	for _, dev := range d.Devices {
		p("    <memory model='%s'>", dev.Model)
		if dev.Own || dev.Nodes != nil {
			p("      <source>")
			if dev.Nodes != nil {
				p("        <nodemask>%s</nodemask>", dev.Nodes)
			}
			if dev.Own {
				p("        <pagesize unit='KiB'>%d</pagesize>", pageKiB)
			}
			p("      </source>")
		}
		p("      <target>\n        <size unit='KiB'>%d</size>\n        <node>%d</node>", dev.MiB*1024, dev.Cell)
		if dev.Model == "virtio-mem" {
			p("        <block unit='KiB'>2048</block>\n        <requested unit='KiB'>0</requested>")
		}
		p("      </target>\n    </memory>")
	}
	p("  </devices>\n</domain>")
	return []byte(b.String())
}

func (t tuning) attributes() (text string) {
	if t.Mode != "" {
		text = fmt.Sprintf(" mode='%s'", t.Mode)
	}
	if t.Auto {
		return text + " placement='auto'"
	}
	return text + fmt.Sprintf(" nodeset='%s'", t.Nodes)
}

// variant is how a launch goes about it: what differs between releases,
// between hosts and from one time to the next.
type variant struct {
	// Releases are some that go about it so.
	Releases guard.Releases
	Cpuset   cpusetRule
	Order    order
	Threads  int // that touch one backend
	CPU      int // where QEMU's main thread runs
	// Pinned: the pages are touched from CPUs of their nodes (a
	// thread-context of QEMU's); Restrictive: also those of restrictive, and
	// only from nodes with CPUs that the emulator is pinned to.
	Pinned, Restrictive bool
	// Many: preferred goes by MPOL_PREFERRED_MANY.
	Many bool
	// Exact: file backends have to be a multiple of their pages.
	Exact bool
	// Advice is what numad says.
	Advice guard.NodeSet
}

// cpusetRule is what libvirt writes to cpuset.mems.
type cpusetRule string

const (
	cpusetMemory cpusetRule = "numatune/memory's nodes" // libvirt before 9.5
	cpusetUnion  cpusetRule = "all of numatune's nodes" // libvirt since 9.5
	cpusetNone   cpusetRule = "nothing"                 // may not use the controller
)

func (v variant) String() string {
	text := fmt.Sprintf("cpuset of %s, %s, %d thread(s) each, main thread on CPU %d", v.Cpuset, v.Order, v.Threads, v.CPU)
	if v.Pinned {
		text += ", touched from the nodes' CPUs"
	}
	if v.Many {
		text += ", preferred-many"
	}
	if v.Exact {
		text += ", files a multiple of the page"
	}
	if v.Advice != nil {
		text += ", numad says " + v.Advice.String()
	}
	return text + ", as " + v.Releases.String()
}

// backend is a memory backend as libvirt hands it to QEMU.
type backend struct {
	id     string
	mib    int
	mode   string // "", "strict", "preferred", "interleave", "restrictive"
	nodes  guard.NodeSet
	device bool
	virtio bool
}

// backends works out what QEMU is asked for, as libvirt's
// qemuBuildMemoryBackendProps does.
func (d domain) backends(advice guard.NodeSet) (all []backend) {
	bind := func(b backend, memnode *tuning, own guard.NodeSet) backend {
		mode := "strict"
		var nodes guard.NodeSet
		if d.Memory != nil {
			mode, nodes = d.Memory.mode(), d.Memory.Nodes
			if d.Memory.Auto {
				nodes = advice
			}
		}
		if memnode != nil {
			mode = memnode.mode()
			if d.Memory == nil || !d.Memory.Auto {
				nodes = memnode.Nodes
			}
		}
		if own != nil {
			nodes = own
		}
		if nodes != nil {
			b.mode, b.nodes = mode, nodes
		}
		return b
	}
	if len(d.Cells) == 0 {
		all = append(all, bind(backend{id: "pc.ram", mib: d.WholeMiB}, nil, nil))
	}
	for i, c := range d.Cells {
		if !c.Normal {
			all = append(all, bind(backend{id: fmt.Sprintf("ram-node%d", i), mib: c.MiB}, c.Memnode, nil))
		}
	}
	dimms, virtios := 0, 0
	for _, dev := range d.Devices {
		b := backend{mib: (dev.MiB + 1) / 2 * 2, device: true}
		if dev.Model == "dimm" {
			b.id = fmt.Sprintf("memdimm%d", dimms)
			dimms++
		} else {
			b.id, b.virtio = fmt.Sprintf("memvirtiomem%d", virtios), true
			virtios++
		}
		if dev.Own || !d.Cells[dev.Cell].Normal {
			all = append(all, bind(b, d.Cells[dev.Cell].Memnode, dev.Nodes))
		}
	}
	return all
}

func (t tuning) mode() string {
	if t.Mode == "" {
		return "strict"
	}
	return t.Mode
}

// confinement is the domain's cpuset.mems and the policy of QEMU's process,
// as qemuProcessSetupEmulator and qemuProcessHook set them; nodes is nil for
// no cpuset.
func (d domain) confinement(v variant) (nodes guard.NodeSet, mode int, task guard.NodeSet) {
	if d.Memory == nil {
		return nil, mpolDefault, nil
	}
	own := d.Memory.Nodes
	if d.Memory.Auto {
		own = v.Advice
	}
	switch d.Memory.mode() {
	case "strict":
		switch v.Cpuset {
		case cpusetNone:
			return nil, mpolBind, own
		case cpusetUnion:
			nodes = own
			for _, c := range d.Cells {
				if c.Memnode != nil {
					nodes = nodes.Or(c.Memnode.Nodes)
				}
			}
			return nodes, mpolDefault, nil
		}
		return own, mpolDefault, nil
	case "restrictive":
		if v.Cpuset == cpusetNone {
			return nil, mpolDefault, nil
		}
		return own, mpolDefault, nil
	case "preferred":
		if v.Many {
			return nil, mpolPreferredMany, own
		}
		return nil, mpolPreferred, own[:1]
	default:
		return nil, mpolInterleave, own
	}
}

// command is what QEMU does for the domain, and the cpuset that it does it
// under. A policy of its own it has before libvirt puts it into its control
// group (qemuProcessHook).
func (d domain) command(v variant, m *machine) (c command, cpuset guard.NodeSet) {
	cpuset, mode, task := d.confinement(v)
	c = command{Order: v.Order, Threads: v.Threads, TaskMode: mode, TaskNodes: mask(task)}
	c.CPU.Set(v.CPU)
	for _, b := range d.backends(v.Advice) {
		at := mapping{ID: b.id, Kind: hugeFile, Shared: d.Shared, Bytes: uint64(b.mib) << 20, NoReserve: b.virtio}
		if d.Source == "memfd" {
			at.Kind, at.Shared = memfd, true
		}
		if !b.virtio {
			at.Touch = int((at.Bytes + pageBytes - 1) / pageBytes)
		}
		// qemuBuildThreadContextProps goes by the nodes that the backend would
		// have in any mode, and only for what is allocated at the start.
		nodes := b.nodes
		if v.Restrictive && d.Pin != nil {
			nodes = nodes.And(m.nodesOf(d.Pin))
		}
		context := v.Pinned && len(nodes) > 0 && !b.virtio
		switch b.mode {
		case "strict":
			at.Mode, at.Nodes = mpolBind, mask(b.nodes)
		case "interleave":
			at.Mode, at.Nodes = mpolInterleave, mask(b.nodes)
		case "preferred":
			// QEMU passes all nodes; the kernel takes the first that the cpuset allows.
			at.Mode, at.Nodes = mpolPreferred, mask(b.nodes)
			if v.Many {
				at.Mode = mpolPreferredMany
			}
		case "restrictive":
			context = context && v.Restrictive
		}
		at.Async = context
		if context {
			cpus := m.cpus(nodes)
			at.CPU = &cpus
			if cpus.Count() == 0 {
				at.Refused = "no CPUs"
			}
		}
		if at.Bytes < pageBytes && at.Kind == hugeFile {
			at.Refused = "less than a page"
		}
		if rest := at.Bytes % pageBytes; rest != 0 && at.Kind == hugeFile && (v.Exact || b.device) {
			at.Refused = "no multiple of the page"
		}
		c.Mappings = append(c.Mappings, at)
	}
	return c, cpuset
}

// clone copies what a change of the copy must not change here.
func (s scene) clone() scene {
	s.Pools, s.Resized, s.Holders = slices.Clone(s.Pools), slices.Clone(s.Resized), slices.Clone(s.Holders)
	s.Domain.Cells, s.Domain.Devices = slices.Clone(s.Domain.Cells), slices.Clone(s.Domain.Devices)
	return s
}
