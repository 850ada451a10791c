package livehost

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// allowed starts a domain that cannot fit and is exempt: QEMU is run and fails, and the journal says by what.
func (s *scene) allowed(d domain, by string) {
	s.t.Helper()
	before := len(s.guardEntries())
	s.launches(d)
	if _, _, err := s.start(d); !s.died(d, err, qemuNoPages) {
		s.t.Errorf("start: %v; want QEMU's %q", err, qemuNoPages)
	}
	if n := s.launches(d); n != 1 {
		s.t.Errorf("QEMU was run %d times", n)
	}
	entries := s.guardEntries()[before:]
	if len(entries) != 1 {
		s.t.Fatalf("%d journal entries: %q", len(entries), entries)
	}
	entries[0].want(s.t, map[string]string{"PRIORITY": "4", "HUGEGUARD_DECISION": "refuse", "HUGEGUARD_CAUSE": "pool-too-small",
		"HUGEGUARD_DOMAIN": d.name, "HUGEGUARD_EXEMPT": by})
	first, _, _ := strings.Cut(entries[0].one(s.t, "MESSAGE"), "\n")
	if !strings.HasPrefix(first, "would refuse: node 0 has too few 2M pages: ") || !strings.HasSuffix(first, "; allowed: exempt by "+by) {
		s.t.Errorf("the journal says %s", first)
	}
	// The admin's command says beforehand what the hook will do.
	for how, program := range s.commands() {
		out, err := runBoth(program, "check", d.name)
		if want := "hugeguard: " + d.name + " would be refused, but is allowed: it is exempt by " + by; err != nil || !strings.Contains(out, want) {
			s.t.Errorf("check, %s: %v\n%s\nwant %s", how, err, out, want)
		}
	}
	s.check(s.noTraces())
}

// runBoth runs a program and returns what it prints on both streams.
func runBoth(argv ...string) (string, error) {
	return run(append([]string{"/bin/sh", "-c", `exec "$0" "$@" 2>&1`}, argv...)...)
}

// A domain is allowed that is exempt by its name, or by its metadata as libvirt keeps it; the same without is refused.
func TestExempt(t *testing.T) {
	s := begin(t, 16)
	s.installGuard()
	plain, named := domain{name: "plain", mib: 64, cells: 1}, domain{name: "scratch one", mib: 64, cells: 1}
	s.define(plain)
	s.define(named)
	s.refused(plain)
	s.refused(named)

	s.configure("exempt = other scratch?*")
	s.allowed(named, "pattern scratch?*")
	s.refused(plain)

	// By virsh, on what is defined; not by a mark that is not ours.
	s.virsh("metadata", plain.name, "urn:example:1", "--key", "hugeguard", "--set", "<exempt/>", "--config")
	s.refused(plain)
	s.virsh("metadata", plain.name, "urn:hugeguard:1", "--key", "hugeguard", "--set", "<exempt/>", "--config")
	s.allowed(plain, "metadata")
	s.configure("exempt_metadata = off")
	s.refused(plain)
	s.refused(named)
	s.configure("")
	s.allowed(plain, "metadata")
	s.virsh("metadata", plain.name, "urn:hugeguard:1", "--remove", "--config")
	s.refused(plain)

	// In the XML, beside what Nova puts there.
	xml := strings.Replace(plain.xml(), "<memory ", "<metadata><nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.1'><nova:name>"+
		"&lt;exempt xmlns='urn:hugeguard:1'/&gt;</nova:name></nova:instance>%s</metadata><memory ", 1)
	for _, c := range []struct{ mark, by string }{{"<e:exempt xmlns:e='urn:hugeguard:1'/>", "metadata"}, {"", ""}} {
		file := s.path("marked.xml")
		s.must(os.WriteFile(file, []byte(strings.Replace(xml, "%s", c.mark, 1)), 0o644))
		s.virsh("define", file)
		if c.by == "" {
			s.refused(plain)
		} else {
			s.allowed(plain, c.by)
		}
	}
	// What was refused is kept until the next boot: Nova may still count it.
	s.must(os.Remove(filepath.Join("/run/hugeguard/refused", plain.uuid())))
}

// A wrong line in the configuration is told, by the journal at each start and by status, and the guard guards on.
func TestWrongConfiguration(t *testing.T) {
	s := begin(t, 16)
	s.installGuard()
	d := domain{name: "refused", mib: 64, cells: 1}
	s.define(d)
	s.configure("# ours\r\nmoed = off\r\nexempt = [a\r\nmode = enforce")
	_, _, err := s.start(d)
	if err == nil || !strings.Contains(err.Error(), "Hook script execution failed") {
		t.Errorf("start: %v", err)
	}
	entries := s.guardEntries()
	if len(entries) != 2 {
		t.Fatalf("%d journal entries: %q", len(entries), entries)
	}
	entries[1].want(t, map[string]string{"HUGEGUARD_DECISION": "refuse"})
	entries[0].want(t, map[string]string{"PRIORITY": "4"})
	const moed, pattern = `line 2: "moed = off": no setting of this name: did you mean mode?`, `line 3: "exempt = [a": the value of exempt must be patterns of names`
	s.says(entries[0].one(t, "MESSAGE"), "/etc/hugeguard.conf: "+moed+"; "+pattern)
	s.says(s.command(s.cli, 0, "status", "--hook", s.hook), "hook: live: ", "  ignored: "+moed+"\n", "  ignored: "+pattern)
}
