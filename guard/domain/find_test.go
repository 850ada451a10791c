package domain_test

import (
	"strings"
	"testing"

	"hugeguard/guard/domain"
)

func TestFindDomain(t *testing.T) {
	const inner = `<domain type='kvm'><name>a</name><x/></domain>`
	for text, want := range map[string]string{
		inner: inner,
		"<?xml version='1.0'?>\n<!-- <domain/> -->\n" + inner + "\n":                      inner,
		"<domstatus><monitor><domain>no</domain></monitor>\n " + inner + "</domstatus>\n": inner,
		"<domstatus><domstatus>" + inner + "</domstatus></domstatus>":                     "",
		"<network>" + inner + "</network>":                                                "",
		"<domain>":                                                                        "",
		"":                                                                                "",
		"text":                                                                            "",
		inner + "<!-- <domain/> -->":                                                      inner,
	} {
		got, err := domain.Find([]byte(text))
		if string(got) != want || (err == nil) != (want != "") {
			t.Errorf("domain.Find(%q) = %q, %v, want %q", text, got, err, want)
		}
	}
}

// TestOddInput: what is no domain of QEMU's, or not as libvirt writes one, is told in a sentence with the element and the
// way out.
func TestOddInput(t *testing.T) {
	const memory = "<domain type='kvm'><name>a</name><memory>1024</memory>%s</domain>"
	of := func(more string) string { return strings.Replace(memory, "%s", more, 1) }
	for text, want := range map[string]string{
		"<domainsnapshot><name>s</name>" + of("") + "</domainsnapshot>": "<domainsnapshot> is a snapshot and not a domain: name the domain, or put the <domain> that it contains in a file of its own",
		of("") + of(""):                      "it has 2 <domain> elements, and hugeguard judges one at a time: put each in a file of its own",
		"<all>" + of("") + of("") + "</all>": "it has 2 <domain> elements, and hugeguard judges one at a time: put each in a file of its own",
		"<all>" + of("") + "</all>":          `<all> is not a domain: hugeguard takes what "virsh dumpxml" prints`,
		"<network/>":                         `<network> is not a domain: hugeguard takes what "virsh dumpxml" prints`,
		"":                                   `there is no <domain> in it: hugeguard takes what "virsh dumpxml" prints`,
		"<domain type='lxc'/>":               "<domain type='lxc'> is not run by QEMU: hugeguard judges only type='kvm' and type='qemu'",
		"<domain type='l\u202exc'/>":         `<domain type='l\u202exc'> is not run by QEMU: hugeguard judges only type='kvm' and type='qemu'`,
		"<?xml version='1.0' encoding='ISO-8859-1'?><domain type='kvm'><name>G\xe4ste</name></domain>": `<?xml encoding="ISO-8859-1"?>: hugeguard reads UTF-8 only: convert it with "xmllint --encode UTF-8"`,

		of("<memoryBacking><hugepages><page size='2M'/></hugepages></memoryBacking>"):     "domain XML: <page size='2M'>: the unit is an attribute of its own: <page size='2' unit='M'>",
		of("<memoryBacking><hugepages><page size='2 MiB'/></hugepages></memoryBacking>"):  "domain XML: <page size='2 MiB'>: the unit is an attribute of its own: <page size='2' unit='MiB'>",
		of("<memoryBacking><hugepages><page size='big'/></hugepages></memoryBacking>"):    "domain XML: <page size='big'>: size takes a whole number",
		of("<memoryBacking><hugepages><page size='1.5G'/></hugepages></memoryBacking>"):   "domain XML: <page size='1.5G'>: size takes a whole number",
		of("<memoryBacking><hugepages><page size='\u009b'/></hugepages></memoryBacking>"): `domain XML: <page size='\u009b'>: size takes a whole number`,
		strings.Replace(of(""), "1024", "4G", 1):                                          "domain XML: <memory>4G</memory>: the unit is an attribute: <memory unit='G'>4</memory>",
		strings.Replace(of(""), "1024", "all", 1):                                         "domain XML: <memory>all</memory>: it takes a whole number",
		strings.Replace(of(""), "1024", "99999999999999999999999", 1):                     "domain XML: <memory>: 99999999999999999999999 is too large a number",
	} {
		found, err := domain.Find([]byte(text))
		if err == nil {
			_, err = domain.Parse(found)
		}
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
