package survey

import (
	"testing"

	"hugeguard/guard"
	"hugeguard/hook/hooktest"
	"hugeguard/sysfs/sysfstest"
)

// TestPoolIncidents asks about launches that failed because pools were too small, and for what the kernel will do about
// that.
func TestPoolIncidents(t *testing.T) {
	const compact = `\n  echo 3 > /proc/sys/vm/drop_caches\n  echo 1 > /proc/sys/vm/compact_memory\n  echo `
	for name, want := range map[string]answer{
		"memory-short-for-pool": {guard.CausePoolTooSmall, []string{
			`fix: stop programs that use 3.3 GiB on node 0, where only 600 MiB of memory is available`,
			`after the reboot everything else on node 0 has 16 GiB, and it uses 18.8 GiB now`}, []string{`\n  echo 8192`}},
		"pool-shrunk-under-leftovers": {guard.CausePoolMissing, []string{
			`all 1024 pages there are surplus`, `pool was made smaller`, `\n  echo 512 > \S+/nr_hugepages\n  rm /dev/hugepages/rtemap_0 /dev/hugepages/rtemap_1\n`}, []string{`ever set up`}},
		"boot-gave-fewer-giant-pages": {guard.CausePoolTooSmall, []string{
			`the kernel command line asks for 16`, `change hugepagesz=1G hugepages=16 to hugepagesz=1G hugepages=17 in`, `The last boot made 1 fewer`}, []string{`\n  echo`}},
		"giant-pages-on-old-host": {guard.CausePoolMissing, []string{
			`hugepagesz=1G hugepages=4 to GRUB_CMDLINE_LINUX of /etc/default/grub, then run update-grub`, `a free block of 1 GiB is unlikely`}, []string{`\n  echo`}},
		"half-on-each-node": {guard.CausePoolMissing, []string{
			`echo 1024 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages\n  echo 1024 > /sys/devices/system/node/node1/`,
			`fix: echo 1024 > \S+node0\S+; echo 1024 > \S+node1\S+\n`, `hugepages=0:1024,1:1024`}, []string{`compact`, `reboot`}},
		"pool-shrunk-under-guest": {guard.CausePoolMissing, []string{
			`all 2048 pages there are surplus`, `\n  echo 2560 > `, `its 2048 surplus pages, which else go back to the kernel when they are freed, are counted in first, so 512 \(1 GiB\) are new`, `vm.nr_hugepages = 2560`}, []string{`ever set up`}},
		"uneven-pools": {guard.CausePoolTooSmall, []string{
			`^node 1 has too few 2M pages: 758 of 758 free, 1024 needed \(2 GiB\)`, `\n  echo 1024 > \S+node1\S+\n`, `hugepages=0:1290,1:1024`, `bind ram-node0 to node 0`}, nil},
		"giant-pages-split-evenly": {guard.CausePoolTooSmall, []string{
			`fix: bind ram-node0 to nodes 0-1\n`, `change hugepagesz=1G hugepages=16 to hugepagesz=1G hugepages=0:12,1:8 in`, `bind ram-node0 to nodes 0-1`}, []string{`\n  echo`}},
		"page-size-behind-count": {guard.CausePoolMissing, []string{
			`hugepagesz=1G without hugepages= behind it, which asks for no pages`, `fix: boot with hugepagesz=1G hugepages=8\n`}, []string{`\n  echo`, `in place of`}},
		"sysctl-undoes-boot": {guard.CausePoolTooSmall, []string{
			`the kernel command line asks for 8192, and /etc/sysctl.d/80-vpp.conf then sets 1024`, `sed -i \S+.* /etc/sysctl.d/80-vpp.conf`}, []string{`nothing to do`, `or: change`}},
		"compacted-in-vain": {guard.CausePoolTooSmall, []string{
			`fix: boot with hugepagesz=2M hugepages=6144`, `was told to do so after an earlier refusal and made fewer pages`}, []string{`drop_caches`, `echo 6144`}},
		"pool-in-pieces": {guard.CausePoolTooSmall, []string{
			`pieces that are too small`, compact + `4096 `, `hugepagesz=2M hugepages=4096`}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			want.compare(t, judged(t, sysfstest.Archive(t, hooktest.Data("incidents/"+name+".txtar"))))
		})
	}
}
