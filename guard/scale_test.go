package guard_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	. "hugeguard/guard"
	"hugeguard/guard/domain"
	. "hugeguard/guard/guardtest"
	"hugeguard/testdata/cases"
)

// What QEMU takes of a guest.
const (
	maxCells   = 128
	maxDevices = 256
)

// large is the XML of a guest with so many cells and memory devices, each of one page and tuned to nodes in a mode.
func large(cells, dimms, virtio int, mode, nodes string) string {
	var b, tune strings.Builder
	b.WriteString("<domain type='kvm'><name>large</name><memory unit='MiB'>2</memory><memoryBacking><hugepages/></memoryBacking>" +
		"<os><type arch='x86_64' machine='q35'>hvm</type></os><cpu><numa>")
	for i := range cells {
		fmt.Fprintf(&b, "<cell id='%d' cpus='%[1]d' memory='2048'/>", i)
		fmt.Fprintf(&tune, "<memnode cellid='%d' mode='%s' nodeset='%s'/>", i, mode, nodes)
	}
	fmt.Fprintf(&b, "</numa></cpu><numatune><memory mode='%s' nodeset='%s'/>%s</numatune><devices>", mode, nodes, tune.String())
	for i := range dimms + virtio {
		model := "<memory model='dimm'>"
		if i >= dimms {
			model = "<memory model='virtio-mem'>"
		}
		fmt.Fprintf(&b, "%s<source><nodemask>%s</nodemask></source><target><size>2048</size><node>%d</node><block>2048</block><requested>2048</requested></target></memory>", model, nodes, i%max(cells, 1))
	}
	b.WriteString("</devices></domain>")
	return b.String()
}

// The work grows with the guest and not with its square: the largest that QEMU takes is judged in time under the lock
// that all starts share. Allocations are counted, as time would depend on the machine.
func TestLargeGuests(t *testing.T) {
	for _, nodes := range []int{1, 2, 128} {
		for _, mode := range []string{"strict", "interleave", "preferred", "restrictive"} {
			if cases.RaceDetector && nodes != 2 {
				continue // one goroutine allocates the same with it, and takes ten times as long
			}
			guest := func(part int) Demand {
				d := Parse(t, large(maxCells/part, maxDevices/2/part, maxDevices/2/part, mode, fmt.Sprintf("0-%d", nodes-1)))
				if len(d.Backends) != (maxCells+maxDevices)/part || d.TooMany.Count != 0 {
					t.Fatalf("%d backends, %+v", len(d.Backends), d.TooMany)
				}
				return d
			}
			whole, quarter := guest(1), guest(4)
			for _, each := range []uint64{0, 2, 3, 1000} {
				if cases.RaceDetector && each != 2 {
					continue
				}
				host := Pages(slices.Repeat([]uint64{each}, nodes)...).Host
				if most, some := allocations(whole, host), allocations(quarter, host); most > 6*some {
					t.Errorf("%d nodes, %d pages each, %s: %d allocations, and %d for a quarter of the guest", nodes, each, mode, most, some)
				}
			}
		}
	}
}

// allocations is how often memory is allocated for judging a launch.
func allocations(d Demand, host Host) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	Judge(d, host)
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs
}

// What QEMU refuses for its number is allowed with a warning, and nothing of it is judged or claimed.
func TestTooMany(t *testing.T) {
	for _, c := range []struct {
		cells, dimms, virtio int
		want                 string
	}{
		{maxCells, maxDevices, 0, ""},
		{maxCells + 1, 0, 0, "too many guest cells: QEMU takes at most 128, and it has 129: its huge pages are not judged"},
		{1, maxDevices, 1, "too many memory devices: QEMU takes at most 256, and it has 257: its huge pages are not judged"},
		{1000, 1000, 0, "too many memory devices: QEMU takes at most 256, and it has 1000: its huge pages are not judged"},
	} {
		d := Parse(t, large(c.cells, c.dimms, c.virtio, "strict", "0"))
		v := Judge(d, Pages(0).Host)
		if c.want == "" {
			if v.Decision != Refuse {
				t.Errorf("%+v: %s: %s", c, v.Decision, summary(v))
			}
			continue
		}
		if v.Decision != Warn || summary(v) != c.want || len(v.Findings) != 1 || v.Findings[0].Severity != SeverityWarn || len(v.Claims()) > 0 ||
			!strings.HasPrefix(text(v), c.want) || len(d.Backends) > maxCells+maxDevices {
			t.Errorf("%+v: %s: %s", c, v.Decision, text(v))
		}
	}
}

func BenchmarkLargeGuest(b *testing.B) {
	for _, mode := range []string{"strict", "preferred", "restrictive"} {
		for _, each := range []uint64{2, 1000} {
			b.Run(fmt.Sprintf("%s-%d", mode, each), func(b *testing.B) {
				d, err := domain.Parse([]byte(large(maxCells, maxDevices, 0, mode, "0-127")))
				if err != nil {
					b.Fatal(err)
				}
				host := Pages(slices.Repeat([]uint64{each}, 128)...)
				for range b.N {
					Judge(d, host.Host)
				}
			})
		}
	}
}
