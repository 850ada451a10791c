// Package grammar makes up domains: every way to ask for huge pages that
// libvirt has, and some of what it refuses.
package grammar

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pgregory.net/rapid"
)

// Sentence is a domain's XML out of the grammar. numad has its say in no
// command line that libvirt merely prints, so of a domain that leaves its nodes
// to numad there is a second form, in which numad's advice stands as if the
// admin had written it.
type Sentence struct {
	XML     string
	Advised string // the same as XML where numad is not asked
}

// Advice is what numad says in the second form.
const Advice = "1,3"

// Nodes are the host nodes that domains mostly ask for; some ask for others.
func Nodes() []int { return []int{0, 1, 2, 3, 4, 5, 6, 7, 63, 64, 130, 1023} }

const emulator = "/usr/bin/qemu-system-x86_64"

// grammar draws one domain.
type grammar struct {
	*rapid.T
	cells     int
	pages     bool // memoryBacking/hugepages
	autoCPU   bool
	restrict  bool // numatune/memory is restrictive
	autoNodes bool // the nodes are left to numad
}

func (g *grammar) one(label string, from ...string) string {
	return rapid.SampledFrom(from).Draw(g.T, label)
}

// chance is true once in n; what is rarer is what rapid shrinks to false.
func (g *grammar) chance(n int, label string) bool {
	return rapid.IntRange(0, n-1).Draw(g.T, label) == n-1
}

func (g *grammar) upTo(n int, label string) int { return rapid.IntRange(0, n).Draw(g.T, label) }

// size draws a size with its unit: whole pages, odd ones, nothing and more than any machine has.
func (g *grammar) size(label string) (value uint64, unit string) {
	switch rapid.IntRange(0, 19).Draw(g.T, label+" kind") {
	case 19:
		return 0, "KiB"
	case 18:
		return uint64(1 + g.upTo(300, label)), g.one(label+" unit", "TiB", "TB", "PiB")
	case 17:
		return uint64(1 + g.upTo(1<<33, label)), "b"
	case 15, 16:
		return uint64(1 + g.upTo(1<<23, label)), g.one(label+" unit", "KiB", "k", "KB", "kib", "")
	case 12, 13, 14:
		return uint64(1 + g.upTo(4000, label)), g.one(label+" unit", "MiB", "MB", "m")
	case 9, 10, 11:
		return uint64(1 + g.upTo(7, label)), g.one(label+" unit", "GiB", "G", "GB")
	default:
		return 2 * uint64(1+g.upTo(2000, label)), "MiB"
	}
}

func unitAttr(unit string) string {
	if unit == "" {
		return ""
	}
	return fmt.Sprintf(" unit='%s'", unit)
}

func (g *grammar) element(name, label string) string {
	value, unit := g.size(label)
	return fmt.Sprintf("<%s%s>%d</%s>", name, unitAttr(unit), value, name)
}

// hostNodes draws a nodeset of the pretended host in one of libvirt's notations, rarely one that has
// no such node or is none.
func (g *grammar) hostNodes(label string) string {
	if g.chance(40, label+" odd") {
		return g.one(label, "8", "9-12", "1024", "0-20000", "16384", "3-1", "", "^0", "0,^0", "x", "0-", "0,,1",
			"0,", "0,,", ",0", "^ 1,0", "0-1-2", "1 2", "+1", "0x1", "1-,2")
	}
	return g.one(label, "0", "1", "2", "7", "0-1", "0-7", "1,3", "0-3,^2", "5,0", " 0 , 2 - 3 ", "63", "63-64", "1023", "0,130", "2,2", "^1,0-2", "0-7,63,64,130,1023")
}

// cellSet draws the cells that a page element is for.
func (g *grammar) cellSet(left *[]int) string {
	if g.chance(40, "odd cells") {
		return g.one("cells", "0", fmt.Sprint(g.cells), "0-9", "", "0,^0", "1200")
	}
	var set []string
	for _, cell := range slices.Clone(*left) {
		if rapid.Bool().Draw(g.T, "cell of a page") {
			set = append(set, strconv.Itoa(cell))
			*left = slices.DeleteFunc(*left, func(c int) bool { return c == cell })
		}
	}
	return strings.Join(set, ",")
}

func (g *grammar) hugepages() string {
	if g.chance(6, "no hugepages") {
		return ""
	}
	g.pages = true
	if g.chance(5, "bare hugepages") {
		return "<hugepages/>"
	}
	var pages []string
	page := func(nodeset string) {
		attr := ""
		if nodeset != "" {
			attr = fmt.Sprintf(" nodeset='%s'", nodeset)
		}
		pages = append(pages, "<page "+g.one("page", "size='2' unit='M'", "size='2048' unit='KiB'", "size='2048'", "size='1' unit='G'",
			"size='1048576' unit='KiB'", "size='4' unit='KiB'", "size='2097152' unit='b'")+attr+"/>")
	}
	left := make([]int, g.cells)
	for i := range left {
		left[i] = i
	}
	for range g.upTo(3, "pages for cells") {
		if set := g.cellSet(&left); set != "" {
			page(set)
		}
	}
	if len(pages) == 0 || g.chance(2, "a page for the others") {
		page("")
		if g.chance(30, "two of them") {
			page("")
		}
	}
	// The order of the elements is the admin's.
	if g.chance(2, "turned round") {
		slices.Reverse(pages)
	}
	return "<hugepages>" + strings.Join(pages, "") + "</hugepages>"
}

func (g *grammar) backing() string {
	s := g.hugepages()
	if g.chance(4, "nosharepages") {
		s += "<nosharepages/>"
	}
	if g.chance(5, "locked") {
		s += "<locked/>"
	}
	source := g.one("source", "", "", "", "file", "memfd", "memfd", "anonymous")
	if source == "anonymous" && g.pages && !g.chance(8, "refused source") {
		source = ""
	}
	if source != "" {
		s += fmt.Sprintf("<source type='%s'/>", source)
	}
	if access := g.one("access", "", "", "", "shared", "private"); access != "" {
		s += fmt.Sprintf("<access mode='%s'/>", access)
	}
	allocation := g.one("allocation", "", "", "", "mode='immediate'", "threads='4'", "mode='immediate' threads='8'", "mode='ondemand'")
	if allocation == "mode='ondemand'" && g.pages && !g.chance(8, "refused allocation") {
		allocation = ""
	}
	if allocation != "" {
		s += fmt.Sprintf("<allocation %s/>", allocation)
	}
	if g.chance(5, "discard") {
		s += "<discard/>"
	}
	if s == "" {
		return ""
	}
	return "<memoryBacking>" + s + "</memoryBacking>"
}

func (g *grammar) mode(label string) string {
	return g.one(label, "", " mode='strict'", " mode='strict'", " mode='preferred'", " mode='interleave'", " mode='restrictive'")
}

// tuning returns numatune, and what it is with numad's advice.
func (g *grammar) tuning() (xml, advised string) {
	memory, advisedMemory := "", ""
	switch g.upTo(9, "numatune/memory") {
	case 0, 1, 2:
	case 3:
		g.autoNodes = true
		mode := g.mode("memory mode")
		memory = fmt.Sprintf("<memory%s placement='auto'/>", mode)
		advisedMemory = fmt.Sprintf("<memory%s nodeset='%s'/>", mode, Advice)
	default:
		mode := g.mode("memory mode")
		g.restrict = strings.Contains(mode, "restrictive")
		memory = fmt.Sprintf("<memory%s nodeset='%s'/>", mode, g.hostNodes("memory nodes"))
		advisedMemory = memory
	}
	memnodes := ""
	if g.cells > 0 && (!g.autoNodes || g.chance(20, "refused memnode")) && rapid.Bool().Draw(g.T, "memnodes") {
		for cell := range g.cells {
			if g.chance(3, "no memnode") {
				continue
			}
			mode := g.mode("memnode mode")
			if g.restrict && !g.chance(20, "refused mode") {
				mode = " mode='restrictive'"
			}
			if g.chance(60, "no such cell") {
				cell = g.cells
			}
			memnodes += fmt.Sprintf("<memnode cellid='%d'%s nodeset='%s'/>", cell, mode, g.hostNodes("memnode nodes"))
		}
	}
	if memory == "" && g.autoCPU {
		// It implies that the memory goes where numad puts the CPUs.
		g.autoNodes = true
		if memnodes != "" && !g.chance(20, "refused memnodes") {
			memnodes = ""
		}
		advisedMemory = fmt.Sprintf("<memory mode='strict' nodeset='%s'/>", Advice)
	}
	wrap := func(s string) string {
		if s == "" {
			return ""
		}
		return "<numatune>" + s + "</numatune>"
	}
	return wrap(memory + memnodes), wrap(advisedMemory + memnodes)
}

func (g *grammar) cell(i int, id string) string {
	value, unit := g.size("cell size")
	s := fmt.Sprintf("<cell%s memory='%d'%s", id, value, unitAttr(unit))
	if i == 0 || !g.chance(6, "cell without CPUs") {
		s += fmt.Sprintf(" cpus='%d'", i)
	}
	if access := g.one("memAccess", "", "", "", "shared", "private"); access != "" {
		s += fmt.Sprintf(" memAccess='%s'", access)
	}
	if discard := g.one("cell discard", "", "", "yes", "no"); discard != "" {
		s += fmt.Sprintf(" discard='%s'", discard)
	}
	if g.chance(8, "distances") {
		return s + fmt.Sprintf("><distances><sibling id='%d' value='10'/></distances></cell>", i)
	}
	if g.chance(16, "cache") {
		return s + "><cache level='1' associativity='direct' policy='writeback'><size value='8' unit='KiB'/><line value='5' unit='B'/></cache></cell>"
	}
	return s + "/>"
}

func (g *grammar) cpu() string {
	topology := ""
	if g.chance(4, "topology") {
		topology = g.one("topology", "<topology sockets='2' dies='2' cores='1' threads='2'/>", "<topology sockets='1' cores='4' threads='2'/>")
	}
	var cells []string
	for i := range g.cells {
		cells = append(cells, g.cell(i, fmt.Sprintf(" id='%d'", i)))
	}
	switch {
	case g.cells == 0:
		if topology == "" {
			return ""
		}
		return "<cpu>" + topology + "</cpu>"
	case g.chance(4, "cells in any order"):
		cells = rapid.Permutation(cells).Draw(g.T, "order")
	case g.chance(4, "cells without numbers"):
		for i := range cells {
			cells[i] = strings.Replace(cells[i], fmt.Sprintf(" id='%d'", i), "", 1)
		}
	case g.chance(30, "a gap"):
		cells[g.cells-1] = strings.Replace(cells[g.cells-1], " id='", " id='1", 1)
	}
	hmat := ""
	if g.chance(8, "interconnects") {
		hmat = "<interconnects><latency initiator='0' target='0' type='access' value='5'/></interconnects>"
	}
	return "<cpu>" + topology + "<numa>" + strings.Join(cells, "") + hmat + "</numa></cpu>"
}

func (g *grammar) device(i int) string {
	model := g.one("device", "dimm", "dimm", "dimm", "virtio-mem", "virtio-mem", "nvdimm", "virtio-pmem", "sgx-epc")
	if model == "sgx-epc" && !g.chance(10, "refused device") {
		model = "dimm"
	}
	source, target, attr := "", g.element("size", "device size"), ""
	node := fmt.Sprintf("<node>%d</node>", g.upTo(max(g.cells-1, 0), "device cell"))
	if g.chance(50, "device in no cell") {
		node = fmt.Sprintf("<node>%d</node>", g.cells)
	}
	switch model {
	case "dimm", "virtio-mem":
		if g.chance(3, "pagesize") {
			source += g.one("device page", "<pagesize unit='KiB'>2048</pagesize>", "<pagesize unit='M'>2</pagesize>", "<pagesize>1048576</pagesize>", "<pagesize>4</pagesize>", "<pagesize>0</pagesize>")
		}
		if g.chance(3, "nodemask") {
			source += "<nodemask>" + g.hostNodes("nodemask") + "</nodemask>"
		}
		target += node
	case "nvdimm":
		source = fmt.Sprintf("<path>/run/livehost/nvdimm%d</path>", i)
		if g.chance(2, "alignsize") {
			source += "<alignsize unit='MiB'>2</alignsize>"
		}
		target += node
		if g.chance(2, "label") {
			target += "<label><size unit='KiB'>128</size></label>"
		}
	case "virtio-pmem":
		source = fmt.Sprintf("<path>/run/livehost/pmem%d</path>", i)
		target = fmt.Sprintf("<size unit='MiB'>%d</size>", 2*(1+g.upTo(200, "pmem")))
	case "sgx-epc":
		target += node
	}
	if model == "virtio-mem" {
		mib := 1 + g.upTo(1000, "virtio-mem blocks")
		target = fmt.Sprintf("<size unit='MiB'>%d</size>%s<block unit='MiB'>2</block><requested unit='MiB'>%d</requested>", 2*mib, node, 2*g.upTo(mib, "requested"))
	}
	if model == "dimm" || model == "virtio-mem" {
		if a := g.one("device access", "", "", "shared", "private"); a != "" {
			attr += fmt.Sprintf(" access='%s'", a)
		}
		if a := g.one("device discard", "", "", "yes", "no"); a != "" {
			attr += fmt.Sprintf(" discard='%s'", a)
		}
	}
	if source != "" {
		source = "<source>" + source + "</source>"
	}
	address := ""
	if (model == "dimm" || model == "nvdimm") && g.chance(5, "slot") {
		address = fmt.Sprintf("<address type='dimm' slot='%d'/>", g.upTo(9, "slot number"))
	}
	if g.chance(6, "alias") {
		address = g.one("alias", fmt.Sprintf("<alias name='ua-%d'/>", i), fmt.Sprintf("<alias name='dimm%d'/>", 5+i)) + address
	}
	return fmt.Sprintf("<memory model='%s'%s>%s<target>%s</target>%s</memory>", model, attr, source, target, address)
}

// metadata is Nova's, and looks in part like what decides.
const metadata = `<metadata>
  <nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1"><nova:name>hp-1</nova:name>
    <nova:flavor name="hp"><nova:memory>512</nova:memory><nova:vcpus>1</nova:vcpus></nova:flavor></nova:instance>
  <x:memoryBacking xmlns:x="http://example.org/x"><x:hugepages><x:page size="1048576"/></x:hugepages></x:memoryBacking>
</metadata>`

// Draw draws a domain. libvirt takes most of them.
func Draw(t *rapid.T) Sentence {
	g := &grammar{T: t}
	g.cells = rapid.SampledFrom([]int{0, 0, 1, 1, 2, 2, 2, 3, 4, 6}).Draw(t, "cells")
	g.autoCPU = g.chance(12, "CPUs left to numad")
	s := "<domain type='qemu'><name>sentence</name><uuid>6a9c0000-0000-4000-8000-000000000001</uuid>"
	if g.chance(3, "metadata") {
		s += metadata
	}
	devices := ""
	if g.cells > 0 && g.chance(2, "devices") {
		s += "<maxMemory slots='16' unit='PiB'>1</maxMemory>"
		for i := range 1 + g.upTo(3, "devices") {
			devices += g.device(i)
		}
	}
	if g.cells == 0 || g.chance(2, "memory beside cells") {
		s += g.element("memory", "memory")
	} else {
		s += "<memory unit='MiB'>512</memory>"
	}
	s += g.backing()
	tuning, advised := g.tuning()
	s += "<vcpu PLACEMENT>8</vcpu>TUNING"
	machine := g.one("machine", "pc", "q35", "pc-i440fx-7.2", "pc-q35-5.1", "pc-i440fx-5.0", "pc-q35-4.0.1", "pc-i440fx-2.12", "pc-i440fx-2.1")
	s += fmt.Sprintf("<os><type arch='x86_64' machine='%s'>hvm</type></os><features><acpi/></features>", machine)
	s += g.cpu()
	s += fmt.Sprintf("<devices><emulator>%s</emulator><controller type='usb' model='none'/><memballoon model='none'/>%s</devices></domain>", emulator, devices)
	form := func(placement, tuning string) string {
		return strings.NewReplacer("PLACEMENT", placement, "TUNING", tuning).Replace(s)
	}
	placement := "placement='static'"
	if g.autoCPU {
		placement = "placement='auto'"
	}
	return Sentence{XML: form(placement, tuning), Advised: form("placement='static'", advised)}
}
