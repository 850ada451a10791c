package place

import (
	"path/filepath"
	"strconv"
	"strings"

	"hugeguard/guard"
	"hugeguard/hook/survey/libvirt"
	"hugeguard/sysfs"
)

// libraryPlaces are where distributions put libvirt.so.0, with what comes by hand: there, or one directory deeper where
// it is called by the machine (Debian).
var libraryPlaces = []string{"/usr/lib64", "/usr/lib", "/lib64", "/lib", "/usr/local/lib64", "/usr/local/lib"}

// libvirt returns the version of the libvirt in the tree, by the name of its library and without running anything: a
// package or an image may hold another machine's. Of several it is the oldest, for a layout that the oldest runs the
// others run too.
func (t tree) libvirt() guard.Version {
	var oldest guard.Version
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

// cachedLibvirt returns the version of the libvirt that has looked at emulators in the tree, by its cache: the newest,
// as an older one may have left some.
func (t tree) cachedLibvirt() (newest guard.Version) {
	for _, e := range libvirt.Emulators(sysfs.New(t.root)) {
		newest = max(newest, e.Releases.Libvirt.Version)
	}
	return newest
}

// parseLibrary reads the version from a library's name: libvirt.so.0.9000.0 is 9.0.0 (libvirt's build:
// major*1000+minor, micro). A name of another form gives 0.
func parseLibrary(name string) guard.Version {
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
	return guard.Version(r*1000 + m)
}
