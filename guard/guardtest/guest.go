package guardtest

import (
	"fmt"
	"strings"
	"testing"

	"hugeguard/guard"
	"hugeguard/guard/domain"
)

// TwoMiB is the memoryBacking of a guest on pages of 2 MiB.
const TwoMiB = "<hugepages><page size='2' unit='MiB'/></hugepages>"

// A GuestCell is a guest cell of so many 2 MiB pages, bound as libvirt would say it: "" or "MODE:NODES".
type GuestCell struct {
	Pages   uint64
	Memnode string
}

// Cell returns a [GuestCell].
func Cell(pages uint64, memnode string) GuestCell { return GuestCell{pages, memnode} }

// Guest is a guest of cells; memory is numatune/memory as "MODE:NODES", or "".
func Guest(t testing.TB, memory string, cells ...GuestCell) guard.Demand {
	t.Helper()
	return Parse(t, GuestXML(memory, cells...))
}

// GuestXML is what [Guest] reads.
func GuestXML(memory string, cells ...GuestCell) string {
	var numa, tune strings.Builder
	if mode, nodes, ok := strings.Cut(memory, ":"); ok {
		fmt.Fprintf(&tune, "<memory mode='%s' nodeset='%s'/>", mode, nodes)
	}
	for i, c := range cells {
		fmt.Fprintf(&numa, "<cell id='%d' cpus='%d' memory='%d' unit='MiB'/>", i, i, 2*c.Pages)
		if mode, nodes, ok := strings.Cut(c.Memnode, ":"); ok {
			fmt.Fprintf(&tune, "<memnode cellid='%d' mode='%s' nodeset='%s'/>", i, mode, nodes)
		}
	}
	return fmt.Sprintf(`<domain type='kvm'><name>g</name><memory unit='MiB'>1</memory>
		<memoryBacking><hugepages><page size='2' unit='MiB'/></hugepages></memoryBacking>
		<numatune>%s</numatune><os><type arch='x86_64'>hvm</type></os><cpu><numa>%s</numa></cpu></domain>`, &tune, &numa)
}

// Plain is a guest without cells of so many MiB.
func Plain(t testing.TB, mib int, memory, backing string) guard.Demand {
	t.Helper()
	tune := ""
	if mode, nodes, ok := strings.Cut(memory, ":"); ok {
		tune = fmt.Sprintf("<numatune><memory mode='%s' nodeset='%s'/></numatune>", mode, nodes)
	}
	return Parse(t, fmt.Sprintf(`<domain type='kvm'><name>g</name><memory unit='MiB'>%d</memory>
		<memoryBacking>%s</memoryBacking>%s<os><type arch='x86_64'>hvm</type></os></domain>`, mib, backing, tune))
}

// PinnedXML is a guest of ten pages on node 1 with some pinning.
func PinnedXML(pinning string) string {
	return `<domain><memory unit='MiB'>20</memory><memoryBacking>` + TwoMiB + `</memoryBacking><os><type arch='x86_64'>hvm</type></os>` + pinning +
		`<numatune><memory mode='strict' nodeset='1'/></numatune></domain>`
}

// Parse is [domain.Parse] of what must be right.
func Parse(t testing.TB, xml string) guard.Demand {
	t.Helper()
	d, err := domain.Parse([]byte(xml))
	if err != nil {
		t.Fatal(err)
	}
	return d
}
