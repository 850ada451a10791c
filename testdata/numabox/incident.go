package main

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"hugeguard/testdata/vm"
)

// instance is a guest of the incident in Nova's shape, bound strictly to a node.
func instance(number, node int) string {
	return fmt.Sprintf(`<domain type='qemu'>
  <name>instance-%08[1]d</name>
  <uuid>32963992-5056-4947-9f20-%012[1]d</uuid>
  <metadata>
    <nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1">
      <nova:name>guest %[1]d</nova:name>
      <nova:flavor name="dpdk.small"><nova:memory>512</nova:memory><nova:vcpus>1</nova:vcpus></nova:flavor>
    </nova:instance>
  </metadata>
  <memory unit='KiB'>524288</memory>
  <currentMemory unit='KiB'>524288</currentMemory>
  <memoryBacking>
    <hugepages><page size='2048' unit='KiB' nodeset='0'/></hugepages>
    <access mode='shared'/>
  </memoryBacking>
  <vcpu placement='static'>1</vcpu>
  <cputune><shares>1024</shares><emulatorpin cpuset='%[2]d'/><vcpupin vcpu='0' cpuset='%[2]d'/></cputune>
  <numatune>
    <memory mode='strict' nodeset='%[2]d'/>
    <memnode cellid='0' mode='strict' nodeset='%[2]d'/>
  </numatune>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <features><acpi/><apic/></features>
  <cpu mode='custom' match='exact' check='none'>
    <model fallback='forbid'>qemu64</model>
    <topology sockets='1' cores='1' threads='1'/>
    <numa><cell id='0' cpus='0' memory='524288' unit='KiB' memAccess='shared'/></numa>
  </cpu>
  <clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' index='0' model='none'/>
    <interface type='vhostuser'>
      <mac address='fa:16:3e:00:00:%02[1]x'/>
      <source type='unix' path='/run/vhost/vhu%[1]d' mode='server'/>
      <model type='virtio'/>
    </interface>
    <memballoon model='virtio'><stats period='10'/></memballoon>
  </devices>
</domain>
`, number, node)
}

// qemuNoPages is how QEMU ends where the reservation of its pages fails.
const qemuNoPages = "unable to map backing store for guest RAM: Cannot allocate memory"

// incident replays it as it happens: Open vSwitch takes its share, two guests start, the third dies. Then
// hugeguard comes, is upgraded, lives through a restart of libvirtd, and goes.
func (b *box) incident(c *vm.Checks, o options) error {
	if err := b.prepare(c); err != nil {
		return err
	}
	vm.Say("the incident: 1024 pages of 2 MiB a node, Open vSwitch with DPDK takes 512 of each")
	if err := b.SetPools(2048, [2]int{1024, 1024}); err != nil {
		return err
	}
	// The box has two pages of 1 GiB, for the scenarios. DPDK would take these first.
	for node := range 2 {
		release, err := b.Hold([]string{testpmd, "hold", "-kib", "1048576", "-pages", "1", "-touch", "1", "-node", fmt.Sprint(node)})
		if err != nil {
			return err
		}
		defer release()
	}
	if err := b.StartOVS([2]int{1024, 1024}, 3); err != nil {
		return err
	}
	ovs, err := b.PID("/run/openvswitch/ovs-vswitchd.pid")
	if err != nil {
		return err
	}
	free, _, err := b.Pools(2048)
	if err != nil {
		return err
	}
	c.That(free == [2]int{512, 512}, "Open vSwitch leaves 512 pages on each node", free)
	// Where all this took long, the daemon has ended for want of work; its socket starts it again.
	if _, err := b.Must("virsh", "-q", "list"); err != nil {
		return err
	}
	daemon, err := b.PID("/run/libvirtd.pid")
	if err != nil {
		return err
	}

	for number := 1; number <= 3; number++ {
		if err := b.Define(instance(number, 0)); err != nil {
			return err
		}
	}
	for number := 1; number <= 2; number++ {
		r, err := b.Virsh(fmt.Sprintf("start --paused instance-%08d", number))
		if err != nil {
			return err
		}
		c.That(r.Exit == 0, fmt.Sprintf("guest %d starts on node 0", number), r.Stderr)
		if r.Exit != 0 {
			return errors.New("without its guests it is no incident")
		}
	}
	if free, _, err = b.Pools(2048); err != nil {
		return err
	}
	c.That(free == [2]int{0, 512}, "node 0 has no page left, node 1 has 512", free)
	const third = "instance-00000003"
	dies := func(when string) error {
		r, err := b.Virsh("start --paused " + third)
		if err != nil {
			return err
		}
		c.That(r.Exit != 0 && strings.Contains(r.Stderr, qemuNoPages), "guest 3 dies with QEMU's message "+when, r.Stdout, r.Stderr)
		return nil
	}
	if err := dies("without the guard"); err != nil {
		return err
	}

	vm.Say("installing hugeguard beside the running libvirtd")
	if _, err := b.Sh("mkdir -p /usr/lib/hugeguard; cp /opt/numabox/usr/bin/hugeguard /usr/bin; cp /opt/numabox/usr/lib/hugeguard/qemu /usr/lib/hugeguard"); err != nil {
		return err
	}
	if err := b.live(c, false, "before the install"); err != nil {
		return err
	}
	if _, err := b.Must("hugeguard", "install"); err != nil {
		return err
	}
	if err := b.live(c, true, "after the install"); err != nil {
		return err
	}
	now, err := b.PID("/run/libvirtd.pid")
	if err != nil {
		return err
	}
	c.That(now == daemon, "libvirtd was not restarted by it", daemon, now)

	line := regexp.MustCompile(fmt.Sprintf(`unexpected exit status 1: OVS-DPDK holds node 0's 2M pages: 0 of 1024 free, 256 needed \(512 MiB\); `+
		`ovs-vswitchd\S* \(pid %d\) has 512\b.*; fix: reserved_huge_pages=node:0,size:2048,count:512 `+
		`\(node 1 has 512 free\); more: hugeguard explain %s\n$`, ovs, third))
	refused := func(when string) error {
		r, err := b.Virsh("start --paused " + third)
		if err != nil {
			return err
		}
		c.That(r.Exit != 0 && line.MatchString(r.Stderr), "guest 3 is refused at prepare "+when, r.Stdout, r.Stderr)
		return nil
	}
	if err := refused("by the daemon that ran before the install"); err != nil {
		return err
	}
	if err := b.incidentJournal(c, ovs); err != nil {
		return err
	}
	if err := b.metrics(c); err != nil {
		return err
	}
	if o.export != "" {
		xml, err := b.Must("virsh", "dumpxml", third)
		if err != nil {
			return err
		}
		packed, err := b.pack()
		if err != nil {
			return err
		}
		t := b.newTruth("incident")
		t.Outcome, t.HugePage, t.Error, t.Decision, t.Cause = atMmap, true, qemuNoPages, "refuse", "ovs-reservation"
		captured, err := newCapture(packed, xml, t)
		if err != nil {
			return err
		}
		if err := o.keep("incident", captured); err != nil {
			return err
		}
	}

	vm.Say("the same guest on node 1, then libvirtd is restarted with the guests living")
	if err := b.Define(instance(3, 1)); err != nil {
		return err
	}
	r, err := b.Virsh("start --paused " + third)
	if err != nil {
		return err
	}
	c.That(r.Exit == 0, "guest 3 starts on node 1", r.Stderr)
	if r, err = b.Virsh("destroy " + third); err != nil {
		return err
	}
	c.That(r.Exit == 0, "and ends when told to", r.Stderr)
	if err := b.Define(instance(3, 0)); err != nil {
		return err
	}
	guests, err := b.Read("/run/libvirt/qemu/instance-*.pid")
	if err != nil {
		return err
	}
	if _, err := b.Must("systemctl", "restart", "libvirtd"); err != nil {
		return err
	}
	list, err := b.Must("virsh", "-q", "list", "--name")
	if err != nil {
		return err
	}
	c.That(strings.Fields(list) != nil && strings.Join(strings.Fields(list), " ") == "instance-00000001 instance-00000002",
		"the guests live on after systemctl restart libvirtd", list)
	alive := 0
	for file, pid := range guests {
		now, err := b.Read(file, "/proc/"+strings.TrimSpace(pid)+"/comm")
		if err != nil {
			return err
		}
		if now[file] == pid && len(now) == 2 {
			alive++
		}
	}
	c.That(alive == 2, "in the same processes", guests)
	if err := refused("after the restart"); err != nil {
		return err
	}

	vm.Say("upgrade over itself, and uninstall")
	if _, err := b.Must("hugeguard", "install", "--hook", "/opt/numabox/later/qemu"); err != nil {
		return err
	}
	r, err = b.Run("", "cmp", "/opt/numabox/later/qemu", "/etc/libvirt/hooks/qemu")
	if err != nil {
		return err
	}
	c.That(r.Exit == 0, "the later build lies in the old one's place", r.Stdout, r.Stderr)
	if err := refused("by the later build"); err != nil {
		return err
	}
	if _, err := b.Must("hugeguard", "uninstall"); err != nil {
		return err
	}
	left, err := b.Must("find", "/etc/libvirt/hooks", "!", "-type", "d")
	if err != nil {
		return err
	}
	c.That(left == "", "uninstalling leaves nothing in libvirt's hook folder", left)
	if err := b.live(c, false, "after the uninstall"); err != nil {
		return err
	}
	if err := dies("after the uninstall"); err != nil {
		return err
	}
	return b.endIncident(c)
}

// live checks what hugeguard says of itself.
func (b *box) live(c *vm.Checks, want bool, when string) error {
	r, err := b.Run("", "hugeguard", "status")
	if err != nil {
		return err
	}
	if want {
		c.That(r.Exit == 0, "hugeguard status says that the hook is live "+when, r.Stdout, r.Stderr)
	} else {
		c.That(r.Exit == 4, "hugeguard status says that the hook is not live "+when, r.Exit, r.Stdout, r.Stderr)
	}
	return b.verify(c, want, when)
}

// verify checks what the daemon itself does with a domain that must be refused, and that nothing of it is left.
func (b *box) verify(c *vm.Checks, want bool, when string) error {
	const free = "/sys/devices/system/node/node*/hugepages/*/free_hugepages"
	before, err := b.Read(free)
	if err != nil {
		return err
	}
	r, err := b.Run("", "hugeguard", "verify")
	if err != nil {
		return err
	}
	if want {
		c.That(r.Exit == 0 && strings.Contains(r.Stdout, "hook: live: libvirtd (pid "), "hugeguard verify proves that the hook is live "+when, r.Stdout, r.Stderr)
	} else {
		c.That(r.Exit == 4 && strings.Contains(r.Stdout, "\n  the hook is not installed: hugeguard install\n"), "hugeguard verify proves that the hook is not live "+when, r.Exit, r.Stdout, r.Stderr)
	}
	after, err := b.Read(free)
	if err != nil {
		return err
	}
	c.That(reflect.DeepEqual(before, after), "and takes no page", before, after)
	left, err := b.Sh("virsh list --all | grep hugeguard-verify || true; find /etc /run /var /dev/hugepages -xdev -name '*hugeguard-verify*' 2>/dev/null || true; machinectl list 2>/dev/null | grep hugeguard-verify || true")
	if err != nil {
		return err
	}
	c.That(strings.TrimSpace(left) == "", "and leaves nothing", left)
	return nil
}

// incidentJournal checks what the refusal left in the journal.
func (b *box) incidentJournal(c *vm.Checks, ovs int) error {
	entries, err := b.Journal("HUGEGUARD_CAUSE=ovs-reservation")
	if err != nil {
		return err
	}
	c.That(len(entries) == 1, "the journal has one entry with HUGEGUARD_CAUSE=ovs-reservation", len(entries))
	if len(entries) == 0 {
		return nil
	}
	e := entries[0]
	for field, want := range map[string]string{
		"PRIORITY":               "3",
		"HUGEGUARD_DECISION":     "refuse",
		"HUGEGUARD_DOMAIN":       "instance-00000003",
		"HUGEGUARD_UUID":         "32963992-5056-4947-9f20-000000000003",
		"HUGEGUARD_NODE":         "0",
		"HUGEGUARD_PAGE_KIB":     "2048",
		"HUGEGUARD_NEEDED":       "256",
		"HUGEGUARD_FREE":         "0",
		"HUGEGUARD_TOTAL":        "1024",
		"HUGEGUARD_HOLDER_PID":   fmt.Sprint(ovs),
		"HUGEGUARD_HOLDER_PAGES": "512",
		"OBJECT_SYSTEMD_UNIT":    "libvirtd.service",
	} {
		if e[field] != want {
			c.That(false, "the journal's "+field+" is "+want, e[field])
		}
	}
	c.That(strings.HasPrefix(e["HUGEGUARD_HOLDER"], "ovs-vswitchd"), "with the numbers, and Open vSwitch as the holder", e)
	var lines []string
	for node := range 2 {
		lines = append(lines, fmt.Sprintf("reserved_huge_pages=node:%d,size:2048,count:512", node))
	}
	c.That(strings.Contains(e["HUGEGUARD_FIX"], lines[0]) && strings.Contains(e["HUGEGUARD_FIX"], lines[1]),
		"with the fix's lines for both nodes", e["HUGEGUARD_FIX"])
	c.That(regexp.MustCompile(`(?s)node 0, 2M pages: 0 of 1024 free \(0 of 2 GiB\); Open vSwitch \S+ \(pid \d+\) 512 \(1 GiB\), guest instance-00000001 \(pid \d+\) 256 \(512 MiB\), `+
		`guest instance-00000002 \(pid \d+\) 256 \(512 MiB\)\n.*node 1, 2M pages: 512 of 1024 free \(1 of 2 GiB\); Open vSwitch \S+ \(pid \d+\) 512 \(1 GiB\)\n`).MatchString(e["MESSAGE"]),
		"with who holds what on each node, guests' memory shared with Open vSwitch counted once", e["MESSAGE"])
	unit, err := b.Must("journalctl", "-q", "-u", "libvirtd", "-o", "cat")
	if err != nil {
		return err
	}
	c.That(strings.Contains(unit, "Hook script execution failed") && strings.Contains(unit, lines[1]),
		"journalctl -u libvirtd has libvirt's error and the guard's entry", unit)
	return b.incidentStatus(c, ovs)
}

// incidentStatus checks the screen that an admin looks at then.
func (b *box) incidentStatus(c *vm.Checks, ovs int) error {
	r, err := b.Run("", "env", "COLUMNS=80", "LINES=24", "LANG=C", "hugeguard", "status")
	if err != nil {
		return err
	}
	c.That(regexp.MustCompile(fmt.Sprintf(`(?m)^  node 0, 2 MiB: \[V+G+\]   0 of 1024 free \(0 of 2 GiB\)\n    held: Open vSwitch \S+ \(pid %d\) 512 \(1 GiB\), 2 more: 512 \(1 GiB\)$`, ovs)).MatchString(r.Stdout) &&
		regexp.MustCompile(`(?m)^  node 1, 2 MiB: \[V+\.+\] 512 of 1024 free \(1 of 2 GiB\)$`).MatchString(r.Stdout),
		"hugeguard status draws both nodes", r.Stdout)
	c.That(regexp.MustCompile(`(?m)^last refusals:\n  \S+ .. \S+ instance-00000003: ovs-reservation: OVS-DPDK holds node 0's.*\.\.\.$`).MatchString(r.Stdout),
		"and has the refusal, from the journal", r.Stdout)
	lines := strings.Split(strings.TrimSuffix(r.Stdout, "\n"), "\n")
	fits := len(lines) < 24
	for _, line := range lines {
		fits = fits && len(line) <= 80
	}
	c.That(fits, "on one screen of 80 by 24", r.Stdout)
	return nil
}

// endIncident takes down what the incident set up.
func (b *box) endIncident(c *vm.Checks) error {
	if _, err := b.Sh("for n in 1 2; do virsh -q destroy instance-0000000$n; done; for n in 1 2 3; do virsh -q undefine instance-0000000$n; done; systemctl stop openvswitch-switch ovs-vswitchd ovsdb-server"); err != nil {
		return err
	}
	free, _, err := b.Pools(2048)
	if err != nil {
		return err
	}
	c.That(free == [2]int{1024, 1024}, "all pages come back", free)
	return errors.Join(b.Denials(c), b.SetPools(2048, [2]int{}))
}
