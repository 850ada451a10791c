package hook

import (
	"strings"
	"testing"

	"hugeguard/guard/domain"
	"hugeguard/sysfs/sysfstest"
)

// TestHidingMount: which mounts lie over the files of a domain's QEMU.
func TestHidingMount(t *testing.T) {
	const name = "instance-00000003-of-a-long-name"
	for _, test := range []struct{ mounts, over string }{
		{"none /dev/hugepages/libvirt/qemu tmpfs rw 0 0\n", "/dev/hugepages/libvirt/qemu"},
		{"none /dev/hugepages/libvirt xfs rw 0 0\n", "/dev/hugepages/libvirt"},
		{"none /dev/hugepages ext4 rw 0 0\n", "/dev/hugepages"},
		{"none /dev/hugepages/libvirt/qemu hugetlbfs rw,pagesize=1024M 0 0\n", "/dev/hugepages/libvirt/qemu"},
		{"none /dev/hugepages/libvirt/qemu hugetlbfs rw,pagesize=2M 0 0\n", ""},
		{"none /dev/hugepages/libvirt/qemu tmpfs rw 0 0\nnone /dev/hugepages/libvirt/qemu hugetlbfs rw,pagesize=2M 0 0\n", ""},
		{"none /dev/hugepages/libvirt/qemu tmpfs rw 0 0\nnone /dev/hugepages hugetlbfs rw,pagesize=2M 0 0\n", ""},
		{"none /dev/hugepages/libvirt/qemu/7-instance-00000003-of tmpfs rw 0 0\n", "/dev/hugepages/libvirt/qemu/7-instance-00000003-of"},
		{"none /dev/hugepages/libvirt/qemu/7-instance-00000004 tmpfs rw 0 0\n", ""},
		{"none /dev/hugepages/libvirt/qemu/7-instance-00000003-of/more tmpfs rw 0 0\n", ""},
		{"none /dev/hugepages/libvirt/lxc tmpfs rw 0 0\nnone /dev/hugepages/dpdk tmpfs rw 0 0\nnone /dev tmpfs rw 0 0\n", ""},
		{"none /dev/hugepages1G tmpfs rw 0 0\n", ""}, // of another size
	} {
		host := sysfstest.Copy(t, incident+"/host")
		mounts, err := host.FS().ReadFile("proc/mounts", 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		host.Write("proc/mounts", string(mounts)+test.mounts)
		demand, err := domain.Parse([]byte(strings.Replace(domainXML(t, "prepare.xml"), "<name>instance-00000003<", "<name>"+name+"<", 1)))
		if err != nil {
			t.Fatal(err)
		}
		seen, err := Survey(host.FS(), demand)
		if err != nil {
			t.Fatal(err)
		}
		over := ""
		if seen.Mounts[0].Over != nil {
			over = seen.Mounts[0].Over.Path
		}
		if over != test.over {
			t.Errorf("%q: %q lies over it, want %q", test.mounts, over, test.over)
		}
	}
}

// TestHiddenMountIsAWarning: QEMU maps ordinary memory there and starts, however few huge pages there are; nothing is
// claimed for it.
func TestHiddenMountIsAWarning(t *testing.T) {
	f := newFixture(t, strings.NewReader(domainXML(t, "prepare.xml")))
	mounts, err := f.fs.ReadFile("proc/mounts", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	f.host.Write("proc/mounts", string(mounts)+"/dev/vda1 /dev/hugepages/libvirt/qemu xfs rw,relatime 0 0\n")
	if status := f.prepare(); status != exitAccept || f.stderr.Len() > 0 || len(f.entries) != 1 {
		t.Fatalf("status %d, stderr %q, journal %+v", status, &f.stderr, f.entries)
	}
	const want = "xfs is mounted over the huge pages at /dev/hugepages/libvirt/qemu: ram-node0 will lie there, on ordinary memory, until it is unmounted"
	e := f.entries[0]
	if first, _, _ := strings.Cut(e.Message, "\n"); first != want || e.Priority != warning || e.Fields["HUGEGUARD_DECISION"] != "warn" {
		t.Errorf("priority %d, %v:\n%s", e.Priority, e.Fields, e.Message)
	}
	if l, err := readLedger(f.fs); err != nil || len(l.Claims) > 0 {
		t.Errorf("the ledger has %+v, %v", l, err)
	}
}
