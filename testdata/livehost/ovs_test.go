package livehost

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// qemuNoPages is how QEMU ends where the pages it was promised are not to be had.
const qemuNoPages = "unable to map backing store for guest RAM: Cannot allocate memory"

// The incident: Open vSwitch holds the pages that nobody told anyone about. The guard refuses and
// names it; without the guard QEMU dies from the same state; with the pages back the domain starts.
func TestOpenVSwitchHoldsThePages(t *testing.T) {
	// The kernel names the process after its file: the distribution's link, or what it leads to.
	link := live.path("ovs-vswitchd")
	if err := os.Symlink(ovsVswitchd, link); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	renamed := live.path("forwarder")
	binary, err := os.ReadFile(ovsVswitchd)
	if err == nil {
		err = os.WriteFile(renamed, binary, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, program, comm string }{
		{"by the alternatives link", link, "ovs-vswitchd"},
		{"by its file", ovsVswitchd, "ovs-vswitchd-dp"},
		{"under another name", renamed, "forwarder"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := begin(t, 256)
			s.must(os.MkdirAll("/etc/nova", 0o755))
			t.Cleanup(func() { os.RemoveAll("/etc/nova") })
			s.must(os.WriteFile("/etc/nova/nova.conf", []byte("[DEFAULT]\n"), 0o644))
			s.installGuard()
			d := domain{name: "third", mib: 64, cells: 1}
			s.define(d)
			ovs := s.ovsHolds(test.program, 24)
			held := hugePagesOf(ovs.pid())
			before := s.pool()
			if before.free != 256-held || before.free >= 32 {
				t.Fatalf("Open vSwitch holds %d pages, the pool is %+v", held, before)
			}

			line, e := s.refused(d)
			want := fmt.Sprintf(`^OVS-DPDK holds node 0's 2M pages: %d of 256 free, 32 needed \(64 MiB\); %s \(pid %d\) has %d\b.*`+
				`; fix: reserved_huge_pages=node:0,size:2048,count:%d\b.*; more: hugeguard explain third$`,
				before.free, test.comm, ovs.pid(), held, held)
			if !regexp.MustCompile(want).MatchString(line) {
				t.Errorf("the refusal is\n%s\nwant\n%s", line, want)
			}
			e.want(t, map[string]string{
				"HUGEGUARD_CAUSE":        "ovs-reservation",
				"HUGEGUARD_HOLDER":       test.comm,
				"HUGEGUARD_HOLDER_PID":   itoa(ovs.pid()),
				"HUGEGUARD_HOLDER_PAGES": itoa(held),
			})
			setting := fmt.Sprintf("reserved_huge_pages=node:0,size:2048,count:%d", held)
			if got := e.one(t, "HUGEGUARD_FIX"); !strings.Contains(got, setting) {
				t.Errorf("HUGEGUARD_FIX=%q, want %q in it", got, setting)
			}
			// Told in MiB, of which DPDK takes pages, and some more for itself.
			told := fmt.Sprintf("Open vSwitch was told dpdk-extra=--no-pci dpdk-init=true dpdk-socket-mem=464; node 0: 464 MiB told (232 pages of 2 MiB), %d MiB held", 2*held)
			if extra := 2*held - 464; extra > 0 {
				told += fmt.Sprintf(", %d MiB more than told", extra)
			}
			if got := e.one(t, "MESSAGE"); !strings.Contains(got, told) || !regexp.MustCompile(`, [1-9]\d* MiB used\n`).MatchString(got) {
				t.Errorf("the journal's message lacks %q, or how much of that is used:\n%s", told, got)
			}
			if got := e.one(t, "MESSAGE"); strings.Count(got, "\n") < 2 || !strings.Contains(got, "\n"+setting) && !strings.Contains(got, " "+setting) {
				t.Errorf("the journal's message lacks the fix %q:\n%s", setting, got)
			}
			for range 5 {
				if _, _, err := s.start(d); err == nil {
					t.Fatal("it was started after all")
				}
			}
			if after := s.pool(); after != before {
				t.Errorf("the refusal changed the pool from %+v to %+v", before, after)
			}

			s.uninstallGuard()
			_, took, err := s.start(d)
			if !s.died(d, err, qemuNoPages) {
				t.Fatalf("without the guard: %v; want QEMU's %q", err, qemuNoPages)
			}
			t.Logf("without the guard QEMU died in %v", took.Round(time.Millisecond))
			if n := s.launches(d); n != 1 {
				t.Errorf("without the guard QEMU was run %d times", n)
			}
			s.installGuard()
			s.must(s.stopOVS())
			s.starts(d)
		})
	}
}

// The database stands, Open vSwitch itself does not run yet, as at a boot with guests that start by
// themselves: the start is allowed, and what it takes from Open vSwitch is told.
func TestOpenVSwitchHasNotTakenItsPages(t *testing.T) {
	s := begin(t, 64)
	s.installGuard()
	d := domain{name: "early", mib: 64, cells: 1, shared: true, vhost: "/run/vhu-early"}
	s.define(d)
	s.must(s.startDatabase(80))
	// QEMU would wait for Open vSwitch at the interface's socket: what counts is that it is run.
	broken := s.path("broken-" + d.name)
	s.must(os.WriteFile(broken, nil, 0o644))
	t.Cleanup(func() { os.Remove(broken) })
	before := len(s.guardEntries())
	s.start(d)
	if n := s.launches(d); n != 1 {
		t.Errorf("QEMU was run %d times", n)
	}
	entries := s.guardEntries()[before:]
	if len(entries) != 1 {
		t.Fatalf("the start made %d journal entries, want 1: %q", len(entries), entries)
	}
	entries[0].want(t, map[string]string{"HUGEGUARD_DECISION": "warn", "PRIORITY": "4"})
	const want = "OVS-DPDK lacks node 0's 2M pages: it was told to take 40 pages (80 MiB) and has not taken them yet, this start leaves it 32"
	if got := entries[0].one(t, "MESSAGE"); !strings.HasPrefix(got, want) {
		t.Errorf("the journal says\n%s\nwant %s", got, want)
	}
}

// The second cell is the one that does not fit.
func TestOpenVSwitchAndTwoCells(t *testing.T) {
	s := begin(t, 256)
	s.installGuard()
	d := domain{name: "twocells", mib: 64, cells: 2}
	s.define(d)
	ovs := s.ovsHolds(ovsVswitchd, 24)
	if free := s.pool().free; free < 16 || free >= 32 {
		t.Fatalf("%d pages are free, want room for one cell of 16 and not for two", free)
	}
	_, e := s.refused(d)
	e.want(t, map[string]string{
		"HUGEGUARD_CAUSE":      "ovs-reservation",
		"HUGEGUARD_HOLDER_PID": itoa(ovs.pid()),
	})
}

// Open vSwitch is to blame where its pages would do, no matter who else has some, and only there.
func TestOpenVSwitchBesideAGuest(t *testing.T) {
	for _, test := range []struct {
		name, cause string
		rest        int // of the pool that Open vSwitch leaves
		guest       int // MiB of the guest that takes most of that
	}{
		{"its pages would do", "ovs-reservation", 72, 128}, // leaves 8 or so, 24 are missing
		{"its pages would not do", "guests", 240, 448},     // holds 16 or so, leaves 16
	} {
		t.Run(test.name, func(t *testing.T) {
			s := begin(t, 256)
			s.installGuard()
			beside, d := domain{name: "beside", mib: test.guest, cells: 1}, domain{name: "wants more", mib: 80, cells: 1}
			s.define(beside)
			s.define(d)
			ovs := s.ovsHolds(ovsVswitchd, test.rest)
			s.starts(beside)
			missing := d.mib/2 - s.pool().free
			if held := hugePagesOf(ovs.pid()); missing <= 0 || missing <= held != (test.cause == "ovs-reservation") {
				t.Fatalf("%d pages are missing, Open vSwitch holds %d: not the case in question", missing, held)
			}
			_, e := s.refused(d)
			e.want(t, map[string]string{"HUGEGUARD_CAUSE": test.cause})
			if m := e.one(t, "MESSAGE"); !strings.Contains(m, "beside") || !strings.Contains(m, fmt.Sprintf("pid %d", ovs.pid())) {
				t.Errorf("the journal does not name both holders:\n%s", m)
			}
		})
	}
}
