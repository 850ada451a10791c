package livehost

import (
	"strings"
	"testing"
)

// With enough pages a domain starts, the guard says nothing anywhere, and QEMU takes exactly the
// pages that the guard says it will.
func TestEnoughPages(t *testing.T) {
	for _, d := range []domain{
		{name: "onecell", mib: 64, cells: 1},
		{name: "nocell", mib: 64},
		{name: "twocells", mib: 64, cells: 2},
		{name: "shared", mib: 64, cells: 1, shared: true},
		{name: "memfd", mib: 64, cells: 2, source: "memfd"},
		{name: "memfd-shared", mib: 64, cells: 1, source: "memfd", shared: true},
		{name: "unbound", mib: 64, cells: 2, soft: true},
	} {
		t.Run(d.name, func(t *testing.T) {
			s := begin(t, 34)
			s.installGuard()
			s.define(d)
			report := s.askGuard(d)
			if report.Decision != "allow" {
				t.Errorf("check says %s: %s", report.Decision, report.Summary)
			}
			s.starts(d)
			maps := hugeMaps(s.qemuPID(d))
			if want := d.mib / 2; hugePagesOf(s.qemuPID(d)) != want || report.pages() != want {
				t.Errorf("want %d pages; check says %+v; QEMU holds %v", want, report.Demand, maps)
			}
			if free := s.pool().free; free != 34-report.pages() {
				t.Errorf("%d of 34 pages are free beside %d demanded", free, report.pages())
			}
			// The file's name has the backend's, a memfd has not.
			for file, pages := range maps {
				for _, b := range report.Demand {
					if strings.Contains(file, "qemu_back_mem."+b.Backend+".") && b.Pages != pages {
						t.Errorf("check says %d pages for %s, it holds %d", b.Pages, b.Backend, pages)
					}
				}
			}
		})
	}
}

// A size that is no multiple of the page is rounded up by this QEMU, and refused by a later one: the
// start is allowed, with a warning in the journal and none in libvirt's answer.
func TestOddSizeWarns(t *testing.T) {
	s := begin(t, 34)
	s.installGuard()
	d := domain{name: "odd", mib: 65, soft: true}
	s.define(d)
	if report := s.askGuard(d); report.Decision != "warn" || report.pages() != 33 {
		t.Errorf("check says %s for %d pages, want warn for 33", report.Decision, report.pages())
	}
	_, _, err := s.start(d)
	s.must(err)
	if n := hugePagesOf(s.qemuPID(d)); n != 33 {
		t.Errorf("QEMU holds %d pages, want 33", n)
	}
	entries := s.guardEntries()
	if len(entries) != 1 {
		t.Fatalf("%d journal entries, want 1: %q", len(entries), entries)
	}
	entries[0].want(t, map[string]string{
		"PRIORITY":           "4",
		"HUGEGUARD_DECISION": "warn",
		"HUGEGUARD_DOMAIN":   d.name,
		"HUGEGUARD_NEEDED":   "33",
		"HUGEGUARD_FREE":     "34",
		"HUGEGUARD_TOTAL":    "34",
	})
}

// The last free page may be taken, and one more may not.
func TestExactFit(t *testing.T) {
	s := begin(t, 32)
	s.installGuard()
	d := domain{name: "exact", mib: 64, cells: 1}
	s.define(d)
	s.starts(d)
	s.virsh("destroy", d.name)
	s.must(s.noTraces())

	s.setPool(31)
	_, e := s.refused(d)
	e.want(t, map[string]string{"HUGEGUARD_CAUSE": "pool-too-small"})
	s.setPool(32)
}

// Domains without huge pages are none of the guard's business, even where there is no page.
func TestNoHugePages(t *testing.T) {
	s := begin(t, 0)
	s.installGuard()
	d := domain{name: "small", mib: 64, small: true}
	s.define(d)
	s.starts(d)
}
