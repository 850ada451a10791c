package capture

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hugeguard/guard"
	"hugeguard/sysfs"
)

// about adds the file that says what the capture is. A captured host has it already.
func (c *Capture) about(host sysfs.FS, o Options, began time.Time, domains, seen int) {
	if text, err := host.ReadFile(About, maxXML); err == nil && !host.Live() {
		c.files[About] = file{data: text}
		return
	}
	var b strings.Builder
	line := func(key, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s %s\n", key+":", guard.Printable(fmt.Sprintf(format, args...), 400))
	}
	fmt.Fprintln(&b, "A host as hugeguard sees it: hugeguard check --root FILE.tar DOMAIN|OTHER.xml")
	fmt.Fprintln(&b)
	line("hugeguard", "%s", o.Version)
	line("taken", "%s, in %v", began.UTC().Format(time.RFC3339), time.Since(began).Round(time.Millisecond))
	var uts unix.Utsname
	if unix.Uname(&uts) == nil && host.Live() {
		line("kernel", "%s %s, %s", unix.ByteSliceToString(uts.Sysname[:]), unix.ByteSliceToString(uts.Release[:]), unix.ByteSliceToString(uts.Machine[:]))
	}
	if kib, ok, err := host.BasePageKiB(); err == nil && ok {
		line("page size", "%d KiB", kib)
	}
	kept := map[int]bool{}
	for name := range c.files {
		if pid, _ := sysfs.OfProcess(name); pid > 0 {
			kept[pid] = true
		}
	}
	line("processes", "%d of %d: processes with huge pages, nova-compute, and libvirt's daemon", len(kept), seen)
	line("domains", "%d, only what affects their memory", domains)
	b.WriteString(notInIt)
	for _, n := range c.Notes {
		line("but", "%s", n)
	}
	c.files[About] = file{data: []byte(b.String())}
}

const notInIt = `
In it are the kernel's counters and limits of huge pages, who maps or opens files of these, the settings of libvirt,
Open vSwitch and hugeguard that decide about them, and Nova's reserved_huge_pages. Not in it are the memory of guests or
processes, environments, other arguments, disks, displays, metadata and passwords of domains, and any other setting.
A file that could not be read is a symbolic link to itself.
`
