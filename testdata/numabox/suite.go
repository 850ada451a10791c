package main

import (
	"slices"
	"strings"

	"hugeguard/testdata/vm"
)

// playable returns those of some scenarios that the box is new enough for, and says why the others are not played.
func playable(i *vm.Image, all []scenario) (some []scenario) {
	for _, s := range all {
		if needs := needs(i, s); needs != "" {
			vm.Say("  %s cannot be played: it takes %s", s.name, needs)
			continue
		}
		some = append(some, s)
	}
	return some
}

// needs returns what a scenario takes that the box is too old for, "" where it is not.
func needs(i *vm.Image, s scenario) string {
	xml := s.guest.xml(s.name)
	switch {
	case strings.Contains(xml, "mode='restrictive'") && i.Before(vm.Libvirt, 7, 3):
		return "numatune's mode restrictive, of libvirt 7.3"
	case strings.Contains(xml, "model='virtio-mem'") && i.Before(vm.Libvirt, 7, 9):
		return "virtio-mem, of libvirt 7.9"
	}
	return ""
}

// differs reports whether releases matter to a scenario.
func (s scenario) differs() bool {
	return s.older != nil || s.newer != nil || s.newest != nil || s.way != created
}

// expected returns what may become of a scenario with the releases of the box. Debian 11 has libvirt 7.0 and QEMU 5.2,
// Debian 12 libvirt 9.0 and QEMU 7.2, Debian 13 libvirt 11.3 and QEMU 10.0. With others each outcome of the two nearest
// may be.
func (s scenario) expected(i *vm.Image) []outcome {
	want := func(own []outcome) []outcome {
		if own != nil {
			return own
		}
		return s.want
	}
	switch {
	case s.newest != nil && !i.Before(vm.Libvirt, 12, 0):
		return s.newest
	case !i.Before(vm.Libvirt, 11, 0) && !i.Before(vm.QEMU, 9, 1):
		return want(s.newer)
	case !i.Before(vm.Libvirt, 11, 0) || !i.Before(vm.QEMU, 9, 1):
		return append(slices.Clone(s.want), s.newer...)
	case i.Before(vm.Libvirt, 7, 3) && i.Before(vm.QEMU, 6, 0):
		return want(s.older)
	}
	return s.want
}
