package grammar

import "strings"

// Odd is a domain with a field that no one expects.
type Odd struct {
	Name    string
	XML     string
	Refused string // what libvirt 9.0 says of it, in part; "" if it takes it
}

// oddity is what differs from a plain guest with two cells on pages of 2 MiB.
type oddity struct {
	name, refused                       string
	memory, backing, tune, cpu, devices string
}

// Odds returns domains of which each has one of these fields, beside what is plain.
func Odds() []Odd {
	const (
		page  = "<hugepages><page size='2' unit='MiB'/></hugepages>"
		cells = "<cell id='0' cpus='0' memory='4' unit='MiB'/><cell id='1' cpus='1' memory='4' unit='MiB'/>"
		none  = "no cells"
	)
	dimm := func(source, target string) string {
		return "<memory model='dimm'><source>" + source + "</source><target>" + target + "</target></memory>"
	}
	const four = "<size unit='MiB'>4</size><node>0</node>"
	list := []oddity{
		{name: "plain"},

		// Sizes.
		{name: "no memory", cpu: none, memory: "<memory>0</memory>", refused: "Memory size must be specified"},
		{name: "no memory, but cells", memory: "<memory>0</memory>"},
		{name: "less memory than cells", memory: "<memory>1</memory>"},
		{name: "a cell without memory", cpu: strings.Replace(cells, "'4'", "'0'", 1)},
		{name: "a cell of bytes", cpu: strings.Replace(cells, "'4' unit='MiB'", "'4193281' unit='b'", 1)},
		{name: "a PiB", cpu: none, memory: "<memory unit='PiB'>1</memory>"},
		{name: "8 EiB less a KiB", cpu: none, memory: "<memory>9007199254740991</memory>", refused: "overflow"},
		{name: "8 EiB less a KiB in a cell", cpu: strings.Replace(cells, "'4' unit='MiB'", "'9007199254740991'", 1), refused: "overflow"},
		{name: "8 EiB", cpu: none, memory: "<memory unit='EiB'>8</memory>", refused: "too large"},
		{name: "16 EiB", cpu: none, memory: "<memory unit='EiB'>16</memory>", refused: "too large"},
		{name: "2^64 KiB", cpu: none, memory: "<memory>18446744073709551616</memory>", refused: "Invalid value"},
		{name: "less than nothing", cpu: none, memory: "<memory>-1</memory>", refused: "Invalid value"},
		{name: "no unit of memory", cpu: none, memory: "<memory unit='pages'>512</memory>", refused: "unknown suffix"},
		{name: "a fraction", cpu: none, memory: "<memory unit='GiB'>0.5</memory>", refused: "Invalid value"},

		// Pages.
		{name: "a page size of 0", backing: "<hugepages><page size='0'/></hugepages>", refused: "can't be zero"},
		{name: "a page size of 3 KiB", backing: "<hugepages><page size='3'/></hugepages>", refused: "usable hugetlbfs mount"},
		{name: "a page of 4 PiB", backing: "<hugepages><page size='4' unit='PiB'/></hugepages>", refused: "usable hugetlbfs mount"},
		{name: "a page of 16 EiB", backing: "<hugepages><page size='16' unit='EiB'/></hugepages>", refused: "too large"},
		{name: "two pages for a cell", backing: "<hugepages><page size='2048' nodeset='0-1'/><page size='1048576' nodeset='1'/></hugepages>", refused: "intersect"},
		{name: "two pages for all cells", backing: "<hugepages><page size='2048'/><page size='1048576'/></hugepages>", refused: "two master hugepages"},
		{name: "the same page twice", backing: "<hugepages><page size='2048'/><page size='2048'/></hugepages>", refused: "two master hugepages"},
		{name: "a page for no such cell", backing: "<hugepages><page size='2048' nodeset='0-2'/></hugepages>", refused: "not found"},
		{name: "a page for cells far away", backing: "<hugepages><page size='2048' nodeset='16383'/></hugepages>", refused: "not found"},
		{name: "a page for no set of cells", backing: "<hugepages><page size='2048' nodeset=''/></hugepages>", refused: "Failed to parse bitmap"},
		{name: "a page for less than no cell", backing: "<hugepages><page size='2048' nodeset='^0'/></hugepages>", refused: "Invalid value of 'nodeset'"},
		{name: "a page for cells from behind", backing: "<hugepages><page size='2048' nodeset='1-0'/></hugepages>", refused: "Failed to parse bitmap"},
		{name: "a page for cell 1 without cells", cpu: none, backing: "<hugepages><page size='2048' nodeset='1'/></hugepages>", refused: "not found"},

		// Cells.
		{name: "cells out of order", cpu: "<cell id='1' cpus='1' memory='4' unit='MiB'/><cell id='0' cpus='0' memory='8' unit='MiB'/>"},
		{name: "cells with a gap", cpu: strings.Replace(cells, "id='1'", "id='2'", 1), refused: "non-contiguous"},
		{name: "a cell twice", cpu: strings.Replace(cells, "id='1'", "id='0'", 1), refused: "Duplicate NUMA cell"},
		{name: "cell 2^32", cpu: strings.Replace(cells, "id='1'", "id='4294967296'", 1), refused: "Invalid value"},
		{name: "cell 2^64-1", cpu: strings.Replace(cells, "id='1'", "id='18446744073709551615'", 1), refused: "Invalid value"},
		{name: "dies", cpu: cells + "</numa><topology sockets='1' dies='2' cores='1' threads='1'/><numa>"},

		// Nodes.
		{name: "node 64", tune: "<memory nodeset='64'/>"},
		{name: "node 1023", tune: "<memory nodeset='1023'/>"},
		{name: "node 1024", tune: "<memory nodeset='1024'/>", refused: "NUMA node 1024 is unavailable"},
		{name: "node 16383", tune: "<memory nodeset='16383'/>", refused: "NUMA node 16383 is unavailable"},
		{name: "node 16384", tune: "<memory nodeset='16384'/>", refused: "Failed to parse bitmap"},
		{name: "all nodes that there can be", tune: "<memory nodeset='0-16383'/>", refused: "is unavailable"},
		{name: "nodes one by one", tune: "<memory nodeset='0,1,2,3,2,1,0,0-7,^3'/>"},
		{name: "a comma at the end", tune: "<memory nodeset='0,'/>"},
		{name: "no set", tune: "<memory nodeset=''/>", refused: "Failed to parse bitmap"},
		{name: "an empty set", tune: "<memory nodeset='0,^0'/>", refused: "Invalid value of 'nodeset'"},
		{name: "nodes from behind", tune: "<memory nodeset='3-1'/>", refused: "Failed to parse bitmap"},
		{name: "a mode that there is not", tune: "<memory mode='loose' nodeset='0'/>", refused: "Unsupported NUMA memory tuning mode"},
		{name: "a mode without nodes", tune: "<memory mode='preferred'/>", refused: "nodeset for NUMA memory tuning must be set"},
		{name: "preferred towards several", tune: "<memory mode='preferred' nodeset='0-3'/>"},
		{name: "tuned twice", tune: "<memory nodeset='1'/><memory nodeset='2'/>"},
		{name: "memnode for no such cell", tune: "<memnode cellid='2' nodeset='0'/>", refused: "correspond to existing guest's NUMA cell"},
		{name: "memnode for cell 2^32", tune: "<memnode cellid='4294967296' nodeset='0'/>", refused: "Invalid value"},
		{name: "memnode twice", tune: "<memnode cellid='0' nodeset='0'/><memnode cellid='0' nodeset='1'/>", refused: "Multiple memnode"},
		{name: "memnode without cells", cpu: none, tune: "<memnode cellid='0' nodeset='0'/>", refused: "invalid without any guest NUMA cells"},
		{name: "memnode of no set", tune: "<memnode cellid='0' nodeset=''/>", refused: "Failed to parse bitmap"},
		{name: "memnode beside numad", tune: "<memory placement='auto'/><memnode cellid='0' nodeset='0'/>", refused: "not compatible with automatic"},

		// Devices.
		{name: "a dimm", devices: dimm("", four)},
		{name: "a dimm of nothing", devices: dimm("", "<size>0</size><node>0</node>")},
		{name: "a dimm of 8 EiB", devices: dimm("", "<size unit='EiB'>8</size><node>0</node>"), refused: "too large"},
		{name: "a dimm without a size", devices: dimm("", "<node>0</node>"), refused: "missing element"},
		{name: "a dimm without a target", devices: "<memory model='dimm'/>", refused: "missing <target>"},
		{name: "a dimm in no cell", devices: dimm("", "<size unit='MiB'>4</size>"), refused: "target NUMA node needs to be specified"},
		{name: "a dimm in no such cell", devices: dimm("", "<size unit='MiB'>4</size><node>2</node>"), refused: "guest has only '2' NUMA nodes"},
		{name: "a dimm in cell 2^32", devices: dimm("", "<size unit='MiB'>4</size><node>4294967296</node>"), refused: "invalid value of memory device node"},
		{name: "a dimm in cell -1", devices: dimm("", "<size unit='MiB'>4</size><node>-1</node>"), refused: "invalid value of memory device node"},
		{name: "a dimm on pages of no size", devices: dimm("<pagesize>0</pagesize>", four)},
		{name: "a dimm on pages of 8 EiB", devices: dimm("<pagesize unit='EiB'>8</pagesize>", four), refused: "too large"},
		{name: "a dimm on no nodes", devices: dimm("<nodemask></nodemask>", four)},
		{name: "a dimm on an empty set", devices: dimm("<nodemask>^0</nodemask>", four), refused: "Invalid value of 'nodemask'"},
		{name: "a dimm on node 1024", devices: dimm("<nodemask>1024</nodemask>", four), refused: "NUMA node 1024 is unavailable"},
		{name: "dimms in one slot", devices: strings.Repeat(strings.Replace(dimm("", four), "</target>", "</target><address type='dimm' slot='3'/>", 1), 2), refused: "already being used"},
		{name: "a device that there is not", devices: "<memory model='core'><target>" + four + "</target></memory>", refused: "model"},
	}
	var odds []Odd
	for _, o := range list {
		or := func(text, plain string) string {
			if text == "" {
				return plain
			}
			return text
		}
		cpu := "<cpu><numa>" + or(o.cpu, cells) + "</numa></cpu>"
		if o.cpu == none {
			cpu = ""
		}
		hotplug := ""
		if o.devices != "" {
			hotplug = "<maxMemory slots='4' unit='GiB'>1</maxMemory>"
		}
		odds = append(odds, Odd{o.name, "<domain type='qemu'><name>odd</name><uuid>6a9c0000-0000-4000-8000-000000000002</uuid>" + hotplug +
			or(o.memory, "<memory unit='MiB'>8</memory>") + "<memoryBacking>" + or(o.backing, page) + "</memoryBacking><vcpu>2</vcpu><numatune>" + o.tune +
			"</numatune><os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>" + cpu + "<devices><emulator>" + emulator +
			"</emulator><controller type='usb' model='none'/><memballoon model='none'/>" + o.devices + "</devices></domain>", o.refused})
	}
	return odds
}
