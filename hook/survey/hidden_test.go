package survey

import (
	"strings"
	"testing"

	"hugeguard/guard/domain"
	"hugeguard/hook/hooktest"
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
		host := hooktest.Incident(t)
		mounts, err := host.FS().ReadFile("proc/mounts", 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		host.Write("proc/mounts", string(mounts)+test.mounts)
		demand, err := domain.Parse([]byte(strings.Replace(hooktest.Domain(t, "prepare.xml"), "<name>instance-00000003<", "<name>"+name+"<", 1)))
		if err != nil {
			t.Fatal(err)
		}
		seen, err := Counters(host.FS(), For(demand))
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
