package survey

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hugeguard/guard"
	"hugeguard/guard/words"
	"hugeguard/hook/config"
	"hugeguard/hook/hooktest"
	"hugeguard/sysfs"
	"hugeguard/sysfs/sysfstest"
	"hugeguard/testdata/golden"
)

// holders returns a host with those who hold its pages.
func holders(t testing.TB, root sysfs.FS, deadline time.Time) guard.Host {
	t.Helper()
	host, _, err := Full(root, All, config.Config{}, deadline)
	if err != nil {
		t.Fatal(err)
	}
	return host
}

// TestKernels keeps what is said of every captured kernel, and checks that it
// adds up: total is free, held and unaccounted.
func TestKernels(t *testing.T) {
	files, err := filepath.Glob(hooktest.Data("kernels/*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		t.Run(name, func(t *testing.T) {
			fs := sysfstest.Archive(t, file).FS()
			host := holders(t, fs, time.Now().Add(time.Hour))
			var got strings.Builder
			for _, report := range host.Report() {
				got.WriteString(words.Pool(report) + "\n")
				held := *report.Unaccounted
				for _, h := range report.Holders {
					held += h.Pages
				}
				if report.Free+held != report.Total {
					t.Errorf("%+v does not add up", report)
				}
			}
			for _, report := range host.SizeReport() {
				got.WriteString(words.PageSize(report) + "\n")
			}
			golden.Compare(t, hooktest.Data("golden/kernels/"+name+".txt"), got.String())
		})
	}
}

// TestGuestNames: the daemon's own pid file is no guest's.
func TestGuestNames(t *testing.T) {
	got := guestNames(hooktest.Incident(t).FS())
	if diff := cmp.Diff(map[int]string{3066: "instance-00000001", 3085: "instance-00000002"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestLedger: a page counts once, for the one whom it serves.
func TestLedger(t *testing.T) {
	guest := holderKey{kind: guard.HolderGuest, name: "a", pid: 30}
	ovs := holderKey{kind: guard.HolderOVS, name: "ovs-vswitchd", pid: 20}
	other := holderKey{kind: guard.HolderProcess, name: "testpmd", pid: 10}
	file := func(inode uint64, node int, pages uint64) sysfs.Mapping {
		return sysfs.Mapping{Device: "00:10", Inode: inode, PageKiB: 2048, Pages: map[int]uint64{node: pages}}
	}
	var sum tally
	// A guest's memory, which Open vSwitch maps for each of two ports; memory
	// of Open vSwitch's own in two parts of one file; a private copy; memory
	// that Open vSwitch shares with a process that it serves; an untouched
	// mapping; a SysV segment in two processes, whose number is a memfd's inode.
	second := file(2, 1, 5)
	second.Offset = 1 << 30
	sum.add(ovs, []sysfs.Mapping{file(1, 0, 256), file(1, 0, 256), file(2, 0, 7), second, file(3, 1, 4), {Device: "00:10", Inode: 4}, {Device: "00:10", Inode: 7, PageKiB: 2048, File: "/memfd:x (deleted)", Pages: map[int]uint64{0: 1}}, {Device: "00:10", Inode: 7, File: "/SYSV00000000 (deleted)", PageKiB: 2048, Pages: map[int]uint64{0: 1}}})
	sum.add(guest, []sysfs.Mapping{file(1, 0, 256)})
	sum.add(other, []sysfs.Mapping{file(3, 1, 4), {Device: "00:10", Inode: 9, PageKiB: 1 << 20, Anon: 2, Pages: map[int]uint64{1: 2}}, {Device: "00:10", Inode: 7, File: "/SYSV00000000 (deleted)", PageKiB: 2048, Pages: map[int]uint64{0: 1}}})
	want := []guard.Holder{
		{Kind: guard.HolderProcess, Name: "testpmd", PID: 10, PageKiB: 2048, Pages: map[int]uint64{0: 1, 1: 4}},
		{Kind: guard.HolderProcess, Name: "testpmd", PID: 10, PageKiB: 1 << 20, Pages: map[int]uint64{1: 2}},
		{Kind: guard.HolderOVS, Name: "ovs-vswitchd", PID: 20, PageKiB: 2048, Pages: map[int]uint64{0: 8, 1: 5}},
		{Kind: guard.HolderGuest, Name: "a", PID: 30, PageKiB: 2048, Pages: map[int]uint64{0: 256}},
	}
	if diff := cmp.Diff(want, sum.holders()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestLedgerFiles: pages that stat counts and nobody has touched, files that
// nobody uses, and what was promised.
func TestLedgerFiles(t *testing.T) {
	guest := holderKey{kind: guard.HolderGuest, name: "a", pid: 30}
	ovs := holderKey{kind: guard.HolderOVS, name: "ovs-vswitchd", pid: 20}
	mapping := func(inode uint64, pages uint64, touched map[int]uint64) sysfs.Mapping {
		return sysfs.Mapping{Start: 1 << 30, End: 1<<30 + pages<<21, Device: "00:10", Inode: inode, PageKiB: 2048, Pages: touched, Reserve: true}
	}
	file := func(path string, inode, pages uint64) sysfs.File {
		return sysfs.File{Path: path, Device: "00:10", Inode: inode, PageKiB: 2048, Pages: pages}
	}
	lazy := mapping(6, 9, nil)
	lazy.Reserve = false
	private := mapping(7, 10, map[int]uint64{0: 4})
	private.Private, private.Anon = true, 3 // one is the file's
	inherited := mapping(8, 5, map[int]uint64{1: 5})
	inherited.Private, inherited.Anon, inherited.MapMax = true, 5, 2
	segment := mapping(1, 2, nil)
	segment.File = "/SYSV00000000 (deleted)"

	var sum tally
	// The guest's memory, of which Open vSwitch has touched half: 2 of 8 pages
	// are promised, and one lies where nobody tells.
	sum.add(ovs, []sysfs.Mapping{mapping(1, 8, map[int]uint64{0: 2}), lazy, private, inherited})
	sum.add(guest, []sysfs.Mapping{mapping(1, 8, map[int]uint64{0: 4, 1: 1}), inherited, segment})
	sum.measure(file("/dev/hugepages/x (deleted)", 1, 6), &ovs)
	sum.measure(file("/memfd:open (deleted)", 5, 3), &ovs)
	sum.measure(file("/SYSV00000000 (deleted)", 1, 1), &guest)
	for i := range uint64(3) {
		sum.measure(file(fmt.Sprintf("/dev/hugepages/rtemap_%d", i), 100+i, 1), nil)
	}
	sum.measure(file("/dev/hugepages/dead", 200, 7), nil)
	sum.measure(file("/dev/hugepages/copied", 7, 1), nil) // its page is in the private mapping
	want := []guard.Holder{
		{Kind: guard.HolderOVS, Name: "ovs-vswitchd", PID: 20, PageKiB: 2048, Pages: map[int]uint64{0: 4}, Unplaced: 3, Reserved: 7},
		{Kind: guard.HolderGuest, Name: "a", PID: 30, PageKiB: 2048, Pages: map[int]uint64{0: 4, 1: 6}, Unplaced: 2, Reserved: 3},
	}
	if diff := cmp.Diff(want, sum.holders()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	left := []guard.Holder{
		{Kind: guard.HolderFile, Name: "/dev/hugepages/dead", PageKiB: 2048, Unplaced: 7, Files: []string{"/dev/hugepages/dead"}},
		{Kind: guard.HolderFile, Name: "/dev/hugepages/rtemap_*", PageKiB: 2048, Unplaced: 3, Files: []string{"/dev/hugepages/rtemap_0", "/dev/hugepages/rtemap_1", "/dev/hugepages/rtemap_2"}, Prefix: "/dev/hugepages/rtemap_"},
	}
	if diff := cmp.Diff(left, sum.leftover()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestLeftoverPrefix: files are named by how they begin only if that names no other file.
func TestLeftoverPrefix(t *testing.T) {
	for _, test := range []struct {
		name    string
		folder  string
		another string // that is no leftover; "" for none
		used    bool   // by some process, else it has no page
		want    string
	}{
		{"they are alone", "/h/rtemap_", "", false, "/h/rtemap_"},
		{"another begins otherwise", "/h/rtemap_", "/h/spdk_0", true, "/h/rtemap_"},
		{"another is in use", "/h/rtemap_", "/h/rtemap_9", true, ""},
		{"another has no pages yet", "/h/rtemap_", "/h/rtemap_9", false, ""},
		{"another has a longer name", "/h/rtemap_", "/h/rtemap_0.old", true, ""},
		{"another is in a folder below", "/h/rtemap_", "/h/rtemap_5/x", true, "/h/rtemap_"},
		{"they have nothing but numbers", "/h/", "", false, ""},
	} {
		sum := tally{}
		put := func(path string, inode, pages uint64, who *holderKey) {
			found := sysfs.File{Path: path, Device: "00:10", Inode: inode, PageKiB: 2048, Pages: pages}
			sum.measure(found, nil)
			if who != nil {
				sum.measure(found, who)
			}
		}
		for i := range uint64(3) {
			put(fmt.Sprint(test.folder, i), i, 1, nil)
		}
		switch {
		case test.used:
			put(test.another, 9, 1, &holderKey{kind: guard.HolderProcess, pid: 7})
		case test.another != "":
			put(test.another, 9, 0, nil)
		}
		if got := sum.leftover(); len(got) != 1 || got[0].Prefix != test.want || len(got[0].Files) != 3 {
			t.Errorf("%s: %+v, want %q", test.name, got, test.want)
		}
	}
}

// TestIdentify: Open vSwitch is known under any name, and a QEMU that libvirt
// did not start is a process.
func TestIdentify(t *testing.T) {
	for _, test := range []struct {
		comm, arguments, program string
		want                     guard.HolderKind
		name                     string
	}{
		{"ovs-vswitchd-dp", "/usr/lib/x", "", guard.HolderOVS, "ovs-vswitchd-dp"},
		{"main", "/usr/sbin/ovs-vswitchd --pidfile", "", guard.HolderOVS, "main"},
		{"forwarder", "/opt/forwarder --pidfile unix:/run/openvswitch/db.sock", "", guard.HolderOVS, "forwarder"},
		{"forwarder", "/opt/forwarder", "/usr/sbin/ovs-vswitchd (deleted)", guard.HolderOVS, "forwarder"},
		{"vpp_main", "/usr/bin/vpp -c unix:/run/vpp/cli.sock", "/usr/bin/vpp", guard.HolderProcess, "vpp_main"},
		{"qemu-system-x86", "/usr/bin/qemu-system-x86_64 -name mine", "", guard.HolderProcess, "qemu-system-x86"},
		{"qemu-system-x86", "/usr/bin/qemu-system-x86_64 -name guest=a,,b,debug-threads=on", "", guard.HolderGuest, "a,b"},
		{"empty", "", "", guard.HolderProcess, "empty"},
	} {
		h := hooktest.Incident(t)
		h.Write("proc/7/cmdline", strings.ReplaceAll(test.arguments, " ", "\x00"))
		if test.program != "" {
			if err := os.Symlink(test.program, h.Path("proc/7/exe")); err != nil {
				t.Fatal(err)
			}
		}
		got := identify(h.FS(), sysfs.Process{PID: 7, Name: test.comm}, nil)
		if got.kind != test.want || got.name != test.name {
			t.Errorf("%s %q %q: %+v", test.comm, test.arguments, test.program, got)
		}
	}
}

// TestSearch: on a host where node 1 lacks 40 pages and 7 are reserved, those
// who have touched nothing are found.
func TestSearch(t *testing.T) {
	const header = "key shmid perms size cpid lpid nattch uid gid cuid cgid atime dtime ctime rss swap\n"
	h := hooktest.Incident(t)
	h.Write("sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages", "472\n")
	h.Write("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "472\n")
	h.Write("sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "7\n")
	h.Write("dev/hugepages/no huge page", strings.Repeat("x", 10000))
	h.Write("proc/77/status", "Name:\tlazybones\nHugetlbPages:\t       0 kB\n")
	h.Write("proc/77/cmdline", "/usr/bin/lazybones\x00")
	h.Write("proc/77/cgroup", "0::/system.slice/lazy.service\n")
	const mapped = "7f0000000000-7f0000e00000 rw-p 00000000 00:10 99 /anon_hugepage (deleted)\n"
	h.Write("proc/77/maps", mapped)
	h.Write("proc/77/numa_maps", "7f0000000000 default file=/anon_hugepage\\040(deleted) huge\n")
	h.Write("proc/77/smaps", mapped+"KernelPageSize:     2048 kB\nVmFlags: rd wr ht\n")
	// One of 38 pages, as Linux 6.7 and later show it, that nobody has
	// attached; one that may be of huge pages, but does not make up for what is
	// missing; one that somebody has; one that is not of huge pages.
	h.Write("proc/sysvipc/shm", header+
		"0 5 600 83886080 1 1 0 0 0 0 0 0 0 0 40802189312 0\n"+
		"0 6 600 2097152 1 1 0 0 0 0 0 0 0 0 2097152 0\n"+
		"0 7 600 4194304 1 1 1 0 0 0 0 0 0 0 4194304 0\n"+
		"0 8 600 4096 1 1 0 0 0 0 0 0 0 0 4096 0\n")
	fs := h.FS()
	host := holders(t, fs, time.Now().Add(time.Hour))
	var got []guard.Holder
	for _, holder := range host.Holders.List {
		if holder.PID == 0 || holder.PID == 77 {
			got = append(got, holder)
		}
	}
	want := []guard.Holder{
		{Kind: guard.HolderProcess, Name: "lazybones", PID: 77, Unit: "lazy.service", PageKiB: 2048, Pages: map[int]uint64{}, Reserved: 7},
		{Kind: guard.HolderFile, Name: "System V segment 5", Segment: "5", PageKiB: 2048, Unplaced: 38},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// With it, they are just what is missing.
	h.Write("proc/sysvipc/shm", header+"0 5 600 83886080 1 1 0 0 0 0 0 0 0 0 79691776 0\n0 6 600 4194304 1 1 0 0 0 0 0 0 0 0 4194304 0\n")
	again := holders(t, fs, time.Now().Add(time.Hour))
	var segments []string
	for _, holder := range again.Holders.List {
		if holder.Segment != "" {
			segments = append(segments, fmt.Sprint(holder.Segment, ": ", holder.Unplaced))
		}
	}
	if want := []string{"5: 38", "6: 2"}; !slices.Equal(segments, want) {
		t.Errorf("%q, want %q", segments, want)
	}
	if len(host.Holders.Unreadable) > 0 || host.Holders.Cut {
		t.Errorf("%+v", host.Holders)
	}
	var text strings.Builder
	for _, report := range host.Report() {
		if report.PageKiB == 2048 {
			fmt.Fprintln(&text, words.Pool(report))
		}
	}
	for _, report := range host.SizeReport() {
		fmt.Fprintln(&text, words.PageSize(report))
	}
	const says = `node 0, 2M pages: 0 of 1024 free (0 of 2 GiB); Open vSwitch ovs-vswitchd (pid 2974) 512 (1 GiB), guest instance-00000001 (pid 3066) 256 (512 MiB), guest instance-00000002 (pid 3085) 256 (512 MiB)
node 1, 2M pages: 472 of 1024 free (944 MiB of 2 GiB); Open vSwitch ovs-vswitchd (pid 2974) 512 (1 GiB), leftover System V segment 5 38 (76 MiB); unexplained: 2 pages (4 MiB)
2M pages: 7 of the free ones (14 MiB) are promised (resv): lazybones (pid 77, lazy.service) 7 (14 MiB)
`
	if diff := cmp.Diff(says, text.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestGuestName(t *testing.T) {
	for argument, want := range map[string]string{
		"guest=a,debug-threads=on":    "a",
		"guest=a,,b,debug-threads=on": "a,b",
		"guest=,":                     "",
	} {
		if got, ok := guestName([]string{"qemu", "-name", argument}); !ok || got != want {
			t.Errorf("%s: %q, %v", argument, got, ok)
		}
	}
	for _, arguments := range [][]string{nil, {"qemu"}, {"qemu", "-name"}, {"qemu", "-name", "process=x"}} {
		if got, ok := guestName(arguments); ok {
			t.Errorf("%q: %q", arguments, got)
		}
	}
}

// TestManyMounts: a process in a container that has the host's hugetlbfs mounted too often is named as one that was not
// read in full, and what it maps by the host's name for it is found all the same.
func TestManyMounts(t *testing.T) {
	h := hooktest.Incident(t)
	for pid, namespace := range map[string]string{"self": "mnt:[1]", "77": "mnt:[2]", "78": "mnt:[2]"} {
		h.Write("proc/"+pid+"/ns/keep", "")
		if err := os.Symlink(namespace, h.Path("proc/"+pid+"/ns/mnt")); err != nil {
			t.Fatal(err)
		}
	}
	var mounts strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&mounts, "hugetlbfs /home/%d hugetlbfs rw,pagesize=2M 0 0\n", i)
	}
	const mapped = "7f0000000000-7f0000e00000 rw-s 00000000 00:10 %d %s\n"
	for pid, file := range map[int]string{77: "/home/1/x", 78: "/dev/hugepages/x"} {
		dir := fmt.Sprintf("proc/%d/", pid)
		h.Write(dir+"status", fmt.Sprintf("Name:\tmounter%d\nHugetlbPages:\t       0 kB\n", pid))
		h.Write(dir+"maps", fmt.Sprintf(mapped, pid, file))
		h.Write(dir+"numa_maps", "7f0000000000 default file=/x huge\n")
		h.Write(dir+"smaps", fmt.Sprintf(mapped, pid, file)+"KernelPageSize:     2048 kB\nVmFlags: rd wr ht\n")
	}
	h.Write("proc/77/mounts", mounts.String())
	h.Write("proc/78/mounts", mounts.String()+"hugetlbfs /home/more hugetlbfs rw,pagesize=2M 0 0\n")
	h.Write("sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "14\n")
	host := holders(t, h.FS(), time.Now().Add(time.Hour))
	promised := map[int]uint64{}
	for _, holder := range host.Holders.List {
		if holder.PID == 77 || holder.PID == 78 {
			promised[holder.PID] = holder.Reserved
		}
	}
	if diff := cmp.Diff(map[int]uint64{77: 7, 78: 7}, promised); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]guard.Process{{Name: "mounter78", PID: 78}}, host.Holders.Unreadable); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestCutSurvey: what there was no time to read is said to be so.
func TestCutSurvey(t *testing.T) {
	fs := hooktest.Incident(t).FS()
	host := holders(t, fs, time.Now().Add(-time.Second))
	if !host.Holders.Cut || len(host.Holders.List) > 0 {
		t.Errorf("%+v", host.Holders)
	}
}
