//go:build !race

// The race detector takes memory of its own, and finds nothing in the programs that are measured here.

package hook

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"hugeguard/hook/config"
	"hugeguard/hook/hooktest"
)

// TestMemoryOfHolders: of processes with as many mappings as the kernel allows
// by default, those of huge pages alone cost anything.
func TestMemoryOfHolders(t *testing.T) {
	const most = 65_530
	t.Parallel()
	for _, test := range []struct {
		name    string
		huge    int // mappings of huge pages, of one page each
		touched bool
		times   int // as many processes
		says    string
	}{
		{"one", 1, true, 1, "ovs-vswitchd (pid 2974) 1 (2 MiB); unexplained"},
		{"all", most, true, 1, "ovs-vswitchd (pid 2974) 65530"},
		{"all, untouched", most, false, 1, "unexplained: 1024 pages (2 GiB)"},
		{"all of three", most, true, 3, "2 processes could not be read"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := hooktest.Incident(t)
			for _, pid := range []int{3066, 3085} {
				h.Remove(fmt.Sprintf("proc/%d", pid))
			}
			var mapped, numa, smaps strings.Builder
			for i := range most {
				start := 0x7f0000000000 + i<<22
				end, page, file, pages := start+4096, 4, "/usr/lib/x86_64-linux-gnu/libdpdk.so.23", " mapped=1 N0=1"
				if i < test.huge {
					end, page, file = start+2<<20, 2048, fmt.Sprintf("/dev/hugepages/rtemap_%d", i)
					if pages = " huge dirty=1 N0=1"; !test.touched {
						pages = " huge"
					}
				}
				fmt.Fprintf(&mapped, "%x-%x rw-s 00000000 00:2f %d                   %s\n", start, end, 1000+i, file)
				fmt.Fprintf(&numa, "%x default file=%s%s kernelpagesize_kB=%d\n", start, file, pages, page)
				fmt.Fprintf(&smaps, "%x-%x rw-s 00000000 00:2f %d                   %s\nSize: 4 kB\nKernelPageSize: %8d kB\nMMUPageSize: 4 kB\nRss: 0 kB\nPss: 0 kB\n"+
					"Shared_Hugetlb: 0 kB\nPrivate_Hugetlb: 0 kB\nVmFlags: rd wr sh mr mw me ms de%s\n", start, end, 1000+i, file, page,
					map[bool]string{true: " ht", false: ""}[page == 2048])
			}
			h.Write("proc/2974/maps", mapped.String())
			h.Write("proc/2974/numa_maps", numa.String())
			h.Write("proc/2974/smaps", smaps.String())
			for i := 1; i < test.times; i++ {
				dir := fmt.Sprintf("proc/%d", 2974+i)
				if err := os.Mkdir(h.Path(dir), 0o755); err != nil {
					t.Fatal(err)
				}
				for _, name := range []string{"status", "maps", "numa_maps", "smaps"} {
					if err := os.Link(h.Path("proc/2974/"+name), h.Path(dir+"/"+name)); err != nil {
						t.Fatal(err)
					}
				}
			}
			h.Write(config.Path, "deadline = 1m\n") // it is not speed that is asked for
			hooktest.Bounded(t, exitRefuse, "", strings.NewReader(""), "/usr/bin/env", rootEnv+"="+h.Path(""), os.Args[0])
			entry, err := os.ReadFile(h.Path("entry"))
			if err != nil || !strings.Contains(string(entry), test.says) {
				t.Errorf("%q, %v; want %q in it", entry, err, test.says)
			}
		})
	}
}
