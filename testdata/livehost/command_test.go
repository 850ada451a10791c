package livehost

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// The admin's command, where it says what libvirt and the kernel of this host can confirm.

// commands are the two builds of the admin's command: one reads libvirt's files, the other asks libvirt.
func (s *scene) commands() map[string]string {
	s.t.Helper()
	s.must(s.build())
	return map[string]string{"by files": s.cli, "by libvirt": s.cliLibvirt}
}

// command runs the admin's command, which has to end with that exit status.
func (s *scene) command(program string, status int, args ...string) string {
	s.t.Helper()
	out, err := run(append([]string{program}, args...)...)
	if got := exitStatus(err); got != status {
		s.t.Errorf("hugeguard %s: exit status %d, want %d: %v\n%s", strings.Join(args, " "), got, status, err, out)
	}
	return out
}

// What check prints of a domain is what the hook then writes to the journal, word for word.
func TestCheckSaysWhatTheHookWillSay(t *testing.T) {
	s := begin(t, 256)
	s.installGuard()
	d, fits := domain{name: "too large", mib: 64, cells: 2}, domain{name: "fits", mib: 16, cells: 1}
	s.define(d)
	s.define(fits)
	s.ovsHolds(ovsVswitchd, 24)
	said := map[string]string{}
	for how, program := range s.commands() {
		said[how] = s.command(program, 3, "check", d.name)
		s.command(program, 0, "check", fits.name)
		all := s.command(program, 3, "check", "--all")
		if !strings.Contains(all, d.name+": refuse: ") || !strings.Contains(all, fits.name+": allow: ") || strings.Count(all, "\n") != 2 {
			t.Errorf("%s, check --all says\n%s", how, all)
		}
		s.command(program, 1, "check", "no such domain")
	}
	_, e := s.refused(d)
	// Others use the memory meanwhile.
	memory := regexp.MustCompile(`[0-9.]+ GiB of memory available`)
	want := strings.Replace(e.one(t, "MESSAGE"), "; more: hugeguard explain 'too large'\n", "\n", 1) + "\n"
	want = memory.ReplaceAllString(want, "memory")
	for how, text := range said {
		if text = memory.ReplaceAllString(text, "memory"); text != want {
			t.Errorf("%s, check says\n%s\nthe hook\n%s", how, text, want)
		}
	}
	s.starts(fits)
}

// Of a domain that runs check says whether it would start again, with its own pages given back.
func TestCheckOfARunningDomain(t *testing.T) {
	s := begin(t, 40)
	d := domain{name: "running", mib: 64, cells: 1}
	s.define(d)
	_, _, err := s.start(d)
	s.must(err)
	for _, program := range s.commands() {
		s.command(program, 0, "check", d.name)
	}
	s.hold("packetmover", touched, 8)
	for _, program := range s.commands() {
		s.command(program, 0, "check", d.name)
	}
}

// statusReport is what the tests read of status --json.
type statusReport struct {
	Hook struct {
		Layout string
		Live   bool
		Why    []string
	}
	Pools []struct {
		Node    int
		PageKiB int `json:"page_kib"`
		Total   int
		Free    int
		Holders []statusHolder
	}
}

type statusHolder struct {
	Kind, Name string
	PID        int
	Pages      int
}

func (s *scene) status(exit int) (r statusReport) {
	s.t.Helper()
	out := s.command(s.cli, exit, "status", "--json", "--hook", s.hook)
	s.must(json.Unmarshal([]byte(out), &r))
	return r
}

// Status shows who holds what, and each is what the kernel shows of that process.
func TestStatusShowsHolders(t *testing.T) {
	s := begin(t, 256)
	s.installGuard()
	d := domain{name: "a guest", mib: 64, cells: 2}
	s.define(d)
	s.starts(d)
	h := s.hold("packetmover", touched, 10)
	ovs := s.ovsHolds(ovsVswitchd, 100)
	want := []statusHolder{
		{"ovs", "ovs-vswitchd-dp", ovs.pid(), hugePagesOf(ovs.pid())},
		{"guest", d.name, s.qemuPID(d), 32},
		{"process", "packetmover", h.pid(), 10},
	}
	r := s.status(0)
	found := false
	for _, p := range r.Pools {
		if p.PageKiB != 2048 {
			continue
		}
		found = true
		if p.Total != 256 || p.Free != s.pool().free || p.Node != 0 || !reflect.DeepEqual(p.Holders, want) {
			t.Errorf("status shows %+v, want %+v of %+v", p, want, s.pool())
		}
	}
	if !found {
		t.Errorf("status shows no pool of 2 MiB pages: %+v", r.Pools)
	}
}

// Status is right about whether libvirt calls the hook: what it says is compared with a start.
func TestStatusKnowsWhetherTheHookIsLive(t *testing.T) {
	s := begin(t, 16)
	d := domain{name: "asked", mib: 64, cells: 1}
	s.define(d)
	expect := func(when string, live bool) {
		t.Helper()
		exit := 4
		if live {
			exit = 0
		}
		if r := s.status(exit); r.Hook.Live != live || live != (len(r.Hook.Why) == 0) {
			t.Errorf("%s: status says %+v", when, r.Hook)
		}
		if live {
			s.refused(d)
		} else {
			s.failsInQEMU(d)
		}
	}
	s.must(s.build())
	s.must(s.libvirtd.stop())
	s.must(s.startLibvirtd())
	expect("without a hook", false)

	program, err := os.ReadFile(s.hook)
	s.must(err)
	s.must(os.WriteFile(mainHook, program, 0o755))
	expect("placed by hand beside a running daemon", false)
	s.must(os.Remove(mainHook))

	s.installGuard()
	expect("installed", true)
	s.must(os.Chmod(mainHook, 0o644))
	expect("not executable", false)
	s.must(os.Chmod(mainHook, 0o755))
	expect("executable again", true)
	s.must(s.libvirtd.stop())
	s.must(s.startLibvirtd())
	expect("after a restart of the daemon", true)
	s.must(os.Remove(mainHook))
	expect("removed by hand", false)
	s.installGuard()
	expect("installed again", true)
	s.uninstallGuard()
	expect("uninstalled", false)
}
