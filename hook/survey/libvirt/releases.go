package libvirt

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

// Releases returns which libvirt and QEMU are to serve a domain of that emulator and machine.
//
// libvirt keeps what it found out about each emulator in a file, and has looked just before it calls the hook whether
// that still holds (qemuProcessPrepareQEMUCaps, virFileCacheLookup).
func (l Libvirt) Releases(emulator string, machine guard.Machine) (r guard.Releases) {
	if l.certain {
		r.Cpuset = l.conf.useCpuset(l.root)
	}
	r.Kernel = kernel(l.root)
	caps, text, err := readCapabilities(l.root, emulator)
	if err != nil {
		return r
	}
	// Only a QEMU that libvirt believes to have thread-context gets to use it.
	if l.Unread == nil && !slices.Contains(l.conf.filters, "thread-context") {
		r.Libvirt = guard.Release{Version: caps.libvirt, Patched: caps.patched}
	}
	r.QEMU = guard.Release{Version: caps.qemu, Patched: caps.patched}
	// What libvirt found out says more than a version, above all of a package with changes of later releases.
	if caps.flags && l.Unread == nil {
		filtered := func(flag string) bool { return slices.Contains(l.conf.filters, flag) }
		r.QEMU.ThreadContext = guard.Certainly(caps.threadContext && !filtered(flagThreadContext))
		r.QEMU.Reserve = guard.Certainly(caps.reserve && !filtered(flagReserve))
		r.QEMU.DefaultRAM, r.QEMU.DividesRAM = ramOf(text, machine)
		if caps.libvirt < 7_000_000 {
			r.QEMU.DividesRAM = 0 // not all of these look for it
		}
	}
	return r
}

// The flags that are read, by libvirt's names (virQEMUCaps).
const (
	flagThreadContext = "thread-context"
	flagReserve       = "memory-backend-file.reserve"
)

// kernel returns the release of the running kernel. Debian keeps to it in all that hugeguard knows of; others take in
// changes of later ones.
func kernel(root sysfs.FS) guard.Release {
	major, minor, flavour, ok := root.KernelRelease()
	if !ok || major < 0 || major > 1000 || minor < 0 || minor > 999 {
		return guard.Release{}
	}
	debian := []string{"amd64", "arm64", "armmp", "ppc64el", "s390x", "riscv64"}
	return guard.Release{Version: guard.Version(major*1_000_000 + minor*1_000), Patched: !slices.Contains(debian, flavour)}
}

// Emulator is a QEMU that libvirt knows.
type Emulator struct {
	Path     string
	Releases guard.Releases
}

// Emulators returns what is known of each emulator that libvirt has looked at, in the order of their paths.
func Emulators(fs sysfs.FS) []Emulator {
	libvirt := Read(fs)
	names, _ := fs.ReadDir(CapabilitiesDir) // none where they cannot be read
	var all []Emulator
	for _, name := range names {
		text, err := fs.ReadStartOfRoots(CapabilitiesDir+"/"+name, capabilitiesLimit)
		if err != nil {
			continue
		}
		// What is believed of it is asked as for a domain.
		caps, _ := ParseCapabilities(text)
		if releases := libvirt.Releases(caps.emulator, guard.Machine{}); releases.QEMU.Version != 0 {
			all = append(all, Emulator{caps.emulator, releases})
		}
	}
	slices.SortFunc(all, func(a, b Emulator) int { return strings.Compare(a.Path, b.Path) })
	return all
}

// Capabilities is what is of interest in libvirt's file about an emulator.
type Capabilities struct {
	emulator      string
	ctime         int64 // of the emulator, in seconds
	libvirt, qemu guard.Version
	patched       bool // see [guard.Release]

	flags                  bool // there are some in the file
	threadContext, reserve bool // these are among them
}

const (
	// CapabilitiesDir is the cache of the system's daemon, below the root
	// (virQEMUDriverConfigNew); a session's has another.
	CapabilitiesDir = "var/cache/libvirt/qemu/capabilities"
	// capabilitiesLimit is far more than the file has, in bytes: 209 KiB with libvirt 9.0, most of it machines and
	// models of CPUs.
	capabilitiesLimit = 4 << 20
)

var errStale = errors.New("it is about another emulator")

// readCapabilities reads what libvirt found out about an emulator, and returns the text, too. On the running host that
// must be the emulator that is there now, a program and no script that runs who knows what, and nobody but root may have
// written it: QEMU's user owns the directory above.
func readCapabilities(fs sysfs.FS, emulator string) (caps Capabilities, text []byte, err error) {
	if !path.IsAbs(emulator) {
		return Capabilities{}, nil, errStale
	}
	sum := sha256Sum(emulator)
	name := CapabilitiesDir + "/" + hex.EncodeToString(sum[:]) + ".xml"
	text, err = fs.ReadStartOfRoots(name, capabilitiesLimit)
	if err != nil {
		return Capabilities{}, nil, err
	}
	caps, err = ParseCapabilities(text)
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
		return Capabilities{}, nil, fmt.Errorf("%s: %w", fs.Path(name), err)
	}
	return caps, text, nil
}

// verify checks what is known of the emulator against the file system.
func (c Capabilities) verify() error {
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

// ParseCapabilities reads the beginning of a file of capabilities as libvirt writes it,
// one element a line (virQEMUCapsFormatCache).
func ParseCapabilities(text []byte) (Capabilities, error) {
	var c Capabilities
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
		if flag, ok := flagOf(line); ok {
			c.flags = true
			c.threadContext = c.threadContext || flag == flagThreadContext
			c.reserve = c.reserve || flag == flagReserve
			continue
		}
		for _, field := range []struct {
			name string
			set  func(string)
		}{
			{"emulator", func(v string) { c.emulator = v }},
			{"qemuctime", func(v string) { c.ctime = int64(number(v, 63)) }},
			{"selfvers", func(v string) { c.libvirt = guard.Version(number(v, 32)) }},
			{"version", func(v string) { c.qemu = guard.Version(number(v, 32)) }},
			// Debian and those that build from it keep to the release. Others are known to take in changes of later
			// ones, so that theirs tells only what they have at least.
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

// ramOf reports whether a machine names its RAM (default-ram-id of query-machines), and whether it divides RAM among
// cells by itself (numa-mem-supported), where the file has that machine. libvirt goes by that, and by nothing else
// (qemuBuildMemCommandLine, qemuBuildNumaCommandLine).
func ramOf(text []byte, machine guard.Machine) (names, divides guard.Known) {
	if machine.Name == "" {
		return 0, 0
	}
	accelerator := "tcg" // virQEMUCapsAccelStr
	if machine.Kind == "kvm" || machine.Kind == "hvf" {
		accelerator = machine.Kind
	}
	for line := range bytes.Lines(text) {
		if !bytes.HasPrefix(line, []byte(machineStart)) || attributeOf(line, "type") != accelerator {
			continue
		}
		if attributeOf(line, "name") == machine.Name || attributeOf(line, "alias") == machine.Name {
			return guard.Certainly(attributeOf(line, "defaultRAMid") != ""), guard.Certainly(attributeOf(line, "numaMemSupported") == "yes")
		}
	}
	return 0, 0
}

// machineStart begins the lines of machines (virQEMUCapsFormatMachines).
const machineStart = "  <machine "

// attributeOf returns the value of an attribute in an element's line, "" without it.
func attributeOf(line []byte, name string) string {
	_, rest, _ := bytes.Cut(line, []byte(" "+name+"='"))
	value, _, closed := bytes.Cut(rest, []byte("'"))
	if !closed {
		return ""
	}
	return string(value)
}

// reducedMachine is what is read of a machine's line.
func reducedMachine(line []byte) []byte {
	kept := []byte("  <machine")
	for _, name := range []string{"type", "name", "alias", "numaMemSupported", "defaultRAMid"} {
		if value := attributeOf(line, name); value != "" {
			kept = fmt.Appendf(kept, " %s='%s'", name, value)
		}
	}
	return append(kept, "/>\n"...)
}

// flagOf returns the flag that a line is.
func flagOf(line []byte) (flag string, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte("  <flag name='"))
	name, _, closed := bytes.Cut(rest, []byte("'"))
	return string(name), ok && closed
}

// capabilityElements are those of the file that are read.
var capabilityElements = []string{"emulator", "qemuctime", "selfvers", "version", "package"}

// ReduceCapabilities keeps which releases an emulator and libvirt are, the flags that are read, and what machines do
// with RAM. One flag stands for the others: without any it would not be known what they are.
func ReduceCapabilities(text []byte) ([]byte, error) {
	_, err := ParseCapabilities(text)
	if err != nil {
		return nil, err
	}
	kept, flags, behind := []byte("<qemuCaps>\n"), false, false
	for line := range bytes.Lines(text) {
		rest, ok := bytes.CutPrefix(line, []byte("  <"))
		element, _, _ := strings.Cut(string(rest), ">")
		flag, isFlag := flagOf(line)
		switch {
		case !ok:
		case bytes.HasPrefix(line, []byte(machineStart)):
			kept = append(kept, reducedMachine(line)...)
		case element == "arch":
			behind = true
		case behind:
		case flag == flagThreadContext, flag == flagReserve, slices.Contains(capabilityElements, element):
			kept = append(kept, line...)
		case isFlag && !flags:
			kept = append(kept, "  <flag name='another'/>\n"...)
		}
		flags = flags || isFlag
	}
	return kept, nil
}
