package main

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"hugeguard/testdata/vm"
	"hugeguard/testdata/vm/wire"
)

// grown is what Open vSwitch is told to take of each node in place of ovsPages: on node 0 less is left than an instance
// needs.
var grown = [2]int{ovsPages + 128, ovsPages}

// loop plays how hugeguard keeps Nova right: it writes what Nova is to reserve, and when Open vSwitch takes more, the
// timer's service writes that. So the next instance goes where it fits, even if it is booted during the restart of
// nova-compute, and no launch is refused.
func (p *play) loop() error {
	if err := inOrder(func() error { return p.restore(true) }, p.guard); err != nil {
		return err
	}
	// Whatever it has read, it is restarted soon.
	if now, err := p.novaCompute(); err != nil || strings.TrimSpace(now.pid) == "0" {
		if err := errors.Join(err, p.restart()); err != nil {
			return err
		}
	}
	before, err := p.Journal("HUGEGUARD_DECISION=refuse")
	if err != nil {
		return err
	}
	if err := inOrder(p.writes, func() error { return p.vswitch(grown) }, p.timed); err != nil {
		return err
	}
	if err := p.nowhere("l2"); err != nil {
		return err
	}
	after, err := p.Journal("HUGEGUARD_DECISION=refuse")
	if err != nil {
		return err
	}
	p.That(len(after) == len(before), "no launch was refused", after)
	return p.removes()
}

// A novaCompute is what shows whether nova-compute's setting was written, and whether it was restarted.
type novaCompute struct {
	pid    string
	dropIn string // its text, "" if there is none
}

func (p *play) novaCompute() (n novaCompute, err error) {
	if n.pid, err = p.Must("systemctl", "show", "-P", "MainPID", "nova-compute"); err != nil {
		return n, err
	}
	files, err := p.Read(dropIn)
	n.dropIn = files[dropIn]
	return n, err
}

// lines are those of Nova's configuration for pages of each node.
func lines(pages [2]int) string {
	return fmt.Sprintf("[DEFAULT]\nreserved_huge_pages=node:0,size:2048,count:%d\nreserved_huge_pages=node:1,size:2048,count:%d\n", pages[0], pages[1])
}

// writes has hugeguard write the setting and restart nova-compute, each once.
func (p *play) writes() error {
	vm.Say("hugeguard reserve --write --restart")
	before, err := p.novaCompute()
	if err != nil {
		return err
	}
	shown, err := p.writeReserve("--dry-run")
	if err != nil {
		return err
	}
	now, err := p.novaCompute()
	if err != nil {
		return err
	}
	p.That(now == before && strings.Contains(shown, "+++ "+dropIn), "a dry run shows the change and changes nothing", shown, now)

	var said string
	if err := p.reports(func() (err error) {
		said, err = p.writeReserve("--restart")
		return err
	}); err != nil {
		return err
	}
	after, err := p.novaCompute()
	if err != nil {
		return err
	}
	p.That(said == shown, "it says what the dry run showed", said, shown)
	p.That(strings.HasSuffix(after.dropIn, lines([2]int{ovsPages, ovsPages})) && after.pid != before.pid, "it writes the drop-in and restarts nova-compute's unit", after)
	owners, err := p.Must("stat", "-c", "%U:%G %a", novaConf, dropIn)
	if err != nil {
		return err
	}
	one, other, _ := strings.Cut(strings.TrimSpace(owners), "\n")
	p.That(one == other, "the drop-in has the owner and the mode of nova.conf", owners)
	if err := p.reserved("with what hugeguard wrote", [2]int{ovsPages, ovsPages}); err != nil {
		return err
	}

	if _, err := p.writeReserve("--restart"); err != nil {
		return err
	}
	now, err = p.novaCompute()
	p.That(now == after, "once more it writes and restarts nothing", now, after)
	return err
}

// writeReserve has hugeguard write, again if it says that it has not seen all of the host, since emulation is slow.
func (p *play) writeReserve(flag string) (string, error) {
	for range 5 {
		said, err := p.Must("hugeguard", "reserve", "--write", flag)
		if err == nil || !strings.Contains(err.Error(), "not all of the host was seen") {
			return said, err
		}
	}
	return "", errors.New("hugeguard reserve never sees all of the host")
}

// reserved checks what Nova reserves of each node, and that nothing is left that it should.
func (p *play) reserved(when string, pages [2]int) error {
	counts, err := p.agree(when)
	if err != nil {
		return err
	}
	p.That(counts[0].reserved == pages[0] && counts[1].reserved == pages[1], fmt.Sprintf("Nova reserves %v %s", pages, when), counts)
	s, err := p.status()
	for _, pool := range s.Nova.Pools {
		p.That(pool.Unreserved == 0, fmt.Sprintf("nothing of node %d is held without being reserved %s", pool.Node, when), pool)
	}
	return err
}

// timed has the timer's service look at the host: at its second look, for which the timer itself starts it, it restarts
// nova-compute.
func (p *play) timed() error {
	setting := vm.Configuration
	setting.Data += "reserve = restart\n"
	if err := p.Write(wire.File{Path: setting.Path, Data: setting.Data}); err != nil {
		return err
	}
	s, err := p.status()
	if err != nil {
		return err
	}
	p.That(len(s.Nova.Pools) == 2 && s.Nova.Pools[0].Unreserved == grown[0]-ovsPages && s.Nova.Pools[1].Unreserved == 0,
		"hugeguard status says what Nova does not reserve", s.Nova)
	before, err := p.novaCompute()
	if err != nil {
		return err
	}
	if err := p.look(); err != nil {
		return err
	}
	now, err := p.novaCompute()
	if err != nil {
		return err
	}
	p.That(now == before, "the timer's first look changes nothing", now)
	if _, err := p.agree("after the first look"); err != nil {
		return err
	}
	var during string
	if err := p.reports(func() (err error) {
		if err := p.elapses(before); err != nil {
			return err
		}
		vm.Say("  l1 is booted while nova-compute starts")
		during, err = p.demo.boot("l1", "dpdk", "")
		return err
	}); err != nil {
		return err
	}
	if err := p.survives(during); err != nil {
		return err
	}
	after, err := p.novaCompute()
	if err != nil {
		return err
	}
	p.That(strings.HasSuffix(after.dropIn, lines(grown)) && after.pid != before.pid, "the timer's second look writes the setting and restarts nova-compute", after)
	if err := p.reserved("with what the timer wrote", grown); err != nil {
		return err
	}
	if err := p.look(); err != nil {
		return err
	}
	now, err = p.novaCompute()
	p.That(now == after, "its third look changes nothing", now, after)
	return err
}

// survives waits for an instance that was booted while nova-compute started. When it starts, Nova takes instances that
// were sent to it and that it has not begun to build for lost, and sets them to ERROR. Then it builds them.
func (p *play) survives(id string) error {
	var s server
	if err := p.until("the start of l1", func() (done bool, err error) {
		s, err = p.admin.server(id)
		return s.Status == "ACTIVE", err
	}); err != nil {
		return err
	}
	p.That(s.Fault == nil, "it has no fault", s)
	return p.runs(s, 1)
}

// timerDropIn has the timer elapse as soon as it is started, and soon after each look.
var timerDropIn = wire.File{Path: "/run/systemd/system/hugeguard-reserve.timer.d/novabox.conf",
	Data: "[Timer]\nOnBootSec=\nOnUnitInactiveSec=\nRandomizedDelaySec=0\nOnActiveSec=1s\nOnUnitInactiveSec=10s\n"}

// elapses enables the timer, and disables it when it has restarted nova-compute.
func (p *play) elapses(before novaCompute) error {
	enabled, err := p.Sh("systemctl is-enabled hugeguard-reserve.timer || true; systemctl is-active hugeguard-reserve.timer || true")
	if err != nil {
		return err
	}
	p.That(enabled == "disabled\ninactive\n", "the package does not enable the timer", enabled)
	if _, err := p.Must("mkdir", "-p", path.Dir(timerDropIn.Path)); err != nil {
		return err
	}
	if err := p.Write(timerDropIn); err != nil {
		return err
	}
	if _, err := p.Sh("systemctl daemon-reload; systemctl enable --now hugeguard-reserve.timer"); err != nil {
		return err
	}
	if err := p.until("the timer's restart of nova-compute", func() (bool, error) {
		now, err := p.novaCompute()
		return now.pid != before.pid && strings.TrimSpace(now.pid) != "0", err
	}); err != nil {
		return err
	}
	_, err = p.Sh("systemctl disable --now hugeguard-reserve.timer; rm -r " + path.Dir(timerDropIn.Path) + "; systemctl daemon-reload")
	return err
}

// look runs the timer's service, again if it says that it has not seen all of the host.
func (p *play) look() error {
	const script = `lines() { journalctl -q -u hugeguard-reserve -o cat; }
		n=$(lines | wc -l)
		systemctl start hugeguard-reserve.service
		journalctl --sync
		lines | tail -n +$((n + 1))`
	for range 10 {
		said, err := p.Sh(script)
		if err != nil {
			return err
		}
		vm.Say("  the timer's service: %s", strings.ReplaceAll(strings.TrimSpace(said), "\n", "; "))
		p.Quietly(!strings.Contains(said, "does not answer"), "the timer's service does not wait for what it reads", said)
		if !strings.Contains(said, "this look does not count") {
			return nil
		}
	}
	return errors.New("the timer's service never sees all of the host")
}

// removes has hugeguard remove what it wrote.
func (p *play) removes() error {
	if err := p.reports(func() error {
		_, err := p.Must("hugeguard", "reserve", "--remove", "--restart")
		return err
	}); err != nil {
		return err
	}
	if err := p.Write(wire.File{Path: readFile, Data: conf(true)}); err != nil {
		return err
	}
	now, err := p.novaCompute()
	if err != nil {
		return err
	}
	p.That(now.dropIn == "", "hugeguard reserve --remove removes the drop-in", now)
	counts, err := p.agree("without it")
	p.That(counts[0].reserved == 0 && counts[1].reserved == 0, "Nova reserves nothing without it", counts)
	return err
}
