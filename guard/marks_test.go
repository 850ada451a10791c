package guard_test

import (
	"fmt"
	"strings"
	"testing"

	. "hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/fix"
	. "hugeguard/guard/guardtest"
	"hugeguard/guard/words"
)

// The marks change nothing in what is judged, and are told. For a canary nobody should set up pages.
func TestMarksInVerdict(t *testing.T) {
	xml := "<domain><name>hugeguard-verify-x</name><memory unit='PiB'>4</memory><memoryBacking><hugepages><page size='2' unit='MiB'/></hugepages></memoryBacking>%s</domain>"
	host := Pages(1)
	judged := func(metadata string) fix.Verdict {
		d, err := domain.Parse(fmt.Appendf(nil, xml, metadata))
		if err != nil {
			t.Fatal(err)
		}
		return fix.Judge(d, host.Host)
	}
	plain, marked := judged(""), judged("<metadata><exempt xmlns='urn:hugeguard:1'/><canary xmlns='urn:hugeguard:1'/></metadata>")
	if plain.Decision != Refuse || marked.Decision != Refuse || plain.Cause != marked.Cause || len(Fixes(plain)) == 0 || len(Fixes(marked)) > 0 ||
		!strings.HasPrefix(words.Summary(marked), "hugeguard verify asked for more than there can be: node 0 has too few 2M pages: 1 of 1 free") || strings.Contains(words.Text(marked), "nr_hugepages") {
		t.Errorf("%s\n%s", words.Text(plain), words.Text(marked))
	}
	if len(plain.Claims()) != 1 || len(marked.Claims()) != 0 {
		t.Errorf("%+v, %+v", plain.Claims(), marked.Claims())
	}
	exempt := judged("<metadata><exempt xmlns='urn:hugeguard:1'/></metadata>")
	if words.Text(exempt) != words.Text(plain) || exempt.Exempt != "metadata" || exempt.Decision != Refuse {
		t.Errorf("%s\n%s", words.Text(plain), words.Text(exempt))
	}
	if plain.Exempt != "" || marked.Exempt != "metadata" {
		t.Errorf("%q, %q", plain.Exempt, marked.Exempt)
	}
	p, m := words.Fields(plain), words.Fields(marked)
	if p["HUGEGUARD_CANARY"] != "" || p["HUGEGUARD_EXEMPT"] != "" || m["HUGEGUARD_CANARY"] != "1" || m["HUGEGUARD_EXEMPT"] != "metadata" {
		t.Errorf("%q\n%q", p, m)
	}
}
