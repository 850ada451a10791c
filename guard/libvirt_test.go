package guard

import (
	"slices"
	"strings"
	"testing"
)

// fixesIn says the fixes of a verdict.
func fixesIn(v Verdict) string {
	var all []string
	for _, f := range Fixes(v) {
		all = append(all, f.For+": "+strings.Join(f.Lines, ", "))
	}
	return strings.Join(all, "\n")
}

// TestLeftToLibvirt: what libvirt refuses is said with what there is instead, and what helps. The hook allows it.
func TestLeftToLibvirt(t *testing.T) {
	gib := plain(t, 1024, "", "<hugepages><page size='1' unit='GiB'/></hugepages>")
	small := func(h Host) Host {
		h = withGiB(h, 4)
		h.Mounts = []Mount{{Path: "/dev/hugepages", PageKiB: 2048}}
		return h
	}
	late := func(d Awareness) Host {
		h := withGiB(pages(0), 4)
		h.Mounts = []Mount{{Path: "/dev/hugepages", PageKiB: 2048, Daemon: Aware}, {Path: "/mnt/1G", PageKiB: 1 << 20, Daemon: d}}
		h.Daemon = "virtqemud.service"
		return h
	}
	disabled := pages(600)
	disabled.Mounts, disabled.Configured = nil, true
	without := func(sizes ...uint64) Host {
		h := small(pages(600))
		h.Sizes = sizes
		h.Pools = slices.DeleteFunc(slices.Clone(h.Pools), func(p SizePool) bool { return !slices.Contains(sizes, p.PageKiB) })
		return h
	}
	const mountGiB = "mkdir -p /dev/hugepages1G, mount -t hugetlbfs -o pagesize=1G hugetlbfs /dev/hugepages1G, systemctl restart libvirtd    # virtqemud where libvirt is modular"
	const take2MiB = "give pc.ram 2M pages (<page size='2048' unit='KiB'/> in memoryBacking/hugepages)"
	for _, test := range []struct {
		name  string
		d     Demand
		h     Host
		says  string
		fixes string
	}{
		{"pages without a mount", gib, small(pages(0)),
			"no hugetlbfs of 1G pages is mounted, only one of 2 MiB pages (/dev/hugepages); this kernel supports 2M pages (no pool is set up), 1G pages (4 of 4 free)",
			"host: " + mountGiB + "\ndomain: echo 512 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages, cat /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages, " + take2MiB},
		{"the kernel has no such pages", gib, without(2048), "this kernel supports 2M pages (600 of 600 free)", "domain: " + take2MiB},
		{"disabled", plain(t, 1024, "", "<hugepages/>"), disabled, "hugetlbfs_mount in qemu.conf is empty, which disables huge pages",
			"host: mkdir -p /dev/hugepages, mount -t hugetlbfs -o pagesize=2M hugetlbfs /dev/hugepages, systemctl restart libvirtd    # virtqemud where libvirt is modular, hugetlbfs_mount = [\"/dev/hugepages\"]"},
		{"mounted after the daemon started", gib, late(Unaware), "hugetlbfs at /mnt/1G (1G pages) was mounted after libvirt's daemon was started",
			"host: systemctl restart virtqemud.service"},
		{"nodes that are not there", plain(t, 1024, "strict:0-3", "<hugepages/>"), pages(300, 300),
			"this host has no NUMA nodes 2-3, it has nodes 0-1", "domain: bind pc.ram to nodes 0-1"},
		{"none of the nodes is there", plain(t, 1024, "strict:4", "<hugepages/>"), pages(300, 600),
			"this host has no NUMA node 4, it has nodes 0-1", "domain: bind pc.ram to node 1"},
		{"nor would it fit elsewhere", plain(t, 1024, "strict:4", "<hugepages/>"), pages(30, 60), "no NUMA node 4", ""},
	} {
		v := JudgeAndFix(test.d, test.h)
		if v.Decision != Warn || v.RefusedBy() != ByLibvirt || v.Cause != "" || v.Shortage() {
			t.Errorf("%s: %s by %q", test.name, v.Decision, v.RefusedBy())
		}
		if says := Summary(v); !strings.HasPrefix(says, "libvirt will refuse to start this guest: ") || !strings.Contains(says, test.says) || len(says) > 780 {
			t.Errorf("%s: %s", test.name, says)
		}
		if got := fixesIn(v); got != test.fixes {
			t.Errorf("%s: the fixes are\n%s\nwant\n%s", test.name, got, test.fixes)
		}
	}
	for _, daemon := range []Awareness{Unasked, Aware, Untold} {
		v := JudgeAndFix(gib, late(daemon))
		if v.Decision != Allow || v.RefusedBy() != "" || strings.HasPrefix(Summary(v), "it fits") != true {
			t.Errorf("%d: %s: %s", daemon, v.Decision, Summary(v))
		}
		if told := strings.Contains(Text(v), "was started before /mnt/1G was mounted"); told != (daemon == Untold) {
			t.Errorf("%d: that it may be late is told: %t", daemon, told)
		}
	}
}

// TestExemptFromLibvirt: libvirt refuses also what is exempt from hugeguard's refusals.
func TestExemptFromLibvirt(t *testing.T) {
	d := plain(t, 1024, "", "<hugepages><page size='16' unit='MiB'/></hugepages>")
	d.Exempt = ExemptByMetadata
	if by := JudgeAndFix(d, pages(600)).RefusedBy(); by != ByLibvirt {
		t.Errorf("refused by %q", by)
	}
	d = plain(t, 1024, "", "<hugepages><page size='2' unit='MiB'/></hugepages>")
	d.Exempt = ExemptByMetadata
	if v := JudgeAndFix(d, pages(6)); v.Decision != Refuse || v.RefusedBy() != "" {
		t.Errorf("%s by %q", v.Decision, v.RefusedBy())
	}
}
