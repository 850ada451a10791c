package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"hugeguard/testdata/vm"
	"hugeguard/testdata/vm/wire"
)

// A lack is a host on which a guest does not start, with the fixes that are printed there. What one node without
// systemd can show is in testdata/livehost.
type lack struct {
	name  string
	pools [2]int // of 2 MiB
	giant [2]int // of 1 GiB
	guest guest
	// make is a script that takes pages, or puts something else in the way; it may have done so before. unmake is one that
	// takes that away, once all fixes were executed.
	make, unmake string
	kinds        []string // of the fixes, in this order
	elsewhere    []string // of these, those that the live host or another lack executes
	lasts        string   // the kind that is made to last; the guest starts after the boot, too
	older        bool     // libvirt and QEMU of Debian 12 alone lack it
}

// The parts of scripts that several lacks have.
const (
	// full leaves the host 200 MiB of node 1's memory.
	full = `mkdir -p /mnt/full; umount -q /mnt/full || true; mount -t tmpfs -o size=100%,mpol=bind:1 tmpfs /mnt/full
sync; echo 3 >/proc/sys/vm/drop_caches
fallocate -l $(($(awk '/MemFree/ {print $4}' /sys/devices/system/node/node1/meminfo) - 204800))K /mnt/full/all
`
	notFull = "umount /mnt/full"
	// inPieces gives half of it back in pieces of 1 MiB, which the kernel must not put together by itself.
	inPieces = `echo 0 >/proc/sys/vm/compaction_proactiveness; /opt/numabox/agent fragment /mnt/full/all`
	// limited is the site's own limit of the mount, as it is at each boot.
	limited = `mkdir -p /etc/systemd/system/dev-hugepages.mount.d
printf '[Mount]\nOptions=pagesize=2M,size=60M\n' >/etc/systemd/system/dev-hugepages.mount.d/limit.conf
systemctl daemon-reload; systemctl restart dev-hugepages.mount; systemctl restart libvirtd
`
	// mover is a program that holds pages, as a service.
	mover = `cat >/etc/systemd/system/packetmover.service <<'.'
[Service]
ExecStart=/opt/numabox/agent hold -kib 2048 -pages 30 -touch 30 -node 0
.
systemctl daemon-reload; systemctl start packetmover
until [ $(cat /sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages) = 34 ]; do sleep 0.1; done
`
	// keptFrom1 keeps all guests to node 0.
	keptFrom1 = "systemctl start machine.slice; systemctl set-property machine.slice AllowedMemoryNodes=0"
	// lost has pages that no process is seen to have.
	lost = `systemctl is-active -q lost || systemd-run -q --unit=lost /opt/numabox/agent hold -adrift -pages 16 -touch 16 -node 0
until [ $(cat /sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages) = 4 ]; do sleep 0.1; done
`
	ovs = `systemctl start ovsdb-server
ovs-vsctl --no-wait set Open_vSwitch . other_config:dpdk-init=true other_config:dpdk-socket-mem=1024,1024 \
	other_config:dpdk-extra=--no-pci other_config:per-port-memory=true
systemctl start openvswitch-switch
`
	noOVS = "systemctl stop openvswitch-switch ovs-vswitchd ovsdb-server"
	// nova is a program of nova-compute's name, started after its configuration was written.
	nova = `mkdir -p /etc/nova
cat >/etc/systemd/system/nova-compute.service <<'.'
[Service]
ExecStart=/usr/bin/nova-compute --config-file ` + novaConf + `
.
printf '#!/bin/sh\nsleep infinity\n:\n' >/usr/bin/nova-compute; chmod 755 /usr/bin/nova-compute
systemctl daemon-reload; systemctl restart nova-compute
`
	novaConf = "/etc/nova/nova.conf"
	noNova   = "systemctl stop nova-compute; rm -r /etc/nova /etc/systemd/system/nova-compute.service /usr/bin/nova-compute; systemctl daemon-reload"
)

var (
	on1 = strict("1") + memnode(0, "strict", "1")
	two = func(mode string, nodes ...string) string {
		return strict("0-1") + justTwo(mode, nodes[0], mode, nodes[1])
	}
	giants = guest{cells: []int{512, 512}, pages: giantPage, tune: strict("1") + justTwo("strict", "1", "strict", "1")}
)

// reboot is the command of the fix of that name.
const reboot = "systemctl reboot"

const giantPage = "<page size='1048576' unit='KiB'/>"

// lacks are in the order in which they need the pages of 1 GiB; those that only a boot ends are the last.
var lacks = []lack{
	{
		name: "giant pages for two cells", giant: [2]int{1, 1}, guest: giants,
		kinds: []string{"change-domain", "grow-pools", "boot-pools"}, lasts: "boot-pools",
	},
	{
		name: "no mount of giant pages", giant: [2]int{1, 1}, guest: guest{cells: []int{512}, pages: giantPage, tune: on1},
		make:  "umount /dev/hugepages1G; sed -i /hugepages1G/d /etc/fstab; systemctl daemon-reload; systemctl restart libvirtd",
		kinds: []string{"mount-pages", "change-pages"}, elsewhere: []string{"change-pages"}, lasts: "mount-pages",
	},
	{
		name: "blocks smaller than a page", pools: [2]int{20, 20}, giant: [2]int{1, 1},
		guest: guest{ram: 20, devices: `<memory model='virtio-mem'><source><pagesize unit='KiB'>1048576</pagesize></source><target>` +
			`<size unit='KiB'>1048576</size><node>0</node><block unit='KiB'>2048</block><requested unit='KiB'>0</requested></target></memory>`},
		kinds: []string{"change-domain"},
	},
	{
		name: "an emulator pinned elsewhere", pools: [2]int{20, 20}, giant: [2]int{1, 1}, guest: guest{ram: 20, tune: strict("1"), pin: "0"},
		kinds: []string{"change-domain"}, older: true,
	},
	{
		name: "a node that does not exist", pools: [2]int{20, 20}, giant: [2]int{1, 1}, guest: guest{ram: 20, tune: strict("7")},
		kinds: []string{"change-domain"},
	},
	{
		name: "a service on one node", pools: [2]int{64, 64}, giant: [2]int{1, 1}, guest: guest{cells: []int{40}, tune: only0},
		make: mover, unmake: "systemctl stop packetmover",
		kinds: []string{"change-domain", "grow-pools", "stop-processes"},
	},
	{
		name: "a slice kept from a node", pools: [2]int{20, 64}, giant: [2]int{1, 1}, guest: guest{ram: 40},
		make:   keptFrom1,
		unmake: "systemctl set-property machine.slice AllowedMemoryNodes=",
		kinds:  []string{"widen-cpuset", "grow-pools"}, elsewhere: []string{"grow-pools"},
	},
	{
		name: "pools too small for two cells", pools: [2]int{8, 8}, giant: [2]int{1, 1}, guest: guest{cells: []int{20, 20}, tune: two("strict", "0", "1")},
		kinds: []string{"grow-pools"},
	},
	{
		name: "a pool too small", pools: [2]int{8, 8}, giant: [2]int{1, 1}, guest: guest{cells: []int{40}, tune: only0},
		kinds: []string{"grow-pools"}, lasts: "grow-pools",
	},
	{
		name: "memory in free pages of another size", pools: [2]int{8, 8}, giant: [2]int{1, 1}, guest: guest{cells: []int{200}, tune: on1},
		make: full, unmake: notFull, kinds: []string{"grow-pools"},
	},
	{
		name: "memory that others have", pools: [2]int{8, 8}, giant: [2]int{1, 0},
		guest: guest{cells: []int{200}, tune: on1, backing: "<source type='memfd'/>"},
		make:  full, unmake: notFull, kinds: []string{"free-memory", "boot-pools"}, lasts: "boot-pools",
	},
	{
		name: "memory in small pieces", pools: [2]int{8, 8}, giant: [2]int{1, 0}, guest: guest{cells: []int{200}, tune: on1},
		make: full + inPieces, unmake: notFull,
		kinds: []string{"grow-pools", "boot-pools"}, elsewhere: []string{"boot-pools"},
	},
	{
		name: "Open vSwitch, unknown to Nova", pools: [2]int{544, 600}, guest: guest{cells: []int{40}, tune: only0, nova: true},
		make:  ovs + "mkdir -p /etc/nova; echo [DEFAULT] >" + novaConf + "; touch -d '1 hour ago' " + novaConf + "\n" + nova,
		kinds: []string{"reserve-in-nova", "grow-pools", "shrink-ovs"}, elsewhere: []string{"grow-pools", "shrink-ovs"},
	},
	{
		name: "Open vSwitch, which Nova has not read of", pools: [2]int{544, 600}, guest: guest{cells: []int{40}, tune: only0, nova: true},
		make:   ovs + nova + "sleep 3; touch " + novaConf, // what changes within 2 seconds may have been read
		unmake: noNova, kinds: []string{"restart-nova", "grow-pools", "shrink-ovs"}, elsewhere: []string{"grow-pools", "shrink-ovs"},
	},
	{
		name: "Open vSwitch on both nodes", pools: [2]int{544, 544}, guest: guest{cells: []int{40}, tune: only0},
		make: ovs, unmake: noOVS, kinds: []string{"change-domain", "grow-pools", "shrink-ovs"},
	},
	{
		name: "the mount's limit", pools: [2]int{64, 64}, guest: guest{cells: []int{40}, tune: only0},
		make: limited, kinds: []string{"raise-limits"}, lasts: "raise-limits",
	},
	{
		name: "pages that nobody has", pools: [2]int{20, 8}, guest: guest{cells: []int{20}, tune: only0},
		make: lost, kinds: []string{"grow-pools", "reboot"}, lasts: "reboot",
	},
}

// printedFix is one of the fixes in check --json.
type printedFix struct {
	Kind     string   `json:"kind"`
	What     string   `json:"what"`
	Commands []string `json:"commands"`
	Lines    []string `json:"lines"`
	Lasting  []string `json:"lasting"`
}

// short is how the guest of a lack is called.
func (l lack) short() string {
	return "short-" + regexp.MustCompile(`\W+`).ReplaceAllString(l.name, "-")
}

// keepsPools reports whether the fix that is to last is about pools.
func (l lack) keepsPools() bool { return l.lasts == "grow-pools" || l.lasts == "boot-pools" }

// xml is the guest of a lack, or as it was changed: under its own UUID, since it is defined more than once.
func (l lack) xml(g guest) string {
	h := fnv.New64a()
	h.Write([]byte(l.name))
	return strings.Replace(g.xml(l.short()), "</name>", fmt.Sprintf("</name>\n<uuid>6a9c0000-0000-4000-8000-%012x</uuid>", h.Sum64()>>16), 1)
}

// fixes executes each fix that is printed where there are two nodes and systemd, after which the guest starts; in the
// end with a boot, after which the guests start whose fixes are to last.
func (b *box) fixes(c *vm.Checks, o options) error {
	if b.Image.Before(vm.Kernel, 5, 16) {
		vm.Say("fixes cannot be played: their kernel's command line takes Linux 5.16")
		return nil
	}
	vm.Say("fixes: each that is printed is executed, after which the guest starts")
	if err := b.prepare(c); err != nil {
		return err
	}
	if _, err := b.Sh(`mkdir -p /usr/lib/hugeguard; rm -f ` + recorder + `
cp /opt/numabox/usr/bin/hugeguard /usr/bin; cp /opt/numabox/usr/lib/hugeguard/qemu /usr/lib/hugeguard; hugeguard install
sync; echo 3 >/proc/sys/vm/drop_caches; echo 1 >/proc/sys/vm/compact_memory`); err != nil {
		return err
	}
	next := boot{pools: gigantic}
	for _, l := range lacks {
		if l.older && o.suite.Name != "bookworm" || !o.wants(allFixes) && !o.wants(l.short()) {
			continue
		}
		if err := b.lacking(c, l, &next); err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
	}
	if err := b.lasting(c, next); err != nil {
		return fmt.Errorf("after the boot: %w", err)
	}
	if _, err := b.Must("hugeguard", "uninstall"); err != nil {
		return err
	}
	return b.Denials(c)
}

// A boot is what is to be so after the next one.
type boot struct {
	pools string // what the kernel's command line has of pools
	lacks []lack // whose guests are to start
}

// lacking has a guest lack something, and executes the fixes that are printed.
func (b *box) lacking(c *vm.Checks, l lack, next *boot) error {
	err := b.executeAll(c, l, next)
	if errors.Is(err, vm.ErrDown) || b.Context.Err() != nil {
		return err
	}
	// The others can be executed all the same.
	c.Quietly(err == nil, l.name+": its fixes could be executed", err)
	if !slices.ContainsFunc(next.lacks, func(kept lack) bool { return kept.name == l.name }) {
		if _, err := b.Must("virsh", "-q", "undefine", l.short()); err != nil {
			return err
		}
	}
	_, err = b.Sh(l.unmake)
	return err
}

// executeAll executes the fixes that are printed for a lack, each on that host again.
func (b *box) executeAll(c *vm.Checks, l lack, next *boot) error {
	here := slices.DeleteFunc(slices.Clone(l.kinds), func(kind string) bool { return slices.Contains(l.elsewhere, kind) })
	for i, kind := range here {
		if err := b.arrangeLack(l); err != nil {
			return err
		}
		if i == 0 {
			r, err := b.Virsh("start --paused " + l.short())
			if err != nil {
				return err
			}
			c.Quietly(r.Exit != 0, l.name+": the guest does not start", r.Stdout)
		}
		fixes, err := b.printed(l.short())
		if err != nil {
			return err
		}
		var kinds []string
		for _, f := range fixes {
			kinds = append(kinds, f.Kind)
		}
		if !slices.Equal(kinds, l.kinds) {
			r, err := b.Run("", "hugeguard", "check", l.short())
			c.Quietly(false, fmt.Sprintf("%s: its fixes are %q", l.name, l.kinds), kinds, r.Stdout, r.Stderr, err)
		}
		if at := slices.Index(kinds, kind); at >= 0 {
			if err := b.fix(c, l, fixes[at], next); err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
		}
	}
	return nil
}

// arrangeLack makes the host of a lack.
func (b *box) arrangeLack(l lack) error {
	if err := errors.Join(b.SetPools(1<<20, l.giant), b.SetPools(2048, l.pools)); err != nil {
		return err
	}
	if _, err := b.Sh(l.make); err != nil {
		return err
	}
	return b.Define(l.xml(l.guest))
}

// fix executes a fix, after which the guest starts: at once or, where that takes a boot, after the next one.
func (b *box) fix(c *vm.Checks, l lack, f printedFix, next *boot) error {
	g, at, err := b.execute(l.guest, f, *next)
	if err != nil {
		return err
	}
	if l.lasts == f.Kind {
		for _, line := range f.Lasting {
			if strings.HasPrefix(line, "or: ") {
				break
			}
			if _, err := b.Sh(line); err != nil {
				return err
			}
		}
		if l.keepsPools() { // its guest starts before any pool is changed
			at.lacks = slices.Concat([]lack{l}, at.lacks)
		} else {
			at.lacks = slices.Concat(at.lacks, []lack{l})
		}
	}
	if l.guest.nova {
		still, err := b.printed(l.short())
		if err != nil {
			return err
		}
		c.Quietly(!slices.ContainsFunc(still, func(g printedFix) bool { return g.Kind == f.Kind }), l.name+": Nova knows it then", still)
	}
	later := slices.Contains(f.Commands, reboot) || at.pools != next.pools
	*next = at
	if later {
		return nil
	}
	return b.starts(c, l, g, fmt.Sprintf("%s: after %s it starts", l.name, f.Kind), f)
}

// starts has a guest start, and end.
func (b *box) starts(c *vm.Checks, l lack, g guest, what string, detail any) error {
	if err := b.Define(l.xml(g)); err != nil {
		return err
	}
	r, err := b.Virsh("start --paused " + l.short() + "; destroy " + l.short())
	if err != nil {
		return err
	}
	c.That(r.Exit == 0, what, detail, r.Stdout, r.Stderr)
	return nil
}

// The forms of what is to be changed.
var (
	bindLine  = regexp.MustCompile(`^bind \S+ to nodes? (\S+)(?: \(.*\))?$`)
	pinLine   = regexp.MustCompile(`^pin the emulator to CPUs of node (\d), too\b`)
	blockLine = regexp.MustCompile(`^make the blocks of \S+ (\d+) GiB$`)
	bootLine  = regexp.MustCompile(`^(?:add|change (hugepagesz=\S+ hugepages=\S+) to) (hugepagesz=\S+ hugepages=\S+) (?:to|in) the kernel command line$`)
	freeLine  = regexp.MustCompile(`^stop programs that use ([0-9.]+) (MiB|GiB) on node 1: `)
)

// execute does what a fix says, and returns the guest and the next boot as they are to be then.
func (b *box) execute(g guest, f printedFix, next boot) (guest, boot, error) {
	if slices.Equal(f.Commands, []string{reboot}) {
		return g, next, nil // once all others were executed
	}
	if _, err := b.Sh(strings.Join(f.Commands, "\n")); err != nil {
		return g, next, err
	}
	if f.Kind == "reserve-in-nova" || f.Kind == "restart-nova" {
		err := b.tellNova(&g, f)
		return g, next, err
	}
	for _, line := range f.Lines {
		if err := b.follow(line, &g, &next); err != nil {
			return g, next, err
		}
	}
	return g, next, nil
}

// follow does what a line of a fix says.
func (b *box) follow(line string, g *guest, next *boot) error {
	if m := bindLine.FindStringSubmatch(line); m != nil {
		g.bind(m[1])
		return nil
	}
	if m := pinLine.FindStringSubmatch(line); m != nil {
		g.pin += "," + m[1] // each node has one CPU
		return nil
	}
	if m := blockLine.FindStringSubmatch(line); m != nil {
		g.devices = strings.Replace(g.devices, "<block unit='KiB'>2048<", "<block unit='GiB'>"+m[1]+"<", 1)
		return nil
	}
	if m := bootLine.FindStringSubmatch(line); m != nil {
		if !strings.Contains(next.pools, m[1]) {
			return fmt.Errorf("the kernel's command line has no %q: %s", m[1], next.pools)
		}
		next.pools = strings.TrimSpace(strings.Replace(next.pools, m[1], "", 1) + " " + m[2])
		return nil
	}
	if line == "then run:" {
		return nil
	}
	script, ok := strings.CutPrefix(line, "  ")
	if m := freeLine.FindStringSubmatch(line); m != nil {
		size, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return err
		}
		if m[2] == "GiB" {
			size *= 1024
		}
		script, ok = fmt.Sprintf("truncate -s -%.0fM /mnt/full/all", size), true
	}
	if !ok {
		return fmt.Errorf("it is not known what the line %q says", line)
	}
	_, err := b.Sh(script)
	return err
}

// bind binds all that a guest binds to these nodes.
func (g *guest) bind(nodes string) {
	g.tune = regexp.MustCompile(`nodeset='[^']*'`).ReplaceAllString(g.tune, "nodeset='"+nodes+"'")
}

// tellNova gives Nova its lines, has it read them as it is said, and places the guest as Nova does: on the first node
// on which as many pages are left as it needs. In testdata/nova that is Nova's own code.
func (b *box) tellNova(g *guest, f printedFix) error {
	if len(f.Lines) > 0 {
		_, restart, _ := strings.Cut(f.What, ", then run ")
		restart, _, _ = strings.Cut(restart, ";")
		if err := b.Write(wire.File{Path: novaConf, Data: strings.Join(f.Lines, "\n") + "\n"}); err != nil {
			return err
		}
		if _, err := b.Sh(restart); err != nil {
			return err
		}
	}
	files, err := b.Read(novaConf)
	if err != nil {
		return err
	}
	_, total, err := b.Pools(2048)
	if err != nil {
		return err
	}
	for _, m := range regexp.MustCompile(`(?m)^reserved_huge_pages=node:(\d),size:2048,count:(\d+)$`).FindAllStringSubmatch(files[novaConf], -1) {
		node, _ := strconv.Atoi(m[1])
		reserved, _ := strconv.Atoi(m[2])
		total[node] -= reserved
	}
	node := slices.IndexFunc(total[:], func(left int) bool { return left >= g.cells[0] })
	if node < 0 {
		return fmt.Errorf("no room is left for it in Nova: %d pages", total)
	}
	g.bind(strconv.Itoa(node))
	return nil
}

// lasting boots the box, after which the guests start.
func (b *box) lasting(c *vm.Checks, next boot) error {
	if next.lacks == nil {
		return nil
	}
	vm.Say("  booting with %s", next.pools)
	if err := b.Reboot(reboot, next.pools); err != nil {
		return err
	}
	for _, l := range next.lacks {
		if !l.keepsPools() { // its pools are no matter of its fix
			if err := b.SetPools(2048, l.pools); err != nil {
				return err
			}
		}
		if err := b.starts(c, l, l.guest, l.name+": after the boot it starts", next.pools); err != nil {
			return err
		}
	}
	return nil
}

// printed are the fixes for a domain.
func (b *box) printed(name string) ([]printedFix, error) {
	r, err := b.Run("", "hugeguard", "check", "--json", name)
	if err != nil {
		return nil, err
	}
	var report struct {
		Fixes []printedFix `json:"fixes"`
	}
	if err := json.Unmarshal([]byte(r.Stdout), &report); err != nil {
		return nil, fmt.Errorf("hugeguard check --json: %w\n%s%s", err, r.Stdout, r.Stderr)
	}
	return report.Fixes, nil
}
