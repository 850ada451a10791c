package livehost

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every cause but Open vSwitch (ovs_test.go), each from pages that are really held that way.

func TestCauseGuests(t *testing.T) {
	s := begin(t, 64)
	s.installGuard()
	first, second := domain{name: "first", mib: 96, cells: 1}, domain{name: "second", mib: 64, cells: 1}
	s.define(first)
	s.define(second)
	s.starts(first)
	line, e := s.refused(second)
	e.want(t, map[string]string{
		"HUGEGUARD_CAUSE":        "guests",
		"HUGEGUARD_HOLDER_PID":   itoa(s.qemuPID(first)),
		"HUGEGUARD_HOLDER_PAGES": "48",
	})
	if !strings.Contains(line, "first") || !strings.Contains(e.one(t, "HUGEGUARD_HOLDER"), "first") {
		t.Errorf("the guest first is not named: HUGEGUARD_HOLDER=%q\n%s", e.one(t, "HUGEGUARD_HOLDER"), line)
	}
	s.virsh("destroy", first.name)
	s.starts(second)
}

func TestCauseOtherHolder(t *testing.T) {
	s := begin(t, 64)
	s.installGuard()
	d := domain{name: "squeezed", mib: 64, cells: 1}
	s.define(d)
	h := s.hold("packetmover", touched, 40)
	line, e := s.refused(d)
	e.want(t, map[string]string{
		"HUGEGUARD_CAUSE":        "other-holder",
		"HUGEGUARD_HOLDER":       "packetmover",
		"HUGEGUARD_HOLDER_PID":   itoa(h.pid()),
		"HUGEGUARD_HOLDER_PAGES": "40",
	})
	if !strings.Contains(line, "packetmover") {
		t.Errorf("the holder is not named:\n%s", line)
	}
	h.release()
	s.starts(d)
}

// Free pages that the kernel has promised to somebody are not free.
func TestCauseKernelReserved(t *testing.T) {
	s := begin(t, 64)
	s.installGuard()
	d := domain{name: "squeezed", mib: 64, cells: 1}
	s.define(d)
	h := s.hold("lazybones", reserved, 40)
	if p := s.pool(); p != (pool{total: 64, free: 64, reserved: 40}) {
		t.Fatalf("the pool is %+v, want all free and 40 reserved", p)
	}
	line, e := s.refused(d)
	e.want(t, map[string]string{"HUGEGUARD_CAUSE": "kernel-reserved", "HUGEGUARD_FREE": "64", "HUGEGUARD_NEEDED": "32"})
	if !strings.Contains(line, "40 of them reserved") {
		t.Errorf("the reservation is not told:\n%s", line)
	}

	s.uninstallGuard()
	if _, _, err := s.start(d); err == nil || !strings.Contains(err.Error(), qemuNoPages) {
		t.Errorf("without the guard: %v; want QEMU's %q", err, qemuNoPages)
	}
	h.release()
}

// Pages in a file that nobody has open are gone, and no process shows them.
func TestCauseUnaccounted(t *testing.T) {
	s := begin(t, 64)
	s.installGuard()
	d := domain{name: "squeezed", mib: 64, cells: 1}
	s.define(d)
	s.hold("crashed", file, 40).release()
	name := filepath.Join(hugetlbfs, "leftover")
	t.Cleanup(func() { os.Remove(name) })
	if p := s.pool(); p.free != 24 {
		t.Fatalf("the pool is %+v, want 40 pages held by a file", p)
	}
	line, e := s.refused(d)
	e.want(t, map[string]string{"HUGEGUARD_CAUSE": "unaccounted"})
	if !strings.Contains(line, "40 of 64 pages are held by nobody that can be seen") {
		t.Errorf("what is gone is not told:\n%s", line)
	}
	s.must(os.Remove(name))
	s.starts(d)
}

func TestCausePoolMissing(t *testing.T) {
	s := begin(t, 0)
	s.installGuard()
	d := domain{name: "dry", mib: 64, cells: 1}
	s.define(d)
	_, e := s.refused(d)
	e.want(t, map[string]string{"HUGEGUARD_CAUSE": "pool-missing"})
}

// A domain that names no node is refused where no node can serve it.
func TestCausePoolTooSmallUnbound(t *testing.T) {
	s := begin(t, 16)
	s.installGuard()
	d := domain{name: "wide", mib: 64, soft: true}
	s.define(d)
	_, e := s.refused(d)
	e.want(t, map[string]string{"HUGEGUARD_CAUSE": "pool-too-small"})
}

// The mend of a pool that is missing or too small is one command, after which the domain starts.
func TestMendOfThePoolMends(t *testing.T) {
	for _, d := range []domain{
		{name: "onecell", mib: 64, cells: 1},
		{name: "threecells", mib: 96, cells: 3},
		{name: "with-dimm", mib: 64, cells: 1, dimm: 32},
		{name: "unbound", mib: 64, cells: 2, soft: true},
	} {
		for _, pages := range []int{0, 20} {
			t.Run(fmt.Sprintf("%s from %d", d.name, pages), func(t *testing.T) {
				s := begin(t, pages)
				s.installGuard()
				s.define(d)
				_, e := s.refused(d)
				mend := e.one(t, "HUGEGUARD_REMEDY")
				if !strings.HasPrefix(mend, "echo ") {
					t.Fatalf("HUGEGUARD_REMEDY=%q is no command", mend)
				}
				_, err := run("/bin/sh", "-c", mend)
				s.must(err)
				s.size = s.pool().total
				t.Logf("%s: %+v", mend, s.pool())
				s.starts(d)
			})
		}
	}
}
