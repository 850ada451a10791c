package domain_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/fix"
	"hugeguard/guard/guardtest"
	"hugeguard/guard/words"
)

// TestUnknownValues: a value that only a newer libvirt knows is a warning, whatever is free, and names where it stands.
// The memory that it does not concern is judged as ever.
func TestUnknownValues(t *testing.T) {
	const huge, cells = "<hugepages/>", "<cell id='0' memory='1' unit='GiB'%s/><cell id='1' memory='1' unit='GiB'/>"
	xml := func(backing, tune, more string) string {
		return fmt.Sprintf(`<domain type='kvm'><name>g</name><memory unit='GiB'>2</memory><vcpu%s>2</vcpu><memoryBacking>%s</memoryBacking>
			<numatune>%s</numatune><os><type arch='x86_64'>hvm</type></os><cpu><numa>`+cells+`</numa></cpu><devices>%s</devices></domain>`,
			attribute(more, "vcpu"), backing, tune, attribute(more, "cell"), strings.TrimPrefix(more, "vcpu"))
	}
	device := func(attributes, source string) string {
		return fmt.Sprintf("<memory %s><source>%s</source><target><size unit='GiB'>1</size><node>0</node></target></memory>", attributes, source)
	}
	with := func(pages uint64) guard.Host {
		host := guardtest.Idle(4, 2048, 2048)
		for i := range host.Pools[0].Nodes {
			host.Pools[0].Nodes[i].Total, host.Pools[0].Nodes[i].Free = pages, pages
		}
		return host
	}
	short, empty := with(600), with(0) // on each node: a cell takes 512
	const bad, first = "<memory mode='weighted' nodeset='0'/>", "<memnode cellid='0' mode='strict' nodeset='0'/>"
	for _, test := range []struct {
		name, xml, where string
		host             guard.Host
		want             guard.Decision
	}{
		{"mode", xml(huge, bad, ""), "numatune/memory/@mode='weighted'", short, guard.Warn},
		{"mode, and no pages", xml(huge, bad, ""), "numatune/memory/@mode='weighted'", empty, guard.Warn},
		{"mode without nodes", xml(huge, "<memory mode='weighted'/>", ""), "numatune/memory/@mode='weighted'", empty, guard.Warn},
		{"mode, and a cell of its own", xml(huge, bad+first, ""), "numatune/memory/@mode='weighted'", short, guard.Warn},
		{"mode, and a cell of its own without pages", xml(huge, bad+first, ""), "numatune/memory/@mode='weighted'", empty, guard.Refuse},
		{"mode of a cell", xml(huge, "<memnode cellid='0' mode='weighted' nodeset='0'/>", ""), "numatune/memnode[@cellid='0']/@mode='weighted'", short, guard.Warn},
		{"placement", xml(huge, "<memory mode='strict' placement='numa' nodeset='0'/>", ""), "numatune/memory/@placement='numa'", empty, guard.Warn},
		{"placement of CPUs", xml(huge, "", "vcpu"), "vcpu/@placement='numa'", empty, guard.Warn},
		{"model", xml(huge, "", device("model='cxl'", "")), "devices/memory[1]/@model='cxl'", short, guard.Warn},
		{"model, and no pages", xml(huge, "", device("model='cxl'", "")), "devices/memory[1]/@model='cxl'", empty, guard.Refuse},
		{"model of a guest on ordinary pages", xml("", "", device("model='cxl'", "")), "devices/memory[1]/@model='cxl'", empty, guard.Warn},
		{"access of a device", xml(huge, "", device("model='dimm' access='copied'", "")), "devices/memory[1]/@access='copied'", empty, guard.Warn},
		{"source", xml(huge+"<source type='hugetlb'/>", "", ""), "memoryBacking/source/@type='hugetlb'", empty, guard.Warn},
		{"source alone", xml("<source type='hugetlb'/>", "", ""), "memoryBacking/source/@type='hugetlb'", empty, guard.Warn},
		{"access", xml(huge+"<access mode='copied'/>", "", ""), "memoryBacking/access/@mode='copied'", empty, guard.Warn},
		{"allocation", xml(huge+"<allocation mode='late'/>", "", ""), "memoryBacking/allocation/@mode='late'", empty, guard.Warn},
		{"access of a cell", xml(huge, "", "cell"), "cpu/numa/cell[1]/@memAccess='copied'", empty, guard.Warn},
	} {
		demand, err := domain.Parse([]byte(test.xml))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		v := fix.Judge(demand, test.host)
		if demand.AsksNothing() || v.Decision != test.want {
			t.Errorf("%s: %s %s, want %s", test.name, v.Decision, words.Text(v), test.want)
		}
		if said := words.Text(v); v.Decision == guard.Warn && !strings.Contains(said, "unknown value "+test.where+":") {
			t.Errorf("%s: it does not name %s: %s", test.name, test.where, said)
		}
	}
	for _, known := range []string{xml(huge, "<memory mode='preferred' nodeset='0'/>", device("model='sgx-epc'", "<nodemask>0</nodemask>")),
		xml("", bad, ""), xml(huge+"<source type='memfd'/><access mode='shared'/><allocation mode='immediate'/>", first, device("model='egm'", "<path>/dev/egm0</path>"))} {
		demand, err := domain.Parse([]byte(known))
		if err != nil || demand.Unknown != nil {
			t.Errorf("%s: %v, unknown %v", known, err, demand.Unknown)
		}
	}
}

// attribute returns the unknown attribute of one element that a case is about.
func attribute(of, element string) string {
	switch {
	case of != element:
		return ""
	case element == "vcpu":
		return " placement='numa'"
	}
	return " memAccess='copied'"
}

// TestUnknownModeIsUnbound: memory of an unknown mode may lie anywhere, so that those who start after it are not kept
// from pages that it may not take.
func TestUnknownModeIsUnbound(t *testing.T) {
	demand, err := domain.Parse([]byte(`<domain type='kvm'><name>g</name><memory unit='GiB'>1</memory><memoryBacking><hugepages/></memoryBacking>
		<numatune><memory mode='weighted' nodeset='1'/></numatune><os><type arch='x86_64'>hvm</type></os></domain>`))
	if err != nil {
		t.Fatal(err)
	}
	b := demand.Backends[0]
	if b.Policy != guard.PolicyDefault || b.Strength != guard.Soft || b.HostNodes != nil || !b.Unsure || !reflect.DeepEqual(demand.Cpuset, guard.Cpuset{}) {
		t.Errorf("it is %+v within %+v", b, demand.Cpuset)
	}
}
