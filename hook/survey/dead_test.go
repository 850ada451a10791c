package survey

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hugeguard/guard"
	"hugeguard/hook/hooktest"
	"hugeguard/sysfs"
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
	host := holders(t, h.FS(), time.Now().Add(time.Hour))
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
