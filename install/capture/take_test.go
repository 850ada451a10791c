package capture

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hugeguard/hook/ledger"
	"hugeguard/sysfs"
	"hugeguard/sysfs/sysfstest"
)

// TestMain keeps the hosts of the tests, which are trees of many small files, in memory.
func TestMain(m *testing.M) { os.Exit(sysfstest.InMemory(m.Run)) }

// TestEveryFileHasAReader: of every file that is read of a host, or that would be if it were there, a reader says what is
// kept.
func TestEveryFileHasAReader(t *testing.T) {
	kernels, errKernels := filepath.Glob("../../testdata/kernels/*.txtar")
	launches, errLaunches := filepath.Glob("../../testdata/numabox/captured/*/*.txtar")
	if errKernels != nil || errLaunches != nil || len(kernels) == 0 || len(launches) == 0 {
		t.Fatal(errKernels, errLaunches)
	}
	hosts := []sysfstest.Host{busyHost(t)}
	for _, archive := range slices.Concat(kernels, launches) {
		hosts = append(hosts, sysfstest.Archive(t, archive))
	}
	for _, h := range hosts {
		c, err := Take(context.Background(), h.FS(), Options{Patience: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		for _, note := range c.Notes {
			if strings.Contains(note, sysfs.ErrNoReader.Error()) {
				t.Error(note)
			}
		}
	}
}

// busyHost is a host of which everything is looked at: pages are gone, a guest is starting, and there are Nova and the
// site's settings.
func busyHost(t *testing.T) sysfstest.Host {
	t.Helper()
	h := sysfstest.Copy(t, "../../testdata/hosts/plain/host")
	h.Write("sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages", "100\n")
	h.Write("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "100\n")
	h.Write("proc/sys/kernel/random/boot_id", "4ea7b5a5-8d6f-4d3f-8c59-1f0f7a0f7a0f\n")
	h.Write("proc/uptime", "800.00 1.00\n")
	h.Write("proc/stat", "cpu 1\nbtime 1700000000\n")
	starting := ledger.Ledger{Boot: "4ea7b5a5-8d6f-4d3f-8c59-1f0f7a0f7a0f", Claims: []ledger.Claim{
		{UUID: "u", Name: "instance-00000001", Since: 797 * time.Second, Parts: []ledger.Part{{PageKiB: 2048, Pages: 5000, Nodes: []int{1}, Hard: true}}}}}
	h.Write(ledger.Path, string(starting.Text()))
	h.Write("proc/3066/task/3066/stat", "3066 (qemu) S 1\n")
	h.Write("proc/3066/task/3070/stat", "3070 (CPU 0/KVM) R 1\n")
	h.Write("proc/5000/status", "Name:\tnova-compute\nHugetlbPages:\t       0 kB\n")
	h.Write("proc/5000/stat", "5000 (nova-compute) S 1"+strings.Repeat(" 7", 17)+" 500 7\n")
	h.Write("proc/5000/cmdline", "/usr/bin/python3\x00/usr/bin/nova-compute\x00")
	h.Write("proc/5000/cgroup", "0::/system.slice/nova-compute.service\n")
	h.Write("proc/5000/root/etc/nova/nova.conf", "[DEFAULT]\nreserved_huge_pages = node:0,size:2048,count:64\n")
	h.Write("etc/hugeguard.conf", "mode = warn\n")
	h.Write("etc/libvirt/qemu.conf", "hugetlbfs_mount = [\"/dev/hugepages\"]\n")
	h.Write("run/openvswitch/db.json", `{"id":0,"result":[{"rows":[{"other_config":["map",[["dpdk-init","true"]]]}]}],"error":null}`)
	return h
}
