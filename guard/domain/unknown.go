package domain

import (
	"fmt"
	"slices"

	"hugeguard/guard"
)

// The values that libvirt has for what decides about memory (src/conf/numa_conf.c, domain_conf.c), as far as
// hugeguard knows. A newer libvirt may have more.
var (
	tuningModes  = []string{"strict", "preferred", "interleave", "restrictive"}
	placements   = []string{"static", "auto"}
	sourceTypes  = []string{"file", "anonymous", "memfd"}
	accessModes  = []string{"shared", "private"}
	allocations  = []string{"immediate", "ondemand"}
	deviceModels = []string{"dimm", guard.VirtioMem, "nvdimm", "virtio-pmem", "sgx-epc", "egm"}
)

// unknown takes notice of a value that is none of those that are known, and reports whether it is so; "" is a value
// that is not there.
func (b *builder) unknown(where, value string, known []string) bool {
	if value == "" || slices.Contains(known, value) {
		return false
	}
	b.demand.Unknown = append(b.demand.Unknown, guard.Unknown{Where: where, Value: value})
	return true
}

// readUnknown takes notice of unknown values that may put memory on huge pages, or elsewhere, whatever else the domain
// asks for.
func (b *builder) readUnknown() {
	check := func(where, value string, known []string) {
		b.unsure = b.unknown(where, value, known) || b.unsure
	}
	if mb := b.MemoryBacking; mb != nil {
		if mb.MemorySource != nil {
			check("memoryBacking/source/@type", mb.MemorySource.Type, sourceTypes)
		}
		if mb.MemoryAccess != nil {
			check("memoryBacking/access/@mode", mb.MemoryAccess.Mode, accessModes)
		}
		if mb.MemoryAllocation != nil {
			check("memoryBacking/allocation/@mode", mb.MemoryAllocation.Mode, allocations)
		}
	}
	for i, cell := range b.Cells {
		check(fmt.Sprintf("cpu/numa/cell[%d]/@memAccess", i+1), cell.MemAccess, accessModes)
	}
	for i, dev := range b.Devices {
		element := fmt.Sprintf("devices/memory[%d]", i+1)
		// What is not known of a device says nothing of the other memory.
		if !b.unknown(element+"/@model", dev.Model, deviceModels) {
			check(element+"/@access", dev.Access, accessModes)
		}
	}
}
