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

// look returns a host with those who hold its pages.
func look(t testing.TB, root sysfs.FS, deadline time.Time) guard.Host {
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
			host := look(t, fs, time.Now().Add(time.Hour))
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

// TestSearch: on a host where node 1 lacks 40 pages and 7 are reserved, those who have touched nothing are found.
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
	// One of 38 pages, as Linux 6.7 and later show it, that nobody has attached; one that may be of huge pages, but
	// does not make up for what is missing; one that somebody has; one that is not of huge pages.
	h.Write("proc/sysvipc/shm", header+
		"0 5 600 83886080 1 1 0 0 0 0 0 0 0 0 40802189312 0\n"+
		"0 6 600 2097152 1 1 0 0 0 0 0 0 0 0 2097152 0\n"+
		"0 7 600 4194304 1 1 1 0 0 0 0 0 0 0 4194304 0\n"+
		"0 8 600 4096 1 1 0 0 0 0 0 0 0 0 4096 0\n")
	fs := h.FS()
	host := look(t, fs, time.Now().Add(time.Hour))
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
	again := look(t, fs, time.Now().Add(time.Hour))
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

// TestService: a unit is a process's own where all others there descend from it. Open vSwitch's is by its name.
func TestService(t *testing.T) {
	const dir = "sys/fs/cgroup/system.slice/"
	for _, test := range []struct{ name, unit, procs, below, want string }{
		{"alone", "mover.service", "77\n", "0", "mover.service"},
		{"with those that it started", "mover.service", "77\n78\n79\n", "0", "mover.service"},
		{"started by a daemon", "cron.service", "80\n77\n", "0", ""},
		{"beside a stranger", "mover.service", "77\n81\n", "0", ""},
		{"beside another namespace's", "mover.service", "77\n0\n", "0", ""},
		{"with groups below", "mover.service", "77\n", "1", ""},
		{"not there any more", "mover.service", "78\n", "0", ""},
		{"a scope", "mover.scope", "77\n", "0", ""},
		{"below its unit", "mover.service/sub", "77\n", "0", ""},
		{"of which nothing is known", "mover.service", "", "", ""},
	} {
		h := hooktest.Incident(t)
		h.Write("proc/2974/cgroup", "0::/system.slice/ovs-vswitchd.service\n")
		h.Write("proc/77/cgroup", "0::/system.slice/"+test.unit+"\n")
		const mapped = "7f0000000000-7f0000e00000 rw-p 00000000 00:10 99 /anon_hugepage (deleted)\n"
		h.Write("proc/77/maps", mapped)
		h.Write("proc/77/smaps", mapped+"KernelPageSize:     2048 kB\nPrivate_Hugetlb:   14336 kB\nVmFlags: rd wr ht\n")
		h.Write("proc/77/numa_maps", "7f0000000000 default file=/anon_hugepage\\040(deleted) huge anon=7 dirty=7 N0=7 kernelpagesize_kB=2048\n")
		for pid, parent := range map[int]int{77: 1, 78: 77, 79: 78, 80: 1, 81: 80} {
			huge := 0
			if pid == 77 {
				huge = 7 * 2048
			}
			h.Write(fmt.Sprintf("proc/%d/status", pid), fmt.Sprintf("Name:\tmover\nPPid:\t%d\nHugetlbPages:\t%d kB\n", parent, huge))
		}
		if test.below != "" {
			h.Write(dir+test.unit+"/cgroup.procs", test.procs)
			h.Write(dir+test.unit+"/cgroup.stat", "nr_descendants "+test.below+"\n")
		}
		host := look(t, h.FS(), time.Now().Add(time.Hour))
		got := map[int]string{}
		for _, holder := range host.Holders.List {
			got[holder.PID] = holder.Service
		}
		if service, ok := got[77]; !ok || service != test.want || got[2974] != "ovs-vswitchd.service" {
			t.Errorf("%s: %q of %v, want %q", test.name, service, got, test.want)
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
	host := look(t, h.FS(), time.Now().Add(time.Hour))
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
	host := look(t, fs, time.Now().Add(-time.Second))
	if !host.Holders.Cut || len(host.Holders.List) > 0 {
		t.Errorf("%+v", host.Holders)
	}
}

// TestElsewhere: files that nobody uses in the mount namespace of a container are found, once, and deleted there.
func TestElsewhere(t *testing.T) {
	h := hooktest.Incident(t)
	for pid, namespace := range map[string]string{"self": "mnt:[1]", "77": "mnt:[2]", "78": "mnt:[2]", "79": "mnt:[3]"} {
		h.Write("proc/"+pid+"/ns/keep", "")
		if err := os.Symlink(namespace, h.Path("proc/"+pid+"/ns/mnt")); err != nil {
			t.Fatal(err)
		}
	}
	for _, pid := range []string{"77", "78", "79"} {
		dir := "proc/" + pid + "/"
		h.Write(dir+"status", "Name:\tpause\nHugetlbPages:\t       0 kB\n")
		h.Write(dir+"maps", "")
		h.Write(dir+"mounts", "none / overlay rw 0 0\nhugetlbfs /hugepages hugetlbfs rw,pagesize=2M 0 0\n")
		h.Write(dir+"cgroup", "0::/system.slice/docker-"+strings.Repeat("0123456789abcdef", 4)+".scope\n")
		h.Write(dir+"root/hugepages.files", "00:99 5 2048 30 \"/proc/"+pid+"/root/hugepages/rtemap_0\"\n00:99 6 2048 10 \"/proc/"+pid+"/root/hugepages/rtemap_1\"\n")
	}
	h.Write("sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages", "472\n")
	h.Write("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "472\n")
	host := look(t, h.FS(), time.Now().Add(time.Hour))
	var got []guard.Holder
	for _, holder := range host.Holders.List {
		if holder.Kind == guard.HolderFile {
			got = append(got, holder)
		}
	}
	want := []guard.Holder{{Kind: guard.HolderFile, Name: "/proc/77/root/hugepages/rtemap_*", PageKiB: 2048, Unplaced: 40, Within: 77,
		Unit: "container 0123456789ab", Engine: "docker", Prefix: "/proc/77/root/hugepages/rtemap_",
		Files: []string{"/proc/77/root/hugepages/rtemap_0", "/proc/77/root/hugepages/rtemap_1"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
