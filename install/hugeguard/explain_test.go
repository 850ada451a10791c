package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"hugeguard/guard"
	"hugeguard/install/domains"
	"hugeguard/install/installtest"
	"hugeguard/install/journal"
	"hugeguard/sysfs"
	"hugeguard/sysfs/sysfstest"
)

// lastEntry is what the hook wrote of a domain, as journalctl prints it.
func lastEntry(t *testing.T, domain guard.Domain, decision, message string) string {
	t.Helper()
	text, err := json.Marshal(map[string]string{
		"__REALTIME_TIMESTAMP": "1795576382000001", "PRIORITY": "3", "MESSAGE": message, "HUGEGUARD_DECISION": decision,
		"HUGEGUARD_CAUSE": "guests", "HUGEGUARD_DOMAIN": domain.Name, "HUGEGUARD_UUID": domain.UUID,
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + "\n"
}

// inUTC has times told in UTC.
func inUTC(t *testing.T) {
	local := time.Local
	time.Local = time.UTC
	t.Cleanup(func() { time.Local = local })
}

// TestExplain: what the journal has of a domain is told with what would become of its start now.
func TestExplain(t *testing.T) {
	inUTC(t)
	host := sysfstest.Copy(t, incident)
	xml, err := os.ReadFile("../../testdata/domains/nova-two-cells.xml")
	if err != nil {
		t.Fatal(err)
	}
	host.Write("etc/libvirt/qemu/instance-00000006.xml", string(xml))
	plain, err := os.ReadFile("../../testdata/domains/none-plain.xml")
	if err != nil {
		t.Fatal(err)
	}
	host.Write("etc/libvirt/qemu/small.xml", string(plain))
	defined := guard.Domain{Name: "instance-00000006", UUID: "6d0f1a52-4a5e-4c5e-9b1d-70a5e000005e"}
	gone := guard.Domain{Name: "instance-00000007", UUID: "6d0f1a52-4a5e-4c5e-9b1d-70a5e000005f"}
	const at = "2026-11-25 03:13:02 UTC: "
	for name, c := range map[string]struct {
		who, out, errs string
		says           []string // each in turn, on stdout
		never          string
		fails          string
	}{
		"by name": {who: defined.Name, out: lastEntry(t, defined, "refuse", "guests fill node 0; more: hugeguard explain x\nthe rest"),
			says:  []string{at + defined.Name + " (" + defined.UUID + ") was refused, cause guests:\n  guests fill node 0\nnow it would be refused:\n  ", "fix ("},
			never: "the rest"},
		"by UUID": {who: strings.ToUpper(defined.UUID), out: lastEntry(t, defined, "refuse", "guests fill node 0"),
			says: []string{"was refused, cause guests:\n", "now it would be refused:\n"}},
		"the last": {out: lastEntry(t, defined, "warn", "it may fail"), says: []string{"was allowed with a warning", "it may fail\n", "now it would be refused:\n"}},
		"no longer defined": {who: gone.Name, out: lastEntry(t, gone, "refuse", "guests fill node 0\nthe rest\x1b"),
			says: []string{"was refused", "now: it is no longer defined here", "\n  the rest\\x1b\n"}},
		"it fits now": {out: lastEntry(t, guard.Domain{Name: "small"}, "refuse", "guests fill node 0"), says: []string{"small was refused", "now it would be allowed:\n  it needs no huge pages\n"}},
		"several": {who: defined.Name, out: strings.Repeat(lastEntry(t, defined, "refuse", "guests fill node 0"), 3),
			says: []string{"earlier entries about it: 2, see journalctl -t hugeguard HUGEGUARD_UUID=" + defined.UUID + "\n"}},
		"not judged":  {who: defined.Name, out: lastEntry(t, guard.Domain{Name: defined.Name}, "", "hugeguard could not judge"), says: []string{defined.Name + " was not judged", "now it would be refused"}},
		"would":       {out: lastEntry(t, gone, "refuse", "would refuse: guests fill node 0"), says: []string{"was to be refused, and was allowed", "guests fill node 0\n"}},
		"it runs":     {out: lastEntry(t, guard.Domain{Name: "instance-00000001"}, "refuse", "x"), says: []string{"now: it runs\n"}},
		"no entry":    {who: defined.Name, says: []string{"the journal has no refusal and no warning of " + defined.Name + ": it is empty, and is lost at each boot", "now it would be refused"}},
		"none at all": {says: []string{"the journal has no refusal and no warning: it is empty"}, never: "now"},
		"nobody":      {who: "nobody", fails: `no domain "nobody" is defined here, and the journal has no refusal and no warning of nobody: it is empty`},
		"hidden":      {errs: "No journal files were opened due to insufficient permissions.", fails: "the system's journal may not be read"},
		"hidden, and defined": {who: defined.Name, errs: "No journal files were opened due to insufficient permissions.",
			says: []string{"the system's journal may not be read", "now it would be refused"}},
	} {
		program, seen := installtest.Journalctl(t, c.out, c.errs, "")
		fs := sysfs.New(host.Path(""))
		check := checker{host: fs, notes: &bytes.Buffer{}}
		check.configure()
		e, err := check.explain(context.Background(), journal.Journal{Program: program, Patience: time.Hour}, domains.Files{Host: fs}, c.who)
		if c.fails != "" {
			if err == nil || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%s: error %v, want %s", name, err, c.fails)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		rest := e.text()
		for _, want := range c.says {
			_, after, ok := strings.Cut(rest, want)
			if !ok {
				t.Errorf("%s: no %q in\n%s", name, want, e.text())
			}
			rest = after
		}
		if c.never != "" && strings.Contains(e.text(), c.never) {
			t.Errorf("%s: there is %q in\n%s", name, c.never, e.text())
		}
		asked, err := os.ReadFile(seen)
		if err != nil {
			t.Fatal(err)
		}
		match := "HUGEGUARD_DECISION=warn"
		if domains.IsUUID(c.who) {
			match = "HUGEGUARD_UUID=" + defined.UUID
		} else if c.who != "" {
			match = "HUGEGUARD_DOMAIN=" + c.who
		}
		if len(c.out) > 0 && !strings.Contains(string(asked), "\n"+match+"\n") {
			t.Errorf("%s: journalctl is asked\n%s", name, asked)
		}
	}
}

// TestExplainEmpty: why there may be nothing is told with the time at which the journal begins.
func TestExplainEmpty(t *testing.T) {
	inUTC(t)
	host := sysfstest.Copy(t, incident)
	host.Write("var/log/journal/x/system.journal", "")
	program, _ := installtest.Journalctl(t, fmt.Sprintf(`{"__REALTIME_TIMESTAMP":"%d"}`+"\n", 1795576382000001), "", "")
	text, err := nothing(context.Background(), journal.Journal{Program: program, Patience: time.Hour}, sysfs.New(host.Path("")), "x")
	if want := `the journal has no refusal and no warning of x: it begins 2026-11-25 03:13:02 UTC; "hugeguard status" says whether the hook is live`; err != nil || text != want {
		t.Errorf("%s, %v, want %s", text, err, want)
	}
}

// TestEarlierIsFound: a shell takes the command that shows earlier entries for one about this domain, whatever its name is.
func TestEarlierIsFound(t *testing.T) {
	for _, name := range []string{"vm", "web server 1", `it's "$(reboot)"`, "$HOME", ".hidden", "-x", "größe-客", `a\\nb`} {
		var b strings.Builder
		explanation{Entry: &journal.Refusal{Domain: name, Decision: "refuse"}, Earlier: 2}.entry(&b)
		_, command, _ := strings.Cut(b.String(), ", see ")
		said, err := exec.Command("sh", "-c", `journalctl() { printf '%s:' "$@"; }; `+command).Output()
		if want := "-t:hugeguard:HUGEGUARD_DOMAIN=" + name + ":"; err != nil || string(said) != want {
			t.Errorf("a shell takes %s for %q, want %q: %v", command, said, want, err)
		}
	}
}
