package livehost

import (
	"strings"
	"testing"
	"time"
)

// What happens without the guard. Were it otherwise, the tests of the guard would prove nothing.

func TestWithoutGuardEnoughPagesStart(t *testing.T) {
	s := begin(t, 256)
	d := domain{name: "plain", mib: 64, cells: 1}
	s.define(d)
	_, took, err := s.start(d)
	s.must(err)
	t.Logf("started in %v", took.Round(time.Millisecond))
	if n := hugePagesOf(s.qemuPID(d)); n != 32 {
		t.Errorf("QEMU holds %d pages, want 32: %v", n, hugeMaps(s.qemuPID(d)))
	}
	if n := s.launches(d); n != 1 {
		t.Errorf("the emulator's wrapper saw %d launches, want 1", n)
	}
}

func TestWithoutGuardQEMUDies(t *testing.T) {
	s := begin(t, 256)
	ovs := s.ovsHolds(ovsVswitchd, 24)
	t.Logf("Open vSwitch holds %d pages: %+v", hugePagesOf(ovs.pid()), s.pool())
	d := domain{name: "doomed", mib: 64, cells: 1}
	s.define(d)
	_, took, err := s.start(d)
	if err == nil || !strings.Contains(err.Error(), "unable to map backing store for guest RAM: Cannot allocate memory") {
		t.Fatalf("start: %v; want QEMU's own message", err)
	}
	t.Logf("QEMU died after %v", took.Round(time.Millisecond))
	if n := s.launches(d); n != 1 {
		t.Errorf("the emulator's wrapper saw %d launches, want 1", n)
	}
}
