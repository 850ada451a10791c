package domain

import (
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
)

// domainXML is what decides about memory in a domain's XML. Nothing odd in a disk or in metadata keeps it from being
// read. The fields are called as in package libvirtxml, which describes the whole; that, and package encoding/xml with
// it, reads by reflection, which takes nearly a tenth of an accepted start.
type domainXML struct {
	Name, UUID    string
	Memory        *sized
	MemoryBacking backingXML
	VCPU          struct{ Placement, CPUSet string }
	Partition     string
	EmulatorPin   *struct{ CPUSet string }
	VCPUPin       bool
	IOThreadPin   bool
	NUMATune      struct {
		// libvirt takes the first.
		Memory   []tuneXML
		MemNodes []tuneXML
	}
	Type       struct{ Arch, Machine string }
	Cells      []cellXML
	HMAT       bool
	Devices    []deviceXML
	Interfaces []interfaceXML
	Emulator   string
	// Capabilities changes what libvirt believes of QEMU.
	Capabilities bool
	// Commandline is what QEMU is told beside libvirt, by arguments.
	Commandline []string
}

// sized is an amount of memory.
type sized struct {
	Value uint64
	Unit  string
}

// backingXML is memoryBacking; a mode and a type are "" without their elements.
type backingXML struct {
	HugePages      bool
	Pages          []pageXML
	SourceType     string
	AccessMode     string
	AllocationMode string
}

// pageXML is memoryBacking/hugepages/page.
type pageXML struct {
	sized
	Nodeset string
}

// tuneXML is numatune/memory or numatune/memnode.
type tuneXML struct {
	CellID                   uint64
	Mode, Nodeset, Placement string
}

// cellXML is cpu/numa/cell.
type cellXML struct {
	ID        *uint64
	Memory    sized
	MemAccess string
	Caches    bool
}

// deviceXML is devices/memory.
type deviceXML struct {
	Model, Access, Alias string
	Slot                 *uint64 // of a DIMM
	NodeMask             string
	PageSize             sized
	Size                 sized
	Node                 *uint64
	Block, Requested     sized
}

func (dev deviceXML) isDIMM() bool { return dev.Model == "dimm" || dev.Model == "nvdimm" }

// interfaceXML is a network interface. Its MTU is text, so that one that is no number keeps nothing from being judged.
type interfaceXML struct{ Type, MTU string }

// An open element of a domain's XML.
type open struct {
	path   string // below the domain
	tag    xml.StartElement
	text   *string // where its text goes, nil for nowhere
	number *uint64 // the same for one that is a number
	data   []byte
	err    error // the first
}

// read reads a domain.
func (d *domainXML) read(stream xml.TokenReader) error {
	decoder := xml.NewTokenDecoder(stream)
	var at []open
	for {
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		switch t := token.(type) {
		case xml.StartElement:
			if len(at) == 0 && t.Name.Local != "domain" {
				return fmt.Errorf("expected element type <domain> but have <%s>", t.Name.Local)
			}
			e := open{tag: t}
			if len(at) > 0 {
				e.path = strings.TrimPrefix(at[len(at)-1].path+"/"+t.Name.Local, "/")
				d.begin(&e)
			}
			at = append(at, e)
		case xml.CharData:
			if len(at) == 0 {
				continue
			}
			if e := &at[len(at)-1]; e.text != nil || e.number != nil {
				e.data = append(e.data, t...)
			}
		case xml.EndElement:
			e := at[len(at)-1]
			at = at[:len(at)-1]
			e.end()
			if e.err != nil {
				return notNumber(e.tag, e.err)
			}
			if len(at) == 0 {
				return nil
			}
		}
	}
}

// get returns an attribute's value, "" without one.
func (e *open) get(name string) string { return attribute(e.tag, name) }

// count returns an attribute's number, 0 without one.
func (e *open) count(name string) (n uint64) {
	e.parse(&n, e.get(name))
	return n
}

// optional returns an attribute's number, nil without one.
func (e *open) optional(name string) *uint64 {
	if e.get(name) == "" {
		return nil
	}
	n := e.count(name)
	return &n
}

// size has the element's text and unit be those of an amount.
func (e *open) size(into *sized) {
	*into = sized{Unit: e.get("unit")}
	e.number = &into.Value
}

func (e *open) parse(into *uint64, text string) {
	if text == "" {
		return
	}
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
	if err != nil && e.err == nil {
		e.err = err
	}
	*into = n
}

// end puts the element's text where it goes.
func (e *open) end() {
	if e.text != nil {
		*e.text = string(e.data)
	}
	if e.number != nil {
		e.parse(e.number, string(e.data))
	}
}

// begin takes in an element, and where its text goes.
func (d *domainXML) begin(e *open) {
	section, rest, _ := strings.Cut(e.path, "/")
	switch section {
	case "memoryBacking":
		d.beginBacking(e, rest)
	case "devices":
		d.beginDevice(e, rest)
	case "capabilities", "commandline":
		if e.tag.Name.Space == qemuNamespace {
			d.beginQEMU(e)
		}
	}
	switch e.path {
	case "name":
		e.text = &d.Name
	case "uuid":
		e.text = &d.UUID
	case "memory":
		d.Memory = new(sized)
		e.size(d.Memory)
	case "vcpu":
		d.VCPU.Placement, d.VCPU.CPUSet = e.get("placement"), e.get("cpuset")
	case "resource/partition":
		e.text = &d.Partition
	case "cputune/emulatorpin":
		d.EmulatorPin = &struct{ CPUSet string }{e.get("cpuset")}
	case "cputune/vcpupin":
		d.VCPUPin = true
	case "cputune/iothreadpin":
		d.IOThreadPin = true
	case "numatune/memory":
		d.NUMATune.Memory = append(d.NUMATune.Memory, e.tuning())
	case "numatune/memnode":
		d.NUMATune.MemNodes = append(d.NUMATune.MemNodes, e.tuning())
	case "os/type":
		d.Type.Arch, d.Type.Machine = e.get("arch"), e.get("machine")
	case "cpu/numa/cell":
		d.Cells = append(d.Cells, cellXML{e.optional("id"), sized{e.count("memory"), e.get("unit")}, e.get("memAccess"), false})
	case "cpu/numa/cell/cache":
		d.Cells[len(d.Cells)-1].Caches = true
	case "cpu/numa/interconnects":
		d.HMAT = true
	}
}

func (e *open) tuning() tuneXML {
	return tuneXML{e.count("cellid"), e.get("mode"), e.get("nodeset"), e.get("placement")}
}

// beginQEMU takes in an element of QEMU's namespace.
func (d *domainXML) beginQEMU(e *open) {
	switch e.path {
	case "capabilities":
		d.Capabilities = true
	case "commandline/arg":
		d.Commandline = append(d.Commandline, e.get("value"))
	}
}

// beginBacking takes in memoryBacking, or an element of it.
func (d *domainXML) beginBacking(e *open, name string) {
	b := &d.MemoryBacking
	switch name {
	case "hugepages":
		b.HugePages = true
	case "hugepages/page":
		b.Pages = append(b.Pages, pageXML{sized{e.count("size"), e.get("unit")}, e.get("nodeset")})
	case "source":
		b.SourceType = e.get("type")
	case "access":
		b.AccessMode = e.get("mode")
	case "allocation":
		b.AllocationMode = e.get("mode")
	}
}

// beginDevice takes in a device, or an element of one.
func (d *domainXML) beginDevice(e *open, name string) {
	switch name {
	case "emulator":
		e.text = &d.Emulator
	case "interface":
		d.Interfaces = append(d.Interfaces, interfaceXML{Type: e.get("type")})
	case "interface/mtu":
		d.Interfaces[len(d.Interfaces)-1].MTU = e.get("size")
	case "memory":
		d.Devices = append(d.Devices, deviceXML{Model: e.get("model"), Access: e.get("access")})
	}
	name, ok := strings.CutPrefix(name, "memory/")
	if ok {
		d.Devices[len(d.Devices)-1].begin(e, name)
	}
}

// begin takes in an element of a memory device.
func (dev *deviceXML) begin(e *open, name string) {
	switch name {
	case "alias":
		dev.Alias = e.get("name")
	case "address":
		if e.get("type") == "dimm" {
			dev.Slot = e.optional("slot")
		}
	case "source/nodemask":
		e.text = &dev.NodeMask
	case "source/pagesize":
		e.size(&dev.PageSize)
	case "target/size":
		e.size(&dev.Size)
	case "target/node":
		dev.Node = new(uint64)
		e.number = dev.Node
	case "target/block":
		e.size(&dev.Block)
	case "target/requested":
		e.size(&dev.Requested)
	}
}
