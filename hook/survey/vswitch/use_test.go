package vswitch

import (
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"hugeguard/guard"
	"hugeguard/guard/ovs"
	"hugeguard/hook/hooktest"
	"hugeguard/sysfs"
)

// TestControls: an ovs-vswitchd is asked where it was told to listen, or where it listens if it was told nothing, by the
// name and the number that it has for itself.
func TestControls(t *testing.T) {
	h := hooktest.Incident(t)
	h.Write("proc/5/status", "Name:\tovs-vswitchd\nNSpid:\t5\t12\n")
	for _, test := range []struct {
		name, cmdline string
		want          []socket
	}{
		{"told nothing", "ovs-vswitchd\x00--pidfile\x00", []socket{{"proc/5/root", "/run/openvswitch/ovs-vswitchd.12.ctl"}}},
		{"by the file's name, with a database elsewhere", "/usr/lib/ovs-vswitchd-dpdk\x00unix:/var/../srv/ovs/db.sock\x00--pidfile=/run/openvswitch/x.pid\x00",
			[]socket{{"proc/5/root", "/srv/ovs/ovs-vswitchd-dpdk.12.ctl"}, {"proc/5/root", "/run/openvswitch/ovs-vswitchd-dpdk.12.ctl"}}},
		{"told where", "ovs-vswitchd\x00--unixctl=/srv/../run/c.ctl\x00unix:/run/openvswitch/db.sock\x00", []socket{{"proc/5/root", "/run/c.ctl"}}},
	} {
		h.Write("proc/5/cmdline", test.cmdline)
		if got := controls(h.FS(), 5); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
	if got := controls(h.FS(), 0); got != nil {
		t.Errorf("nobody is asked at %q", got)
	}
}

// TestOnlyOVS: of two that hold pages nobody could say which one uses how much.
func TestOnlyOVS(t *testing.T) {
	a, same, b := guard.Holder{Kind: guard.HolderOVS, PID: 5}, guard.Holder{Kind: guard.HolderOVS, PID: 5, PageKiB: 1 << 20}, guard.Holder{Kind: guard.HolderOVS, PID: 6}
	for _, test := range []struct {
		holders []guard.Holder
		want    int
	}{{nil, 0}, {[]guard.Holder{{Kind: guard.HolderGuest, PID: 4}, a, same}, 5}, {[]guard.Holder{a, b}, 0}, {[]guard.Holder{a, b, same}, 0}} {
		if got := onlyOVS(guard.Host{Holders: &guard.Holders{List: test.holders}}); got != test.want {
			t.Errorf("of %v it is %d, want %d", test.holders, got, test.want)
		}
	}
}

// TestUseIsBounded: how much it uses costs no more than the time there is, and what it was told is known without.
func TestUseIsBounded(t *testing.T) {
	hour := time.Now().Add(time.Hour)
	for _, test := range []struct {
		name     string
		serve    func(net.Conn)
		deadline time.Time
		want     uint64
	}{
		{"it answers", func(c net.Conn) {
			io.ReadFull(c, make([]byte, len(ovs.UseRequest)))
			io.WriteString(c, `{"id":0,"result":"Heap name:socket_0\n\tAlloc_size:1048576,\n"}`)
		}, hour, 1024},
		{"it does not know the command", func(c net.Conn) { io.WriteString(c, `{"id":0,"error":"not a valid command"}`) }, hour, 0},
		{"it is silent", func(c net.Conn) { io.Copy(io.Discard, c) }, time.Now(), 0},
	} {
		at := socket{path: hooktest.Listen(t, test.serve)}
		use, err := askSocket(sysfs.New(""), at, test.deadline, ovs.AskUse)
		if use[0] != test.want || (err == nil) != (test.want > 0) {
			t.Errorf("%s: %v, %v", test.name, use, err)
		}
	}
}
