package vswitch

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"hugeguard/guard"
	"hugeguard/guard/ovs"
	"hugeguard/hook/hooktest"
	"hugeguard/sysfs"
)

// TestContainedDatabases: a daemon in a container is asked at the socket that
// it was told to use, as its own mounts have it.
func TestContainedDatabases(t *testing.T) {
	h := hooktest.Incident(t)
	h.Write("proc/5/cmdline", "ovs-vswitchd\x00unix:/var/run/../ovs/db.sock\x00--pidfile\x00")
	h.Write("proc/6/cmdline", "ovs-vswitchd\x00tcp:127.0.0.1:6640\x00")
	host := guard.Host{Holders: &guard.Holders{List: []guard.Holder{
		{Kind: guard.HolderGuest, PID: 4}, {Kind: guard.HolderOVS, PID: 5}, {Kind: guard.HolderOVS, PID: 6}}}}
	got := containedDatabases(h.FS(), host)
	want := []socket{{"proc/5/root", "/var/ovs/db.sock"}, {"proc/6/root", "/run/openvswitch/db.sock"}}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestContainedSocket: a link in a container leads to no socket of the host's.
func TestContainedSocket(t *testing.T) {
	dir := filepath.Dir(hooktest.Listen(t, func(c net.Conn) {
		if _, err := io.ReadFull(c, make([]byte, len(ovs.Request))); err == nil {
			io.WriteString(c, hooktest.OVSAnswer(""))
		}
	}))
	if err := os.Mkdir(filepath.Join(dir, "root"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "db.sock"), filepath.Join(dir, "root/db.sock")); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Hour)
	if told, err := askSocket(sysfs.New(""), socket{dir[1:], "/db.sock"}, deadline, ovs.Ask); err != nil || !told.Init {
		t.Errorf("%+v, %v", told, err)
	}
	if told, err := askSocket(sysfs.New(""), socket{dir[1:] + "/root", "/db.sock"}, deadline, ovs.Ask); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%+v, %v", told, err)
	}
}
