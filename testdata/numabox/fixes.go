package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A lack is a host on which a guest does not start, and the fixes that are printed there. What one node's machine and a
// system without systemd can show is in testdata/livehost.
type lack struct {
	name  string
	pools [2]int
	guest guest
	hold  []string // the arguments of a process that holds pages; nil for none
	ovs   bool     // Open vSwitch holds some
	kinds []string // of the fixes, in this order
}

var lacks = []lack{
	{
		name: "a process on node 0", pools: [2]int{64, 64}, guest: guest{ram: 32, tune: only0},
		hold:  []string{testpmd, "hold", "-kib", "2048", "-pages", "50", "-touch", "50", "-node", "0"},
		kinds: []string{"change-domain", "grow-pools", "stop-processes"},
	},
	{
		name: "a pool on node 1 alone", pools: [2]int{8, 16}, guest: guest{ram: 32, tune: only0},
		kinds: []string{"grow-pools"},
	},
	{
		name: "Open vSwitch on both", pools: [2]int{1024, 1024}, guest: guest{ram: 600, tune: only0}, ovs: true,
		kinds: []string{"grow-pools", "shrink-ovs"},
	},
}

// printedFix is one of the fixes in check --json.
type printedFix struct {
	Kind     string   `json:"kind"`
	Commands []string `json:"commands"`
	Lines    []string `json:"lines"`
}

// fixes executes each fix that is printed where there are two nodes and systemd, after which the guest starts.
func (b *box) fixes(c *checks) error {
	say("fixes: each that is printed is executed")
	if err := b.prepare(c); err != nil {
		return err
	}
	if _, err := b.sh("mkdir -p /usr/lib/hugeguard; cp /opt/numabox/usr/bin/hugeguard /usr/bin; cp /opt/numabox/usr/lib/hugeguard/qemu /usr/lib/hugeguard; hugeguard install"); err != nil {
		return err
	}
	for _, l := range lacks {
		for _, kind := range l.kinds {
			if err := b.fix(c, l, kind); err != nil {
				return fmt.Errorf("%s, %s: %w", l.name, kind, err)
			}
		}
	}
	_, err := b.must("hugeguard", "uninstall")
	return err
}

// fix makes a lack, executes the fix of a kind and takes all of it down again.
func (b *box) fix(c *checks, l lack, kind string) error {
	if err := b.setPools(2048, l.pools); err != nil {
		return err
	}
	end, err := b.holdsFor(l)
	if err != nil {
		return err
	}
	const name = "short"
	xml := l.guest.xml(name)
	if err := b.define(xml); err != nil {
		return err
	}
	r, err := b.virsh("start --paused " + name)
	if err != nil {
		return err
	}
	c.that(r.Exit != 0 && strings.Contains(r.Stderr, "Hook script execution failed"), l.name+": the guest is refused", r.Stdout, r.Stderr)
	fixes, err := b.printed(name)
	if err != nil {
		return err
	}
	var kinds []string
	for _, f := range fixes {
		kinds = append(kinds, f.Kind)
	}
	c.that(slices.Equal(kinds, l.kinds), fmt.Sprintf("%s: its fixes are %q", l.name, l.kinds), kinds)
	i := slices.Index(kinds, kind)
	if i >= 0 {
		if len(fixes[i].Commands) > 0 {
			if _, err := b.sh(strings.Join(fixes[i].Commands, "\n")); err != nil {
				return err
			}
		}
		for _, line := range fixes[i].Lines {
			c.that(strings.HasPrefix(line, "bind ") && strings.HasSuffix(line, " to node 1"), l.name+": it is to be bound to node 1", line)
			if err := b.define(strings.ReplaceAll(xml, "nodeset='0'", "nodeset='1'")); err != nil {
				return err
			}
		}
		r, err := b.virsh("start --paused " + name)
		if err != nil {
			return err
		}
		c.that(r.Exit == 0, fmt.Sprintf("%s: after the fix %s it starts", l.name, kind), fixes[i], r.Stdout, r.Stderr)
	}
	if _, err := b.sh("virsh -q destroy " + name + " || true; virsh -q undefine " + name); err != nil {
		return err
	}
	if err := end(); err != nil {
		return err
	}
	return b.setPools(2048, [2]int{})
}

// holdsFor has a process, or Open vSwitch, take the pages that are to be missing. A fix may end it before end does.
func (b *box) holdsFor(l lack) (end func() error, err error) {
	if l.ovs {
		// DPDK would take pages of 1 GiB first.
		if err := b.setPools(1<<20, [2]int{}); err != nil {
			return nil, err
		}
		return func() error {
			_, err := b.sh("ovs-vsctl --if-exists del-br br-int; systemctl stop openvswitch-switch ovs-vswitchd ovsdb-server")
			return err
		}, b.startOVS(0)
	}
	if l.hold == nil {
		return func() error { return nil }, nil
	}
	stop, err := b.hold(l.hold)
	return func() error { _ = stop(); return nil }, err
}

// printed are the fixes for a domain.
func (b *box) printed(name string) ([]printedFix, error) {
	r, err := b.run("", "hugeguard", "check", "--json", name)
	if err != nil {
		return nil, err
	}
	var report struct {
		Fixes []printedFix `json:"fixes"`
	}
	if err := json.Unmarshal([]byte(r.Stdout), &report); err != nil {
		return nil, fmt.Errorf("check --json: %w\n%s%s", err, r.Stdout, r.Stderr)
	}
	return report.Fixes, nil
}
