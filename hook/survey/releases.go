package survey

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"hugeguard/guard"
	"hugeguard/sysfs"
)

// Releases returns which libvirt and QEMU are to serve a demand, without
// running anything. What is not certain stays unknown.
//
// libvirt keeps what it found out about each emulator in a file, and has
// looked just before it calls the hook whether that still holds
// (qemuProcessPrepareQEMUCaps, virFileCacheLookup).
func Releases(root sysfs.FS, demand guard.Demand) guard.Releases {
	return readLibvirt(root).releases(root, demand.Emulator)
}

func (l libvirt) releases(root sysfs.FS, emulator string) (r guard.Releases) {
	if l.certain {
		r.Cpuset = l.conf.useCpuset(root)
	}
	caps, err := readCapabilities(root, emulator)
	if err != nil {
		return r
	}
	// Only a QEMU that libvirt believes to have thread-context gets to use it.
	if l.err == nil && !slices.Contains(l.conf.filters, "thread-context") {
		r.Libvirt = guard.Release{Version: caps.libvirt, Patched: caps.patched}
	}
	r.QEMU = guard.Release{Version: caps.qemu, Patched: caps.patched}
	return r
}

// Emulator is a QEMU that libvirt knows.
type Emulator struct {
	Path     string
	Releases guard.Releases
}

// Emulators returns what is known of each emulator that libvirt has looked at,
// in the order of their paths.
func Emulators(fs sysfs.FS) []Emulator {
	libvirt := readLibvirt(fs)
	names, _ := fs.ReadDir(capabilitiesDir) // none where they cannot be read
	var all []Emulator
	for _, name := range names {
		text, err := fs.ReadStartOfRoots(capabilitiesDir+"/"+name, capabilitiesStart)
		if err != nil {
			continue
		}
		// What is believed of it is asked as for a domain.
		caps, _ := parseCapabilities(text)
		if releases := libvirt.releases(fs, caps.emulator); releases.QEMU.Version != 0 {
			all = append(all, Emulator{caps.emulator, releases})
		}
	}
	slices.SortFunc(all, func(a, b Emulator) int { return strings.Compare(a.Path, b.Path) })
	return all
}

// capabilities is what is of interest in libvirt's file about an emulator.
type capabilities struct {
	emulator      string
	ctime         int64 // of the emulator, in seconds
	libvirt, qemu guard.Version
	patched       bool // see [guard.Release]
}

const (
	// capabilitiesDir is the cache of the system's daemon, below the root
	// (virQEMUDriverConfigNew); a session's has another.
	capabilitiesDir = "var/cache/libvirt/qemu/capabilities"
	// capabilitiesStart is more than what comes before the machines and CPU
	// models, which are most of the file: 10 KiB with libvirt 9.0.
	capabilitiesStart = 64 << 10
)

var errStale = errors.New("it is about another emulator")

// readCapabilities reads what libvirt found out about an emulator. On the
// running host that must be the emulator that is there now, a program and no
// script that runs who knows what, and nobody but root may have written it: QEMU's user
// owns the directory above.
func readCapabilities(fs sysfs.FS, emulator string) (capabilities, error) {
	if !path.IsAbs(emulator) {
		return capabilities{}, errStale
	}
	sum := sha256Sum(emulator)
	name := capabilitiesDir + "/" + hex.EncodeToString(sum[:]) + ".xml"
	text, err := fs.ReadStartOfRoots(name, capabilitiesStart)
	if err != nil {
		return capabilities{}, err
	}
	caps, err := parseCapabilities(text)
	if err == nil && caps.emulator != emulator {
		err = errStale
	}
	if err == nil {
		var foreign error
		if !fs.Sure(name, func() bool { foreign = caps.verify(); return foreign == nil }) {
			err = cmp.Or(foreign, errStale)
		}
	}
	if err != nil {
		return capabilities{}, fmt.Errorf("%s: %w", fs.Path(name), err)
	}
	return caps, nil
}

// verify checks what is known of the emulator against the file system.
func (c capabilities) verify() error {
	var emulator syscall.Stat_t
	if err := syscall.Stat(c.emulator, &emulator); err != nil {
		return err
	}
	if emulator.Ctim.Sec != c.ctime {
		return errStale
	}
	start, err := sysfs.FS{}.ReadStart(strings.TrimPrefix(c.emulator, "/"), 4)
	if err == nil && string(start) != "\x7fELF" {
		err = errStale
	}
	return err
}

// parseCapabilities reads the beginning of a file of capabilities as libvirt writes it,
// one element a line (virQEMUCapsFormatCache).
func parseCapabilities(text []byte) (capabilities, error) {
	var c capabilities
	root, rest, _ := bytes.Cut(text, []byte("\n"))
	if string(root) != "<qemuCaps>" {
		return c, fmt.Errorf("%q is not <qemuCaps>", guard.Printable(string(root), 40))
	}
	c.patched = true
	number := func(value string, bits int) uint64 {
		n, err := strconv.ParseUint(value, 10, bits)
		if err != nil {
			return 0 // as if it were not there
		}
		return n
	}
	for len(rest) > 0 {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		if bytes.HasPrefix(line, []byte("  <arch>")) {
			break
		}
		for _, field := range []struct {
			name string
			set  func(string)
		}{
			{"emulator", func(v string) { c.emulator = v }},
			{"qemuctime", func(v string) { c.ctime = int64(number(v, 63)) }},
			{"selfvers", func(v string) { c.libvirt = guard.Version(number(v, 32)) }},
			{"version", func(v string) { c.qemu = guard.Version(number(v, 32)) }},
			// Debian and those that build from it keep to the release. Others
			// are known to take in changes of later ones, so that theirs
			// tells only what they have at least.
			{"package", func(v string) { c.patched = !strings.HasPrefix(v, "Debian ") }},
		} {
			if value, ok := bytes.CutPrefix(line, []byte("  <"+field.name+">")); ok {
				value, ok = bytes.CutSuffix(value, []byte("</"+field.name+">"))
				if ok {
					field.set(string(value))
				}
			}
		}
	}
	if c.emulator == "" || c.ctime == 0 || c.libvirt == 0 || c.qemu == 0 {
		return c, errors.New("no emulator and versions in it")
	}
	if c.qemu%1000 >= 50 {
		// On the way to the next release (QEMU's docs/devel, VERSION).
		c.qemu = 0
	}
	return c, nil
}

// capabilityElements are those of the file that are read.
var capabilityElements = []string{"emulator", "qemuctime", "selfvers", "version", "package"}

// reduceCapabilities keeps which releases an emulator and libvirt are.
func reduceCapabilities(text []byte) ([]byte, error) {
	_, err := parseCapabilities(text)
	if err != nil {
		return nil, err
	}
	kept := []byte("<qemuCaps>\n")
	for line := range bytes.Lines(text) {
		rest, ok := bytes.CutPrefix(line, []byte("  <"))
		element, _, _ := strings.Cut(string(rest), ">")
		if !ok {
			continue
		}
		if element == "arch" {
			break
		}
		if slices.Contains(capabilityElements, element) {
			kept = append(kept, line...)
		}
	}
	return kept, nil
}
