package hook

import (
	"os"
	"strings"
	"testing"

	"hugeguard/guard"
	"hugeguard/hook/config"
	"hugeguard/hook/hooktest"
	"hugeguard/hook/ledger"
	"hugeguard/sysfs/sysfstest"
)

// An exempt domain is judged and allowed, also if it cannot be judged.
func TestExemptIsAllowed(t *testing.T) {
	const mark = "<metadata><h:exempt xmlns:h='" + guard.Namespace + "'/></metadata>"
	plain := hooktest.Domain(t, "prepare.xml")
	marked := strings.Replace(plain, "<memory ", mark+"<memory ", 1)
	if marked == plain {
		t.Fatal("the metadata has no place")
	}
	const own = "exempt = instance-0000000[3]\n"
	for _, c := range []struct {
		name, conf, xml string
		status          int
		by              string
	}{
		{"by pattern", own, plain, exitAccept, "pattern instance-0000000[3]"},
		{"by metadata", "", marked, exitAccept, "metadata"},
		{"metadata counts not", "exempt_metadata = off\n", marked, exitRefuse, ""},
		{"other pattern", "exempt = instance\n", plain, exitRefuse, ""},
		{"and mode = warn", "mode = warn\n" + own, plain, exitAccept, "pattern instance-0000000[3]"},
	} {
		f := newFixture(t, strings.NewReader(c.xml))
		f.host.Write(config.Path, c.conf)
		if status := f.prepare(); status != c.status || len(f.entries) != 1 {
			t.Errorf("%s: status %d, %+v", c.name, status, f.entries)
			continue
		}
		e := f.entries[0]
		first, rest, _ := strings.Cut(e.Message, "\n")
		if e.Fields["HUGEGUARD_EXEMPT"] != c.by || e.Fields["HUGEGUARD_DECISION"] != "refuse" || !strings.HasPrefix(rest, "verdict: refuse, as QEMU would fail\ndomain instance-00000003") {
			t.Errorf("%s: %q %q", c.name, e.Fields, e.Message)
		}
		if allowed := c.status == exitAccept; allowed != (strings.HasPrefix(first, "would refuse: OVS-DPDK holds node 0's 2M pages: 0 of 1024 free") && strings.HasSuffix(first, "; allowed: exempt by "+c.by)) ||
			allowed != f.fs.Exists(ledger.Path) || // its pages count as gone
			allowed != (e.Priority == warning) || allowed != (f.stderr.Len() == 0) {
			t.Errorf("%s: priority %d, stderr %q, journal %q", c.name, e.Priority, &f.stderr, first)
		}
	}
	// What cannot be judged.
	for _, c := range []struct {
		name, conf, xml, spoil string
		status                 int
	}{
		{"no XML", "", "", "", exitRefuse},
		{"no XML, by pattern", own, "", "", exitAccept},
		{"no counters", "", plain, "sys", exitRefuse},
		{"no counters, by pattern", own, plain, "sys", exitAccept},
		{"no counters, by metadata", "", marked, "sys", exitAccept},
	} {
		f := newFixture(t, strings.NewReader(c.xml))
		f.host.Write(config.Path, "fail = closed\n"+c.conf)
		if c.spoil != "" {
			f.host.Remove(c.spoil)
		}
		status := f.prepare()
		if status != c.status || len(f.entries) != 1 || f.entries[0].Fields["HUGEGUARD_DOMAIN"] != "instance-00000003" ||
			strings.Contains(f.entries[0].Message, "; allowed: exempt by ") != (c.status == exitAccept) {
			t.Errorf("%s: status %d, %+v", c.name, status, f.entries)
		}
	}
}

// A file of root's that cannot be read hides its mode. One that others may have to do with is as if it were absent.
func TestConfigUnread(t *testing.T) {
	link := func(h sysfstest.Host, to string) {
		if err := os.Symlink(to, h.Path(config.Path)); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		spoil func(h sysfstest.Host)
		want  config.Mode
	}{
		"too large":                   {func(h sysfstest.Host) { h.Write(config.Path, strings.Repeat("#", config.Limit+1)) }, config.WarnOnly},
		"a link that leads to itself": {func(h sysfstest.Host) { link(h, "hugeguard.conf") }, config.Enforce},
		"a link to what is too large": {func(h sysfstest.Host) {
			h.Write("etc/large", strings.Repeat("#", config.Limit+1))
			link(h, "large")
		}, config.Enforce},
		"a link to nothing": {func(h sysfstest.Host) { link(h, "nothing") }, config.Enforce},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, strings.NewReader(hooktest.Domain(t, "prepare.xml")))
			c.spoil(f.host)
			read, err := config.Read(f.fs)
			if read.Mode != c.want || read.ModeUnread != (c.want == config.WarnOnly) {
				t.Errorf("mode = %s, unread: %v, want mode = %s", read.Mode, read.ModeUnread, c.want)
			}
			if err != nil && !strings.Contains(err.Error(), f.host.Path(config.Path)) {
				t.Error(err)
			}
			if status := f.prepare(); (status == exitAccept) != (c.want == config.WarnOnly) {
				t.Errorf("exit status %d, journal %+v", status, f.entries)
			}
		})
	}
}

// A mode that cannot be read refuses no start, and the journal says why before it says what would be refused.
func TestUnreadModeRefusesNothing(t *testing.T) {
	f := newFixture(t, strings.NewReader(hooktest.Domain(t, "prepare.xml")))
	f.host.Write(config.Path, strings.Repeat("x = y\n", 20)+"mode = wran\n")
	if status := f.prepare(); status != exitAccept || len(f.entries) != 2 ||
		!strings.HasPrefix(f.entries[0].Message, "the mode cannot be read, so hugeguard refuses nothing (mode = warn); ") ||
		!strings.HasPrefix(f.entries[1].Message, "would refuse: ") {
		t.Errorf("status %d, %+v", status, f.entries)
	}
}

// Of many wrong lines the journal has some.
func TestWrongLinesAreTold(t *testing.T) {
	f := newFixture(t, strings.NewReader(hooktest.Domain(t, "prepare.xml")))
	f.host.Write(config.Path, strings.Repeat("dedline = "+strings.Repeat("\x1b", 200)+"\n", 1000))
	if status := f.prepare(); status != exitRefuse || len(f.entries) != 2 || !strings.Contains(f.entries[0].Message, f.host.Path(config.Path)+`: line 1: "dedline = \x1b`) {
		t.Errorf("status %d, %+v", status, f.entries)
	}
}
