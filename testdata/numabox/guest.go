package main

import (
	"cmp"
	"fmt"
	"strings"
)

// A guest is a domain of a scenario: as small as QEMU lets it be. Sizes are in pages of 2 MiB.
type guest struct {
	ram     int    // without cells
	cells   []int  // in place of ram
	kib     int    // in place of both: RAM in KiB, in one cell where there is a memnode
	pages   string // the elements of hugepages; "" for 2 MiB, "none" for no hugepages at all
	backing string // other elements of memoryBacking
	tune    string // the elements of numatune
	devices string // memory devices
	cpus    string // attributes of vcpu
	pin     string // where the emulator is pinned to
	nova    bool   // it is an instance of Nova's
}

const page2M = `<page size='2048' unit='KiB'/>`

// strict and its like are elements of numatune.
func strict(nodes string) string { return memory("strict", nodes) }
func memory(mode, nodes string) string {
	return fmt.Sprintf("<memory mode='%s' nodeset='%s'/>", mode, nodes)
}
func memnode(cell int, mode, nodes string) string {
	return fmt.Sprintf("<memnode cellid='%d' mode='%s' nodeset='%s'/>", cell, mode, nodes)
}

// dimm is a memory device of so many pages in cell 0.
func dimm(pages int, source string) string {
	if source != "" {
		source = "<source>" + source + "</source>"
	}
	return fmt.Sprintf("<memory model='dimm'>%s<target><size unit='KiB'>%d</size><node>0</node></target></memory>", source, pages*2048)
}

// xml is the domain. AppArmor confines libvirtd and the hook, not these guests: their profiles would cost more
// time than all the rest, and the incident has them.
func (g guest) xml(name string) string {
	var b strings.Builder
	add := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	cells := g.cells
	total := g.ram * 2048
	for _, pages := range cells {
		total += pages * 2048
	}
	if g.kib > 0 {
		total = g.kib
	}
	add("<domain type='qemu'>\n<name>%s</name>", name)
	if g.nova {
		add("<metadata><nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.1'/></metadata>")
	}
	if g.devices != "" {
		add("<maxMemory slots='4' unit='KiB'>%d</maxMemory>", total+4<<20)
	}
	add("<memory unit='KiB'>%d</memory>", total)
	pages := cmp.Or(g.pages, page2M)
	if pages == "none" {
		pages = ""
	} else {
		pages = "<hugepages>" + strings.TrimSpace(pages) + "</hugepages>"
	}
	add("<memoryBacking>%s%s</memoryBacking>", pages, g.backing)
	add("<vcpu%s>1</vcpu>", g.cpus)
	if g.pin != "" {
		add("<cputune><emulatorpin cpuset='%s'/></cputune>", g.pin)
	}
	if g.tune != "" {
		add("<numatune>%s</numatune>", g.tune)
	}
	add("<os><type arch='x86_64' machine='pc'>hvm</type></os>")
	if g.devices != "" {
		add("<features><acpi/></features>") // or there is no hot-plug
	}
	var numa string
	if cells == nil && (g.kib > 0 && strings.Contains(g.tune, "memnode") || g.devices != "") {
		numa = fmt.Sprintf("<cell id='0' cpus='0' memory='%d' unit='KiB'/>", total)
	}
	for i, n := range cells {
		cpus := ""
		if i == 0 {
			cpus = " cpus='0'"
		}
		numa += fmt.Sprintf("<cell id='%d'%s memory='%d' unit='KiB'/>", i, cpus, n*2048)
	}
	if numa != "" {
		numa = "<numa>" + numa + "</numa>"
	}
	add("<cpu mode='custom' match='exact' check='none'><model>qemu64</model>%s</cpu>", numa)
	add("<devices><emulator>/usr/bin/qemu-system-x86_64</emulator><controller type='usb' model='none'/><memballoon model='none'/>%s</devices>", g.devices)
	add("<seclabel type='none' model='apparmor'/>\n</domain>")
	return b.String()
}
