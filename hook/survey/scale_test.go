package survey

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hugeguard/guard"
	"hugeguard/guard/words"
	"hugeguard/hook/hooktest"
	"hugeguard/sysfs"
)

// TestScale: 2,000 processes, 200 guests whose memory Open vSwitch maps, and its own memory in 1,024 files of one page
// each are read in few reads for each, and add up; where pages are missing besides, and everything has to be looked at,
// as well.
func TestScale(t *testing.T) {
	const processes, guests, segments, each = 2000, 200, 1024, 4
	const taken = segments + guests*each
	h := hooktest.Incident(t)
	for _, pid := range []int{2974, 3066, 3085} {
		h.Remove(fmt.Sprintf("proc/%d", pid))
	}
	h.Remove("run/libvirt/qemu")
	process := func(pid int, name string, pages int, maps, numa string) {
		dir := fmt.Sprintf("proc/%d/", pid)
		h.Write(dir+"status", fmt.Sprintf("Name:\t%s\nVmRSS:\t 9000 kB\nHugetlbPages:\t%8d kB\n", name, pages*2048))
		h.Write(dir+"cmdline", "/usr/bin/"+name+"\x00")
		h.Write(dir+"maps", maps)
		h.Write(dir+"numa_maps", numa)
		h.Write(dir+"fd/0", "")
	}
	var maps, numa strings.Builder
	mapping := func(at, inode, pages int) (string, string) {
		start := 0x7f0000000000 + at<<24
		return fmt.Sprintf("%x-%x rw-s 00000000 00:10 %d /memfd:m (deleted)\n", start, start+pages<<21, inode),
			fmt.Sprintf("%x default file=/memfd:m\\040(deleted) huge dirty=%d N0=%[2]d kernelpagesize_kB=2048\n", start, pages)
	}
	map1 := func(at, inode, pages int) {
		m, n := mapping(at, inode, pages)
		maps.WriteString(m)
		numa.WriteString(n)
	}
	for i := range segments {
		map1(i, 1+i, 1)
	}
	for i := range guests {
		inode := 100_000 + i
		map1(segments+i, inode, each)
		m, n := mapping(i, inode, each)
		process(10_000+i, "qemu-system-x86", each, m, n)
		h.Write(fmt.Sprintf("run/libvirt/qemu/guest-%d.pid", i), fmt.Sprintln(10_000+i))
	}
	process(5000, "ovs-vswitchd", taken, maps.String(), numa.String())
	for i := range processes - guests - 1 {
		process(20_000+i, "sleep", 0, "00400000-00401000 r-xp 00000000 fe:00 7 /usr/bin/sleep\n", "")
	}
	for missing, most := range map[int]int64{0: 3_000, 3: 12_000} {
		dir := "hugepages/hugepages-2048kB/"
		for _, at := range []string{"sys/devices/system/node/node0/", "sys/kernel/mm/"} {
			total := taken + missing
			if strings.Contains(at, "kernel") {
				total += 1024 // node 1 is idle
				h.Write(at+dir+"free_hugepages", "1024\n")
			} else {
				h.Write(at+dir+"free_hugepages", "0\n")
			}
			h.Write(at+dir+"nr_hugepages", fmt.Sprintln(total))
		}
		h.Write("sys/devices/system/node/node1/"+dir+"free_hugepages", "1024\n")
		fs := h.FS()
		// What it costs is what it reads, whatever the machine.
		var reads atomic.Int64
		host := look(t, fs.Recorded(func(string, sysfs.Entry) { reads.Add(1) }), time.Now().Add(time.Hour))
		if got := reads.Load(); got > most {
			t.Errorf("%d missing: %d reads, want %d at most", missing, got, most)
		}
		if host.Holders.Cut || len(host.Holders.Unreadable) > 0 {
			t.Errorf("%d missing: not all was seen: %v", missing, words.Unseen(host.Holders))
		}
		for _, p := range host.Report() {
			if p.Node != 0 || p.PageKiB != 2048 {
				continue
			}
			held := map[guard.HolderKind]uint64{}
			for _, holder := range p.Holders {
				held[holder.Kind] += holder.Pages
			}
			if held[guard.HolderOVS] != segments || held[guard.HolderGuest] != guests*each || *p.Unaccounted != uint64(missing) {
				t.Errorf("%d missing: %v, %d unaccounted", missing, held, *p.Unaccounted)
			}
		}
	}
}
