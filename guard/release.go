package guard

import (
	"fmt"
	"strings"
)

// Releases is which libvirt, which QEMU and which kernel serve a host, as far as is known.
// The zero value knows nothing.
type Releases struct {
	Libvirt Release
	QEMU    Release // of the domain's emulator
	Kernel  Release
	// Cpuset says whether libvirt may use the cpuset controller; nil where
	// that is not known.
	Cpuset *bool
}

// Release is one release of libvirt or QEMU; the zero value is an unknown one.
type Release struct {
	Version Version
	// Patched says that its packagers may have given it changes of later
	// releases, as the makers of some distributions do: it has at least what
	// its version has.
	Patched bool
	// ThreadContext and Reserve are what libvirt has found out about a QEMU: whether it has the objects thread-context,
	// and the property reserve of memory backends. DefaultRAM says whether the domain's machine names its RAM, so that
	// libvirt makes that without cells, and DividesRAM whether it divides RAM among cells by itself.
	ThreadContext, Reserve, DefaultRAM, DividesRAM Known
}

// Known is what is known of something that is so or not; the zero value is nothing.
type Known uint8

// What can be known.
const (
	Yes Known = 1 + iota
	No
)

// Certainly returns what is known for certain.
func Certainly(is bool) Known {
	if is {
		return Yes
	}
	return No
}

// Version is a version of libvirt or QEMU as both count it: a million for the
// first number, a thousand for the second. 0 is none.
type Version uint32

// String prints a version as "9.0.0".
func (v Version) String() string {
	return fmt.Sprintf("%d.%d.%d", v/1_000_000, v/1_000%1_000, v%1_000)
}

// series prints the first two numbers of a version, which is all that is known of a kernel's.
func (v Version) series() string { return fmt.Sprintf("%d.%d", v/1_000_000, v/1_000%1_000) }

// String names what is known, "" where that is nothing.
func (k Releases) String() string {
	var parts []string
	if k.Libvirt.Version != 0 {
		parts = append(parts, "libvirt "+k.Libvirt.Version.String())
	}
	if k.QEMU.Version != 0 {
		parts = append(parts, "QEMU "+k.QEMU.Version.String())
	}
	if k.Kernel.Version != 0 {
		parts = append(parts, "Linux "+k.Kernel.Version.series())
	}
	if len(parts) > 2 {
		parts = []string{strings.Join(parts[:len(parts)-1], ", "), parts[len(parts)-1]}
	}
	text := strings.Join(parts, " and ")
	if k.Cpuset != nil {
		if text != "" {
			text += ", "
		}
		if *k.Cpuset {
			text += "libvirt using the cpuset controller"
		} else {
			text += "libvirt not using the cpuset controller"
		}
	}
	return text
}

// Combinations are combinations of libvirt, QEMU and the kernel that have something in common.
type Combinations struct {
	Libvirt, QEMU, Kernel Changes
	Cpuset                bool // libvirt may use the cpuset controller, besides
	Others                bool // meant are all other combinations
}

// Changes is what a release has of later ones: what came with Since, and not what came with Until; 0 is of nothing.
type Changes struct{ Since, Until Version }

// Report is what the JSON output says of releases, nil where nothing is known.
func (k Releases) Report() *ReleaseReport {
	if k == (Releases{}) {
		return nil
	}
	r := &ReleaseReport{Cpuset: k.Cpuset}
	if k.Libvirt.Version != 0 {
		r.Libvirt = k.Libvirt.Version.String()
	}
	if k.QEMU.Version != 0 {
		r.QEMU = k.QEMU.Version.String()
	}
	if k.Kernel.Version != 0 {
		r.Kernel = k.Kernel.Version.series()
	}
	return r
}

// ReleaseReport is the releases that a launch was judged for. What is not
// known is left out.
type ReleaseReport struct {
	Libvirt string `json:"libvirt,omitempty"` // as "9.0.0"
	QEMU    string `json:"qemu,omitempty"`
	Kernel  string `json:"kernel,omitempty"` // as "6.1"
	Cpuset  *bool  `json:"cpuset,omitempty"` // whether libvirt may use the cpuset controller
}
