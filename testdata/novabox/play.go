package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"hugeguard/testdata/vm"
	"hugeguard/testdata/vm/wire"
)

// A play is the compute node with the control services, and who uses them.
type play struct {
	*vm.Machine
	*control
	vm.Checks
	admin, demo *user
	log         int  // how much of nova-compute.log was read
	installed   bool // hugeguard is
}

// parts are what is played, in this order.
var parts = []struct {
	name string
	play func(*play) error
}{
	{"packing", (*play).packing},
	{"loop", (*play).loop},
	{"starts", (*play).starts},
	{"together", (*play).together}, // before resizes, after which a CPU stays pinned until nova-compute's next look
	{"resizes", (*play).resizes},
	{"elsewhere", (*play).elsewhere},
	{"spreading", (*play).spreading}, // the last, since all others begin as loop ends
}

// all plays the parts whose names match; first is whether nobody has played on these machines before.
func (p *play) all(only *regexp.Regexp, first bool) (err error) {
	if p.admin, err = login("admin"); err != nil {
		return err
	}
	if p.demo, err = login("demo"); err != nil {
		return err
	}
	if first {
		if err := p.prepare(); err != nil {
			return err
		}
	}
	for _, part := range parts {
		if !only.MatchString(part.name) {
			continue
		}
		vm.Say("%s", part.name)
		if err := part.play(p); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return errors.Join(p.Denials(&p.Checks), p.Err())
}

// prepare has Open vSwitch take its pages.
func (p *play) prepare() error {
	if err := p.Prepare(&p.Checks); err != nil {
		return err
	}
	if err := p.StartOVS([2]int{2 * ovsPages, 2 * ovsPages}, 0); err != nil {
		return err
	}
	free, total, err := p.Pools(2048)
	if err != nil {
		return err
	}
	p.That(total == [2]int{poolPages, poolPages} && free == [2]int{poolPages - ovsPages, poolPages - ovsPages},
		fmt.Sprintf("Open vSwitch takes %d pages of each node's %d", ovsPages, poolPages), free, total)
	return nil
}

// Files of the compute node.
const (
	novaConf = "/etc/nova/nova.conf"
	novaLog  = "/var/log/nova/nova-compute.log"
	dropIn   = "/etc/nova/nova.conf.d/zz-hugeguard.conf" // what hugeguard reserve --write writes where it wins
	lookFile = "/var/lib/hugeguard/reserve.json"         // what the timer saw last
	readFile = "/run/novabox.conf"                       // the nova.conf that the running nova-compute read
)

// inOrder does one after the other, until one fails.
func inOrder(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// conf is nova.conf where a part begins.
func conf(pack bool) string { return computeConf + packing(pack) }

// begin brings all to where a part begins: there is no instance, Open vSwitch has its pages, hugeguard has its settings,
// and nova-compute runs and reserves no pages. It is started again only if it has another configuration.
func (p *play) begin(pack bool) error {
	if err := p.restore(pack); err != nil {
		return err
	}
	read, err := p.Read(readFile)
	if err != nil || read[readFile] == conf(pack) {
		return err
	}
	if err := p.restart(); err != nil {
		return err
	}
	return p.Write(wire.File{Path: readFile, Data: conf(pack)})
}

// restore is begin without a restart: if nova-compute has another configuration, nobody says that it has read this one.
func (p *play) restore(pack bool) error {
	if err := inOrder(p.clear, p.retire, func() error { return p.packs(pack) }, func() error { return p.vswitch([2]int{ovsPages, ovsPages}) }); err != nil {
		return err
	}
	now, err := p.Read(novaConf, readFile, dropIn)
	if err != nil {
		return err
	}
	if err := p.Write(vm.Configuration); err != nil {
		return err
	}
	if p.installed, err = p.guarded(); err != nil {
		return err
	}
	if _, err := p.Must("rm", "-f", lookFile); err != nil {
		return err
	}
	if !maps.Equal(now, map[string]string{novaConf: conf(pack), readFile: conf(pack)}) {
		if _, err := p.Must("rm", "-f", dropIn, readFile); err != nil {
			return err
		}
		if err := p.Write(wire.File{Path: novaConf, Data: conf(pack)}); err != nil {
			return err
		}
	}
	// An earlier play may have written to it.
	text, err := p.Sh("cat " + novaLog + " 2>/dev/null | wc -c")
	if err == nil {
		_, err = fmt.Sscan(text, &p.log)
	}
	return err
}

// vswitch has Open vSwitch hold so many pages of each node. It is restarted if it has others.
func (p *play) vswitch(pages [2]int) error {
	want := fmt.Sprintf("%d,%d", 2*pages[0], 2*pages[1])
	told, err := p.Must("ovs-vsctl", "get", "Open_vSwitch", ".", "other_config:dpdk-socket-mem")
	if err != nil || strings.Trim(told, "\"\n") == want {
		return err
	}
	vm.Say("Open vSwitch is restarted with dpdk-socket-mem=%s", want)
	if _, err := p.Sh("ovs-vsctl --no-wait set Open_vSwitch . other_config:dpdk-socket-mem=" + want + "; systemctl restart openvswitch-switch"); err != nil {
		return err
	}
	free, total, err := p.Pools(2048)
	p.That(total[0]-free[0] == pages[0] && total[1]-free[1] == pages[1], fmt.Sprintf("Open vSwitch has %v pages of the nodes", pages), free, total)
	return err
}

// restart starts nova-compute again.
func (p *play) restart() error {
	return p.reports(func() error {
		_, err := p.Must("systemctl", "restart", "nova-compute")
		return err
	})
}

// reports has nova-compute restarted, and waits until Nova has its numbers.
func (p *play) reports(restart func() error) error {
	began := time.Now()
	const updated = "select coalesce(max(updated_at), max(created_at)) from nova.compute_nodes where deleted = 0 and host = 'compute0'"
	before, err := p.query(updated)
	if err != nil {
		return err
	}
	if err := restart(); err != nil {
		return err
	}
	err = p.until("nova-compute's report", func() (bool, error) {
		now, err := p.query(updated + " and numa_topology is not null")
		if err != nil || now == before || strings.TrimSpace(now) == "NULL" {
			return false, err
		}
		mapped, err := p.query("select count(*) from nova_api.host_mappings where host = 'compute0'")
		return strings.TrimSpace(mapped) == "1", err
	})
	vm.Say("nova-compute was started in %.0f s", time.Since(began).Seconds())
	return err
}

// A count is a node's pool of pages of 2 MiB as somebody counts it.
type count struct{ total, used, reserved int }

// counted is what Nova's resource tracker has in its database, node by node.
func (p *play) counted() (map[int]count, error) {
	text, err := p.query("select numa_topology from nova.compute_nodes where deleted = 0 and hypervisor_hostname = 'compute0'")
	if err != nil {
		return nil, err
	}
	return parseTopology(text)
}

// parseTopology reads the pages of 2 MiB out of what Nova has of a host's nodes (nova.objects.numa.NUMATopology).
func parseTopology(text string) (map[int]count, error) {
	type data[T any] struct {
		Data T `json:"nova_object.data"`
	}
	var topology data[struct {
		Cells []data[struct {
			ID       int
			Mempages []data[struct {
				SizeKB                int `json:"size_kb"`
				Total, Used, Reserved int
			}]
		}]
	}]
	if err := json.Unmarshal([]byte(text), &topology); err != nil {
		return nil, fmt.Errorf("numa_topology %q: %w", text, err)
	}
	counts := map[int]count{}
	for _, cell := range topology.Data.Cells {
		for _, m := range cell.Data.Mempages {
			if m.Data.SizeKB == 2048 {
				counts[cell.Data.ID] = count{m.Data.Total, m.Data.Used, m.Data.Reserved}
			}
		}
	}
	return counts, nil
}

// A status is what hugeguard status says.
type status struct {
	Pools []struct {
		Node    int
		PageKiB int `json:"page_kib"`
		Total   int
		Free    int
	}
	NotKnown []string `json:"not_known"`
	Nova     struct {
		Stale     string `json:"changed_since_start"`
		Uncounted []string
		Pools     []novaPool
	}
}

// A novaPool is what Nova believes of a pool.
type novaPool struct {
	Node      int
	PageKiB   int `json:"page_kib"`
	Reserved  int
	Instances int
	Free      *int // nil while it is not known
	Drift     *int

	Unreserved int
}

// status asks hugeguard, again if it says that something did not become known in time, since emulation is slow.
func (p *play) status() (status, error) {
	for range 20 {
		r, err := p.Run("", "hugeguard", "status", "--json")
		if err != nil {
			return status{}, err
		}
		var s status
		if err := json.Unmarshal([]byte(r.Stdout), &s); err != nil {
			return s, fmt.Errorf("hugeguard status --json: exit status %d: %w: %s", r.Exit, err, r.Stderr)
		}
		if len(s.NotKnown) == 0 {
			return s, nil
		}
	}
	return status{}, errors.New("hugeguard status never sees all in time")
}

// believed is what hugeguard says that Nova believes, node by node; it is empty if that is not known.
func (s status) believed() map[int]count {
	totals := map[int]int{}
	for _, pool := range s.Pools {
		if pool.PageKiB == 2048 {
			totals[pool.Node] = pool.Total
		}
	}
	counts := map[int]count{}
	for _, pool := range s.Nova.Pools {
		if pool.PageKiB == 2048 && pool.Free != nil {
			counts[pool.Node] = count{totals[pool.Node], pool.Instances, pool.Reserved}
		}
	}
	return counts
}

// compare waits until what hugeguard and Nova's database say has a relation, or until nova-compute has looked at its host
// twice from beginning to end, so that its database must have what is so now. holds is whether the relation was there.
func (p *play) compare(relation func(ours, theirs map[int]count, s status) bool) (ours, theirs map[int]count, holds bool, err error) {
	begun, err := p.looks()
	for looked := false; err == nil && !looked; looked, err = p.looked(len(begun) + 1) {
		s, err := p.status()
		if err != nil {
			return nil, nil, false, err
		}
		ours = s.believed()
		if theirs, err = p.counted(); err != nil {
			return nil, nil, false, err
		}
		if relation(ours, theirs, s) {
			return ours, theirs, true, nil
		}
		time.Sleep(5 * time.Second) // it looks every other minute
	}
	return ours, theirs, false, err
}

// What nova-compute writes to its log of a look at its host.
const lookBegins, lookEnds = "Auditing locally available compute resources", "Compute_service record updated"

// looks are the parts of nova-compute's log from the beginning of each of its looks at its host on.
func (p *play) looks() ([]string, error) {
	text, err := p.Sh("grep -oe '" + lookBegins + "' -e '" + lookEnds + "' " + novaLog + " || true")
	return strings.Split(text, lookBegins)[1:], err
}

// looked reports whether nova-compute has looked at its host from beginning to end, leaving out so many looks.
func (p *play) looked(leave int) (bool, error) {
	looks, err := p.looks()
	// One that does not end was interrupted by a restart.
	return slices.ContainsFunc(looks[min(leave, len(looks)):], func(look string) bool { return strings.TrimSpace(look) != "" }), err
}

// looksLater waits until nova-compute has just looked at its host, so that it does not look again soon.
func (p *play) looksLater() error {
	return p.until("nova-compute's look at its host", func() (bool, error) {
		seconds, err := p.Sh("echo $(($(date +%s) - $(date +%s -d \"$(grep '" + lookEnds + "' " + novaLog + " | tail -n 1 | cut -d. -f1)\")))")
		if err != nil {
			return false, err
		}
		ago, err := strconv.Atoi(strings.TrimSpace(seconds))
		return ago < 40, err
	})
}

// agree checks that hugeguard's numbers are those of Nova's database, and returns them.
func (p *play) agree(when string) (map[int]count, error) {
	began := time.Now()
	ours, theirs, holds, err := p.compare(func(ours, theirs map[int]count, _ status) bool { return maps.Equal(ours, theirs) })
	p.That(holds, fmt.Sprintf("hugeguard's numbers are those of Nova's database %s (%.0f s)", when, time.Since(began).Seconds()), "Nova", theirs, "hugeguard", ours)
	return theirs, err
}

// doubt checks that hugeguard names the instance, or its directory, for which Nova counts so many pages more than hugeguard.
func (p *play) doubt(when, name string, pages int) error {
	ours, theirs, holds, err := p.compare(func(ours, theirs map[int]count, s status) bool {
		more := 0
		for node, c := range theirs {
			more += c.used - ours[node].used
		}
		return more == pages && slices.Contains(s.Nova.Uncounted, name)
	})
	p.That(holds, fmt.Sprintf("%s hugeguard says that it does not know what Nova counts for %s, which is %d pages", when, name, pages), "Nova", theirs, "hugeguard", ours)
	return err
}

// read returns what nova-compute wrote to its log since it was read last.
func (p *play) read() (string, error) {
	text, err := p.Must("tail", "-c", "+"+strconv.Itoa(p.log+1), novaLog)
	p.log += len(text)
	return text, err
}

// boot boots an instance as launch does, and then compares the numbers.
func (p *play) boot(name, flavor, host string) (server, error) {
	s, err := p.launch(name, flavor, host)
	if err == nil && p.installed {
		_, err = p.agree("after the boot of " + name)
	}
	return s, err
}

// launch boots an instance as the ordinary user and waits for what becomes of it; host is "" or where an admin sends it.
func (p *play) launch(name, flavor, host string) (server, error) {
	began := time.Now()
	vm.Say("  %s, of flavor %s %s", name, flavor, host)
	u := p.demo
	if host != "" {
		u = p.admin
	}
	id, err := u.boot(name, flavor, host)
	if err != nil {
		return server{}, err
	}
	s, err := p.settled(p.admin, id)
	s.owner = u
	vm.Say("  %s took %.0f s", s, time.Since(began).Seconds())
	return s, err
}

var memnode = regexp.MustCompile(`<memnode cellid='0' mode='strict' nodeset='(\d)'/>`)

// node is the node on which an instance runs.
func (p *play) node(s server) (int, error) {
	p.That(s.Status == "ACTIVE" && s.Host == "compute0", s.Name+" is ACTIVE", s)
	xml, err := p.Virsh("dumpxml " + s.Domain)
	if err != nil {
		return 0, err
	}
	found := memnode.FindStringSubmatch(xml.Stdout)
	if found == nil {
		return 0, fmt.Errorf("%s is bound to no node: %s%s", s.Domain, xml.Stdout, xml.Stderr)
	}
	return strconv.Atoi(found[1])
}

// runs checks that an instance runs on a node.
func (p *play) runs(s server, want int) error {
	node, err := p.node(s)
	p.That(err == nil && node == want, fmt.Sprintf("%s has its memory on node %d", s.Name, want), node, err)
	return nil
}

// gone checks that nothing is left of an instance that was refused when it was made: no domain, no directory, no
// allocation, no claim.
func (p *play) gone(s server) error {
	left, err := p.Sh("virsh -q list --all --uuid | grep -x " + s.ID + " || true; ls -d /var/lib/nova/instances/" + s.ID + " 2>/dev/null || true; grep -rs --exclude-dir=refused " + s.ID + " /run/hugeguard || true")
	if err != nil {
		return err
	}
	p.That(left == "", "no domain, no directory and no claim is left of "+s.Name, left)
	var answer struct{ Allocations map[string]any }
	err = p.admin.do("GET", "http://"+controllerAddress+":8778/allocations/"+s.ID, nil, &answer)
	p.That(err == nil && len(answer.Allocations) == 0, "no allocation in Placement is left of "+s.Name, answer, err)
	return nil
}

// clear deletes all instances.
func (p *play) clear() error {
	var list struct{ Servers []id }
	if err := p.admin.do(http.MethodGet, computeURL+"/servers?all_tenants=1", nil, &list); err != nil {
		return err
	}
	slices.Reverse(list.Servers)
	for _, s := range list.Servers {
		if err := p.remove(p.admin, s.ID); err != nil {
			return err
		}
	}
	return nil
}
