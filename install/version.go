package install

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"hugeguard/hook"
	"hugeguard/sysfs"
)

// A libvirtVersion is major*1,000,000 + minor*1,000 + micro, as libvirt itself counts; 0 is unknown.
type libvirtVersion int

// dropInSince is the first libvirt that runs what lies in hooks/qemu.d (docs/hooks.rst: 6.5.0).
const dropInSince = libvirtVersion(hook.DropInSince)

func (v libvirtVersion) String() string {
	if v == 0 {
		return "of unknown version"
	}
	return fmt.Sprintf("%d.%d.%d", v/1_000_000, v/1_000%1_000, v%1_000)
}

// libraryPlaces are where distributions put libvirt.so.0, with what comes by hand: there, or one
// directory deeper where it is called by the machine (Debian).
var libraryPlaces = []string{"/usr/lib64", "/usr/lib", "/lib64", "/lib", "/usr/local/lib64", "/usr/local/lib"}

// libvirt returns the version of the libvirt in the tree, by the name of its library and
// without running anything: a package or an image may hold another machine's. Of several it is the
// oldest, for a layout that the oldest runs the others run too.
func (t tree) libvirt() libvirtVersion {
	var oldest libvirtVersion
	for _, place := range libraryPlaces {
		dir, err := t.dir(place)
		if err != nil {
			continue
		}
		for _, pattern := range []string{"libvirt.so.0.*", "*-linux-*/libvirt.so.0.*"} {
			names, _ := filepath.Glob(filepath.Join(dir, pattern)) // the pattern is sound
			for _, name := range names {
				if v := parseLibrary(filepath.Base(name)); v != 0 && (oldest == 0 || v < oldest) {
					oldest = v
				}
			}
		}
	}
	return oldest
}

// cachedLibvirt returns the version of the libvirt that has looked at emulators in the tree, by its cache: the newest, as
// an older one may have left some.
func (t tree) cachedLibvirt() (newest libvirtVersion) {
	for _, e := range hook.Emulators(sysfs.New(t.root)) {
		newest = max(newest, libvirtVersion(e.Releases.Libvirt.Version))
	}
	return newest
}

// parseLibrary reads the version from a library's name: libvirt.so.0.9000.0 is 9.0.0
// (libvirt's build: major*1000+minor, micro). A name of another form gives 0.
func parseLibrary(name string) libvirtVersion {
	rest, ok := strings.CutPrefix(name, "libvirt.so.0.")
	if !ok {
		return 0
	}
	release, micro, ok := strings.Cut(rest, ".")
	if !ok {
		return 0
	}
	r, err := strconv.ParseUint(release, 10, 24)
	if err != nil {
		return 0
	}
	m, err := strconv.ParseUint(micro, 10, 8)
	if err != nil {
		return 0
	}
	return libvirtVersion(r*1000 + m)
}
