package process

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hugeguard/guard"
	"hugeguard/hook/hooktest"
	"hugeguard/sysfs"
)

// TestGuestNames: the daemon's own pid file is no guest's.
func TestGuestNames(t *testing.T) {
	got := Guests(hooktest.Incident(t).FS())
	if diff := cmp.Diff(map[int]string{3066: "instance-00000001", 3085: "instance-00000002"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestIdentify: Open vSwitch is known under any name, and a QEMU that libvirt did not start is a process.
func TestIdentify(t *testing.T) {
	for _, test := range []struct {
		comm, arguments, program string
		want                     guard.HolderKind
		name                     string
	}{
		{"ovs-vswitchd-dp", "/usr/lib/x", "", guard.HolderOVS, "ovs-vswitchd-dp"},
		{"main", "/usr/sbin/ovs-vswitchd --pidfile", "", guard.HolderOVS, "main"},
		{"forwarder", "/opt/forwarder --pidfile unix:/run/openvswitch/db.sock", "", guard.HolderOVS, "forwarder"},
		{"forwarder", "/opt/forwarder", "/usr/sbin/ovs-vswitchd (deleted)", guard.HolderOVS, "forwarder"},
		{"vpp_main", "/usr/bin/vpp -c unix:/run/vpp/cli.sock", "/usr/bin/vpp", guard.HolderProcess, "vpp_main"},
		{"qemu-system-x86", "/usr/bin/qemu-system-x86_64 -name mine", "", guard.HolderProcess, "qemu-system-x86"},
		{"qemu-system-x86", "/usr/bin/qemu-system-x86_64 -name guest=a,,b,debug-threads=on", "", guard.HolderGuest, "a,b"},
		{"empty", "", "", guard.HolderProcess, "empty"},
	} {
		h := hooktest.Incident(t)
		h.Write("proc/7/cmdline", strings.ReplaceAll(test.arguments, " ", "\x00"))
		if test.program != "" {
			if err := os.Symlink(test.program, h.Path("proc/7/exe")); err != nil {
				t.Fatal(err)
			}
		}
		kind, name := Identify(h.FS(), sysfs.Process{PID: 7, Name: test.comm}, nil)
		if kind != test.want || name != test.name {
			t.Errorf("%s %q %q: %s %s", test.comm, test.arguments, test.program, kind, name)
		}
	}
}

func TestGuestName(t *testing.T) {
	for argument, want := range map[string]string{
		"guest=a,debug-threads=on":    "a",
		"guest=a,,b,debug-threads=on": "a,b",
		"guest=,":                     "",
	} {
		if got, ok := guestName([]string{"qemu", "-name", argument}); !ok || got != want {
			t.Errorf("%s: %q, %v", argument, got, ok)
		}
	}
	for _, arguments := range [][]string{nil, {"qemu"}, {"qemu", "-name"}, {"qemu", "-name", "process=x"}} {
		if got, ok := guestName(arguments); ok {
			t.Errorf("%q: %q", arguments, got)
		}
	}
}
