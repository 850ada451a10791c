package vm

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"hugeguard/testdata/vm/wire"
)

// Prepare has the machine take its time, since emulation is slow, and slower if others use this machine: neither libvirtd
// nor virsh answers the other's pings in time, and the guard's deadline is for real machines. It checks that AppArmor
// confines libvirtd.
func (b *Machine) Prepare(c *Checks) error {
	const conf = "/etc/libvirt/libvirtd.conf"
	if _, err := b.Sh("grep -q ^keepalive_ " + conf + " || { echo " + quickProfiles + " >>/etc/apparmor/parser.conf; " +
		"echo keepalive_interval = -1 >>" + conf + "; systemctl restart libvirtd; }"); err != nil {
		return err
	}
	pid, err := b.PID("/run/libvirtd.pid")
	if err != nil {
		return err
	}
	// apparmor_parser may be asked about a process by name alone; the kernel knows best.
	label, err := b.Read(fmt.Sprintf("/proc/%d/attr/current", pid))
	if err != nil {
		return err
	}
	confined := slices.ContainsFunc([]string{"libvirtd (enforce)", "/usr/sbin/libvirtd (enforce)"}, func(l string) bool {
		return strings.TrimSpace(label[fmt.Sprintf("/proc/%d/attr/current", pid)]) == l
	})
	c.That(confined, "AppArmor confines libvirtd", label)
	return b.Write(Configuration)
}

// quickProfiles makes AppArmor's parser at least twice as fast. For each start libvirt has it compile the guest's profile
// seven times, which otherwise takes longer than all else.
const quickProfiles = "Optimize=no-expr-simplify"

// Configuration is the machine's /etc/hugeguard.conf.
var Configuration = wire.File{Path: "/etc/hugeguard.conf", Data: "deadline = 1m\n"}

// PID reads a pid file.
func (b *Machine) PID(file string) (int, error) {
	files, err := b.Read(file)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(files[file]))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	return pid, nil
}

// Virsh runs one or more of virsh's commands, separated by semicolons as virsh wants it.
func (b *Machine) Virsh(commands string) (wire.Reply, error) {
	return b.Run("", "virsh", "-q", "--keepalive-interval", "0", commands)
}

// Pools returns how many pages of a size each node has free and has in all.
func (b *Machine) Pools(kib int) (free, total [2]int, err error) {
	dir := "/sys/devices/system/node/node%d/hugepages/hugepages-%dkB/%s"
	files, err := b.Read(fmt.Sprintf("/sys/devices/system/node/node*/hugepages/hugepages-%dkB/*_hugepages", kib))
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

// SetPools changes how many pages of a size each node has in all.
func (b *Machine) SetPools(kib int, pages [2]int) error {
	var total [2]int
	for range 10 { // there are fewer when those that are still in use are given back
		for node, n := range pages {
			dir := fmt.Sprintf("/sys/devices/system/node/node%d/hugepages/hugepages-%dkB", node, kib)
			if _, err := b.Call(wire.Request{Pool: &wire.Pool{Dir: dir, Pages: n}}, Patience); err != nil {
				why, failed := b.Sh("dmesg | grep -i hugetlb; cat /sys/devices/system/node/node*/meminfo")
				return errors.Join(fmt.Errorf("%w\n%s", err, why), failed)
			}
		}
		var err error
		if _, total, err = b.Pools(kib); err != nil || total == pages {
			return err
		}
	}
	return fmt.Errorf("the kernel made pools of %v pages of %d KiB, not %v", total, kib, pages)
}

// A JournalEntry has the fields of an entry. Those that hold bytes are not strings and left out.
type JournalEntry map[string]string

// Journal returns the guard's entries that match.
func (b *Machine) Journal(match ...string) ([]JournalEntry, error) {
	text, err := b.Must(append([]string{"journalctl", "-q", "-t", "hugeguard", "-o", "json"}, match...)...)
	if err != nil {
		return nil, err
	}
	var entries []JournalEntry
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if line == "" {
			continue
		}
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			return nil, fmt.Errorf("journalctl: %w in %s", err, line)
		}
		entry := JournalEntry{}
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

// Denials checks that AppArmor has denied nothing to the guard: neither to the hook, which runs in libvirtd's
// profile under its own program's name, nor to the admin's command.
func (b *Machine) Denials(c *Checks) error {
	// Without auditd the kernel's own log has them.
	log, err := b.Sh("cat /var/log/audit/audit.log 2>/dev/null || true; dmesg")
	if err != nil {
		return err
	}
	loaded := strings.Contains(log, `apparmor="STATUS"`)
	c.That(loaded, "the audit log has AppArmor's messages")
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
	c.That(ours == nil, "AppArmor denied nothing of the guard's", strings.Join(ours, "\n"))
	for _, text := range others {
		Say("  (denied to others: %s)", text)
	}
	return nil
}

// domainXML is the file that a domain is defined from.
const domainXML = "/run/domain.xml"

// Define defines a domain, or changes it.
func (b *Machine) Define(xml string) error {
	if err := b.Write(wire.File{Path: domainXML, Data: xml}); err != nil {
		return err
	}
	_, err := b.Must("virsh", "-q", "define", domainXML)
	return err
}

// StartOVS starts Open vSwitch with DPDK, with so much memory on each node in MiB, and a port for each guest. PMD threads
// that sleep when idle leave the box its CPUs: the option's name changed with Open vSwitch 3.2.
func (b *Machine) StartOVS(mib [2]int, guests int) error {
	var script strings.Builder
	fmt.Fprintf(&script, `
systemctl start ovsdb-server
ovs-vsctl --no-wait set Open_vSwitch . other_config:dpdk-init=true other_config:dpdk-socket-mem=%d,%d \
	other_config:dpdk-extra=--no-pci other_config:per-port-memory=true \
	other_config:pmd-maxsleep=10000 other_config:pmd-sleep-max=10000
systemctl start openvswitch-switch
install -d -o libvirt-qemu /run/vhost # QEMU makes the sockets
ovs-vsctl add-br br-int -- set bridge br-int datapath_type=netdev`, mib[0], mib[1])
	for number := 1; number <= guests; number++ {
		fmt.Fprintf(&script, " -- add-port br-int vhu%[1]d -- set interface vhu%[1]d type=dpdkvhostuserclient options:vhost-server-path=/run/vhost/vhu%[1]d", number)
	}
	_, err := b.Sh(script.String())
	return err
}

// Hold starts a process that holds huge pages, and returns how to end it.
func (b *Machine) Hold(args []string) (stop func() error, err error) {
	r, err := b.Call(wire.Request{Start: &wire.Command{Args: args, Seconds: Patience.Seconds()}}, Patience)
	return func() error { _, err := b.Call(wire.Request{Stop: r.PID}, Patience); return err }, err
}
