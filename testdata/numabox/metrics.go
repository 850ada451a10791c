package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"hugeguard/testdata/vm"
	"hugeguard/testdata/vm/wire"
)

const (
	metricsDir  = "/var/lib/prometheus/node-exporter"
	metricsFile = metricsDir + "/hugeguard.prom"
)

// metrics has systemd run the shipped units, in the incident after its first refusal: confined as the service is, the
// command sees all that it sees when root runs it.
func (b *box) metrics(c *vm.Checks) error {
	vm.Say("metrics, by the timer of a systemd that confines the service")
	for _, unit := range []string{"hugeguard-metrics.service", "hugeguard-metrics.timer"} {
		text, err := os.ReadFile("install/shipped/systemd/" + unit)
		if err != nil {
			return err
		}
		if err := b.Write(wire.File{Path: "/etc/systemd/system/" + unit, Data: string(text)}); err != nil {
			return err
		}
	}
	for _, file := range []wire.File{
		// Nova's usual file is not the one that its nova-compute reads.
		{Path: "/etc/nova/nova.conf", Data: "[DEFAULT]\n"},
		{Path: "/etc/nova/elsewhere.conf", Data: "[DEFAULT]\nreserved_huge_pages=node:0,size:2048,count:100\n"},
		{Path: "/usr/bin/nova-compute", Data: "#!/bin/sh\nsleep 3600\n:\n"},
	} {
		if _, err := b.Sh("mkdir -p /etc/nova"); err != nil {
			return err
		}
		if err := b.Write(file); err != nil {
			return err
		}
	}
	defer b.Sh(`systemctl stop hugeguard-metrics.timer nova-compute-test
rm -rf /etc/systemd/system/hugeguard-metrics.* /etc/nova /usr/bin/nova-compute /dev/hugepages/leftover /var/lib/prometheus
systemctl daemon-reload`)

	// Without node_exporter's directory nothing is done. It may belong to somebody else.
	if _, err := b.Sh("systemctl daemon-reload; systemctl start hugeguard-metrics.service"); err != nil {
		return err
	}
	found, err := b.Read(metricsFile, "/var/lib/hugeguard/metrics.json")
	if err != nil {
		return err
	}
	c.That(len(found) == 0, "without node_exporter nothing is written", found)
	if _, err := b.Sh(`install -d -o nobody -m 0755 ` + metricsDir + `
fallocate -l 2M /dev/hugepages/leftover
chmod 755 /usr/bin/nova-compute
touch -d '1 hour ago' /etc/nova/*.conf
systemd-run -q --unit=nova-compute-test /usr/bin/nova-compute --config-file /etc/nova/elsewhere.conf
sleep 1`); err != nil {
		return err
	}
	r, err := b.Run("", "systemctl", "start", "hugeguard-metrics.service")
	if err != nil {
		return err
	}
	log, err := b.Must("journalctl", "-q", "-u", "hugeguard-metrics", "-o", "cat")
	if err != nil {
		return err
	}
	c.That(r.Exit == 0, "the service runs", r.Stderr, log)
	confined, err := b.readMetrics()
	if err != nil {
		return err
	}
	for _, line := range []string{
		"hugeguard_hook_live 1",
		"hugeguard_survey_faults 0",
		"hugeguard_unreadable_processes 0",
		`hugeguard_refusals_total{cause="ovs-reservation"} 1`,
		`hugeguard_pool_held_pages{node="0",page_kib="2048",kind="ovs"} 512`,
		`hugeguard_pool_held_pages{node="0",page_kib="2048",kind="guest"} 512`,
		`hugeguard_pool_held_pages{node="1",page_kib="2048",kind="ovs"} 512`,
		`hugeguard_pool_held_pages{node="1",page_kib="2048",kind="file"} 1`,
		`hugeguard_pool_held_pages{node="0",page_kib="1048576",kind="process"} 1`,
		`hugeguard_pool_unaccounted_pages{node="0",page_kib="2048"} 0`,
		`hugeguard_pool_unaccounted_pages{node="1",page_kib="2048"} 0`,
		"hugeguard_nova_known 1",
		"hugeguard_nova_stale 0",
		`hugeguard_nova_reserved_pages{node="0",page_kib="2048"} 100`,
		`hugeguard_nova_instance_pages{node="0",page_kib="2048"} 768`,
		`hugeguard_nova_drift_pages{node="0",page_kib="2048"} 412`,
		`hugeguard_nova_unreserved_pages{node="0",page_kib="2048"} 412`,
		`hugeguard_nova_unreserved_pages{node="1",page_kib="2048"} 512`,
	} {
		c.That(strings.Contains("\n"+confined, "\n"+line+"\n"), "the service writes "+line, confined)
	}
	bare, err := b.Must("hugeguard", "metrics")
	if err != nil {
		return err
	}
	c.That(withoutTime(bare) == confined, "which is what root sees", bare)

	if _, err := b.Sh("rm " + metricsFile + "; systemctl start hugeguard-metrics.timer"); err != nil {
		return err
	}
	for end := time.Now().Add(vm.Patience); ; time.Sleep(2 * time.Second) {
		if found, err = b.Read(metricsFile); err != nil {
			return err
		}
		if len(found) > 0 || time.Now().After(end) {
			break
		}
	}
	c.That(len(found) == 1, "the timer has the service run")
	again, err := b.readMetrics()
	if err != nil {
		return err
	}
	c.That(again == confined, "which writes the same", again)
	next, err := b.Must("systemctl", "show", "-p", "NextElapseUSecMonotonic", "--value", "hugeguard-metrics.timer")
	if err != nil {
		return err
	}
	c.That(strings.TrimSpace(next) != "" && strings.TrimSpace(next) != "infinity", "and will again", next)
	entries, err := b.Journal("_TRANSPORT=stdout")
	if err != nil {
		return err
	}
	c.That(len(entries) == 0, "journalctl -t hugeguard has nothing of the service", entries)
	return nil
}

// readMetrics returns what the service wrote, but for the time.
func (b *box) readMetrics() (string, error) {
	files, err := b.Read(metricsFile)
	if err == nil && files[metricsFile] == "" {
		err = fmt.Errorf("there is nothing in %s", metricsFile)
	}
	return withoutTime(files[metricsFile]), err
}

// withoutTime is an exposition without the one line that is another each time.
func withoutTime(text string) string {
	var lines []string
	for _, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, "hugeguard_survey_timestamp_seconds ") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}
