package domain

import (
	"fmt"
	"strings"
	"testing"

	"hugeguard/guard"
)

// What metadata says to us counts where it says it in our namespace and in its own place, whatever the prefixes; all
// else is somebody else's.
func TestMarks(t *testing.T) {
	const (
		start = "<name>hugeguard-verify-x</name><memory unit='PiB'>4</memory><memoryBacking><hugepages/></memoryBacking>"
		ours  = "xmlns:hugeguard='urn:hugeguard:1'"
	)
	in := func(metadata string) string {
		return "<domain>" + start + "<metadata>" + metadata + "</metadata></domain>"
	}
	many := strings.Builder{}
	for i := range 1000 {
		fmt.Fprintf(&many, " xmlns:p%d='urn:hugeguard:1'", i)
	}
	for xml, want := range map[string]marks{
		in("<hugeguard:exempt " + ours + "/>"):                  {exempt: true},
		in("<hugeguard:canary " + ours + "/>"):                  {canary: true},
		in("<x:exempt xmlns:x='urn:hugeguard:1'/>"):             {exempt: true},
		in("<exempt xmlns='urn:hugeguard:1'/>"):                 {exempt: true},
		in("<exempt xmlns='urn:&#104;ugeguard:1'>why</exempt>"): {exempt: true},
		in("<nova:instance xmlns:nova='http://openstack.org/x'><a/></nova:instance><x:exempt xmlns:x='urn:hugeguard:1'/>"): {exempt: true},
		in("<hugeguard:exempt " + ours + "/><hugeguard:canary " + ours + "/>"):                                             {exempt: true, canary: true},
		"<domain " + ours + ">" + start + "<metadata><hugeguard:exempt/></metadata></domain>":                              {exempt: true},
		"<domain>" + start + "<metadata " + ours + "><hugeguard:exempt/></metadata></domain>":                              {exempt: true},
		// The prefix alone is nobody's; neither is the name, nor the text.
		in("<hugeguard:exempt/>"):                                    {},
		in("<hugeguard:exempt xmlns:hugeguard='urn:hugeguard:2'/>"):  {},
		in("<hugeguard:exempt xmlns:hugeguard='urn:HUGEGUARD:1'/>"):  {},
		in("<hugeguard:exempt xmlns:hugeguard='urn:hugeguard:1 '/>"): {},
		in("<exempt/>"):                                                                              {},
		in("<exempt " + ours + "/>"):                                                                 {},
		in("<hugeguard:exempted " + ours + "/>"):                                                     {},
		in("<hugeguard:Exempt " + ours + "/>"):                                                       {},
		in("<x:a xmlns:x='urn:x' x:xmlns='urn:hugeguard:1'/><x:exempt/>"):                            {},
		in("<!-- <hugeguard:exempt " + ours + "/> -->"):                                              {},
		in("<![CDATA[<hugeguard:exempt " + ours + "/>]]>"):                                           {},
		in("&lt;hugeguard:exempt " + ours + "/&gt;"):                                                 {},
		in("<?hugeguard:exempt " + ours + "?>"):                                                      {},
		in(`<a:b xmlns:a='urn:a' text="&lt;hugeguard:exempt xmlns:hugeguard='urn:hugeguard:1'/>"/>`): {},
		// A declaration ends with its element, and is hidden by another.
		in("<hugeguard:x " + ours + "/><hugeguard:exempt/>"):                                                          {},
		"<domain " + ours + ">" + start + "<metadata xmlns:hugeguard='urn:x'><hugeguard:exempt/></metadata></domain>": {},
		"<domain " + ours + ">" + start + "<metadata><hugeguard:exempt xmlns:hugeguard='urn:x'/></metadata></domain>": {},
		"<domain>" + start + "<metadata xmlns='urn:hugeguard:1'><exempt xmlns=''/></metadata></domain>":               {},
		"<domain>" + start + "<title " + ours + "/><metadata><hugeguard:exempt/></metadata></domain>":                 {},
		// What a tenant can put deeper, or elsewhere.
		in("<nova:instance xmlns:nova='urn:n'><hugeguard:exempt " + ours + "/></nova:instance>"):                 {},
		in("<hugeguard:x " + ours + "><hugeguard:exempt/></hugeguard:x>"):                                        {},
		"<domain>" + start + "<hugeguard:exempt " + ours + "/></domain>":                                         {},
		"<domain>" + start + "<devices><hugeguard:exempt " + ours + "/></devices></domain>":                      {},
		"<domain>" + start + "<devices><metadata><hugeguard:exempt " + ours + "/></metadata></devices></domain>": {},
		"<domain>" + start + "<metadata/><metadata><hugeguard:exempt " + ours + "/></metadata></domain>":         {},
		in("<metadata><hugeguard:exempt " + ours + "/></metadata>"):                                              {},
		in("<p999:exempt" + many.String() + "/>"):                                                                {},
	} {
		d, err := Parse([]byte(xml))
		if err != nil {
			t.Errorf("%s: %v", xml, err)
			continue
		}
		if got := (marks{d.Exempt == guard.ExemptByMetadata, d.Canary, d.Domain.Manager}); got != want || d.Exempt != "" && !got.exempt {
			t.Errorf("%.200s\nis %+v, want %+v", xml, got, want)
		}
		if len(d.Backends) != 1 {
			t.Errorf("%.200s: %d backends", xml, len(d.Backends))
		}
	}
}

// What is like a guest is none of ours, whatever it says of itself: its pages count, and its refusal.
func TestMarkOfGuest(t *testing.T) {
	for _, c := range []struct {
		name, memory string
		canary       bool
	}{
		{"hugeguard-verify-x", "<memory unit='PiB'>4</memory>", true},
		{"hugeguard-verify", "<memory unit='PiB'>4</memory>", false},
		{"x", "<memory unit='PiB'>4</memory>", false},
		{"hugeguard-verify-x", "<memory unit='TiB'>4095</memory>", false},
		{"hugeguard-verify-x", "<memory unit='GiB'>64</memory>", false},
	} {
		d, err := Parse(fmt.Appendf(nil, "<domain><name>%s</name>%s<memoryBacking><hugepages/></memoryBacking><metadata><canary xmlns='urn:hugeguard:1'/></metadata></domain>", c.name, c.memory))
		if err != nil || d.Canary != c.canary {
			t.Errorf("%+v: %v, %v", c, d.Canary, err)
		}
	}
}

// Who made a domain is told by the namespace of an element in its metadata, whatever the prefix and where it is declared.
func TestManager(t *testing.T) {
	for metadata, want := range map[string]guard.Manager{
		`<metadata><nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1"><nova:name>v4</nova:name></nova:instance></metadata>`:                                                                           guard.ManagerNova,
		`<metadata><n:instance xmlns:n="http://openstack.org/xmlns/libvirt/nova/1.0"/></metadata>`:                                                                                                                         guard.ManagerNova,
		`<metadata xmlns:ovirt-tune="http://ovirt.org/vm/tune/1.0" xmlns:ovirt-vm="http://ovirt.org/vm/1.0"><ovirt-tune:qos/><ovirt-vm:vm><ovirt-vm:clusterVersion>4.7</ovirt-vm:clusterVersion></ovirt-vm:vm></metadata>`: guard.ManagerOVirt,
		`<metadata><kubevirt xmlns="http://kubevirt.io"><uid>b4a3</uid></kubevirt></metadata>`:                                                                                                                             guard.ManagerKubeVirt,
		`<metadata><one:vm xmlns:one="http://opennebula.org/xmlns/libvirt/1.0"><one:name>a</one:name></one:vm></metadata>`:                                                                                                 guard.ManagerOpenNebula,
		`<metadata><exempt xmlns="urn:hugeguard:1"/><nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1"/></metadata>`:                                                                                  guard.ManagerNova,
		`<metadata><libosinfo:libosinfo xmlns:libosinfo="http://libosinfo.org/xmlns/libvirt/domain/1.0"><libosinfo:os id="http://x"/></libosinfo:libosinfo></metadata>`:                                                    "",
		`<metadata><cockpit_machines:data xmlns:cockpit_machines="https://github.com/cockpit-project/cockpit/tree/master/pkg/machines"/></metadata>`:                                                                       "",
		// Mentioned, and not there.
		`<metadata><nova:instance/></metadata>`: "",
		`<metadata><x:y xmlns:x="urn:x" xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1"/></metadata>`:      "",
		`<metadata><a xmlns="urn:x"><instance xmlns="http://openstack.org/xmlns/libvirt/nova/1.1"/></a></metadata>`: "",
		`<description>http://openstack.org/xmlns/libvirt/nova/1.1</description>`:                                    "",
	} {
		text := []byte("<domain><name>x</name>" + metadata + "</domain>")
		d, err := Parse(text)
		if err != nil || d.Domain.Manager != want {
			t.Errorf("%s\nis %q's, want %q (%v)", metadata, d.Domain.Manager, want, err)
		}
		left, err := Reduce(text)
		if err != nil {
			t.Fatal(err)
		}
		if d, err = Parse(left); err != nil || d.Domain.Manager != want {
			t.Errorf("%s\nreduced to %s is %q's, want %q (%v)", metadata, left, d.Domain.Manager, want, err)
		}
	}
}
