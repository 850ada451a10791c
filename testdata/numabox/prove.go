package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"hugeguard/testdata/numabox/wire"
)

// parts are what a run proves, in this order.
var parts = []struct {
	name  string
	prove func(*box, *checks, options) error
}{
	{"incident", (*box).incident},
	{allScenarios, (*box).truthTable},
	{"starting", (*box).starting},
	{"packages", (*box).packages},
}

const allScenarios = "scenarios"

// names are those of all parts and scenarios.
func names() (all []string) {
	for _, p := range parts {
		all = append(all, p.name)
	}
	for _, s := range scenarios {
		all = append(all, s.name)
	}
	return all
}

// prove runs all parts, or those that were asked for, and reports.
func (b *box) prove(o options) error {
	var c checks
	for _, p := range parts {
		if !o.wants(p.name) && (p.name != allScenarios || o.scenarios() == nil) {
			continue
		}
		if err := b.again(func() error { return p.prove(b, &c, o) }); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	if len(c.failed) > 0 {
		return fmt.Errorf("%d of %d checks failed:\n  %s", len(c.failed), c.done, strings.Join(c.failed, "\n  "))
	}
	say("all %d checks hold: Debian %s, %s", c.done, o.suite.name, b.versions())
	return nil
}

func (b *box) versions() string {
	return fmt.Sprintf("kernel %s, libvirt %s, QEMU %s, Open vSwitch %s", b.image.version(kernelPackage),
		b.image.version(libvirtPackage), b.image.version(qemuPackage), b.image.version("openvswitch-switch-dpdk"))
}

// prepare checks that the box is what it should be.
func (b *box) prepare(c *checks) error {
	files, err := b.read("/sys/devices/system/node/has_memory", "/sys/kernel/mm/hugepages/*/nr_hugepages")
	if err != nil {
		return err
	}
	c.that(strings.TrimSpace(files["/sys/devices/system/node/has_memory"]) == "0-1", "the kernel has two nodes with memory", files)
	// Where the machine around is busy, neither answers the other's pings in time.
	if _, err := b.sh("echo keepalive_interval = -1 >>/etc/libvirt/libvirtd.conf; systemctl restart libvirtd"); err != nil {
		return err
	}
	pid, err := b.pid("/run/libvirtd.pid")
	if err != nil {
		return err
	}
	// apparmor_parser may be asked about a process by name alone; the kernel knows best.
	label, err := b.read(fmt.Sprintf("/proc/%d/attr/current", pid))
	if err != nil {
		return err
	}
	confined := slices.ContainsFunc([]string{"libvirtd (enforce)", "/usr/sbin/libvirtd (enforce)"}, func(l string) bool {
		return strings.TrimSpace(label[fmt.Sprintf("/proc/%d/attr/current", pid)]) == l
	})
	c.that(confined, "AppArmor confines libvirtd", label)
	return b.write(configuration)
}

// configuration is the box's: emulation is slow, and slower where others use this machine, and the default deadline is
// for real ones.
var configuration = wire.File{Path: "/etc/hugeguard.conf", Data: "deadline = 1m\n"}

// pid reads a pid file.
func (b *box) pid(file string) (int, error) {
	files, err := b.read(file)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(files[file]))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	return pid, nil
}

// virsh runs one or more of virsh's commands, separated by semicolons as virsh wants it.
func (b *box) virsh(commands string) (wire.Reply, error) {
	return b.run("", "virsh", "-q", "--keepalive-interval", "0", commands)
}

// pools returns how many pages of a size each node has free and has in all.
func (b *box) pools(kib int) (free, total [2]int, err error) {
	dir := "/sys/devices/system/node/node%d/hugepages/hugepages-%dkB/%s"
	files, err := b.read(fmt.Sprintf("/sys/devices/system/node/node*/hugepages/hugepages-%dkB/*_hugepages", kib))
	if err != nil {
		return free, total, err
	}
	for node := range 2 {
		for name, value := range map[string]*int{"free_hugepages": &free[node], "nr_hugepages": &total[node]} {
			text := files[fmt.Sprintf(dir, node, kib, name)]
			if *value, err = strconv.Atoi(strings.TrimSpace(text)); err != nil {
				return free, total, fmt.Errorf("pages of %d KiB on node %d: %w", kib, node, err)
			}
		}
	}
	return free, total, nil
}

// setPools changes how many pages of a size each node has in all.
func (b *box) setPools(kib int, pages [2]int) error {
	var total [2]int
	for range 10 { // there are fewer when those that are still in use are given back
		for node, n := range pages {
			dir := fmt.Sprintf("/sys/devices/system/node/node%d/hugepages/hugepages-%dkB", node, kib)
			if _, err := b.call(wire.Request{Pool: &wire.Pool{Dir: dir, Pages: n}}, patience); err != nil {
				why, failed := b.sh("dmesg | grep -i hugetlb; cat /sys/devices/system/node/node*/meminfo")
				return errors.Join(fmt.Errorf("%w\n%s", err, why), failed)
			}
		}
		var err error
		if _, total, err = b.pools(kib); err != nil || total == pages {
			return err
		}
	}
	return fmt.Errorf("the kernel made pools of %v pages of %d KiB, not %v", total, kib, pages)
}

// A journalEntry has the fields of an entry. Those that hold bytes are not strings and left out.
type journalEntry map[string]string

// journal returns the guard's entries that match.
func (b *box) journal(match ...string) ([]journalEntry, error) {
	text, err := b.must(append([]string{"journalctl", "-q", "-t", "hugeguard", "-o", "json"}, match...)...)
	if err != nil {
		return nil, err
	}
	var entries []journalEntry
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if line == "" {
			continue
		}
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			return nil, fmt.Errorf("journalctl: %w in %s", err, line)
		}
		entry := journalEntry{}
		for key, value := range fields {
			switch value := value.(type) {
			case string:
				entry[key] = value
			case []any: // text of several lines comes as bytes
				var bytes []byte
				for _, v := range value {
					if n, ok := v.(float64); ok {
						bytes = append(bytes, byte(n))
					}
				}
				entry[key] = string(bytes)
			}
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

var denial = regexp.MustCompile(`apparmor="DENIED".*`)

// denials checks that AppArmor has denied nothing to the guard: neither to the hook, which runs in libvirtd's
// profile under its own program's name, nor to the admin's command.
func (b *box) denials(c *checks) error {
	// Not grep's exit status: that nothing was denied is what we hope for.
	log, err := b.sh("cat /var/log/audit/audit.log; dmesg")
	if err != nil {
		return err
	}
	loaded := strings.Contains(log, `apparmor="STATUS"`)
	c.that(loaded, "the audit log has AppArmor's messages")
	seen := map[string]bool{}
	var ours, others []string
	for _, text := range denial.FindAllString(log, -1) {
		text = regexp.MustCompile(` pid=\d+`).ReplaceAllString(text, "")
		switch {
		case seen[text]:
		case regexp.MustCompile(`hugeguard|comm="(qemu|zz-hugeguard)"`).MatchString(text):
			ours = append(ours, text)
		default:
			others = append(others, text)
		}
		seen[text] = true
	}
	c.that(ours == nil, "AppArmor denied nothing of the guard's", strings.Join(ours, "\n"))
	for _, text := range others {
		say("  (denied to others: %s)", text)
	}
	return nil
}
