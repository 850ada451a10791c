package fix_test

import (
	"slices"
	"strings"
	"testing"

	"hugeguard/guard"
	"hugeguard/guard/fix"
	. "hugeguard/guard/guardtest"
	"hugeguard/guard/words"
)

// fixesIn says the fixes of a verdict.
func fixesIn(v fix.Verdict) string {
	var all []string
	for _, f := range Fixes(v) {
		all = append(all, f.For+": "+strings.Join(f.Lines, ", "))
	}
	return strings.Join(all, "\n")
}

// TestLeftToLibvirt: what libvirt refuses is said with what there is instead, and what helps. The hook allows it.
func TestLeftToLibvirt(t *testing.T) {
	gib := Plain(t, 1024, "", "<hugepages><page size='1' unit='GiB'/></hugepages>")
	small := func(h Setup) Setup {
		h = h.WithGiB(4)
		h.Mounts = []guard.Mount{{Path: "/dev/hugepages", PageKiB: 2048}}
		return h
	}
	late := func(d guard.Awareness) Setup {
		h := Pages(0).WithGiB(4)
		h.Mounts = []guard.Mount{{Path: "/dev/hugepages", PageKiB: 2048, Daemon: guard.Aware}, {Path: "/mnt/1G", PageKiB: 1 << 20, Daemon: d}}
		h.Daemon = "virtqemud.service"
		return h
	}
	disabled := Pages(600)
	disabled.Mounts, disabled.Configured = nil, true
	without := func(sizes ...uint64) Setup {
		h := small(Pages(600))
		h.Sizes = sizes
		h.Pools = slices.DeleteFunc(slices.Clone(h.Pools), func(p guard.SizePool) bool { return !slices.Contains(sizes, p.PageKiB) })
		return h
	}
	const mountGiB = "mkdir -p /dev/hugepages1G, mount -t hugetlbfs -o pagesize=1G hugetlbfs /dev/hugepages1G, systemctl restart libvirtd    # virtqemud where libvirt is modular"
	const take2MiB = "give pc.ram 2M pages (<page size='2048' unit='KiB'/> in memoryBacking/hugepages)"
	for _, test := range []struct {
		name  string
		d     guard.Demand
		h     Setup
		says  string
		fixes string
	}{
		{"pages without a mount", gib, small(Pages(0)),
			"no hugetlbfs of 1G pages is mounted, only one of 2 MiB pages (/dev/hugepages); this kernel supports 2M pages (no pool is set up), 1G pages (4 of 4 free)",
			"host: " + mountGiB + "\ndomain: echo 512 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages, cat /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages, " + take2MiB},
		{"the kernel has no such pages", gib, without(2048), "this kernel supports 2M pages (600 of 600 free)", "domain: " + take2MiB},
		{"disabled", Plain(t, 1024, "", "<hugepages/>"), disabled, "hugetlbfs_mount in qemu.conf is empty, which disables huge pages",
			"host: mkdir -p /dev/hugepages, mount -t hugetlbfs -o pagesize=2M hugetlbfs /dev/hugepages, systemctl restart libvirtd    # virtqemud where libvirt is modular, hugetlbfs_mount = [\"/dev/hugepages\"]"},
		{"mounted after the daemon started", gib, late(guard.Unaware), "hugetlbfs at /mnt/1G (1G pages) was mounted after libvirt's daemon was started",
			"host: systemctl restart virtqemud.service"},
		{"nodes that are not there", Plain(t, 1024, "strict:0-3", "<hugepages/>"), Pages(300, 300),
			"this host has no NUMA nodes 2-3, it has nodes 0-1", "domain: bind pc.ram to nodes 0-1"},
		{"none of the nodes is there", Plain(t, 1024, "strict:4", "<hugepages/>"), Pages(300, 600),
			"this host has no NUMA node 4, it has nodes 0-1", "domain: bind pc.ram to node 1"},
		{"nor would it fit elsewhere", Plain(t, 1024, "strict:4", "<hugepages/>"), Pages(30, 60), "no NUMA node 4", ""},
	} {
		v := fix.Judge(test.d, test.h.Host)
		if v.Decision != guard.Warn || v.RefusedBy() != guard.ByLibvirt || v.Cause != "" || v.Shortage() {
			t.Errorf("%s: %s by %q", test.name, v.Decision, v.RefusedBy())
		}
		if says := words.Summary(v); !strings.HasPrefix(says, "libvirt will refuse to start this guest: ") || !strings.Contains(says, test.says) || len(says) > 780 {
			t.Errorf("%s: %s", test.name, says)
		}
		if got := fixesIn(v); got != test.fixes {
			t.Errorf("%s: the fixes are\n%s\nwant\n%s", test.name, got, test.fixes)
		}
	}
	for _, daemon := range []guard.Awareness{guard.Unasked, guard.Aware, guard.Untold} {
		v := fix.Judge(gib, late(daemon).Host)
		if v.Decision != guard.Allow || v.RefusedBy() != "" || strings.HasPrefix(words.Summary(v), "it fits") != true {
			t.Errorf("%d: %s: %s", daemon, v.Decision, words.Summary(v))
		}
		if told := strings.Contains(words.Text(v), "was started before /mnt/1G was mounted"); told != (daemon == guard.Untold) {
			t.Errorf("%d: that it may be late is told: %t", daemon, told)
		}
	}
}

// TestExemptFromLibvirt: libvirt refuses also what is exempt from hugeguard's refusals.
func TestExemptFromLibvirt(t *testing.T) {
	d := Plain(t, 1024, "", "<hugepages><page size='16' unit='MiB'/></hugepages>")
	d.Exempt = guard.ExemptByMetadata
	if by := fix.Judge(d, Pages(600).Host).RefusedBy(); by != guard.ByLibvirt {
		t.Errorf("refused by %q", by)
	}
	d = Plain(t, 1024, "", "<hugepages><page size='2' unit='MiB'/></hugepages>")
	d.Exempt = guard.ExemptByMetadata
	if v := fix.Judge(d, Pages(6).Host); v.Decision != guard.Refuse || v.RefusedBy() != "" {
		t.Errorf("%s by %q", v.Decision, v.RefusedBy())
	}
}
