package daemon

import (
	"testing"

	"hugeguard/sysfs/sysfstest"
)

// A daemon that does not run is known by who listens in its place, and by nothing else.
func TestOnDemand(t *testing.T) {
	const (
		head      = "Num       RefCount Protocol Flags    Type St Inode Path\n"
		listens   = "0000000000000000: 00000002 00000000 00010000 0001 01 26711 "
		connected = "0000000000000000: 00000003 00000000 00000000 0001 03 26712 "
		qemu      = "/run/libvirt/virtqemud-sock\n"
		legacy    = "/run/libvirt/libvirt-sock\n"
	)
	for text, want := range map[string]string{
		"":                       "",
		head:                     "",
		head + listens + qemu:    "virtqemud",
		head + connected + qemu:  "",
		head + listens + "\n":    "",
		head + listens + legacy:  "libvirtd",
		listens + "/var" + qemu:  "virtqemud",
		listens + "/tmp" + qemu:  "",
		"x x x 10000 x x x x\nx": "",
		listens + "/run/libvirt/virtqemud-sock-ro\n" + listens + legacy: "libvirtd",
		// virtproxyd listens, too.
		listens + legacy + listens + qemu: "virtqemud",
	} {
		h := sysfstest.New(t)
		h.Write("proc/1/net/unix", text)
		if got := On(h.FS()).OnDemand(); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := On(sysfstest.New(t).FS()).OnDemand(); got != "" {
		t.Errorf("without a list: %q", got)
	}
}
