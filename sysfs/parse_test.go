package sysfs

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseList(t *testing.T) {
	for text, want := range map[string][]int{
		"0\n":         {0},
		"0-3":         {0, 1, 2, 3},
		"0,8-9,252\n": {0, 8, 9, 252},
		"\n":          nil,
	} {
		if got, err := parseList(text, maxNode); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"a", "1-", "-1", "3-1", "0,,1", "1024", "0-99999999999"} {
		if got, err := parseList(text, maxNode); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}

func TestParseMounts(t *testing.T) {
	const text = `proc /proc proc rw 0 0
cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nsdelegate 0 0
hugetlbfs /dev/hugepages hugetlbfs rw,relatime,pagesize=2M 0 0
none /mnt/one\040gig hugetlbfs rw,pagesize=1024M,size=2147483648 0 0
none /huge hugetlbfs rw 0 0
none /min hugetlbfs rw,pagesize=2M,min_size=67108864 0 0
hugetlbfs /tmp tmpfs rw,pagesize=2M 0 0
none /old hugetlbfs rw,pagesize=2M,size=50% 0 0
over /dev/hugepages hugetlbfs rw,relatime,pagesize=2M,size=0,min_size=0 0 0
cgroup /cg/cpu cgroup rw,cpu,cpuacct 0 0
cgroup /first cgroup rw,cpuset,hugetlb 0 0
cgroup /cg/sets cgroup rw,cpuset,hugetlb 0 0
`
	got, err := parseMounts(text, 100)
	want := Mounts{
		Hugetlb: []Mount{
			{Path: "/dev/hugepages", PageKiB: 2048, Replaces: true, Minimum: true, Limited: true}, // the one on top
			{Path: "/mnt/one gig", PageKiB: 1 << 20, Limited: true, Size: 2 << 30},
			{Path: "/huge"},
			{Path: "/min", PageKiB: 2048, Minimum: true},
			{Path: "/old", PageKiB: 2048},
		},
		Cgroup: CgroupMounts{Unified: "/sys/fs/cgroup", Cpuset: "/cg/sets", Hugetlb: "/cg/sets"},
		any:    true,
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	for _, wrong := range []string{"none /h hugetlbfs pagesize=2X 0 0\n", "\x7fELF\n", "hugetlbfs /dev/hugepages hugetlbfs\n"} {
		if got, err := parseMounts(wrong, 100); err == nil {
			t.Errorf("%q is taken for %+v", wrong, got)
		}
	}
}

// What lies over a hugetlbfs mount, or a part of it, is noted if it came later.
func TestParseOverMounts(t *testing.T) {
	const text = `none /dev/hugepages/before tmpfs rw 0 0
hugetlbfs /dev/hugepages hugetlbfs rw,pagesize=2M 0 0
none /dev/hugepages1G hugetlbfs rw,pagesize=1024M 0 0
/dev/vda1 /dev/hugepages/libvirt/qe\040mu xfs rw 0 0
none /dev/hugepages/libvirt hugetlbfs rw,pagesize=1024M 0 0
none /dev tmpfs rw 0 0
none /dev/hugepages1G ext4 rw 0 0
`
	got, err := parseMounts(text, 100)
	want := []Mount{
		{Path: "/dev/hugepages", PageKiB: 2048, Over: []OverMount{{"/dev/hugepages/libvirt/qe mu", "xfs", 0}, {"/dev/hugepages/libvirt", "hugetlbfs", 1 << 20}}},
		{Path: "/dev/hugepages1G", PageKiB: 1 << 20, Over: []OverMount{{"/dev/hugepages1G", "ext4", 0}}},
		{Path: "/dev/hugepages/libvirt", PageKiB: 1 << 20},
	}
	if err != nil || !reflect.DeepEqual(got.Hugetlb, want) {
		t.Errorf("%+v, %v, want %+v", got.Hugetlb, err, want)
	}
}

func TestParseOwnCgroup(t *testing.T) {
	const text = "12:cpuset:/\n4:hugetlb,misc:/system.slice/a:b\n0::/unified\n"
	for controller, want := range map[string]string{"hugetlb": "/system.slice/a:b", "cpuset": "/", "rdma": "/", "": "/unified"} {
		if got := parseOwnCgroup(text, controller); got != want {
			t.Errorf("%s: %q, want %q", controller, got, want)
		}
	}
}

// TestParseNUMAMaps holds lines of every form that Linux 6.1 was seen to
// print, and of names that try to look like more.
func TestParseNUMAMaps(t *testing.T) {
	const text = `7fd02b400000 bind:0 file=/hp/t.yF4cxr\040(deleted) huge dirty=20 N0=20 kernelpagesize_kB=2048
7f6653c00000 prefer (many):0 file=/hp/qemu_back_mem huge anon=20 dirty=20 N0=15 N1=5 kernelpagesize_kB=2048
7f628c800000 interleave:0-1 file=/anon_hugepage\040(deleted) huge anon=2 dirty=2 N12=2 kernelpagesize_kB=1048576
7fb6a7400000 default file=/hp/k\040(deleted) huge
7f0000000000 default file=/tmp/huge\040N0\0759 dirty=1 N0=1 kernelpagesize_kB=4
7f0000001000 default file=/hp/x\012N1\0751 huge dirty=1 mapmax=2 N0=1 kernelpagesize_kB=2048
7f0000003000 bind=static:1-2,4 file=/hp/y huge
7f0000004000 bind:x file=/hp/z huge
7f0000002000 default heap anon=1 dirty=1 N0=1 kernelpagesize_kB=4
`
	got, err := parseNUMAMaps(strings.NewReader(text), 100)
	want := []Mapping{
		{Start: 0x7fd02b400000, PageKiB: 2048, Bound: []int{0}, Pages: map[int]uint64{0: 20}},
		{Start: 0x7f6653c00000, PageKiB: 2048, Anon: 20, Pages: map[int]uint64{0: 15, 1: 5}},
		{Start: 0x7f628c800000, PageKiB: 1 << 20, Anon: 2, Pages: map[int]uint64{12: 2}},
		{Start: 0x7fb6a7400000},
		{Start: 0x7f0000001000, PageKiB: 2048, MapMax: 2, Pages: map[int]uint64{0: 1}},
		{Start: 0x7f0000003000, Bound: []int{1, 2, 4}},
		{Start: 0x7f0000004000},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
	for _, bad := range []string{"zz default file=/x huge N0=1", "7f00 default huge N0=x", "7f00 default huge N9999=1"} {
		if got, err := parseNUMAMaps(strings.NewReader(bad), 100); err == nil {
			t.Errorf("%q is taken for %+v", bad, got)
		}
	}
}

func TestAddFiles(t *testing.T) {
	mappings := []Mapping{{Start: 0x7f00}, {Start: 0x8f00}, {Start: 0x9f00}}
	err := addFiles(mappings, strings.NewReader(`7f00-7fff rw-s 00200000 00:0f 4711       /dev/hugepages/a  b\040\012c (deleted)
9f00-9fff rw-p 00000000 00:00 0 
`))
	want := []Mapping{{Start: 0x7f00, End: 0x7fff, File: "/dev/hugepages/a  b\\040\nc (deleted)", Device: "00:0f", Inode: 4711, Offset: 2 << 20}, {Start: 0x8f00}, {Start: 0x9f00, End: 0x9fff, Device: "00:00", Private: true}}
	if err != nil || !reflect.DeepEqual(mappings, want) {
		t.Errorf("%+v, %v", mappings, err)
	}
}

// TestParseSmaps: one touched by two processes, one untouched and not reserved, one that is not of huge pages.
func TestParseSmaps(t *testing.T) {
	got, err := parseSmaps(strings.NewReader(`ffa9000000-ffa9400000 rw-s 00200000 00:16 8291                           /mnt/huge-2M/a: b
Size:               4096 kB
KernelPageSize:     2048 kB
Shared_Hugetlb:     2048 kB
Private_Hugetlb:       0 kB
VmFlags: rd wr sh mr mw me ms de ht 
ffa9800000-ffaa200000 rw-p 00000000 00:0e 8288                           /anon_hugepage (deleted)
KernelPageSize:     2048 kB
Shared_Hugetlb:        0 kB
Private_Hugetlb:       0 kB
VmFlags: rd wr mr mw me de nr ht 
00010000-0013f000 r-xp 00000000 00:02 5                                  /init
KernelPageSize:        4 kB
Shared_Hugetlb:        0 kB
VmFlags: rd ex mr mw me
`), 100)
	want := []Mapping{
		{Start: 0xffa9000000, End: 0xffa9400000, File: "/mnt/huge-2M/a: b", Device: "00:16", Inode: 8291, Offset: 2 << 20, PageKiB: 2048, MapMax: 2, Reserve: true, Pages: map[int]uint64{0: 1}},
		{Start: 0xffa9800000, End: 0xffaa200000, File: "/anon_hugepage (deleted)", Device: "00:0e", Inode: 8288, PageKiB: 2048, Private: true},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"VmFlags\n", "zz-1 rw-p 0 0:0 0\n", "KernelPageSize: 2 MB\n"} {
		if got, err := parseSmaps(strings.NewReader(bad), 100); err == nil {
			t.Errorf("%q is taken for %+v", bad, got)
		}
	}
}

func TestParseSegments(t *testing.T) {
	const header = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n"
	got, err := parseSegments(strings.NewReader(header + "         0          5   600               8388608   120   120      0     0     0     0     0 1 2 3 4194304 0\n"))
	if want := []Segment{{ID: 5, Creator: 120, Bytes: 8 << 20, Resident: 4 << 20}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := parseSegments(strings.NewReader(header)); got != nil || err != nil {
		t.Errorf("no segments: %+v, %v", got, err)
	}
	for _, bad := range []string{"0 5\n", "0 x 600 1 1 1 0 0 0 0 0 0 0 0 0 0\n"} {
		if got, err := parseSegments(strings.NewReader(header + bad)); err == nil {
			t.Errorf("%q is taken for %+v", bad, got)
		}
	}
}

// TestSegmentPages: as Linux 6.1 and 6.18 print 3 of 4 pages, and what is no huge page.
func TestSegmentPages(t *testing.T) {
	const mib = 1 << 20
	for _, test := range []struct {
		bytes, resident, pages uint64
		ok, huge               bool
	}{
		{8 * mib, 6 * mib, 3, true, false},
		{8 * mib, 3 << 30, 3, true, true},
		{8*mib - 1, 8 * mib, 4, true, false},
		{1 << 30, 1 << 30, 512, true, false},
		{2 << 30, 1 << 30, 1, true, false},
		{8 * mib, 0, 0, false, false},
		{8 * mib, 5 * mib, 2, false, false},
		{8 * mib, 10 * mib, 5, false, true},
		{56, 4096, 0, false, false},
	} {
		s := Segment{Bytes: test.bytes, Resident: test.resident}
		pages, ok := s.Pages(2048, 4)
		if ok != test.ok || ok && pages != test.pages {
			t.Errorf("%d of %d bytes: %d, %v", test.resident, test.bytes, pages, ok)
		}
		if huge := s.Huge(2048); huge != test.huge {
			t.Errorf("%d of %d bytes: of huge pages: %v", test.resident, test.bytes, huge)
		}
	}
}

// TestParsePlace: a unit is one that nobody but systemd has named.
func TestParsePlace(t *testing.T) {
	const id = "3f2a9c1b2d4e5f60718293a4b5c6d7e8f90123456789abcdef0123456789abcd"
	container := func(unit, engine string) Place {
		return Place{Unit: unit, Container: id[:12], Engine: engine}
	}
	for text, want := range map[string]Place{
		"0::/system.slice/vpp.service\n":                                                {Unit: "vpp.service"},
		"0::/system.slice/ovs-vswitchd.service/sub\n":                                   {Unit: "ovs-vswitchd.service"},
		"0::/system.slice/ovs-vswitchd.service/nova-compute.service\n":                  {Unit: "ovs-vswitchd.service"},
		"0::/system.slice/system-getty.slice/getty@tty1.service\n":                      {Unit: "getty@tty1.service"},
		"0::/system.slice/_cgroup.service\n":                                            {Unit: "cgroup.service"},
		"0::/system.slice/a b;reboot.service\n":                                         {},
		"0::/system.slice/" + strings.Repeat("x", 256) + ".service\n":                   {},
		"0::/mine/system.slice/vpp.service\n":                                           {},
		"0::/user.slice/user-0.slice/session-4.scope\n":                                 {Unit: "session-4.scope", User: true},
		"0::/user.slice/user-1.slice/user@1.service/app.slice/q.service\n":              {Unit: "user@1.service", User: true},
		"0::/user.slice/user-1.slice/user@1.service/system.slice/q.service\n":           {Unit: "user@1.service", User: true},
		"0::/../user-1.slice/user@1.service/q.service\n":                                {User: true, Outside: true},
		"0::/../../init.scope\n":                                                        {Outside: true},
		"0::/user.slice/user-1.slice/user@1.service/user.slice/libpod-" + id + ".scope": {Unit: "user@1.service", User: true},
		"0::/user.slice/user-1.slice/user@1.service/app.slice/docker-" + id + ".scope":  {Unit: "user@1.service", User: true},
		"0::/user.slice/user-1.slice/docker-" + id + ".scope":                           {Unit: "docker-" + id + ".scope", User: true},
		"0::/system.slice/delegates.service/libpod-" + id + "\n":                        {Unit: "delegates.service"},
		"0::/system.slice/delegates.service/kubepods/pod1/" + id + "\n":                 {Unit: "delegates.service", Pod: true},
		"0::/lxc.payload.web1/system.slice/docker-" + id + ".scope\n":                   {},
		"0::/docker/" + id + "/kubepods/pod1/" + id + "\n":                              {Container: id[:12], Pod: true},
		"0::/libpod_parent/libpod-" + id + "\n":                                         container("", "podman"),
		"0::/kubepods/burstable/pod1/" + id + "\n":                                      {Container: id[:12], Engine: "crictl", Pod: true},
		"0::/../cri-containerd-" + id + ".scope\n":                                      {Unit: "", Container: id[:12], Engine: "crictl", Outside: true},
		"0::/system.slice/docker-" + id + ".scope/system.slice/in.service\n":            container("docker-"+id+".scope", "docker"),
		"0::/machine.slice/libpod-" + id + ".scope/container\n":                         container("libpod-"+id+".scope", "podman"),
		"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope\n":      {Unit: "cri-containerd-" + id + ".scope", Container: id[:12], Engine: "crictl", Pod: true},
		"0::/kubepods/pod1/" + id + "\n":                                                {Container: id[:12], Engine: "crictl", Pod: true},
		"0::/engine/" + id + "\n":                                                       {},
		"12:hugetlb:/docker/" + id + "\n1:name=systemd:/docker/" + id + "\n":            container("", "docker"),
		"5:memory:/system.slice/not.service\n1:name=systemd:/system.slice/b.service\n":  {Unit: "b.service"},
		"1:name=systemd:/user.slice/user-1.slice/session-4.scope\n0::/\n":               {Unit: "session-4.scope", User: true},
		"0::/\n":                             {},
		"":                                   {},
		"0::\nx\n:":                          {},
		"0::/docker-" + id[:40] + ".scope\n": {Unit: "docker-" + id[:40] + ".scope"},
	} {
		if got := parsePlace(text); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
	for text, want := range map[string]Place{
		"0::/\n":                              {Top: true},
		"0::/system.slice/libvirtd.service\n": {Unit: "libvirtd.service"},
		"0::/../kubepods-burstable.slice\n":   {Pod: true, Outside: true},
		"4:memory:/kubepods/burstable/pod7/" + id + "\n1:name=systemd:/\n0::/\n": {Container: id[:12], Engine: "crictl", Pod: true, Top: true},
		"4:memory:/docker/" + id + "\n1:name=systemd:/docker/" + id + "\n":       {Container: id[:12], Engine: "docker"},
	} {
		if got := parseOwnPlace(text); got != want {
			t.Errorf("own %q: %+v, want %+v", text, got, want)
		}
	}
	if got := container("docker-x.scope", "docker").String(); got != "container 3f2a9c1b2d4e" {
		t.Error(got)
	}
}

// TestParseUID: a process with the rights of several users is none's.
func TestParseUID(t *testing.T) {
	for text, want := range map[string]int{
		"Name:\tx\nUid:\t0\t0\t0\t0\n":                     0,
		"Name:\tx\nUid:\t64055\t64055\t64055\t64055\nGid:": 64055,
		"Name:\tx\nUid:\t1000\t0\t0\t0\n":                  -1,
		"Name:\tx\nUid:\t0\t0\t0\n":                        -1,
		"Name:\tUid:\t0\t0\t0\t0\n":                        -1,
		"Name:\tx\n":                                       -1,
	} {
		if got, err := ParseStatus([]byte(text)); err != nil || got.UID != want {
			t.Errorf("%q: %d, %v, want %d", text, got.UID, err, want)
		}
	}
}

func TestParseStatus(t *testing.T) {
	for text, want := range map[string]Process{
		"Name:\tovs-vswitchd\nUmask:\t0022\nHugetlbPages:\t  524288 kB\n": {Name: "ovs-vswitchd", Memory: true, HugetlbKiB: 524288, UID: -1},
		"Name:\tqemu\nState:\tZ (zombie)\nThreads:\t3\n":                  {Name: "qemu", Headless: true, UID: -1},
		"Name:\tqemu\nState:\tZ (zombie)\nThreads:\t1\n":                  {Name: "qemu", UID: -1},
		"Name:\tqemu\nState:\tD (disk sleep)\nThreads:\t1\n":              {Name: "qemu", Stuck: true, UID: -1},
		"Name:\tsh\nPPid:\t17\n":                                          {Name: "sh", Parent: 17, UID: -1},
		"Name:\tkthreadd\nState:\tS\n":                                    {Name: "kthreadd", UID: -1},
		// The kernel prints a newline in a name as \n, so no name is a second line.
		"Name:\tx\\n\\\\nHuge:\t9\nHugetlbPages:\t 0 kB\n": {Name: "x\n\\nHuge:\t9", Memory: true, UID: -1},
	} {
		if got, err := ParseStatus([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", text, got, err, want)
		}
	}
}

// TestParseFile: what is captured of a file is read as it was.
func TestParseFile(t *testing.T) {
	want := File{"/dev/hugepages/a b\n\"c\"", "00:2f", 4711, 2048, 10}
	if got, err := parseFile(want.String()); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, wrong := range []string{"", "00:2f 1 2048 10", "00:2f x 2048 10 \"a\"", "00:2f 1 0 10 \"a\"", "00:2f 1 2048 10 a"} {
		if _, err := parseFile(wrong); err == nil {
			t.Errorf("%q is a file", wrong)
		}
	}
}
