package sysfs

import (
	"reflect"
	"testing"
)

func TestParseList(t *testing.T) {
	for text, want := range map[string][]int{
		"0\n":         {0},
		"0-3":         {0, 1, 2, 3},
		"0,8-9,252\n": {0, 8, 9, 252},
		"\n":          nil,
	} {
		if got, err := parseList(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"a", "1-", "-1", "3-1", "0,,1", "1024", "0-99999999999"} {
		if got, err := parseList(text); err == nil {
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
	got, err := parseMounts(text)
	want := Mounts{
		Hugetlb: []Mount{
			{Path: "/dev/hugepages", PageKiB: 2048, Minimum: true, Limited: true}, // the one on top
			{Path: "/mnt/one gig", PageKiB: 1 << 20, Limited: true, Size: 2 << 30},
			{Path: "/huge"},
			{Path: "/min", PageKiB: 2048, Minimum: true},
			{Path: "/old", PageKiB: 2048},
		},
		Cgroup: CgroupMounts{Unified: "/sys/fs/cgroup", Cpuset: "/cg/sets", Hugetlb: "/cg/sets"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	if _, err := parseMounts("none /h hugetlbfs pagesize=2X 0 0\n"); err == nil {
		t.Error("a page size of 2X is taken")
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
7f0000001000 default file=/hp/x\012N1\0751 huge dirty=1 N0=1 kernelpagesize_kB=2048
7f0000002000 default heap anon=1 dirty=1 N0=1 kernelpagesize_kB=4
`
	got, err := parseNUMAMaps(text)
	want := []Mapping{
		{Start: 0x7fd02b400000, PageKiB: 2048, Pages: map[int]uint64{0: 20}},
		{Start: 0x7f6653c00000, PageKiB: 2048, Anon: 20, Pages: map[int]uint64{0: 15, 1: 5}},
		{Start: 0x7f628c800000, PageKiB: 1 << 20, Anon: 2, Pages: map[int]uint64{12: 2}},
		{Start: 0x7fb6a7400000},
		{Start: 0x7f0000001000, PageKiB: 2048, Pages: map[int]uint64{0: 1}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
	for _, bad := range []string{"zz default file=/x huge N0=1", "7f00 default huge N0=x", "7f00 default huge N9999=1"} {
		if got, err := parseNUMAMaps(bad); err == nil {
			t.Errorf("%q is taken for %+v", bad, got)
		}
	}
}

func TestAddFiles(t *testing.T) {
	mappings := []Mapping{{Start: 0x7f00}, {Start: 0x8f00}, {Start: 0x9f00}}
	err := addFiles(mappings, `7f00-7fff rw-s 00200000 00:0f 4711       /dev/hugepages/a  b\040\012c (deleted)
9f00-9fff rw-p 00000000 00:00 0 
`)
	want := []Mapping{{Start: 0x7f00, File: "/dev/hugepages/a  b\\040\nc (deleted)", Device: "00:0f", Inode: 4711, Offset: 2 << 20}, {Start: 0x8f00}, {Start: 0x9f00, Device: "00:00"}}
	if err != nil || !reflect.DeepEqual(mappings, want) {
		t.Errorf("%+v, %v", mappings, err)
	}
}

func TestParseStatus(t *testing.T) {
	name, kib, err := parseStatus("Name:\tovs-vswitchd\nUmask:\t0022\nHugetlbPages:\t  524288 kB\n")
	if name != "ovs-vswitchd" || kib != 524288 || err != nil {
		t.Errorf("%q, %d, %v", name, kib, err)
	}
	if name, kib, err = parseStatus("Name:\tkthreadd\nState:\tS\n"); name != "kthreadd" || kib != 0 || err != nil {
		t.Errorf("kernel thread: %q, %d, %v", name, kib, err)
	}
	// The kernel prints a newline in a name as \n, so no name is a second line.
	if name, kib, err = parseStatus("Name:\tx\\n\\\\nHuge:\t9\nHugetlbPages:\t 0 kB\n"); name != "x\n\\nHuge:\t9" || kib != 0 || err != nil {
		t.Errorf("forged: %q, %d, %v", name, kib, err)
	}
}

func FuzzParsers(f *testing.F) {
	f.Add("7fd02b400000 bind:0 file=/hp/t huge dirty=20 N0=20 kernelpagesize_kB=2048\n")
	f.Add("hugetlbfs /dev/hugepages hugetlbfs rw,relatime,pagesize=2M 0 0\n")
	f.Add("Name:\tx\nHugetlbPages:\t  524288 kB\n")
	f.Add("0-3,8\n")
	f.Add("7f00-7fff rw-s 00000000 00:0f 4711 /x\n")
	f.Add("10 20\n")
	f.Fuzz(func(t *testing.T, text string) {
		mappings, err := parseNUMAMaps(text)
		if err == nil {
			_ = addFiles(mappings, text)
		}
		_, _ = parseMounts(text)
		_ = parseOwnCgroup(text, "cpuset")
		_, _, _ = parseStatus(text)
		_, _ = parseDistances(text)
		_, _ = parsePageSize([]byte(text))
		if list, err := parseList(text); err == nil {
			for i, n := range list {
				if n < 0 || n > maxNode || i > 0 && list[i-1] >= n {
					t.Errorf("%q is read as %v", text, list)
				}
			}
		}
	})
}
