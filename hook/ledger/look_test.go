package ledger

import (
	"fmt"
	"strings"
	"testing"

	"hugeguard/sysfs"
)

// TestRemaining: a mapping counts for the part that it is most like, whatever else its QEMU maps beside it.
func TestRemaining(t *testing.T) {
	// In the order of numa_maps, in which what was mapped last is first.
	at := uint64(0)
	mapping := func(pages uint64, taken map[int]uint64, bound ...int) sysfs.Mapping {
		at += 1 << 40
		return sysfs.Mapping{Start: at, End: at + pages<<21, PageKiB: 2048, Pages: taken, Bound: bound}
	}
	on := func(node int, pages uint64) map[int]uint64 { return map[int]uint64{node: pages} }
	strict := func(pages uint64, nodes ...int) Part {
		return Part{PageKiB: 2048, Pages: pages, Nodes: nodes, Hard: true}
	}
	soft := func(pages uint64) Part { return Part{PageKiB: 2048, Pages: pages} }
	for _, c := range []struct {
		name     string
		parts    []Part
		mappings []sysfs.Mapping
		want     string // pages, those of them that are mapped, and being cleared, of each part
	}{
		{"nothing mapped", []Part{strict(20, 0)}, nil, "[20 0 0]"},
		{"a device of its own", []Part{strict(15, 0), strict(20, 0)},
			[]sysfs.Mapping{mapping(100, nil), mapping(20, on(0, 5)), mapping(15, on(0, 15))}, "[0 0 0] [15 15 2]"},
		{"cells of a size, the first full", []Part{strict(64, 0), strict(64, 1)},
			[]sysfs.Mapping{mapping(64, nil), mapping(64, on(0, 64))}, "[0 0 0] [64 64 2]"},
		{"cells of a size, the second full", []Part{strict(64, 0), strict(64, 1)},
			[]sysfs.Mapping{mapping(64, on(1, 64)), mapping(64, nil)}, "[64 64 2] [0 0 0]"},
		{"cells of a size on the same nodes", []Part{strict(64, 0, 1), strict(64, 1, 2)},
			[]sysfs.Mapping{mapping(64, on(1, 64), 1, 2), mapping(64, on(1, 7), 0, 1)}, "[57 57 2] [0 0 0]"},
		{"RAM of a size with a device that takes its pages later", []Part{strict(64, 0)},
			[]sysfs.Mapping{mapping(64, nil, 0), mapping(64, on(0, 60), 0)}, "[4 4 2]"},
		{"a soft cell on the node of a hard one", []Part{strict(64, 0), soft(64)},
			[]sysfs.Mapping{mapping(64, on(0, 64)), mapping(64, on(0, 64), 0)}, "[0 0 0] [0 0 0]"},
		{"the same, the hard one first", []Part{strict(64, 0), soft(64)},
			[]sysfs.Mapping{mapping(64, on(0, 1)), mapping(64, on(0, 64), 0)}, "[0 0 0] [63 63 2]"},
		{"half mapped", []Part{strict(64, 0), strict(64, 1)},
			[]sysfs.Mapping{mapping(64, nil, 0)}, "[64 64 2] [64 0 0]"},
		{"not of that size", []Part{strict(64, 0)}, []sysfs.Mapping{mapping(60, on(0, 10))}, "[54 50 2]"},
	} {
		var got []string
		for _, left := range startingOf(Claim{}, Process{}, Claim{Parts: c.parts}.remaining(c.mappings, nil), 2).Claims {
			got = append(got, fmt.Sprint([]uint64{left.Pages, left.Mapped, left.Clearing}))
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: %s, want %s", c.name, text, c.want)
		}
	}
}
