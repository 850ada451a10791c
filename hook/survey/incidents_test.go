package survey

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/fix"
	"hugeguard/guard/words"
	"hugeguard/hook/config"
	"hugeguard/hook/hooktest"
	"hugeguard/sysfs/sysfstest"
)

// answer is what is said of a launch.
type answer struct {
	cause guard.Cause
	has   []string // patterns of what the text says
	lacks []string // patterns of what would be wrong or do harm
}

// TestIncidents asks about launches that failed on hosts of which people reported.
func TestIncidents(t *testing.T) {
	answers := map[string]answer{
		"back-end-keeps-dead-guest":    {guard.CauseOtherHolder, []string{`for this guest's own earlier run \(id 7\) has 2048`, `kill 172315`}, []string{"count:3072"}},
		"miner-on-desktop":             {guard.CauseOtherHolder, []string{`xmrig \(pid 1881, xmrig.service\) has 1187`, `echo 2\d\d\d >`, `--no-huge-pages`, `kill 1881`}, []string{"systemctl (stop|restart)"}},
		"own-qemu-hangs":               {guard.CauseGuests, []string{`this guest's own earlier QEMU \(pid 3100, stuck in state D\) has 8192`, `kill -9 3100`, `systemctl reboot`}, []string{"echo 16384"}},
		"postgres-promised":            {guard.CauseKernelReserved, []string{`postgres \(pid \d+[^)]*\) is promised 3996`, `echo 6344 >`, `shared_buffers = '7192MB'`}, []string{"count:300\n", "to others"}},
		"database-segment-left":        {guard.CauseLeftoverFiles, []string{`System V segment 32768, which nobody has attached, has 4653`, `ipcrm -m 32768`}, []string{"systemctl"}},
		"guest-beside-libvirt":         {guard.CauseOtherHolder, []string{`fix: shut down the guest that kvm \(pid 4400, 100.scope\) runs\n`, `qm shutdown 100`, `to hugepagesz=1G hugepages=20 in`}, []string{"kill"}},
		"pod-sees-only-itself":         {guard.CauseUnaccounted, []string{`only the processes of this container are visible here`, `fix \(node\): on the Kubernetes node, outside of this pod: find out which processes`}, []string{"reboot", "hugeguard status"}},
		"pod-beside-libvirt":           {guard.CauseOtherHolder, []string{`fix: bind ram-node0 to node 1`, `change the domain \(virsh edit\)`, `fix \(kubernetes\): end the pods of dpdk-testpmd`}, []string{"VirtualMachine", "crictl stop", "run dpdk-testpmd"}},
		"guests-of-another-hypervisor": {guard.CauseOtherHolder, []string{`fix: shut down the guest that cloud-hyperviso \(pid 3000, vm0.service\) runs`}, []string{"service is down", "systemctl disable"}},
		"database-beside-guests":       {guard.CauseOtherHolder, []string{`fix: drop caches, compact memory, then echo 12801`, `use_large_pages = FALSE`}, nil},
		"vswitch-full-of-packets":      {guard.CauseOVS, []string{`dpdk-socket-mem=1024 other_config:dpdk-socket-limit=1024; systemctl restart`, `262144 packets are a part of that`}, []string{"nova"}},
		"helper-outlives-its-guest":    {guard.CauseOtherHolder, []string{`virtiofsd \(pid 6100\) for this guest's own earlier run \(id 3\) has 1536`, `fix: kill 6100`, `which served this guest's own earlier run \(id 3\)\n`}, []string{"SPDK", "lose their disks"}},
		"session-beside-vswitch":       {guard.CauseOtherHolder, []string{`dpdk-testpmd \(pid 6200, session-4.scope\) has 2048, nova.conf reserves 512`, `\n  kill 6200\n`}, []string{"dpdk-socket-mem=1024,1024 instead", "have Open vSwitch"}},
		"vswitch-keeps-dead-instance":  {guard.CauseOVS, []string{`fix: delete Open vSwitch's port of this guest's own earlier run \(id 5\) \(node 1 has 3584 free\)\n`, `find Interface external_ids:vm-uuid=a0000000-0000-4000-8000-000000000101 `, `Nova adds it again`}, []string{"reserves 512; node", "count:2560"}},
		"guests-of-another-job":        {guard.CauseGuests, []string{`fix: virsh shutdown fedora31-libvirt_default \(that guest stops\)\n`, `WARNING: after the reboot everything else on node 0`, `gives back 5120 pages of 2M \(10 GiB\)`}, nil},
		"boot-took-small-pages":        {guard.CausePoolMissing, []string{`fix: give pc.ram 2M pages`, `smaller pages`}, nil},
		"database-by-its-owner":        {guard.CauseOtherHolder, []string{`as the owner of the instance: db2stop`, `Do not kill its processes`}, []string{`\n  kill`}},
		"slice-kept-from-node": {guard.CausePoolMissing, []string{`fix: systemctl set-property machine.slice AllowedMemoryNodes=0-1\n`, `\n  cat /sys/fs/cgroup/machine.slice/cpuset.mems.effective\n`,
			`somebody kept from them`, `nothing to do: systemd keeps`}, nil},
		"slice-kept-from-node-v1": {guard.CausePoolTooSmall, []string{`fix: echo 0-1 > /sys/fs/cgroup/cpuset/machine.slice/cpuset.mems\n`, `\n  cat /sys/fs/cgroup/cpuset/machine.slice/cpuset.mems\n`,
			`change it in the program or the unit`}, []string{"set-property"}},
		"site-hook-not-executable": {guard.CausePoolMissing, []string{`fix: chmod \+x /etc/libvirt/hooks/qemu.d/alloc.sh /etc/libvirt/hooks/qemu.d/win10/prepare/begin/alloc_hugepages.sh\n`,
			`libvirt skips the hook /etc/libvirt/hooks/qemu.d/alloc.sh: it is not executable`, `echo 8192 >`}, nil},
		"vswitch-keeps-defined-guest": {guard.CauseOVS, []string{`for dead guest fw1 \(id 9\) has 2048`, `its PATH is in virsh dumpxml fw1\n`, `\n  ovs-vsctl del-port PORT\n  ovs-vsctl add-port BRIDGE PORT `}, nil},
		"unmounted-lazily":            {guard.CauseUnaccounted, []string{"umount -l", "systemctl reboot"}, []string{"hugeguard status"}},
	}
	files, err := filepath.Glob(hooktest.Data("incidents/*.txtar"))
	if err != nil || len(files) < len(answers) {
		t.Fatal(files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		want, ok := answers[name]
		if !ok {
			continue // another test has it
		}
		t.Run(name, func(t *testing.T) { want.compare(t, judged(t, sysfstest.Archive(t, file))) })
	}
}

// judged judges the guest of an incident on its host.
func judged(t *testing.T, tree sysfstest.Host) fix.Verdict {
	t.Helper()
	xml, err := os.ReadFile(tree.Path("domain.xml"))
	if err != nil {
		t.Fatal(err)
	}
	demand, err := domain.Parse(xml)
	if err != nil {
		t.Fatal(err)
	}
	host, _, err := Full(tree.FS(), For(demand), config.Config{Claims: true}, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return fix.Judge(demand, host)
}

func (a answer) compare(t *testing.T, v fix.Verdict) {
	t.Helper()
	text := words.Text(v)
	if v.Decision != guard.Refuse || v.Cause != a.cause {
		t.Errorf("%s %s, want a refusal for %s", v.Decision, v.Cause, a.cause)
	}
	for _, pattern := range a.has {
		if !regexp.MustCompile(pattern).MatchString(text) {
			t.Errorf("%s is not said in\n%s", pattern, text)
		}
	}
	for _, pattern := range a.lacks {
		if regexp.MustCompile(pattern).MatchString(text) {
			t.Errorf("%s is said in\n%s", pattern, text)
		}
	}
}

// TestPromisedCounts: what was promised is to be reserved as what is held.
func TestPromisedCounts(t *testing.T) {
	tree := sysfstest.Archive(t, hooktest.Data("incidents/postgres-promised.txtar"))
	host := look(t, tree.FS(), time.Now().Add(time.Hour))
	got := words.Reserve(host.Reservations())
	if len(got) != 2 || got[1] != "reserved_huge_pages=node:0,size:2048,count:4296" {
		t.Errorf("%q", got)
	}
}
