package domain_test

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/testdata/cases"
	"hugeguard/testdata/grammar"
)

// alter changes one element of a domain's XML, named as in a backend's from. What it says of nodes becomes node 5000,
// and of a page size 64 MiB.
func alter(xml, element string) string {
	const nodes, size = "nodeset='5000'", "size='65536'"
	var cell, device, page int
	within := func(xml string, begin, end string, n int, edit func(string) string) string {
		i := 0
		for range n {
			i += strings.Index(xml[i:], begin) + len(begin)
		}
		k := i + strings.Index(xml[i:], end)
		return xml[:i] + edit(xml[i:k]) + xml[k:]
	}
	replace := func(pattern, with string) func(string) string {
		return func(s string) string { return regexp.MustCompile(pattern).ReplaceAllLiteralString(s, with) }
	}
	tuning := replace(`nodeset='[^']*'|placement='auto'`, nodes)
	switch {
	case element == "vcpu[@placement='auto']":
		return strings.Replace(xml, "<vcpu placement='auto'", "<vcpu placement='static'", 1)
	case element == "numatune/memory":
		return within(xml, "<numatune><memory", "/>", 1, tuning)
	case element == "memoryBacking/hugepages":
		return strings.Replace(xml, "<hugepages/>", "<hugepages><page "+size+"/></hugepages>", 1)
	case scan(element, "numatune/memnode[@cellid='%d']", &cell):
		// All of them: libvirt takes no more than one, and the parser the last.
		return regexp.MustCompile(fmt.Sprintf(`(<memnode cellid='%d'[^>]*)nodeset='[^']*'`, cell)).ReplaceAllString(xml, "${1}"+nodes)
	case scan(element, "memoryBacking/hugepages/page[%d]", &page):
		return within(xml, "<page ", "/>", page, replace(`size='\d*'( unit='\w*')?`, size))
	case scan(element, "devices/memory[%d]/source/nodemask", &device):
		return within(xml, "<memory model", "</memory>", device, replace(`<nodemask>.*</nodemask>`, "<nodemask>5000</nodemask>"))
	case scan(element, "devices/memory[%d]/source/path", &device):
		return within(xml, "<memory model", "</memory>", device, replace(`<path>.*</path>`, "<path>/elsewhere</path>"))
	case scan(element, "devices/memory[%d]/source/pagesize", &device):
		return within(xml, "<memory model", "</memory>", device, replace(`<pagesize.*</pagesize>`, "<pagesize>65536</pagesize>"))
	}
	return xml
}

// scan reads the number in an element's name.
func scan(element, format string, n *int) bool {
	_, err := fmt.Sscanf(element, format, n)
	return err == nil && fmt.Sprintf(format, *n) == element
}

// TestFrom alters the elements that backends are said to come from. Where one says something of nodes, the nodes of
// those backends change, or their path, and of no other. Where it says something of pages, their page size does, and nothing else has
// anything to say of their nodes.
func TestFrom(t *testing.T) {
	all := cases.AtLeast(t, 1500)
	seen := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		xml := grammar.Draw(t).XML
		demand, err := domain.Parse([]byte(xml))
		if err != nil {
			return
		}
		for _, b := range demand.Backends {
			if strings.HasSuffix(b.From, "qemu.conf") {
				continue // no element says more than that it is in a file
			}
			altered := alter(xml, b.From)
			after, err := domain.Parse([]byte(altered))
			ofPage := strings.Contains(b.From, "page")
			same := slices.EqualFunc(demand.Backends, after.Backends, func(x, y guard.Backend) bool { return x.ID == y.ID })
			if ofPage && !same {
				continue // RAM as a whole has become that of each cell
			}
			if err != nil || !same || altered == xml {
				t.Fatalf("%s altered: %v\n%s\n%s", b.From, err, xml, altered)
			}
			for i, other := range demand.Backends {
				changed := !reflect.DeepEqual(placement(other), placement(after.Backends[i]))
				if ofPage {
					changed = other.PageKiB != after.Backends[i].PageKiB
				}
				if is := other.From == b.From; is && !changed || !is && !ofPage && changed {
					t.Fatalf("%s altered, %s is from %s: %+v, was %+v\n%s", b.From, other.ID, other.From, after.Backends[i], other, xml)
				}
			}
			if ofPage && (b.HostNodes != nil || b.Cpuset != nil || b.Auto || b.Strength == guard.Hard) {
				t.Fatalf("%s is from %s, which says nothing of nodes: %+v\n%s", b.ID, b.From, b, xml)
			}
			seen[regexp.MustCompile(`\d+`).ReplaceAllString(b.From, "")]++
		}
	})
	if all && len(seen) != 8 {
		t.Errorf("elements of %d kinds were altered, want 8: %v", len(seen), seen)
	}
}

func placement(b guard.Backend) any {
	return []any{b.HostNodes, b.Cpuset, b.Auto, b.Path}
}
