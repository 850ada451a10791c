package domain_test

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/testdata/grammar"
)

// reduced asks the same of a domain's XML and of what is left of it.
func reduced(t rapid.TB, name string, text []byte) {
	t.Helper()
	want, errWant := domain.Parse(text)
	left, err := domain.Reduce(text)
	if err != nil {
		if errWant == nil {
			t.Fatalf("%s: %v", name, err)
		}
		return
	}
	got, errGot := domain.Parse(left)
	if (errWant == nil) != (errGot == nil) || errWant != nil && errWant.Error() != errGot.Error() {
		t.Fatalf("%s: %v, reduced %v:\n%s", name, errWant, errGot, left)
	}
	if !reflect.DeepEqual(want, got) {
		t.Fatalf("%s: reduced to\n%s\nit is (- before, + after)\n%s", name, left, cmp.Diff(want, got))
	}
	if again, err := domain.Reduce(left); err != nil || !bytes.Equal(again, left) {
		t.Fatalf("%s: reduced to\n%s\nand again to\n%s\n%v", name, left, again, err)
	}
}

// TestReducedDomains: what is left of a domain demands the same, of every domain here and of made-up ones.
func TestReducedDomains(t *testing.T) {
	files, err := filepath.Glob("../../testdata/domains/*.xml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		reduced(t, file, text)
		// libvirt's own file of one that runs.
		bare := text[bytes.Index(text, []byte("<domain")):]
		left, err := domain.Reduce(text)
		if err != nil {
			t.Fatal(err)
		}
		status, err := domain.Reduce([]byte("<!-- not to be edited -->\n<domstatus state='running' pid='7'>\n  <monitor path='/x'/>\n" + string(bare) + "</domstatus>\n"))
		if err != nil || !bytes.Equal(status, left) {
			t.Errorf("%s: of its status is left\n%s\nof itself\n%s\n%v", file, status, left, err)
		}
	}
	for _, odd := range grammar.Odds() {
		reduced(t, odd.Name, []byte(odd.XML))
	}
	rapid.Check(t, func(t *rapid.T) {
		sentence := grammar.Draw(t)
		reduced(t, sentence.XML, []byte(sentence.XML))
	})
}

// TestReducedDomainHasNoSecrets: nothing is left of what tells nothing about memory.
func TestReducedDomainHasNoSecrets(t *testing.T) {
	const text = `<domain type='kvm' id='15' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  hunter2<name>hugeguard-verify-a</name><title>hunter2</title>
  <metadata><nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1"><nova:name>hunter2</nova:name></nova:instance><h:exempt xmlns:h="urn:hugeguard:1">hunter2</h:exempt><canary xmlns="urn:hugeguard:1" why="hunter2"/><exempt>hunter2</exempt></metadata>
  <memory unit='KiB' dumpCore='hunter2'>8796093022208</memory>
  <memoryBacking>hunter2<hugepages/></memoryBacking>
  <vcpu placement='static' current='hunter2'>hunter2</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type><kernel>hunter2</kernel><cmdline>hunter2</cmdline></os>
  <sysinfo type='smbios'><system><entry name='serial'>hunter2</entry></system></sysinfo>
  <launchSecurity type='sev'><session>hunter2</session><name>hunter2</name></launchSecurity>
  <cputune><vcpupin vcpu='hunter2' cpuset='hunter2'/></cputune>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='network'><auth username='hunter2'><secret type='ceph' uuid='hunter2'/></auth><memory>hunter2</memory></disk>
    <interface type='vhostuser'><mac address='hunter2'/><source path='hunter2'/><mtu size='9000'/></interface>
    <memory model='nvdimm'><uuid>hunter2</uuid><source><path>/srv/nvdimm</path></source><target><size unit='MiB'>16</size></target></memory>
    <graphics type='vnc' passwd='hunter2'><listen address='hunter2'/></graphics>
    <domain><name>hunter2</name></domain>
  </devices>
  <seclabel><label>hunter2</label></seclabel>
  <qemu:commandline><qemu:arg value='hunter2'/><qemu:env name='hunter2' value='hunter2'/></qemu:commandline>
  <qemu:capabilities><qemu:del capability='hunter2'/></qemu:capabilities>
</domain>`
	left, err := domain.Reduce([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(left), "hunter2") || !strings.Contains(string(left), "http://openstack.org/xmlns/libvirt/nova/1") {
		t.Errorf("left is\n%s", left)
	}
	if d, err := domain.Parse(left); err != nil || d.Exempt != guard.ExemptByMetadata || !d.Canary {
		t.Errorf("%+v, %v", d, err)
	}
	reduced(t, "it", []byte(text))
	for _, none := range []string{"", "hunter2", "<network/>", "<domstatus/>", "<domain>"} {
		if left, err := domain.Reduce([]byte(none)); err == nil {
			t.Errorf("%q becomes %q", none, left)
		}
	}
}
