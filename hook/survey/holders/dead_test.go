package holders

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"hugeguard/guard"
	"hugeguard/sysfs"
	"hugeguard/sysfs/sysfstest"
)

// TestDeadGuests: a guest's memory that no QEMU uses is that dead guest's, no matter which process keeps it. Where not everybody could be
// asked, somebody may use it.
func TestDeadGuests(t *testing.T) {
	const deleted = "/dev/hugepages/libvirt/qemu/7-rhel1/qemu_back_mem._objects_ram-node0.Ab12Cd (deleted)"
	ovs := holderKey{kind: guard.HolderOVS, name: "ovs-vswitchd", pid: 20}
	other := holderKey{kind: guard.HolderProcess, name: "vhost", pid: 10}
	guest := holderKey{kind: guard.HolderGuest, name: "rhel1", pid: 30}
	byHand := holderKey{kind: guard.HolderProcess, name: "main", pid: 40}
	for _, test := range []struct {
		name, file string
		users      []holderKey
		incomplete bool
		want       string // whose it is
		keeper     int
	}{
		{"kept by Open vSwitch", deleted, []holderKey{ovs}, false, "7-rhel1", 20},
		{"kept by two", deleted, []holderKey{ovs, other}, false, "7-rhel1", 10},
		{"not deleted", "/mnt/huge/libvirt/qemu/12-a-b/ram-node0", []holderKey{other}, false, "12-a-b", 10},
		{"as a detached mount shows it", "/libvirt/qemu/7-rhel1/x (deleted)", []holderKey{ovs}, false, "7-rhel1", 20},
		{"a memfd", "/memfd:memory-backend-memfd (deleted)", []holderKey{ovs}, false, guard.UnknownGuest, 20},
		{"its QEMU runs", deleted, []holderKey{ovs, guest}, false, "", 30},
		{"a QEMU that is no guest of libvirt's", deleted, []holderKey{ovs, byHand}, false, "", 40},
		{"not everybody was asked", deleted, []holderKey{ovs}, true, "", 20},
		{"memory of its own", "/dev/hugepages/rtemap_0", []holderKey{ovs}, false, "", 20},
		{"another memfd", "/memfd:rte (deleted)", []holderKey{other}, false, "", 10},
		{"another folder", "/dev/hugepages/7-rhel1/x", []holderKey{other}, false, "", 10},
		{"no run", "/dev/hugepages/libvirt/qemu/x", []holderKey{other}, false, "", 10},
	} {
		sum := tally{qemus: map[int]bool{40: true}, complete: !test.incomplete}
		for _, user := range test.users {
			sum.add(user, []sysfs.Mapping{{Device: "00:10", Inode: 1, File: test.file, PageKiB: 2048, Pages: map[int]uint64{0: 5}}})
		}
		got := sum.holders()
		if len(got) != 1 || got[0].Guest != test.want || got[0].PID != test.keeper || got[0].Pages[0] != 5 {
			t.Errorf("%s: %+v", test.name, got)
		}
		if sum.keepsDead() != (test.want != "") {
			t.Errorf("%s: it is looked closer: %t", test.name, sum.keepsDead())
		}
	}
}

// TestDeadBesideOwn: what a back end keeps of a dead guest is told from what is its own.
func TestDeadBesideOwn(t *testing.T) {
	vhost := holderKey{kind: guard.HolderProcess, name: "vhost", pid: 10}
	sum := tally{complete: true}
	sum.add(vhost, []sysfs.Mapping{{Device: "00:10", Inode: 1, PageKiB: 2048, Pages: map[int]uint64{0: 5}}})
	sum.measure(sysfs.File{Path: "/dev/hugepages/libvirt/qemu/7-a/x (deleted)", Device: "00:10", Inode: 2, PageKiB: 2048, Pages: 7}, &vhost)
	want := []guard.Holder{
		{Kind: guard.HolderProcess, Name: "vhost", PID: 10, PageKiB: 2048, Pages: map[int]uint64{0: 5}},
		{Kind: guard.HolderProcess, Name: "vhost", PID: 10, PageKiB: 2048, Pages: map[int]uint64{}, Unplaced: 7, Guest: "7-a"},
	}
	if diff := cmp.Diff(want, sum.holders()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestDescribeDead: a dead guest is known by the scope of who keeps its memory, too, and libvirt cuts long names.
func TestDescribeDead(t *testing.T) {
	const long, alike = "a-name-of-more-than-twenty-runes", "production-web-server-0"
	for _, test := range []struct {
		unit, guest, self string
		want              guard.Holder
	}{
		{"", "7-other", "g", guard.Holder{Guest: "7-other", Defined: true}},
		{"", "7-gone", "g", guard.Holder{Guest: "7-gone"}},
		{"", "7-g", "g", guard.Holder{Guest: "7-g", Own: true, Defined: true}},
		{"", "7-g", "g2", guard.Holder{Guest: "7-g"}},
		{"", "7-" + long[:20], long, guard.Holder{Guest: "7-" + long[:20], Own: true, Defined: true}},
		{"", "7-" + alike[:20], alike + "1", guard.Holder{Guest: "7-" + alike[:20], Defined: true}},
		{"", "7-" + alike[:20], "g", guard.Holder{Guest: "7-" + alike[:20], Defined: true}},
		{"", "7-" + alike[:19], alike[:19], guard.Holder{Guest: "7-" + alike[:19], Own: true, Defined: true}},
		{"", "7-" + long[:20], "g", guard.Holder{Guest: "7-" + long[:20]}},
		{`machine-qemu\x2d3\x2dg.scope`, guard.UnknownGuest, "g", guard.Holder{Guest: "3-g", Own: true, Defined: true}},
		{`machine-qemu\x2d3\x2d..\x2fqemu\x2fother.scope`, guard.UnknownGuest, "g", guard.Holder{Guest: "3-../qemu/other"}},
		{"spdk.service", guard.UnknownGuest, "g", guard.Holder{Guest: guard.UnknownGuest}},
	} {
		tree := sysfstest.New(t)
		for _, defined := range []string{"other", alike + "1", alike + "2"} {
			tree.Write("etc/libvirt/qemu/"+defined+".xml", "<domain/>")
		}
		f := finder{FS: tree.FS(), self: guard.Domain{Name: test.self}}
		got := guard.Holder{Unit: test.unit, Guest: test.guest}
		f.describeDead(&got)
		test.want.Unit = test.unit
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s %s: -want +got:\n%s", test.unit, test.guest, diff)
		}
	}
}
