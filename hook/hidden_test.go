package hook

import (
	"strings"
	"testing"

	"hugeguard/hook/hooktest"
	"hugeguard/hook/ledger"
)

// TestHiddenMountIsAWarning: QEMU maps ordinary memory there and starts, however few huge pages there are; nothing is
// claimed for it.
func TestHiddenMountIsAWarning(t *testing.T) {
	f := newFixture(t, strings.NewReader(hooktest.Domain(t, "prepare.xml")))
	mounts, err := f.fs.ReadFile("proc/mounts", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	f.host.Write("proc/mounts", string(mounts)+"/dev/vda1 /dev/hugepages/libvirt/qemu xfs rw,relatime 0 0\n")
	if status := f.prepare(); status != exitAccept || f.stderr.Len() > 0 || len(f.entries) != 1 {
		t.Fatalf("status %d, stderr %q, journal %+v", status, &f.stderr, f.entries)
	}
	const want = "xfs is mounted over 2M pages at /dev/hugepages/libvirt/qemu: until it is unmounted, ram-node0 will lie on it, in ordinary memory"
	e := f.entries[0]
	if first, _, _ := strings.Cut(e.Message, "\n"); first != want || e.Priority != warning || e.Fields["HUGEGUARD_DECISION"] != "warn" {
		t.Errorf("priority %d, %v:\n%s", e.Priority, e.Fields, e.Message)
	}
	if l, err := ledger.Read(f.fs); err != nil || len(l.Claims) > 0 {
		t.Errorf("the ledger has %+v, %v", l, err)
	}
}
