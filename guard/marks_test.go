package guard

import (
	"fmt"
	"strings"
	"testing"
)

// The marks change nothing in what is judged, and are told. For a canary nobody should set up pages.
func TestMarksInVerdict(t *testing.T) {
	xml := "<domain><name>hugeguard-verify-x</name><memory unit='PiB'>4</memory><memoryBacking><hugepages><page size='2' unit='MiB'/></hugepages></memoryBacking>%s</domain>"
	host := pages(1)
	judged := func(metadata string) Verdict {
		d, err := ParseDomain(fmt.Appendf(nil, xml, metadata))
		if err != nil {
			t.Fatal(err)
		}
		return JudgeAndFix(d, host)
	}
	plain, marked := judged(""), judged("<metadata><exempt xmlns='urn:hugeguard:1'/><canary xmlns='urn:hugeguard:1'/></metadata>")
	if plain.Decision != Refuse || marked.Decision != Refuse || plain.Cause != marked.Cause || len(Fixes(plain)) == 0 || len(Fixes(marked)) > 0 ||
		!strings.HasPrefix(Summary(marked), "hugeguard verify asked for more than there can be: node 0 has too few 2M pages: 1 of 1 free") || strings.Contains(Text(marked), "nr_hugepages") {
		t.Errorf("%s\n%s", Text(plain), Text(marked))
	}
	if len(plain.Claims()) != 1 || len(marked.Claims()) != 0 {
		t.Errorf("%+v, %+v", plain.Claims(), marked.Claims())
	}
	exempt := judged("<metadata><exempt xmlns='urn:hugeguard:1'/></metadata>")
	if Text(exempt) != Text(plain) || exempt.Exempt != "metadata" || exempt.Decision != Refuse {
		t.Errorf("%s\n%s", Text(plain), Text(exempt))
	}
	if plain.Exempt != "" || marked.Exempt != "metadata" {
		t.Errorf("%q, %q", plain.Exempt, marked.Exempt)
	}
	p, m := Fields(plain), Fields(marked)
	if p["HUGEGUARD_CANARY"] != "" || p["HUGEGUARD_EXEMPT"] != "" || m["HUGEGUARD_CANARY"] != "1" || m["HUGEGUARD_EXEMPT"] != "metadata" {
		t.Errorf("%q\n%q", p, m)
	}
}
