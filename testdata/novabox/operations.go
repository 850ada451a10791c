package main

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"hugeguard/testdata/vm"
)

// pretended is the driver of a second compute host.
//
//go:embed pretended.py
var pretended string

// pretend starts a second compute host beside the control services, which only pretends.
func (p *play) pretend() error {
	dir := filepath.Join(p.root, "etc/nova-pretended")
	conf := strings.NewReplacer("\nmy_ip = 10.0.2.15\n", "\nmy_ip = 127.0.0.1\nhost = pretended\ncompute_driver = pretended.Driver\nlog_file = pretended.log\n").Replace(computeConf) + packing(true)
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "nova.conf"), []byte(conf), 0o644),
		os.WriteFile(filepath.Join(p.root, "usr/lib/python3/dist-packages/nova/virt/pretended.py"), []byte(pretended), 0o644)); err != nil {
		return err
	}
	if err := p.service("pretended", "nova-compute", "--config-file=/etc/nova-pretended/nova.conf"); err != nil {
		return err
	}
	return p.until("the pretended host", func() (bool, error) {
		mapped, err := p.query("select count(*) from nova_api.host_mappings where host = 'pretended'")
		return strings.TrimSpace(mapped) == "1", err
	})
}

// retire ends the pretended host, if it is there.
func (p *play) retire() error {
	if err := p.end("pretended"); err != nil {
		return err
	}
	var list struct {
		Services []struct{ ID, Host string }
	}
	if err := p.admin.do("GET", computeURL+"/os-services", nil, &list); err != nil {
		return err
	}
	for _, s := range list.Services {
		if s.Host == "pretended" {
			return p.admin.do("DELETE", computeURL+"/os-services/"+s.ID, nil, nil)
		}
	}
	return nil
}

// fill takes all pages but some of each node from under Nova, and returns how to give them back.
func (p *play) fill(leave int) (release func() error, err error) {
	free, _, err := p.Pools(2048)
	if err != nil {
		return nil, err
	}
	var stops []func() error
	release = func() error {
		var errs []error
		for _, stop := range stops {
			errs = append(errs, stop())
		}
		return errors.Join(errs...)
	}
	for node, pages := range free {
		if pages -= leave; pages <= 0 {
			continue
		}
		count := strconv.Itoa(pages)
		stop, err := p.Hold([]string{"/opt/numabox/agent", "hold", "-node", strconv.Itoa(node), "-pages", count, "-touch", count})
		if err != nil {
			return nil, errors.Join(err, release())
		}
		stops = append(stops, stop)
	}
	return release, nil
}

// An operation is done to an instance by an API call, and ends in a state.
type operation struct {
	name   string
	admin  bool // only admins may
	action string
	body   any
	state  string
	event  string // the one that fails if the guard refuses it
	// doubt is after what the instance's UUID becomes what hugeguard names because it does not know what Nova counts for
	// it, and more is how many pages Nova counts more; 0 for an operation after which it knows.
	doubt string
	more  int
}

// refused is the operation where the guard refuses it, which leaves the instance in that state.
func (o operation) refused(state string) operation {
	o.name, o.state, o.doubt, o.more = "refused "+o.name, state, "", 0
	return o
}

// doubted is the operation after which hugeguard does not know what Nova counts.
func (o operation) doubted(suffix string, more int) operation {
	o.doubt, o.more = suffix, more
	return o
}

// do has it done and waits for the end.
func (p *play) do(o operation, id string) (server, error) {
	vm.Say("  %s", o.name)
	u := p.demo
	if o.admin {
		u = p.admin
	}
	if err := u.act(id, o.action, o.body); err != nil {
		return server{}, err
	}
	return p.settled(p.admin, id, o.state)
}

// refusals counts the guard's refusals of a domain.
func (p *play) refusals(domain string) (int, error) {
	entries, err := p.Journal("HUGEGUARD_DECISION=refuse", "HUGEGUARD_DOMAIN="+domain)
	return len(entries), err
}

// watched has something done, and returns how often the guard refused the instance's domain meanwhile.
func (p *play) watched(o operation, s server) (now server, refusals int, err error) {
	before, err := p.refusals(s.Domain)
	if err != nil {
		return now, 0, err
	}
	now, err = p.do(o, s.ID)
	if err != nil {
		return now, 0, err
	}
	after, err := p.refusals(s.Domain)
	return now, after - before, err
}

// refuses has something done where there are no pages for it, and checks that the guard refuses it.
func (p *play) refuses(o operation, s server) (err error) {
	release, err := p.fill(0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	now, refusals, err := p.watched(o, s)
	if err != nil {
		return err
	}
	p.That(refusals == 1 && now.Status == o.state, o.name+" leaves the instance "+o.state, now, refusals)
	want := story{event: o.event, why: regexp.MustCompile(`^libvirtError$`)}
	if o.state == "ERROR" { // in other states the API shows no fault
		want.fault, want.details = want.why, regexp.MustCompile(`more: hugeguard explain `+s.Domain)
	}
	if err := p.tells(s, want); err != nil {
		return err
	}
	left, err := p.Sh("virsh -q list --all --uuid | grep -x " + s.ID + " || true")
	if err != nil {
		return err
	}
	p.That(left == "", "Nova has undefined the domain", left)
	return p.numbers(o, s)
}

// works has something done where there is room, and checks that the guard says nothing.
func (p *play) works(o operation, s server) error {
	now, refusals, err := p.watched(o, s)
	if err != nil {
		return err
	}
	p.That(refusals == 0 && now.Status == o.state, o.name+" works where there is room", now)
	return p.numbers(o, s)
}

// numbers compares hugeguard's with Nova's after an operation.
func (p *play) numbers(o operation, s server) error {
	if o.more > 0 {
		return p.doubt("after "+o.name, s.ID+o.doubt, o.more)
	}
	_, err := p.agree("after " + o.name)
	return err
}

// miniPages are those of an instance of the flavor mini.
const (
	miniPages = 32
)

var reset = operation{name: "reset of the state", admin: true, action: "os-resetState", body: map[string]string{"state": "active"}, state: "ACTIVE"}

// starts plays what starts an instance again on its host.
func (p *play) starts() error {
	if err := inOrder(func() error { return p.begin(true) }, p.guard); err != nil {
		return err
	}
	image, err := p.admin.find(imageURL+"/images", "images", "empty")
	if err != nil {
		return err
	}
	s, err := p.boot("a", "mini", "")
	if err != nil {
		return err
	}
	stop := operation{name: "stop", action: "os-stop", state: "SHUTOFF"}
	start := operation{name: "start", action: "os-start", state: "ACTIVE", event: "compute_start_instance"}
	hard := operation{name: "hard reboot", action: "reboot", body: map[string]string{"type": "HARD"}, state: "ACTIVE", event: "compute_reboot_instance"}
	rebuild := operation{name: "rebuild", action: "rebuild", body: map[string]string{"imageRef": image}, state: "SHUTOFF", event: "compute_rebuild_instance"}
	again := rebuild
	again.name, again.state = "rebuild of what is in error", "ACTIVE"
	shelve := operation{name: "shelve", action: "shelve", state: "SHELVED_OFFLOADED"}
	unshelve := operation{name: "unshelve", action: "unshelve", state: "ACTIVE", event: "compute_unshelve_instance"}
	return inOrder(
		func() error { return p.works(stop, s) },
		func() error { return p.refuses(start.refused("SHUTOFF"), s) },
		func() error { return p.works(reset, s) },
		func() error { return p.refuses(hard.refused("ERROR"), s) },
		func() error { return p.works(reset, s) },
		func() error { return p.works(hard, s) },
		func() error { return p.works(stop, s) },
		func() error { return p.works(rebuild, s) },
		func() error { return p.works(start, s) },
		func() error { return p.works(stop, s) },
		func() error { return p.refuses(rebuild.refused("ERROR").doubted("", miniPages), s) },
		func() error { return p.works(again, s) },
		func() error { return p.works(shelve, s) },
		func() error { return p.refuses(unshelve.refused("SHELVED_OFFLOADED"), s) },
		func() error { return p.works(unshelve, s) },
	)
}

// resizes plays a resize on the same host. Until it is confirmed Nova counts the pages of before, too.
func (p *play) resizes() error {
	if err := inOrder(func() error { return p.begin(true) }, p.guard); err != nil {
		return err
	}
	flavor, err := p.admin.find(computeURL+"/flavors", "flavors", "more")
	if err != nil {
		return err
	}
	s, err := p.boot("b", "mini", "")
	if err != nil {
		return err
	}
	other, err := p.boot("c", "mini", "")
	if err != nil {
		return err
	}
	resize := operation{name: "resize", action: "resize", body: map[string]string{"flavorRef": flavor}, state: "VERIFY_RESIZE", event: "compute_finish_resize", doubt: "_resize", more: miniPages}
	confirm := operation{name: "confirm", action: "confirmResize", state: "ACTIVE"}
	// Nova cannot confirm a resize during which nova-compute looked at its host: the look pins the new CPU twice and fails,
	// and leaves the old one unpinned. The numbers after the refusal became equal by a look, as a rule.
	if err := inOrder(
		func() error { return p.refuses(resize.refused("ERROR"), s) },
		p.looksLater,
		func() error { return p.works(resize, other) },
		func() error { return p.works(confirm, other) },
		func() error { return p.remove(p.admin, s.ID) },
	); err != nil {
		return err
	}
	_, err = p.agree("after the deletion of b")
	return err
}

// together boots two instances at the same time, where there is room for one and then for both.
func (p *play) together() error {
	if err := inOrder(func() error { return p.begin(true) }, p.guard); err != nil {
		return err
	}
	for _, room := range []struct{ leave, active int }{{40, 1}, {poolPages, 2}} {
		release, err := p.fillNode0(room.leave)
		if err != nil {
			return err
		}
		var both sync.WaitGroup
		var servers [2]server
		var errs [2]error
		for n := range servers {
			both.Go(func() { servers[n], errs[n] = p.launch(fmt.Sprintf("together%d", n+1), "mini", "") })
		}
		both.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			return errors.Join(err, release())
		}
		active, refused := 0, 0
		for _, s := range servers {
			if s.Status == "ACTIVE" {
				active++
			}
			refusals, err := p.refusals(s.Domain)
			if err != nil {
				return errors.Join(err, release())
			}
			refused += refusals
		}
		p.That(active == room.active && refused == len(servers)-active, fmt.Sprintf("of two boots at the same time %d get pages, and the guard refuses the others", room.active), servers, refused)
		_, err = p.agree("after two boots at the same time")
		if err := errors.Join(err, release()); err != nil {
			return err
		}
		for _, s := range servers {
			if err := p.remove(p.admin, s.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// fillNode0 is as fill, for node 0, to which Nova sends all of these.
func (p *play) fillNode0(leave int) (release func() error, err error) {
	free, _, err := p.Pools(2048)
	if err != nil || free[0] <= leave {
		return func() error { return nil }, err
	}
	count := strconv.Itoa(free[0] - leave)
	return p.Hold([]string{"/opt/numabox/agent", "hold", "-node", "0", "-pages", count, "-touch", count})
}

// elsewhere plays what a second host makes of a refusal: a boot goes there, and from then on others do, too; and an
// instance comes from there.
func (p *play) elsewhere() error {
	if err := inOrder(func() error { return p.begin(true) }, p.guard, p.pretend, p.refusedHere); err != nil {
		return err
	}
	s, err := p.boot("away1", "mini", "pretended")
	if err != nil {
		return err
	}
	migrate := operation{name: "cold migration", admin: true, action: "migrate", body: map[string]string{"host": "compute0"}, state: "VERIFY_RESIZE", event: "compute_finish_resize"}
	if err := p.refuses(migrate.refused("ERROR"), s); err != nil {
		return err
	}
	if err := p.remove(p.admin, s.ID); err != nil {
		return err
	}
	if s, err = p.boot("away2", "mini", "pretended"); err != nil {
		return err
	}
	confirm := operation{name: "confirm", admin: true, action: "confirmResize", state: "ACTIVE"}
	return inOrder(
		func() error { return p.works(migrate, s) },
		func() error { return p.works(confirm, s) },
	)
}

// refusedHere boots two instances where there are no pages. The first is refused and goes to the other host, and Nova
// sends the second there at once.
func (p *play) refusedHere() (err error) {
	other, err := p.boot("elsewhere0", "mini", "")
	if err != nil {
		return err
	}
	p.That(other.Host == "compute0", "without failed builds Nova prefers this host", other)
	release, err := p.fill(0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	for n, refused := range []int{1, 0} {
		if err := p.failed(n); err != nil {
			return err
		}
		s, err := p.boot(fmt.Sprintf("elsewhere%d", n+1), "mini", "")
		if err != nil {
			return err
		}
		refusals, err := p.refusals(s.Domain)
		if err != nil {
			return err
		}
		p.That(refusals == refused && s.Status == "ACTIVE" && s.Host == "pretended" && s.Fault == nil,
			fmt.Sprintf("%s is refused %d times and runs on the other host, without a fault", s.Name, refused), s, refusals)
		if n == 0 { // Nova learns of the failed build when something else changes on the host
			if err := p.remove(p.admin, other.ID); err != nil {
				return err
			}
		}
	}
	_, err = p.agree("after the boots elsewhere")
	return err
}

// failed waits until Nova's scheduler knows of so many failed builds of this host since one that did not fail.
func (p *play) failed(builds int) error {
	return p.until(fmt.Sprintf("%d failed builds", builds), func() (bool, error) {
		text, err := p.query("select stats from nova.compute_nodes where deleted = 0 and hypervisor_hostname = 'compute0'")
		return strings.Contains(text, fmt.Sprintf(`"failed_builds": "%d"`, builds)), err
	})
}
