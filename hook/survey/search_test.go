package survey

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hugeguard/guard"
	"hugeguard/hook/hooktest"
)

// TestNameIsNoService: what calls itself Open vSwitch or a guest, and is not believed, is a process of that name.
func TestNameIsNoService(t *testing.T) {
	h := hooktest.Incident(t)
	status, err := os.ReadFile(h.Path("proc/2974/status"))
	if err != nil {
		t.Fatal(err)
	}
	h.Write("proc/2974/status", strings.Replace(string(status), "Uid:\t0\t0\t0\t0", "Uid:\t1000\t1000\t1000\t1000", 1))
	h.Write("proc/2974/cgroup", "0::/user.slice/user-1000.slice/user@1000.service/app.slice/ovs-vswitchd.service\n")
	host := look(t, h.FS(), time.Now().Add(time.Hour))
	i := slices.IndexFunc(host.Holders.List, func(h guard.Holder) bool { return h.PID == 2974 })
	if i < 0 {
		t.Fatalf("%+v", host.Holders)
	}
	if got := host.Holders.List[i]; got.Kind != guard.HolderProcess || got.Name != "ovs-vswitchd" || got.Unit != "user@1000.service" {
		t.Errorf("%+v", got)
	}
}

// TestManyMappings: a process with many mappings costs no other its place.
func TestManyMappings(t *testing.T) {
	const most = 65_530
	h := hooktest.Incident(t)
	var maps, numa strings.Builder
	for i := range most {
		start := int64(0x7f0000000000 + i<<22)
		from := strconv.FormatInt(start, 16)
		maps.WriteString(from + "-" + strconv.FormatInt(start+2<<20, 16) + " rw-p 00000000 00:10 99 /anon_hugepage (deleted)\n")
		numa.WriteString(from + " default file=/anon_hugepage\\040(deleted) huge kernelpagesize_kB=2048\n")
	}
	const pids = 3
	for pid := 70; pid < 70+pids; pid++ {
		// One has touched some, so that it comes before all others.
		h.Write(fmt.Sprintf("proc/%d/status", pid), fmt.Sprintf("Name:\tmonster\nUid:\t1000\t1000\t1000\t1000\nHugetlbPages:\t%d kB\n", []int{1 << 30, 0, 0}[pid-70]))
		for name, text := range map[string]*strings.Builder{"maps": &maps, "numa_maps": &numa} {
			if pid == 70 {
				h.Write("proc/70/"+name, text.String())
			} else if err := os.Link(h.Path("proc/70/"+name), h.Path(fmt.Sprintf("proc/%d/%s", pid, name))); err != nil {
				t.Fatal(err)
			}
		}
	}
	h.Write("sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "7\n")
	host := look(t, h.FS(), time.Now().Add(time.Hour))
	found := map[int]uint64{}
	for _, holder := range host.Holders.List {
		found[holder.PID] += holder.Pages[0]
	}
	if found[2974] != 512 || found[3066] != 256 || found[3085] != 256 {
		t.Errorf("found %v", found)
	}
	unreadable := host.Holders.Unreadable
	slices.SortFunc(unreadable, func(a, b guard.Process) int { return a.PID - b.PID })
	// One fits, after all others.
	if len(unreadable) != 2 || unreadable[0].PID != 71 || unreadable[0].Name != "monster" {
		t.Errorf("unreadable: %+v; want those who have too many", unreadable)
	}
}
