// Package hooktest has what the tests of hook and of the packages below it share: the host of the incident and its
// guests, what other programs leave on a host, and hosts of which any file can be spoiled.
package hooktest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hugeguard/sysfs/sysfstest"
)

// Data returns the path of a file or a pattern below testdata.
func Data(name string) string {
	dir := "."
	for range 8 { // from the directory of the test
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		dir = filepath.Join(dir, "..")
	}
	return filepath.Join(dir, "testdata", name)
}

// Incident makes a host on which the incident happens, as it was captured whole, without Nova.
func Incident(t testing.TB) sysfstest.Host {
	t.Helper()
	return sysfstest.Copy(t, Data("hosts/plain/host"))
}

// metadata is what Nova puts into the domains that it makes.
const metadata = `  <metadata>
    <nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1">
      <nova:name>&lt;devices&gt;</nova:name>
    </nova:instance>
  </metadata>
  <memory unit`

// NovaConf is where Nova has its configuration, and ReservesAll one that tells it of all that Open vSwitch holds.
const (
	NovaConf    = "etc/nova/nova.conf"
	ReservesAll = "[DEFAULT]\nreserved_huge_pages=node:0,size:2048,count:512\nreserved_huge_pages=node:1,size:2048,count:512\n"
)

// Emulator is a QEMU, and EmulatorFile where libvirt has what it knows of it.
const (
	Emulator     = "/usr/bin/qemu-system-x86_64"
	EmulatorFile = "var/cache/libvirt/qemu/capabilities/926803a9278e445ec919c2b6cbd8c1c449c75b26dcb1686b774314180376c725.xml"
)

// Domain returns the XML of a guest of the incident, as libvirt gives it to the hook.
func Domain(t testing.TB, name string) string {
	t.Helper()
	xml, err := os.ReadFile(Data("hosts/plain/" + name))
	if err != nil {
		t.Fatal(err)
	}
	return string(xml)
}

// OVSAnswer is what the database of Open vSwitch answers to the request.
func OVSAnswer(told string) string {
	return `{"error":null,"id":0,"result":[{"rows":[{"other_config":["map",[["dpdk-init","true"]` + told + `]]}]}]}`
}

// MadeByNova gives the host's guests Nova's metadata.
func MadeByNova(t *testing.T, h sysfstest.Host) {
	t.Helper()
	for _, name := range []string{"instance-00000001", "instance-00000002"} {
		file := "run/libvirt/qemu/" + name + ".xml"
		text, err := os.ReadFile(h.Path(file))
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(text), "  <memory unit", metadata, 1)
		if changed == string(text) {
			t.Fatal(file)
		}
		h.Write(file, changed)
	}
}

// NovaRuns adds a nova-compute that started at the given second after 1e9.
func NovaRuns(h sysfstest.Host, second int, arguments ...string) {
	h.Write("proc/stat", "cpu 1\nbtime 1000000000\nprocesses 1\n")
	h.Write("proc/812/status", "Name:\tnova-compute\nHugetlbPages:\t0 kB\n")
	h.Write("proc/812/cmdline", strings.Join(append([]string{"/usr/bin/python3", "/usr/bin/nova-compute"}, arguments...), "\x00")+"\x00")
	h.Write("proc/812/stat", fmt.Sprintf("812 (nova-compute) S 1%s %d 0\n", strings.Repeat(" 0", 17), 100*second))
	h.Write("proc/812/cgroup", "0::/system.slice/nova-compute.service\n")
}

// ChangedAt sets when a file was changed, in seconds after 1e9.
func ChangedAt(t *testing.T, h sysfstest.Host, file string, second int) {
	t.Helper()
	at := time.Unix(1_000_000_000+int64(second), 0)
	if err := os.Chtimes(h.Path(file), at, at); err != nil {
		t.Fatal(err)
	}
}

// Debian12 returns what libvirt of Debian 12 knows of its QEMU.
func Debian12(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(Data("capabilities/debian12-x86_64.xml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
