package main

import (
	"fmt"
	"regexp"
	"strings"

	"hugeguard/testdata/vm"
)

// A play runs on a machine.
type play struct {
	*vm.Machine
	vm.Checks
}

// all plays the parts that were asked for. Each begins by bringing about what it needs.
func (p *play) all(only *regexp.Regexp) error {
	if err := p.prepare(); err != nil {
		return err
	}
	for _, part := range []struct {
		name, what string
		play       func() error
	}{
		{"without", "the hook's package without the policy", p.without},
		{"with", "both packages", p.with},
		{"timer", "the timer of the metrics", p.timer},
		{"ovs", "Open vSwitch holds pages, and Nova is configured", p.vswitch},
		{"denied", "a change of the policy denies the hook", p.denied},
		{"packages", "upgrade and removal, in either order", p.packages},
	} {
		if !only.MatchString(part.name) {
			continue
		}
		vm.Say("%s: %s", part.name, part.what)
		if err := part.play(); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	if err := p.Err(); err != nil {
		return err
	}
	vm.Say("all %d checks hold: %s, SELinux policy %s", p.Done, p.Image.Versions(), p.Image.Version("selinux-policy-default"))
	return nil
}

// The machine's pages of 2 MiB.
var pools = [2]int{160, 64}

const (
	drop    = "/etc/libvirt/hooks/qemu.d/zz-hugeguard"
	dpkg    = "DEBIAN_FRONTEND=noninteractive dpkg --force-confold "
	metrics = "/var/lib/prometheus/node-exporter/hugeguard.prom"
)

// quiet is a script that ends all guests.
const quiet = "for guest in $(virsh -q list --name); do virsh -q destroy $guest; done; "

// nobody is how a script sees that no hook is in place.
const nobody = "test ! -e /etc/libvirt/hooks/qemu -a ! -e " + drop + "; "

// starts is a script that starts a guest which fits, and prints that it runs.
func starts(name string) string {
	return fmt.Sprintf("virsh -q destroy %[1]s >/dev/null 2>&1 || true; virsh -q start %[1]s; virsh -q domstate %[1]s; ", name)
}

// prepare checks that the machine is what it should be, and defines its guests.
func (p *play) prepare() error {
	if err := p.says("SELinux is enforcing, and libvirtd in its domain", "getenforce; virsh -q list >/dev/null; cat /proc/$(cat /run/libvirtd.pid)/attr/current",
		"Enforcing\n", ":virtd_t:"); err != nil {
		return err
	}
	if _, err := p.Sh("install -d -o nobody " + metrics[:strings.LastIndex(metrics, "/")]); err != nil {
		return err
	}
	if err := p.Write(vm.Configuration); err != nil {
		return err
	}
	if err := p.SetPools(2048, pools); err != nil {
		return err
	}
	for number, g := range guests {
		if err := p.Define(g.xml(number)); err != nil {
			return err
		}
	}
	return nil
}

// A guest is a domain in Nova's shape, with so many pages of node 0.
type guest struct {
	name  string
	pages int
}

// The guests: of the first two there is room for both, of the last beside none.
var guests = []guest{{"first", 24}, {"second", 24}, {"large", 150}}

// uuid is the number of a guest as libvirt has it.
func uuid(number int) string { return fmt.Sprintf("32963992-5056-4947-9f20-%012d", number) }

func (g guest) xml(number int) string {
	return fmt.Sprintf(`<domain type='qemu'>
  <name>%s</name>
  <uuid>%s</uuid>
  <metadata>
    <nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1"><nova:name>%[1]s</nova:name></nova:instance>
  </metadata>
  <memory unit='MiB'>%[3]d</memory>
  <memoryBacking><hugepages><page size='2048' unit='KiB'/></hugepages></memoryBacking>
  <vcpu>1</vcpu>
  <numatune><memory mode='strict' nodeset='0'/></numatune>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <cpu mode='custom' match='exact' check='none'><model>qemu64</model></cpu>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>
`, g.name, uuid(number), 2*g.pages)
}

// says runs a script that has to succeed and to print some texts.
func (p *play) says(what, script string, wants ...string) error {
	r, err := p.Run("", "sh", "-euc", script)
	if err != nil {
		return err
	}
	said := r.Stdout + r.Stderr
	for _, want := range wants {
		if !strings.Contains(said, want) {
			p.That(false, what, fmt.Sprintf("exit status %d: no %q in\n%s", r.Exit, want, said))
			return nil
		}
	}
	p.That(r.Exit == 0, what, fmt.Sprintf("exit status %d\n%s", r.Exit, said))
	return nil
}

// A step is a script and what it has to print.
type step struct {
	what, script string
	wants        []string
}

// steps runs them in order.
func (p *play) steps(steps ...step) error {
	for _, s := range steps {
		if err := p.says(s.what, s.script, s.wants...); err != nil {
			return err
		}
	}
	return nil
}

// purge removes both packages.
func (p *play) purge() error {
	_, err := p.Sh(quiet + dpkg + "-P hugeguard hugeguard-selinux")
	return err
}

// install installs both packages if they are not.
func (p *play) install() error {
	_, err := p.Sh("dpkg -s hugeguard-selinux >/dev/null 2>&1 || " + dpkg + "-i " + policyPackage(older) + "; " +
		"dpkg -s hugeguard >/dev/null 2>&1 || " + dpkg + "-i " + hookPackage(older) + "; hugeguard install; " + quiet)
	return err
}
