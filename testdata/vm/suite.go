package vm

import (
	"fmt"
	"strings"
)

// A Suite is what a machine is built from: a release of Debian, and what is taken from its backports.
type Suite struct {
	Name    string
	Release string
	// backports are the sources whose packages come from the backports, "*" for all that are there; nil for none.
	backports []string
}

// ParseSuite reads the name of a suite: "bookworm", "trixie-backports" for all that the backports have, or
// "trixie-backports+qemu+libvirt" for what is built from some sources alone.
func ParseSuite(name string) Suite {
	release, sources, ok := strings.Cut(name, "-backports")
	s := Suite{Name: name, Release: release}
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
func (s Suite) archives() []string {
	if s.Release == "sid" || s.Release == "bullseye" {
		return []string{""}
	}
	return []string{"", "-updates", "-security"}
}

// pins has apt prefer the backports, nothing without.
func (s Suite) pins() string {
	var pins strings.Builder
	for _, source := range s.backports {
		if source != "*" {
			source = "src:" + source
		}
		fmt.Fprintf(&pins, "Package: %s\nPin: release n=%s-backports\nPin-Priority: 990\n\n", source, s.Release)
	}
	return pins.String()
}

// Release returns the first numbers of the release that a package is, such as 7, 0 of libvirt's 7.0.0-3+deb11u3.
func (i *Image) Release(pkg string) (major, minor int) {
	version := i.Version(pkg)
	if _, rest, ok := strings.Cut(version, ":"); ok { // an epoch
		version = rest
	}
	fmt.Sscanf(version, "%d.%d", &major, &minor)
	return major, minor
}

// Before reports whether a package is older than a release.
func (i *Image) Before(pkg string, major, minor int) bool {
	is, and := i.Release(pkg)
	return is < major || is == major && and < minor
}

// Packages that decide what a start does.
const (
	Kernel  = "linux-image-cloud-amd64"
	Libvirt = "libvirt-daemon"
	QEMU    = "qemu-system-x86"
	OVS     = "openvswitch-switch-dpdk"
	Libc    = "libc6"
)
