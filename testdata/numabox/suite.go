package main

import (
	"fmt"
	"slices"
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

// release returns the first numbers of the release that a package is, such as 7, 0 of libvirt's 7.0.0-3+deb11u3.
func (i *image) release(pkg string) (major, minor int) {
	version := i.version(pkg)
	if _, rest, ok := strings.Cut(version, ":"); ok { // an epoch
		version = rest
	}
	fmt.Sscanf(version, "%d.%d", &major, &minor)
	return major, minor
}

// before reports whether a package is older than a release.
func (i *image) before(pkg string, major, minor int) bool {
	is, and := i.release(pkg)
	return is < major || is == major && and < minor
}

const (
	kernelPackage  = "linux-image-cloud-amd64"
	libvirtPackage = "libvirt-daemon"
	qemuPackage    = "qemu-system-x86"
	libcPackage    = "libc6"
)

// playable returns those of some scenarios that the box is new enough for, and says why the others are not played.
func (i *image) playable(all []scenario) (some []scenario) {
	for _, s := range all {
		if lacks := i.lacks(s); lacks != "" {
			say("  %s cannot be played: it takes %s", s.name, lacks)
			continue
		}
		some = append(some, s)
	}
	return some
}

// lacks returns what a scenario takes that the box is too old for, "" where it is not.
func (i *image) lacks(s scenario) string {
	xml := s.guest.xml(s.name)
	switch {
	case strings.Contains(xml, "mode='restrictive'") && i.before(libvirtPackage, 7, 3):
		return "numatune's mode restrictive, of libvirt 7.3"
	case strings.Contains(xml, "model='virtio-mem'") && i.before(libvirtPackage, 7, 9):
		return "virtio-mem, of libvirt 7.9"
	}
	return ""
}

// expected returns what may become of a scenario with the releases of the box. Debian 11 has libvirt 7.0 and QEMU 5.2,
// Debian 12 libvirt 9.0 and QEMU 7.2, Debian 13 libvirt 11.3 and QEMU 10.0. With others each outcome of the two nearest
// may be.
func (s scenario) expected(i *image) []outcome {
	want := func(own []outcome) []outcome {
		if own != nil {
			return own
		}
		return s.want
	}
	switch {
	case s.newest != nil && !i.before(libvirtPackage, 12, 0):
		return s.newest
	case !i.before(libvirtPackage, 11, 0) && !i.before(qemuPackage, 9, 1):
		return want(s.newer)
	case !i.before(libvirtPackage, 11, 0) || !i.before(qemuPackage, 9, 1):
		return append(slices.Clone(s.want), s.newer...)
	case i.before(libvirtPackage, 7, 3) && i.before(qemuPackage, 6, 0):
		return want(s.older)
	}
	return s.want
}

// commandLine is what the kernel is told. Before 5.16 it knows no number of pages for each node, and shares out what it
// is to make.
func (i *image) commandLine() string {
	if i.before(kernelPackage, 5, 16) {
		return strings.NewReplacer("0:1,1:1", "2", "0:1024,1:1024", "2048").Replace(cmdline)
	}
	return cmdline
}
