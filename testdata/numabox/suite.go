package main

import (
	"fmt"
	"strings"
)

// A suite is what the box is built from: a release of Debian, and what is taken from its backports.
type suite struct {
	name    string
	release string
	// backports are the sources whose packages come from the backports, "*" for all that are there; nil for none.
	backports []string
}

// parseSuite reads the name of a suite: "bookworm", "trixie-backports" for all that the backports have, or
// "trixie-backports+qemu+libvirt" for what is built from some sources alone.
func parseSuite(name string) suite {
	release, sources, ok := strings.Cut(name, "-backports")
	s := suite{name: name, release: release}
	switch {
	case !ok:
	case sources == "":
		s.backports = []string{"*"}
	default:
		s.backports = strings.Split(strings.TrimPrefix(sources, "+"), "+")
	}
	return s
}

// archives returns the parts of the archive that the release has, by what their names end in, of those of this machine's
// own. Sid gets its updates in place; what bullseye still gets is kept elsewhere.
func (s suite) archives() []string {
	if s.release == "sid" || s.release == "bullseye" {
		return []string{""}
	}
	return []string{"", "-updates", "-security"}
}

// pins has apt prefer the backports, nothing without.
func (s suite) pins() string {
	var pins strings.Builder
	for _, source := range s.backports {
		if source != "*" {
			source = "src:" + source
		}
		fmt.Fprintf(&pins, "Package: %s\nPin: release n=%s-backports\nPin-Priority: 990\n\n", source, s.release)
	}
	return pins.String()
}

// packages are what its box has.
func (s suite) packages() []string {
	if s.release == "sid" {
		// Its kernel would take another program to make the first root file system, which customize.sh does not know.
		return append(packages, "initramfs-tools")
	}
	return packages
}

// newer reports whether its libvirt and QEMU are newer than Debian 12's.
func (s suite) newer() bool {
	return s.release != "bullseye" && s.release != "bookworm" || s.backports != nil
}
