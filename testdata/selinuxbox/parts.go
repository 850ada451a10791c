package main

import (
	"strings"

	"hugeguard/testdata/vm/wire"
)

// without installs the hook's package alone: libvirtd may not execute the hook, so it is not placed, and guests start.
func (p *play) without() error {
	if err := p.purge(); err != nil {
		return err
	}
	const denied = "SELinux denies libvirtd (virtd_t) to execute the hook (virt_etc_rw_t: "
	return p.steps(
		step{"dpkg installs the package, and says what is denied and what to do", dpkg + "-i " + hookPackage(older) + " </dev/null 2>&1",
			[]string{denied, "install the package hugeguard-selinux, then run hugeguard install"}},
		step{"there is no hook", nobody, nil},
		step{"hugeguard status says so", "hugeguard status || test $? = 4", []string{denied, "install the package hugeguard-selinux"}},
		step{"hugeguard verify does, too", "hugeguard verify || test $? = 4", []string{denied}},
		step{"and metrics", "hugeguard metrics 2>/dev/null", []string{"\nhugeguard_hook_denied 1\n", "\nhugeguard_hook_live 0\n"}},
		step{"a guest starts", starts("first"), []string{"running"}},
	)
}

// claim is a script that starts a guest, and prints the label of the file of the claims, which is there only until the
// guest has its pages.
const claim = `rm -f /run/started
{ virsh -q start second; : >/run/started; } &
until stat -c %C /run/hugeguard/claims 2>/dev/null; do test ! -e /run/started; sleep 0.1; done
wait
virsh -q domstate second`

// with installs the policy beside the hook's package, which places the hook. It does what it does elsewhere.
func (p *play) with() error {
	since, err := p.now()
	if err != nil {
		return err
	}
	if err := p.steps(
		step{"dpkg installs both, and the hook lies where only hugeguard's can", dpkg + "-i " + hookPackage(older) + " " + policyPackage(older) +
			" </dev/null 2>&1; stat -c %C " + drop, []string{":hugeguard_exec_t:"}},
		step{"hugeguard status says that the hook is live", "hugeguard status", []string{"hook: live"}},
		step{"hugeguard verify proves it", "hugeguard verify", []string{"hook: live: libvirtd (pid "}},
		step{"a guest that fits starts", quiet + starts("first"), []string{"running\n"}},
		step{"and another, whose claim is in the ledger meanwhile", claim, []string{":hugeguard_runtime_t:", "running\n"}},
	); err != nil {
		return err
	}
	if err := p.refused(); err != nil {
		return err
	}
	return p.ownDenials(since)
}

// refused starts the guest that does not fit beside the others, and checks that the hook wrote all that it writes elsewhere.
func (p *play) refused() error {
	r, err := p.Virsh("start large")
	if err != nil {
		return err
	}
	p.That(r.Exit != 0 && strings.Contains(r.Stderr, "exit status 1: guests fill node 0's 2M pages: 112 of 160 free, 150 needed"), "one that does not fit is refused", r.Stdout, r.Stderr)
	entries, err := p.Journal("HUGEGUARD_DOMAIN=large")
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		p.That(false, "the journal has it")
		return nil
	}
	e := entries[len(entries)-1]
	p.That(e["HUGEGUARD_DECISION"] == "refuse" && e["HUGEGUARD_CAUSE"] == "guests", "the journal has it", e)
	p.That(strings.Contains(e["_SELINUX_CONTEXT"], ":hugeguard_t:"), "written in the hook's own domain", e["_SELINUX_CONTEXT"])
	for _, holder := range []string{"first", "second"} {
		p.That(strings.Contains(e["MESSAGE"], "guest "+holder+" (pid "), "with the guest "+holder+", which holds pages", e["MESSAGE"])
	}
	for _, lost := range []string{"cannot be read", "could not", "not seen", "denied"} {
		p.Quietly(!strings.Contains(e["MESSAGE"], lost), "nothing was hidden from it", e["MESSAGE"])
	}
	files := "/run/hugeguard /run/hugeguard/told /run/hugeguard/refused /run/hugeguard/refused/" + uuid(2)
	return p.steps(
		step{"hugeguard explain has it", "hugeguard explain large", []string{"guests fill node 0's 2M pages"}},
		step{"what was refused and told is written, with their label", "stat -c '%n %C' " + files +
			"; test $(stat -c %C " + files + " | grep -c :hugeguard_runtime_t:) = 4", nil},
	)
}

// installed installs both packages, and returns the time after that.
func (p *play) installed() (since string, err error) {
	if err := p.install(); err != nil {
		return "", err
	}
	return p.now()
}

// timer runs what the timer of the metrics starts.
func (p *play) timer() error {
	since, err := p.installed()
	if err != nil {
		return err
	}
	if err := p.steps(
		step{"the timer is enabled and waits", "systemctl is-enabled hugeguard-metrics.timer; systemctl is-active hugeguard-metrics.timer", []string{"enabled\nactive\n"}},
		step{"its services run", quiet + starts("first") + starts("second") + "virsh -q start large && exit 1; rm -f " + metrics +
			"; systemctl start hugeguard-metrics.service; cat " + metrics, []string{
			"\nhugeguard_hook_live 1\n", "\nhugeguard_hook_denied 0\n", "\nhugeguard_survey_faults 0\n", "\nhugeguard_unreadable_processes 0\n",
			"\n" + `hugeguard_pool_held_pages{node="0",page_kib="2048",kind="guest"} 48` + "\n"}},
		step{"and count refusals", `grep '^hugeguard_refusals_total{cause="guests"} [1-9]' ` + metrics, nil},
		step{"and take nothing away", "test -e " + drop, nil},
	); err != nil {
		return err
	}
	return p.ownDenials(since)
}

// vswitch has the hook ask Open vSwitch's database, and read nova.conf where the boolean lets it.
func (p *play) vswitch() error {
	since, err := p.installed()
	if err != nil {
		return err
	}
	if err := p.StartOVS([2]int{64, 0}, 0); err != nil {
		return err
	}
	const conf = "/var/lib/site/nova.conf"
	if _, err := p.Sh("mkdir -p /var/lib/site; printf '#!/bin/sh\\nsleep 36000\\n:\\n' >/usr/bin/nova-compute; chmod 755 /usr/bin/nova-compute"); err != nil {
		return err
	}
	if err := p.Write(wire.File{Path: conf, Data: "[DEFAULT]\nreserved_huge_pages=node:0,size:2048,count:7\n"}); err != nil {
		return err
	}
	if _, err := p.Sh("touch -d '1 hour ago' " + conf + "; systemd-run -q --unit=nova-compute-test /usr/bin/nova-compute --config-file " + conf); err != nil {
		return err
	}
	defer p.Sh("systemctl stop nova-compute-test openvswitch-switch ovsdb-server; rm -rf /usr/bin/nova-compute /var/lib/site")
	const ask = "since=$(journalctl -n 0 --show-cursor | sed -n 's/^-- cursor: //p'); virsh -q start large && exit 1; " +
		`journalctl -q -t hugeguard -o cat --after-cursor "$since" HUGEGUARD_DOMAIN=large`
	if err := p.steps(
		step{"Open vSwitch runs in its domain", "cat /proc/$(cat /run/openvswitch/ovs-vswitchd.pid)/attr/current", []string{":openvswitch_t:"}},
		step{"Open vSwitch's database is asked", ask, []string{"Open vSwitch was told dpdk-extra=--no-pci dpdk-init=true dpdk-socket-mem=64,0"}},
		step{"Open vSwitch is named", ask, []string{"Open vSwitch ovs-vswitchd"}},
		step{"and nova.conf read", ask, []string{"Nova reserves 7 (14 MiB),"}},
		step{"a guest that fits starts", starts("first"), []string{"running"}},
	); err != nil {
		return err
	}
	if err := p.ownDenials(since); err != nil {
		return err
	}
	return p.steps(
		step{"without the boolean nova.conf is not read", "setsebool hugeguard_read_nova_conf off; " + ask + "; setsebool hugeguard_read_nova_conf on", []string{"what Nova reserves is not known: open /proc/", conf + ": permission denied"}},
	)
}

// denied changes the policy so that the hook may not be executed any more.
func (p *play) denied() error {
	if err := p.install(); err != nil {
		return err
	}
	if err := p.Write(wire.File{Path: "/root/deny.cil", Data: "(deny virtd_t hugeguard_exec_t (file (execute)))\n"}); err != nil {
		return err
	}
	defer p.Sh("if semodule -l | grep -qx deny; then semodule -X 400 -r deny; fi")
	since, err := p.now()
	if err != nil {
		return err
	}
	const why = "SELinux denies libvirtd (virtd_t) to execute the hook (hugeguard_exec_t: execute)"
	return p.steps(
		step{"then every start fails", "systemctl stop hugeguard-metrics.timer; semodule -X 400 -i /root/deny.cil; virsh -q start first 2>&1 && exit 1; :",
			[]string{"Permission denied"}},
		step{"and the audit log has it", audited(since), []string{":hugeguard_exec_t:"}},
		step{"hugeguard verify says why", "hugeguard verify || test $? = 4", []string{why}},
		step{"the timer's services take the hook away", "systemctl start hugeguard-metrics.service; " + nobody + "cat " + metrics, []string{"\nhugeguard_hook_denied 1\n"}},
		step{"and say so in the journal", "journalctl -q -t hugeguard -p err -o cat", []string{"guests start without it: " + why}},
		step{"guests start", starts("first"), []string{"running"}},
		step{"allowed again, it can be installed", "semodule -X 400 -r deny; systemctl start hugeguard-metrics.timer; hugeguard install; hugeguard status", []string{"hook: live"}},
	)
}

// packages upgrades both packages, and removes and installs them in either order.
func (p *play) packages() error {
	since, err := p.installed()
	if err != nil {
		return err
	}
	hook, policy := hookPackage(later), policyPackage(later)
	guestsStart := nobody + starts("first")
	// semodule may write to a pipe, but not to a file of the admin's.
	const nothing = `semodule -l | cat >/root/modules; grep -qx virt /root/modules; if grep hugeguard /root/modules; then exit 1; fi; ` +
		`find / /run -xdev -context '*hugeguard*' >/root/labelled; cat /root/labelled; test ! -s /root/labelled`
	if err := p.steps(
		step{"both are upgraded, and the hook stays live", dpkg + "-i " + hook + " " + policy + " </dev/null 2>&1; hugeguard --version; hugeguard status", []string{later, "hook: live"}},
		step{"the policy is removed: the hook is gone, and guests start", dpkg + "-r hugeguard-selinux 2>&1; " + guestsStart, []string{"running"}},
		step{"then the hook's package", dpkg + "-r hugeguard 2>&1; " + guestsStart, []string{"running"}},
		step{"the policy is installed first: the hook is live at once", dpkg + "-i " + policy + " 2>&1; " + dpkg + "-i " + hook + " </dev/null 2>&1; hugeguard status", []string{"hook: live"}},
		step{"the hook's package is removed first", dpkg + "-r hugeguard 2>&1; " + guestsStart, []string{"running"}},
		step{"then the policy, of which nothing is left", dpkg + "-P hugeguard hugeguard-selinux 2>&1; " + nothing, nil},
	); err != nil {
		return err
	}
	return p.ownDenials(since)
}
