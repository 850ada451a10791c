package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"hugeguard/testdata/vm"
	"hugeguard/testdata/vm/wire"
)

// The versions of the package that the box gets.
const (
	olderPackage = "0.1.0"
	laterPackage = "0.2.0"
)

// packageInBox is where the box finds a version of the package.
func packageInBox(version string) string {
	return filepath.Join("/opt/numabox/packages", "hugeguard_"+version+"-1_amd64.deb")
}

// refusedHere is how libvirt says that the guard refused the guest of this part.
var refusedHere = regexp.MustCompile(`Hook script execution failed.* exit status 1: node 0 has too few 2M pages: 8 of 8 free, 20 needed`)

// siteHook is a hook of the site's own that keeps a book. AppArmor lets it run nothing.
const siteHook = `#!/bin/sh
while read -r line; do :; done
echo "$1 $2" >>/run/site.log
`

// ours finds what is hugeguard's by its name, but for what is mounted.
const ours = `find / /run /dev/shm -xdev -name '*hugeguard*' ! -path '/run/udev/*' ! -path '/var/tmp/*'`

// packages installs, upgrades, removes and purges the package beside the running libvirtd, without a hook of the
// site's own and with one.
func (b *box) packages(c *vm.Checks, _ options) error {
	vm.Say("packages: dpkg beside the running libvirtd, with an impossible start after each step")
	if err := b.prepare(c); err != nil { // an edited /etc/hugeguard.conf
		return err
	}
	if err := b.SetPools(2048, [2]int{8, 40}); err != nil {
		return err
	}
	if err := b.Define(guest{cells: []int{20}, tune: only0}.xml("packaged")); err != nil {
		return err
	}
	// start starts the guest that cannot fit: with the guard it is refused, without it QEMU dies.
	start := func(guarded bool, when string) error {
		r, err := b.Virsh("start --paused packaged")
		if err != nil {
			return err
		}
		if guarded {
			c.That(r.Exit != 0 && refusedHere.MatchString(r.Stderr), "an impossible start is refused "+when, r.Stdout, r.Stderr)
		} else {
			c.That(r.Exit != 0 && strings.Contains(r.Stderr, qemuNoPages), "QEMU dies of it "+when, r.Stdout, r.Stderr)
		}
		return nil
	}
	// says runs a script and compares what it prints.
	says := func(what, want, script string) error {
		r, err := b.Run("", "sh", "-euc", script)
		if err != nil {
			return err
		}
		c.That(r.Exit == 0 && r.Stdout == want, what, fmt.Sprintf("exit status %d: %q, want %q: %s", r.Exit, r.Stdout, want, r.Stderr))
		return nil
	}
	const dpkg = "DEBIAN_FRONTEND=noninteractive dpkg "
	installed := func(version string) (want, script string) {
		return "live\n" + vm.Configuration.Data + "hugeguard version " + version + "\nexplained\n", fmt.Sprintf(`exec 3>&1 >&2
was=$(cat /run/libvirtd.pid)
%s -i %s </dev/null
hugeguard status && [ "$was" = "$(cat /run/libvirtd.pid)" ] && echo live >&3
cat /etc/hugeguard.conf >&3
hugeguard --version >&3
journalctl --list-catalog | grep -q 'Open vSwitch holds' && echo explained >&3`, dpkg, packageInBox(version))
	}

	if _, err := b.Sh("rm -rf " + recorder + " /usr/bin/hugeguard /usr/lib/hugeguard; systemctl reload libvirtd; find /etc/libvirt/hooks >/run/tree; " + ours + " >/run/ours"); err != nil {
		return err
	}
	want, script := installed(olderPackage)
	if err := says("dpkg installs the older version, live at once, with the configuration that was there", want, script); err != nil {
		return err
	}
	if err := start(true, "after the install"); err != nil {
		return err
	}
	want, script = installed(laterPackage)
	if err := says("dpkg upgrades it, live, with the admin's configuration and no question", "replaced\n"+want,
		"cp /etc/libvirt/hooks/qemu /run/older; ("+script+") >/run/said; ! cmp -s /run/older /etc/libvirt/hooks/qemu && cmp /usr/lib/hugeguard/qemu /etc/libvirt/hooks/qemu && echo replaced; cat /run/said"); err != nil {
		return err
	}
	if err := start(true, "after the upgrade"); err != nil {
		return err
	}
	if err := says("removed, it leaves libvirt's hooks as they were, and the configuration", vm.Configuration.Data,
		dpkg+"-r hugeguard >&2; find /etc/libvirt/hooks | diff /run/tree -; cat /etc/hugeguard.conf"); err != nil {
		return err
	}
	if err := start(false, "after the removal"); err != nil {
		return err
	}
	if err := says("purged, it leaves nothing", "", dpkg+"-P hugeguard >&2; "+ours); err != nil {
		return err
	}

	if err := b.Write(wire.File{Path: "/etc/libvirt/hooks/qemu", Data: siteHook}, vm.Configuration); err != nil {
		return err
	}
	if _, err := b.Sh("chmod 755 /etc/libvirt/hooks/qemu; systemctl reload libvirtd; cd /etc/libvirt/hooks; find . ! -type d -printf '%p %m %u %s %T@\n' >/run/tree; rm -f /run/site.log"); err != nil {
		return err
	}
	want, script = installed(laterPackage)
	if err := says("dpkg installs it beside a site's own hook", want+"beside\n",
		script+"\ncmp /usr/lib/hugeguard/qemu /etc/libvirt/hooks/qemu.d/zz-hugeguard && echo beside >&3"); err != nil {
		return err
	}
	if err := start(true, "beside the site's hook"); err != nil {
		return err
	}
	if err := says("the site's hook is called as before, and left as it was by the removal", "packaged prepare\npackaged stopped\npackaged release\n",
		"cat /run/site.log; "+dpkg+"-r hugeguard >&2; cd /etc/libvirt/hooks; find . ! -type d -printf '%p %m %u %s %T@\n' | diff /run/tree -; rm /run/site.log"); err != nil {
		return err
	}
	if err := start(false, "with the site's hook alone"); err != nil {
		return err
	}
	if err := says("which is still called; purged, the package leaves nothing", "packaged prepare\n",
		"head -n 1 /run/site.log; "+dpkg+"-P hugeguard >&2; "+ours); err != nil {
		return err
	}
	if _, err := b.Sh("rm /etc/libvirt/hooks/qemu; systemctl reload libvirtd; virsh -q undefine packaged"); err != nil {
		return err
	}
	return b.Denials(c)
}
