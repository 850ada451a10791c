package livehost

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// refusal is what the tests read of the refusals in status --json.
type refusal struct {
	Time                          time.Time
	Decision, Cause, Domain, UUID string
	Summary                       string
	Would, Canary                 bool
}

func (s *scene) lastRefusals() (list []refusal) {
	s.t.Helper()
	var r struct{ Refusals []refusal }
	s.must(json.Unmarshal([]byte(s.command(s.cli, 0, "status", "--json", "--hook", s.hook)), &r))
	return r.Refusals
}

// Status shows the refusals that the journal has, the newest first, and no one else's word for it.
func TestStatusShowsTheLastRefusals(t *testing.T) {
	s := begin(t, 24)
	s.installGuard()
	d := domain{name: "too large", mib: 64, cells: 1}
	s.define(d)
	began := time.Now().Add(-time.Second)
	line, e := s.refused(d)
	cause := e.one(t, "HUGEGUARD_CAUSE")
	list := s.lastRefusals()
	if len(list) == 0 {
		t.Fatal("status shows no refusal")
	}
	at := list[0].Time
	if want := (refusal{at, "refuse", cause, "too large", d.uuid(), line, false, false}); list[0] != want || at.Before(began) || at.After(time.Now()) {
		t.Errorf("status shows %+v, want %+v", list[0], want)
	}
	if out := s.command(s.cli, 0, "status"); !strings.Contains(out, "\nlast refusals:\n  "+at.Local().Format("Jan _2 15:04:05")+" too large: "+cause+": "+line+"\n") {
		t.Errorf("status says\n%s", out)
	}

	s.configure("mode = warn")
	_, _, err := s.start(d)
	if err == nil {
		t.Error("QEMU has started without its pages")
	}
	s.guardEntries() // all is in the journal then
	if list := s.lastRefusals(); !list[0].Would || list[0].Summary != line || list[1].Would || list[1].Time != at {
		t.Errorf("status shows %+v", list[:2])
	}
	if out := s.command(s.cli, 0, "status"); !strings.Contains(out, " too large: "+cause+" (allowed): "+line+"\n") {
		t.Errorf("status says\n%s", out)
	}

	// Everybody may write to the journal.
	nobody := []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}
	_, err = run("sh", "-c", "printf 'SYSLOG_IDENTIFIER=hugeguard\nHUGEGUARD_DECISION=refuse\nHUGEGUARD_DOMAIN=forged\nMESSAGE=forged\n' | "+strings.Join(nobody, " ")+" logger --journald")
	s.must(err)
	entries := s.guardEntries()
	if e := entries[len(entries)-1]; e.one(t, "HUGEGUARD_DOMAIN") != "forged" || e.one(t, "_UID") != "65534" {
		t.Fatalf("the forged entry is not in the journal: %q", e)
	}
	for _, r := range s.lastRefusals() {
		if r.Domain == "forged" {
			t.Errorf("status believes an ordinary user: %+v", r)
		}
	}

	// Who may not read the journal is told, and sees the rest.
	out, err := run(append(nobody, s.cli, "status", "--hook", s.hook)...)
	s.must(err)
	for _, want := range []string{"\n  node 0, 2 MiB: [", "the system's journal may not be read: only root and the group systemd-journal can\n", "\ncould not be read: what only root can see ("} {
		if !strings.Contains(out, want) {
			t.Errorf("to an ordinary user status does not say %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "last refusals") {
		t.Errorf("an ordinary user sees\n%s", out)
	}
}

// Of three domains of which two fit, each would start alone, and the third not after the others. So it is when
// they are started in that order; and when libvirt starts them by itself, in one of its own, two of them are up.
func TestCheckAllInAutostartOrder(t *testing.T) {
	s := begin(t, 40)
	s.installGuard()
	var all []domain
	for _, name := range []string{"a", "b", "c"} {
		d := domain{name: name, mib: 32, cells: 1}
		s.define(d)
		s.virsh("autostart", d.name)
		all = append(all, d)
	}
	s.define(domain{name: "aa", mib: 32, cells: 1}) // without autostart
	s.define(domain{name: "ab", mib: 32, small: true})
	s.virsh("autostart", "ab")
	for how, program := range s.commands() {
		decisions := map[string]string{}
		for _, line := range strings.Split(strings.TrimSpace(s.command(program, 3, "check", "--all", "--json")), "\n") {
			var r struct {
				Domain    struct{ Name string }
				Decision  string
				Cause     string
				Autostart bool
				InOrder   *struct {
					Position int
					Decision string
					Cause    string
				} `json:"in_order"`
			}
			s.must(json.Unmarshal([]byte(line), &r))
			text := r.Decision + " " + fmt.Sprint(r.Autostart)
			if r.InOrder != nil {
				text += fmt.Sprintf(" %d %s %s", r.InOrder.Position, r.InOrder.Decision, r.InOrder.Cause)
			}
			decisions[r.Domain.Name] = text
		}
		want := map[string]string{"a": "allow true 1 allow ", "aa": "allow false", "ab": "allow true", "b": "allow true 2 allow ", "c": "allow true 3 refuse starting-guests"}
		if fmt.Sprint(decisions) != fmt.Sprint(want) {
			t.Errorf("%s, check --all says %v, want %v", how, decisions, want)
		}
		const tail = "1 of 3 with huge pages would get none:\n  3. c: node 0 is short of 2M pages: 40 of 40 free, 32 of them for starting guests (a, b), 16 needed (32 MiB)\n"
		if out := s.command(program, 3, "check", "--all"); !strings.HasSuffix(out, tail) {
			t.Errorf("%s, check --all says\n%s", how, out)
		}
	}
	s.starts(all[0])
	s.starts(all[1])
	s.refused(all[2])
	for _, d := range all[:2] {
		s.virsh("destroy", d.name)
	}

	s.must(s.libvirtd.stop())
	before := len(s.guardEntries())
	s.restartAsAfterBoot()
	s.must(eventually(func() error {
		running := strings.Fields(s.virsh("list", "--name"))
		if n := len(s.guardEntries()) - before; len(running) != 3 || n != 1 { // with the one without huge pages
			return fmt.Errorf("%q run, and the guard has refused %d", running, n)
		}
		return nil
	}))
}
