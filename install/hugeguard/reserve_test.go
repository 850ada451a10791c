package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"hugeguard/hook/hooktest"
	"hugeguard/hook/ledger"
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

// TestReserveTimer: it acts on what two looks saw, as the setting says.
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

// TestReserveTimerUnknown: a look that does not show the whole host, or what Nova reserves, does not count, and is no
// error.
func TestReserveTimerUnknown(t *testing.T) {
	deadline := holdersDeadline
	t.Cleanup(func() { holdersDeadline = deadline })
	for _, test := range []struct {
		says         string
		spoil, amend func(h sysfstest.Host)
	}{
		{"it is not known what Nova reserves", func(h sysfstest.Host) { h.Write("etc/nova/nova.conf", "[DEFAULT\n") }, func(h sysfstest.Host) { h.Write("etc/nova/nova.conf", "[DEFAULT]\n") }},
		{"it is not known what Nova reserves", func(h sysfstest.Host) { h.Write("etc/nova/nova.conf", "[DEFAULT]\nreserved_huge_pages=${x}\n") },
			func(h sysfstest.Host) { h.Write("etc/nova/nova.conf", "[DEFAULT]\n") }},
		{"1 process could not be read: shy, pid 70, with 4 MiB: more may be held", hides, func(h sysfstest.Host) { h.Remove("proc/70") }},
		{"the lines may be wrong, so ask again", func(sysfstest.Host) { holdersDeadline = -time.Hour }, func(sysfstest.Host) { holdersDeadline = deadline }},
	} {
		h := withNova(t, "[DEFAULT]\n")
		test.spoil(h)
		for range 3 {
			status, out := reserveOn(t, h, "--timer")
			if status != exitOK || !strings.Contains(out, "this look does not count: ") || !strings.Contains(out, test.says) || strings.Contains(out, "Nova does not reserve") {
				t.Errorf("%q: status %d: %s", test.says, status, out)
			}
		}
		test.amend(h)
		for look, want := range []string{"", reservesBoth} {
			status, out := reserveOn(t, h, "--timer")
			if text := read(t, h, novaDropIn); status != exitOK || !strings.HasSuffix(text, want) || want == "" && text != "" {
				t.Errorf("%q: look %d at the whole host: status %d: writes %q: %s", test.says, look+1, status, text, out)
			}
		}
	}
}

// hides makes a process that has huge pages and does not show which.
func hides(h sysfstest.Host) {
	h.Write("proc/70/status", "Name:\tshy\nHugetlbPages:\t    4096 kB\n")
	for _, name := range []string{"maps", "numa_maps", "smaps"} {
		if err := os.Symlink(name, h.Path("proc/70/"+name)); err != nil {
			panic(err)
		}
	}
}

// TestReserveTimerNoNova: where there is no Nova the timer is of no use, which is no error.
func TestReserveTimerNoNova(t *testing.T) {
	h := withNova(t, "")
	h.Remove("etc/nova")
	for setting, want := range map[string]string{"off": "", "report": "this host shows no sign of Nova", "restart": "this host shows no sign of Nova"} {
		h.Write("etc/hugeguard.conf", "reserve = "+setting+"\n")
		if status, out := reserveOn(t, h, "--timer"); status != exitOK || !strings.Contains(out, want) || want == "" && out != "" {
			t.Errorf("%s: status %d, want %q: %s", setting, status, want, out)
		}
	}
}

// TestReserveTimerPools: of each pool it reserves what both looks saw, if both are of one boot.
func TestReserveTimerPools(t *testing.T) {
	const saw = `{"boot":"a","wanted":[{"Node":0,"PageKiB":2048,"Count":700},{"Node":1,"PageKiB":2048,"Count":3}]}`
	for boot, want := range map[string]string{"a": "[DEFAULT]\nreserved_huge_pages=node:0,size:2048,count:512\nreserved_huge_pages=node:1,size:2048,count:3\n", "b": ""} {
		h := withNova(t, "[DEFAULT]\n")
		h.Write("proc/sys/kernel/random/boot_id", boot+"\n")
		h.Write(lookFile, saw)
		status, out := reserveOn(t, h, "--timer")
		if text := read(t, h, novaDropIn); status != exitOK || !strings.HasSuffix(text, want) || want == "" && text != "" {
			t.Errorf("boot %s: status %d, %q: %s", boot, status, text, out)
		}
	}
}

// TestReserveTimerRestarts: nova-compute is to be restarted until it has read what the timer wrote, and not while a guest
// starts.
func TestReserveTimerRestarts(t *testing.T) {
	h := withNova(t, "[DEFAULT]\n")
	hooktest.NovaRuns(h, 1000)
	step := func(want int, says string) {
		t.Helper()
		if status, out := reserveOn(t, h, "--timer"); status != want || !strings.Contains(out, says) || says == "" && out != "" {
			t.Errorf("status %d, want %d and %q: %s", status, want, says, out)
		}
	}
	claims := func(change func(l *ledger.Locked)) {
		t.Helper()
		l, unread, err := ledger.Open(h.FS(), time.Minute)
		if err := errors.Join(unread, err); err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		change(l)
		if err := l.Save(); err != nil {
			t.Fatal(err)
		}
	}
	const restarts = "run systemctl restart nova-compute.service on the host"
	step(exitOK, "")
	step(exitOK, "+reserved_huge_pages=node:0,size:2048,count:512")
	step(exitOK, "")
	h.Write("etc/hugeguard.conf", "reserve = restart\n")
	claims(func(l *ledger.Locked) {
		l.Put(ledger.Claim{UUID: "a0000000-0000-4000-8000-000000000001", Name: "vm-1", Parts: []ledger.Part{{PageKiB: 2048, Pages: 1, Nodes: []int{0}, Hard: true}}})
	})
	step(exitOK, "guests are starting, so a later look restarts nova-compute: vm-1")
	claims(func(l *ledger.Locked) { l.Drop("vm-1") })
	for range 2 {
		step(exitError, restarts)
	}
	hooktest.NovaRuns(h, 1_000_000_000)
	step(exitOK, "")
	hooktest.NovaRuns(h, 1000) // as if somebody else changed the files
	step(exitOK, "")
}

// TestReserveRestarts: nova-compute is restarted by its own unit or container, and only if nothing else would be.
func TestReserveRestarts(t *testing.T) {
	const id = "3f2a9c1b2d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8"
	for _, test := range []struct{ name, group, beside, want string }{
		{"its unit", "/system.slice/nova-compute.service", "", "run systemctl restart nova-compute.service on the host"},
		{"a unit of another name", "/system.slice/all-in-one.service", "", "it is not the main process of all-in-one.service"},
		{"another unit of Nova's", "/system.slice/nova-api.service", "", "it is not the main process of nova-api.service"},
		{"a unit of devstack", "/system.slice/devstack@n-cpu.service", "", "run systemctl restart devstack@n-cpu.service on the host"},
		{"a unit with guests of another name", "/system.slice/nova-compute.service", "kvm-spice", "kvm-spice runs beside it"},
		{"a unit with containers", "/system.slice/nova-compute.service", "libvirt_lxc", "libvirt_lxc runs beside it"},
		{"a unit with guests", "/system.slice/nova-compute.service", "qemu-system-x86", "qemu-system-x86 runs beside it in nova-compute.service"},
		{"a unit with libvirt", "/system.slice/nova-compute.service", "libvirtd", "libvirtd runs beside it in nova-compute.service"},
		{"its container", "/machine.slice/libpod-" + id + ".scope", "", "run podman restart 3f2a9c1b2d4e on the host"},
		{"a container with guests", "/machine.slice/libpod-" + id + ".scope", "qemu-kvm", "qemu-kvm runs beside it in container 3f2a9c1b2d4e"},
	} {
		h := withNova(t, reservesBoth)
		hooktest.NovaRuns(h, 1000) // before the file was written
		h.Write("proc/812/cgroup", "0::"+test.group+"\n")
		if test.beside != "" {
			h.Write("proc/813/status", "Name:\t"+test.beside+"\nHugetlbPages:\t0 kB\n")
			h.Write("proc/813/cgroup", "0::"+test.group+"\n")
		}
		if strings.Contains(test.want, "podman") {
			// The host's files are kolla's, which it has written, too.
			h.Remove("etc/nova")
			h.Write("etc/kolla/nova-compute/nova.conf", reservesBoth)
		}
		status, out := reserveOn(t, h, "--write", "--restart")
		if status != exitError || !strings.Contains(out, test.want) {
			t.Errorf("%s: status %d, want %q: %s", test.name, status, test.want, out)
		}
	}
}

// TestUnlistedInstances: where not all instances without a domain are known, everything that shows Nova's numbers says so.
func TestUnlistedInstances(t *testing.T) {
	h := withNova(t, "[DEFAULT]\n")
	for i := range 102 {
		h.Write(fmt.Sprintf("var/lib/nova/instances/00000000-0000-0000-0000-%012d/disk.info", i), "{}")
	}
	for _, args := range [][]string{{"reserve"}, {"status"}, {"check", "../../testdata/hosts/plain/prepare.xml"}} {
		var out strings.Builder
		Run(context.Background(), append(args, "--root", h.Path("")), strings.NewReader(""), &out, &out)
		for _, want := range []string{"what it counts for these instances is not known: 00000000-0000-0000-0000-000000000000, ",
			"Nova may count more for instances without a domain, since not all of these are known: 2 more directories of instances have no domain"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: %q is not in\n%s", args[0], want, &out)
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
