package main

import (
	"context"
	"os"
	"strings"
	"testing"

	"hugeguard/sysfs/sysfstest"
)

// reserveOn runs reserve on a host.
func reserveOn(t *testing.T, h sysfstest.Host, args ...string) (status int, out string) {
	t.Helper()
	var stdout, stderr strings.Builder
	status = Run(context.Background(), append([]string{"reserve", "--root", h.Path("")}, args...), strings.NewReader(""), &stdout, &stderr)
	return status, stdout.String() + stderr.String()
}

func withNova(t *testing.T, conf string) sysfstest.Host {
	t.Helper()
	h := sysfstest.Copy(t, incident)
	h.Write("etc/nova/nova.conf", conf)
	h.Write("etc/hugeguard.conf", "reserve = write\n")
	return h
}

func read(t *testing.T, h sysfstest.Host, name string) string {
	t.Helper()
	text, err := os.ReadFile(h.Path(name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(text)
}

const novaDropIn, reservesBoth = "etc/nova/nova.conf.d/zz-hugeguard.conf", "[DEFAULT]\nreserved_huge_pages=node:0,size:2048,count:512\nreserved_huge_pages=node:1,size:2048,count:512\n"

// TestReserveWrites: it shows what it does, does it once, and takes it away again.
func TestReserveWrites(t *testing.T) {
	h := withNova(t, "[DEFAULT]\npassword=hunter2\n")
	step := func(want string, args ...string) {
		t.Helper()
		status, out := reserveOn(t, h, args...)
		if status != exitOK || !strings.Contains(out, want) || strings.Contains(out, "hunter2") {
			t.Errorf("%q: status %d, want %q in\n%s", args, status, want, out)
		}
	}
	step("+reserved_huge_pages=node:0,size:2048,count:512\n", "--write", "--dry-run")
	if text := read(t, h, novaDropIn); text != "" {
		t.Errorf("a dry run writes %q", text)
	}
	step("nova-compute uses it when it is restarted", "--write")
	if text := read(t, h, novaDropIn); !strings.HasSuffix(text, reservesBoth) {
		t.Errorf("it wrote %q", text)
	}
	step("nothing is to be changed", "--write")
	step("-reserved_huge_pages=node:1,size:2048,count:512\n", "--remove")
	if text := read(t, h, novaDropIn); text != "" {
		t.Errorf("%q is left", text)
	}
	step("nothing is to be changed", "--remove")
}

// TestReserveTimer: it acts on what two looks saw, as the setting says, and on nothing that was not seen whole.
func TestReserveTimer(t *testing.T) {
	for setting, want := range map[string]string{"off": "", "report": "", "write": reservesBoth} {
		h := withNova(t, "[DEFAULT]\n")
		h.Write("etc/hugeguard.conf", "reserve = "+setting+"\n")
		for look := range 3 {
			status, out := reserveOn(t, h, "--timer")
			text := read(t, h, novaDropIn)
			said := strings.Contains(out, "Nova does not reserve what is held or was promised: node:0,size:2048,count:512")
			switch {
			case status != exitOK:
				t.Errorf("%s: status %d: %s", setting, status, out)
			case look == 0 && (text != "" || said):
				t.Errorf("%s: the first look writes %q, and says %s", setting, text, out)
			case look == 1 && (!strings.HasSuffix(text, want) || want == "" && text != "" || said != (setting != "off")):
				t.Errorf("%s: the second look writes %q, and says %s", setting, text, out)
			case look == 2 && said != (setting == "report"):
				t.Errorf("%s: the third look says %s", setting, out)
			}
		}
	}
}

// TestReserveRefuses: what it must not change, or not now.
func TestReserveRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		make   func(h sysfstest.Host)
		status int
		want   string
		args   []string
	}{
		"another tool's": {func(h sysfstest.Host) { h.Write("etc/nova/nova.conf", "# Ansible managed\n[DEFAULT]\n") }, exitError, "nothing is written here", []string{"--write"}},
		"unreadable":     {func(h sysfstest.Host) { h.Write("etc/nova/nova.conf", "[DEFAULT\n") }, exitError, "it is not known what is reserved now", []string{"--write"}},
		"no Nova":        {func(h sysfstest.Host) { h.Remove("etc/nova") }, exitError, "", []string{"--write"}},
		"not running":    {func(sysfstest.Host) {}, exitError, "nova-compute does not run", []string{"--write", "--restart"}},
		"two at once":    {func(sysfstest.Host) {}, exitUsage, "", []string{"--write", "--remove"}},
		"nothing to try": {func(sysfstest.Host) {}, exitUsage, "--dry-run and --restart need", []string{"--dry-run"}},
		"unknown format": {func(sysfstest.Host) {}, exitUsage, "openstack-ansible", []string{"--format", "x"}},
	} {
		h := withNova(t, "[DEFAULT]\n")
		test.make(h)
		status, out := reserveOn(t, h, test.args...)
		if status != test.status || !strings.Contains(out, test.want) {
			t.Errorf("%s: status %d, want %d and %q: %s", name, status, test.status, test.want, out)
		}
	}
	if status := Run(context.Background(), []string{"reserve", "--write", "--root", os.Args[0]}, strings.NewReader(""), &strings.Builder{}, &strings.Builder{}); status == exitOK {
		t.Error("a file is taken for a host")
	}
}
