package holders

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hugeguard/guard"
	"hugeguard/sysfs"
)

// TestLedger: a page counts once, for the one whom it serves.
func TestLedger(t *testing.T) {
	guest := holderKey{kind: guard.HolderGuest, name: "a", pid: 30}
	ovs := holderKey{kind: guard.HolderOVS, name: "ovs-vswitchd", pid: 20}
	other := holderKey{kind: guard.HolderProcess, name: "testpmd", pid: 10}
	file := func(inode uint64, node int, pages uint64) sysfs.Mapping {
		return sysfs.Mapping{Device: "00:10", Inode: inode, PageKiB: 2048, Pages: map[int]uint64{node: pages}}
	}
	var sum tally
	// A guest's memory, which Open vSwitch maps for each of two ports; memory of Open vSwitch's own in two parts of one
	// file; a private copy; memory that Open vSwitch shares with a process that it serves; an untouched mapping; a SysV
	// segment in two processes, whose number is a memfd's inode.
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

// TestLedgerFiles: pages that stat counts and nobody has touched, files that nobody uses, and what was promised.
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
