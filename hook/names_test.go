package hook

import (
	"fmt"
	"strings"
	"testing"
	"unicode"

	"hugeguard/hook/config"
	"hugeguard/hook/hooktest"
	"hugeguard/hook/ledger"
	"hugeguard/sysfs"
)

// evil is a name that works terminals, forges lines, journal fields and formats, and is no text.
const evil = "evil\nPRIORITY=0\nMESSAGE=all is well\r\x1b[2J\x1b]0;t\x07\x7f\u009b31m\u202eback%s%n%1000000d'\"`$(id);\\\xff"

// plainText says whether a terminal shows text and does nothing else.
func plainText(text string) bool {
	return !strings.ContainsFunc(strings.ReplaceAll(text, "\n", " "), func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar })
}

// harmless checks what a call has said.
func (f *fixture) harmless(t *testing.T) {
	t.Helper()
	if line := f.stderr.String(); strings.Contains(line, "\n") || !plainText(line) || len(line) > 780 {
		t.Errorf("stderr: %.3000q", &f.stderr)
	}
	for _, e := range f.entries {
		if !plainText(e.Message) || len(e.Message) > 64<<10 || strings.Contains(e.Message, "\nPRIORITY") || strings.Contains(e.Message, "\nMESSAGE") {
			t.Errorf("the journal has %.3000q", e.Message)
		}
		for field, value := range e.Fields {
			if !plainText(value) || len(value) > 64<<10 {
				t.Errorf("%s=%.3000q", field, value)
			}
		}
	}
}

// TestHostileHolders: processes, units, guests and files called so are named
// in a way that does no harm.
func TestHostileHolders(t *testing.T) {
	inStatus := strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(evil) // as the kernel does
	for name, spoil := range map[string]func(*fixture){
		"a process": func(f *fixture) {
			f.host.Write("proc/2974/status", "Name:\t"+inStatus+"\nVmRSS:\t1 kB\nHugetlbPages:\t 2097152 kB\n")
			f.host.Write("proc/2974/cmdline", "x\x00")
		},
		"Open vSwitch": func(f *fixture) {
			f.host.Write("proc/2974/status", "Name:\tovs-vswitchd"+inStatus+"\nVmRSS:\t1 kB\nHugetlbPages:\t 2097152 kB\n")
		},
		"a guest by its pid file": func(f *fixture) {
			f.host.Write("run/libvirt/qemu/"+strings.ReplaceAll(evil, "/", "")+".pid", "2974\n")
		},
		"a guest by its command line": func(f *fixture) {
			f.host.Write("proc/2974/status", "Name:\tqemu\nVmRSS:\t1 kB\nHugetlbPages:\t 2097152 kB\n")
			f.host.Write("proc/2974/cmdline", "qemu\x00-name\x00guest="+evil+"\x00")
		},
		"a guest with a name of 1 MB": func(f *fixture) {
			f.host.Write("proc/2974/status", "Name:\tqemu\nVmRSS:\t1 kB\nHugetlbPages:\t 2097152 kB\n")
			f.host.Write("proc/2974/cmdline", "qemu\x00-name\x00guest="+strings.Repeat("x", 1<<20-100)+"\x00")
		},
		"a unit": func(f *fixture) {
			f.host.Write("proc/2974/status", "Name:\tx\nVmRSS:\t1 kB\nHugetlbPages:\t 2097152 kB\n")
			f.host.Write("proc/2974/cmdline", "x\x00")
			f.host.Write("proc/2974/cgroup", "0::/system.slice/"+strings.ReplaceAll(evil, "\n", " ")+".service\n")
		},
		"a mapped file": func(f *fixture) {
			f.host.Write("proc/2974/maps", strings.ReplaceAll("7f0000000000-7f0040000000 rw-s 00000000 00:2f 9 /dev/hugepages/"+evil, "\n", `\012`)+"\n")
			f.host.Write("proc/2974/numa_maps", "7f0000000000 default file=/dev/hugepages/x huge dirty=512 N0=512 kernelpagesize_kB=2048\n")
		},
		"files that are left over": func(f *fixture) {
			f.host.Remove("proc/2974")
			f.host.Write("dev/hugepages.files", fmt.Sprintln(sysfs.File{Path: "/dev/hugepages/" + evil, Device: "00:2f", Inode: 7, PageKiB: 2048, Pages: 512}))
		},
		"many files that are left over": func(f *fixture) {
			f.host.Remove("proc/2974")
			var files strings.Builder
			for i := range 512 {
				fmt.Fprintln(&files, sysfs.File{Path: fmt.Sprintf("/dev/hugepages/%s%d", strings.Repeat(evil, 2), i), Device: "00:2f", Inode: uint64(7 + i), PageKiB: 2048, Pages: 1})
			}
			f.host.Write("dev/hugepages.files", files.String())
		},
		"nova.conf": func(f *fixture) {
			f.host.Write("etc/nova/nova.conf", "[DEFAULT]\nreserved_huge_pages = "+evil+"\n")
		},
		"the configuration": func(f *fixture) { f.host.Write(config.Path, evil) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, strings.NewReader(hooktest.Domain(t, "prepare.xml")))
			spoil(f)
			if status := f.prepare(); status != exitRefuse {
				t.Errorf("status %d", status)
			}
			f.harmless(t)
		})
	}
}

// TestHostileDomains: the same of domains that start.
func TestHostileDomains(t *testing.T) {
	inXML := strings.NewReplacer("\n", "&#10;", "\r", "&#13;", "\x1b", "", "\x07", "", "\xff", "", "<", "&lt;").Replace(evil)
	for name, in := range map[string]string{
		"evil":             inXML,
		"1 MB":             strings.Repeat("x", 1<<20),
		"another's folder": "../../../etc/shadow",
		"the daemon's":     "driver",
		"nobody's":         "",
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, nil)
			f.host.Remove("run/openvswitch")
			launch := func(name string) int {
				f.stdin = strings.NewReader(strings.NewReplacer(">instance-00000003<", ">"+name+"<", "32963992-", fmt.Sprintf("%08x-", len(name))).Replace(hooktest.Domain(t, "prepare-on-node1.xml")))
				f.entries, f.ledgerNoted = nil, false
				f.stderr.Reset()
				return f.prepare()
			}
			if status := launch(in); status != exitAccept {
				t.Errorf("status %d, %.300q", status, &f.stderr)
			}
			f.harmless(t)
			for _, claimed := range f.claimed(t) {
				if len(claimed) > ledger.LongestName {
					t.Errorf("a claim of a name of %d bytes", len(claimed))
				}
			}
			// Later guests are judged, and what is said of it is harmless.
			for _, next := range []string{"bb", "ccc"} {
				launch(next)
				f.harmless(t)
			}
		})
	}
}
