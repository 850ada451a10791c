package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"hugeguard/testdata/vm"
)

// qemuNoPages is how QEMU ends where the reservation of its pages fails.
const qemuNoPages = "unable to map backing store for guest RAM: Cannot allocate memory"

// refusal is the line of the guard: the cause, then the numbers, then what helps.
var refusal = regexp.MustCompile(fmt.Sprintf(`unexpected exit status 1: (OVS-DPDK holds node \d's 2M pages: 0 of %d free, %d needed \(512 MiB\); `+
	`ovs-vswitchd\S* \(pid \d+\) has %d\b.*; fix: (.+); more: hugeguard explain (\S+))`, poolPages, poolPages-ovsPages, ovsPages))

// reservesNode0 is what helps an instance that Nova sends to node 0 though node 1 has room.
var reservesNode0 = fmt.Sprintf("reserved_huge_pages=node:0,size:2048,count:%d (node 1 has %d free)", ovsPages, poolPages-ovsPages)

// What the API tells where Nova has tried all hosts, which is nothing of why, not even to admins, and where it has found
// none to try.
var (
	retried = story{fault: regexp.MustCompile(`^Exceeded maximum number of retries\. Exhausted all hosts available for retrying build failures for instance `),
		details: regexp.MustCompile(`^Traceback (?s:.*)MaxRetriesExceeded: Exceeded maximum number of retries`)}
	nowhere = story{fault: noHost, details: regexp.MustCompile("NoValidHost"), event: "conductor_schedule_and_build_instances", why: noHost}
	noHost  = regexp.MustCompile(`^No valid host was found\. `)
)

// packing plays the incident where Nova packs its instances on one node before it takes the next.
func (p *play) packing() error {
	if err := p.begin(true); err != nil {
		return err
	}
	s, err := p.boot("v1", "dpdk", "")
	if err != nil {
		return err
	}
	if err := p.runs(s, 0); err != nil {
		return err
	}
	if !p.installed { // else it is after another play on the same machines
		if err := inOrder(func() error { return p.dies("v2") }, p.install); err != nil {
			return err
		}
	}
	if err := p.refused("v3", reservesNode0); err != nil {
		return err
	}
	if err := p.forced("v3-forced"); err != nil {
		return err
	}
	if err := p.reserve(); err != nil {
		return err
	}
	if s, err = p.boot("v4", "dpdk", ""); err != nil {
		return err
	}
	if err := p.runs(s, 1); err != nil {
		return err
	}
	return p.nowhere("v5")
}

// spreading plays it where Nova spreads the instances over the nodes: both are full when Nova believes that half of each
// is free.
func (p *play) spreading() error {
	if err := inOrder(func() error { return p.begin(false) }, p.guard); err != nil {
		return err
	}
	first, err := p.boot("s1", "dpdk", "")
	if err != nil {
		return err
	}
	node, err := p.node(first)
	if err != nil {
		return err
	}
	s, err := p.boot("s2", "dpdk", "")
	if err != nil {
		return err
	}
	if err := p.runs(s, 1-node); err != nil {
		return err
	}
	if err := p.refused("s3", ""); err != nil {
		return err
	}
	if err := p.reserve(); err != nil {
		return err
	}
	if err := p.nowhere("s4"); err != nil {
		return err
	}
	if err := p.remove(p.admin, first.ID); err != nil {
		return err
	}
	if _, err := p.agree("after the deletion of s1"); err != nil {
		return err
	}
	if s, err = p.boot("s5", "dpdk", ""); err != nil {
		return err
	}
	return p.runs(s, node)
}

// dies boots an instance that QEMU cannot start, since there is no guard.
func (p *play) dies(name string) error {
	if _, err := p.read(); err != nil {
		return err
	}
	s, err := p.boot(name, "dpdk", "")
	if err != nil {
		return err
	}
	log, err := p.read()
	if err != nil {
		return err
	}
	p.That(s.Status == "ERROR" && strings.Contains(log, qemuNoPages), name+" dies in QEMU without the guard", s, log)
	if err := p.tells(s, retried); err != nil {
		return err
	}
	return p.gone(s)
}

// guarded reports whether hugeguard is installed.
func (p *play) guarded() (bool, error) {
	r, err := p.Run("", "test", "-e", "/usr/bin/hugeguard")
	return r.Exit == 0, err
}

// guard installs hugeguard if it is not yet.
func (p *play) guard() error {
	if p.installed {
		return nil
	}
	return p.install()
}

// install installs hugeguard from its package.
func (p *play) install() error {
	vm.Say("installing hugeguard's package beside the running libvirtd and nova-compute")
	// What is measured once a minute takes half of it under emulation.
	if _, err := p.Sh("DEBIAN_FRONTEND=noninteractive dpkg -i " + packageInBox + " </dev/null; systemctl stop hugeguard-metrics.timer"); err != nil {
		return err
	}
	r, err := p.Run("", "hugeguard", "status")
	if err != nil {
		return err
	}
	p.That(r.Exit == 0, "the hook is live after the install", r.Stdout, r.Stderr)
	p.installed = true
	_, err = p.agree("after the install")
	return err
}

// refused boots an instance that Nova sends to a node where the guard refuses it; the line's fix begins as fix does.
func (p *play) refused(name, fix string) error {
	s, err := p.boot(name, "dpdk", "")
	if err != nil {
		return err
	}
	if err := p.refusal(s, fix); err != nil {
		return err
	}
	log, err := p.control.log("nova-conductor")
	if err != nil {
		return err
	}
	p.That(strings.Contains(log, s.ID) && strings.Contains(log, "more: hugeguard explain "+s.Domain), "nova-conductor.log has it, too, since Nova looked for another host", log)
	if err := inOrder(func() error { return p.tells(s, retried) }, func() error { return p.shows(s) }, func() error { return p.gone(s) }); err != nil {
		return err
	}
	now, err := p.status()
	p.That(!slices.Contains(now.Nova.Uncounted, s.ID), "hugeguard has no doubt about "+name+", of which nothing is left", now.Nova.Uncounted)
	return err
}

// refusal checks that an instance was refused, and where that is to be read; the line's fix begins as fix does.
func (p *play) refusal(s server, fix string) error {
	log, err := p.read()
	if err != nil {
		return err
	}
	found := refusal.FindStringSubmatch(log)
	p.That(s.Status == "ERROR" && found != nil && found[3] == s.Domain && !strings.Contains(log, qemuNoPages),
		s.Name+" is refused, and nova-compute.log has the whole line", s, log)
	if found == nil {
		return nil
	}
	p.That(strings.HasPrefix(found[2], fix), "the line's fix: "+found[2], "not "+fix)
	entries, err := p.Journal("HUGEGUARD_DOMAIN=" + s.Domain)
	if err != nil {
		return err
	}
	p.That(len(entries) == 1 && entries[0]["HUGEGUARD_DECISION"] == "refuse" && entries[0]["HUGEGUARD_CAUSE"] == "ovs-reservation" &&
		entries[0]["HUGEGUARD_UUID"] == s.ID && strings.HasPrefix(entries[0]["MESSAGE"], found[1]+"\n"), "the journal has it, with its fields", entries)
	unit, err := p.Must("journalctl", "-q", "-u", "libvirtd", "-o", "cat")
	if err != nil {
		return err
	}
	p.That(strings.Contains(unit, found[1]), "and so has libvirtd's journal")
	return nil
}

// shown is what Nova shows of the guard's line.
const shown = "OVS-DPDK holds node 0's 2M pages"

// forced has an admin send an instance to this host, which leaves Nova no other: now the API shows libvirt's error,
// and the first words of ours.
func (p *play) forced(name string) error {
	s, err := p.boot(name, "dpdk", "compute0")
	if err != nil {
		return err
	}
	if err := p.refusal(s, reservesNode0); err != nil {
		return err
	}
	if s.Fault != nil {
		vm.Say("  of the fault's %d characters ours are %q", len(s.Fault.Message), s.Fault.Message[max(0, strings.Index(s.Fault.Message, shown[:8])):])
	}
	here := regexp.MustCompile(regexp.QuoteMeta(shown[:30]))
	whole := regexp.MustCompile(regexp.QuoteMeta(shown) + `.*; more: hugeguard explain ` + s.Domain)
	return inOrder(func() error { return p.tells(s, story{fault: here, details: whole}) }, func() error { return p.shows(s) }, func() error { return p.gone(s) })
}

// reserve does what the refusal says helps.
func (p *play) reserve() error {
	vm.Say("hugeguard reserve's lines for nova.conf, then nova-compute is restarted")
	lines, err := p.Must("hugeguard", "reserve")
	if err != nil {
		return err
	}
	p.That(lines == fmt.Sprintf("[DEFAULT]\nreserved_huge_pages=node:0,size:2048,count:%d\nreserved_huge_pages=node:1,size:2048,count:%[1]d\n", ovsPages),
		"the lines keep back what Open vSwitch has on both nodes", lines)
	if _, err := p.Sh("hugeguard reserve >>" + novaConf); err != nil {
		return err
	}
	s, err := p.status()
	if err != nil {
		return err
	}
	theirs, err := p.counted()
	if err != nil {
		return err
	}
	p.That(s.Nova.Stale != "" && (len(s.believed()) == 0 || fmt.Sprint(s.believed()) == fmt.Sprint(theirs)),
		"until the restart the numbers are still those of Nova's database, or said to be unknown", s.Nova, theirs)
	if err := p.restart(); err != nil {
		return err
	}
	ours, err := p.agree("after the restart")
	if err != nil {
		return err
	}
	p.That(ours[0].reserved == ovsPages && ours[1].reserved == ovsPages, "Nova reserves Open vSwitch's pages", ours)
	if s, err = p.status(); err != nil {
		return err
	}
	drifts := slices.DeleteFunc(slices.Clone(s.Nova.Pools), func(pool novaPool) bool { return pool.Drift != nil && *pool.Drift == 0 })
	p.That(len(drifts) == 0 && len(s.Nova.Pools) == 2, "there is no drift left", s.Nova)
	return nil
}

// nowhere boots an instance for which Nova finds no host, so that nothing is tried.
func (p *play) nowhere(name string) error {
	if _, err := p.read(); err != nil {
		return err
	}
	before, err := p.Journal()
	if err != nil {
		return err
	}
	s, err := p.boot(name, "dpdk", "")
	if err != nil {
		return err
	}
	log, err := p.read()
	if err != nil {
		return err
	}
	after, err := p.Journal()
	if err != nil {
		return err
	}
	p.That(s.Status == "ERROR" && s.Host == "" && !strings.Contains(log, s.ID) && len(after) == len(before),
		name+" finds no valid host, and no launch is tried", s, log)
	return inOrder(func() error { return p.tells(s, nowhere) }, func() error { return p.shows(s) }, func() error { return p.gone(s) })
}
