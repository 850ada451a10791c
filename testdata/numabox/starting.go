package main

import (
	"fmt"
	"strings"

	"hugeguard/testdata/vm"
)

// starting has more guests start at one instant than fit on their node, round after round, with the machine's clock
// set back under the eyes of one and the daemon killed in the middle of another; and once more without claims, where a
// QEMU has to die or the rest would prove nothing.
func (b *box) starting(c *vm.Checks, _ options) error {
	vm.Say("starting guests: two of four guests fit on node 0")
	if err := b.prepare(c); err != nil {
		return err
	}
	if err := b.SetPools(2048, [2]int{40, 40}); err != nil {
		return err
	}
	if _, err := b.Sh(`mkdir -p /usr/lib/hugeguard; rm -f ` + recorder + `
cp /opt/numabox/usr/bin/hugeguard /usr/bin; cp /opt/numabox/usr/lib/hugeguard/qemu /usr/lib/hugeguard
hugeguard install`); err != nil {
		return err
	}
	for n := 1; n <= racers; n++ {
		if err := b.Define(guest{cells: []int{20}, tune: only0}.xml(fmt.Sprintf("racer%d", n))); err != nil {
			return err
		}
	}
	for _, round := range []struct{ name, meanwhile string }{
		{"at one instant", ""},
		{"once more", ""},
		{"with the clock set back", "sleep 1; date -s '-2 hours' >/dev/null"},
		{"with the clock set forth", "sleep 1; date -s '+2 hours' >/dev/null"},
	} {
		started, refused, other, err := b.race(round.meanwhile)
		if err != nil {
			return err
		}
		c.That(started == 2 && refused == 2, fmt.Sprintf("two start and two are refused, %s", round.name), started, refused, other)
	}
	// The daemon dies between the guard's word and the end of the start. It may then wait for a QEMU that has no monitor
	// yet, and destroys nothing meanwhile: that QEMU is ended by hand.
	if _, err := b.Sh(`(sleep 1; pkill -9 -x libvirtd) & virsh -q start --paused racer1 || true; wait; systemctl restart libvirtd
virsh -q destroy racer1 || pkill -9 -f guest=racer[1] || true
until virsh -q domstate racer1 | grep -q 'shut off'; do sleep 1; done`); err != nil {
		return err
	}
	started, refused, other, err := b.race("")
	if err != nil {
		return err
	}
	c.That(started == 2 && refused == 2, "the same after the daemon was killed in the middle of a start", started, refused, other)
	left, err := b.Must("find", "/run/hugeguard", "-name", "claims*")
	if err != nil {
		return err
	}
	c.That(left == "", "the ledger is empty at the end", left)

	if _, err := b.Sh("echo claims = off >>/etc/hugeguard.conf"); err != nil {
		return err
	}
	died := ""
	for range 5 {
		if _, _, died, err = b.race(""); err != nil {
			return err
		}
		if died != "" {
			break
		}
	}
	c.That(strings.Contains(died, "Cannot allocate memory") || strings.Contains(died, "Bad address"), "without claims a QEMU dies", died)
	if _, err := b.Sh("for n in 1 2 3 4; do virsh -q undefine racer$n; done; hugeguard uninstall"); err != nil {
		return err
	}
	return b.Denials(c)
}

// racers is how many guests start at one instant.
const racers = 4

// race starts all guests at one instant, and something else meanwhile. other is the words of those that neither
// started nor were refused by the guard.
func (b *box) race(meanwhile string) (started, refused int, other string, err error) {
	said, err := b.Sh(fmt.Sprintf(`for n in $(seq %d); do { virsh -q start --paused racer$n && echo started; } >/run/racer$n.log 2>&1 & done
%s
wait
for n in $(seq %[1]d); do virsh -q destroy racer$n >/dev/null 2>&1 || true; tr '\n' ' ' </run/racer$n.log; echo; done`, racers, meanwhile))
	if err != nil {
		return 0, 0, "", err
	}
	for _, line := range strings.Split(strings.TrimSpace(said), "\n") {
		switch {
		case strings.TrimSpace(line) == "started":
			started++
		case strings.Contains(line, "for starting guests (racer") || strings.Contains(line, "guest racer"):
			refused++
		default:
			other += line + "\n"
		}
	}
	return started, refused, other, nil
}
