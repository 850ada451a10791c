package domain

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"hugeguard/guard"
)

// maxKiB is the largest size that libvirt takes, in KiB: it counts bytes in a signed 64-bit number.
const maxKiB = 1<<53 - 1

// scale returns a size in KiB, rounded up, as virDomainParseMemory does: unit is one of libvirt's (b, bytes, KB, K,
// KiB, ... EB, E, EiB in any case), and KiB where it is empty.
func scale(value uint64, unit string) (kib uint64, err error) {
	factor, ok := unitBytes(unit)
	if !ok {
		return 0, fmt.Errorf("%q is not a unit of memory", guard.Printable(unit, 20))
	}
	high, bytes := bits.Mul64(value, factor)
	kib = bytes / 1024
	if bytes%1024 != 0 {
		kib++
	}
	if high != 0 || kib > maxKiB {
		return 0, fmt.Errorf("%d %s is more memory than libvirt can count", value, guard.Printable(unit, 20))
	}
	return kib, nil
}

// unitBytes follows virScaleInteger.
func unitBytes(unit string) (bytes uint64, ok bool) {
	unit = strings.ToLower(unit)
	switch unit {
	case "":
		return 1024, true
	case "b", "byte", "bytes":
		return 1, true
	}
	power := strings.IndexByte("kmgtpe", unit[0]) + 1
	if power == 0 {
		return 0, false
	}
	var base uint64
	switch unit[1:] {
	case "", "ib":
		base = 1024
	case "b":
		base = 1000
	default:
		return 0, false
	}
	bytes = 1
	for range power {
		bytes *= base
	}
	return bytes, true
}

// Size returns in KiB a size that somebody typed, such as 4G, 512MiB or, in KiB as for virsh, 2048.
func Size(text string) (kib uint64, err error) {
	text = strings.TrimSpace(text)
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	value, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a size such as 512M or 4G", guard.Printable(text, 40))
	}
	return scale(value, text[len(digits):])
}
