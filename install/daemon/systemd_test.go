package daemon

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/godbus/dbus/v5"
)

// manager is so much of systemd as a reload needs (org.freedesktop.systemd1).
type manager struct {
	conn    *dbus.Conn
	result  string // of each job; "" if it does not end
	asked   chan struct{}
	reloads atomic.Int32
}

const jobPath = dbus.ObjectPath("/org/freedesktop/systemd1/job/7")

// ReloadUnit is the method of that name.
func (m *manager) ReloadUnit(unit, mode string) (dbus.ObjectPath, *dbus.Error) {
	if unit != "libvirtd.service" || mode != "replace" {
		return "", dbus.MakeFailedError(fmt.Errorf("reload of %s, %s", unit, mode))
	}
	m.reloads.Add(1)
	m.asked <- struct{}{}
	if m.result != "" { // the job's end may be told before its name
		m.conn.Emit("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager.JobRemoved", uint32(7), jobPath, unit, m.result)
	}
	return jobPath, nil
}

// unitProperties are those of one unit (org.freedesktop.DBus.Properties).
type unitProperties map[string]any

// Get is the method of that name.
func (u unitProperties) Get(_, name string) (dbus.Variant, *dbus.Error) {
	return dbus.MakeVariant(u[name]), nil
}

// startManager starts a bus with the manager on it, the system's bus for this test.
func startManager(t *testing.T, result string) *manager {
	t.Helper()
	daemon, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(daemon, "--session", "--nofork", "--nopidfile", "--print-address",
		"--address=unix:path="+filepath.Join(t.TempDir(), "bus"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", strings.TrimSpace(address))

	conn, err := dbus.ConnectSystemBus()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	m := &manager{conn: conn, result: result, asked: make(chan struct{}, 10)}
	if err := conn.Export(m, "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"); err != nil {
		t.Fatal(err)
	}
	for path, properties := range map[dbus.ObjectPath]unitProperties{
		"libvirtd_2eservice":  {"ActiveState": "active", "MainPID": uint32(702)},
		"virtqemud_2eservice": {"ActiveState": "deactivating", "MainPID": uint32(703)},
	} {
		if err := conn.Export(properties, "/org/freedesktop/systemd1/unit/"+path, "org.freedesktop.DBus.Properties"); err != nil {
			t.Fatal(err)
		}
	}
	if reply, err := conn.RequestName("org.freedesktop.systemd1", dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatal(reply, err)
	}
	return m
}

// connected is connected to the manager that was started last.
func connected(t *testing.T) systemd {
	t.Helper()
	conn, err := connect(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return systemd{conn}
}

func TestUnits(t *testing.T) {
	m := startManager(t, "done")
	ctx, u := context.Background(), connected(t)
	for unit, want := range map[string]int{"libvirtd.service": 702, "virtqemud.service": 0} {
		if pid, err := u.MainPID(ctx, unit); err != nil || pid != want {
			t.Errorf("MainPID(%s) = %d, %v, want %d", unit, pid, err, want)
		}
	}
	if _, err := u.MainPID(ctx, "none.service"); err == nil {
		t.Error("a unit that is not there has a process")
	}
	if err := u.Reload(ctx, "libvirtd.service"); err != nil || m.reloads.Load() != 1 {
		t.Errorf("Reload: %v, %d reloads", err, m.reloads.Load())
	}
	if err := u.Reload(ctx, "other.service"); err == nil || !strings.Contains(err.Error(), "reload of other.service") {
		t.Errorf("Reload of a unit that is not there: %v", err)
	}
}

func TestReloadFails(t *testing.T) {
	startManager(t, "failed")
	ctx, u := context.Background(), connected(t)
	if err := u.Reload(ctx, "libvirtd.service"); err == nil || !strings.Contains(err.Error(), `ended as "failed"`) {
		t.Errorf("Reload: %v", err)
	}

	m := startManager(t, "") // it does not come to an end
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		<-m.asked
		cancel()
	}()
	if err := connected(t).Reload(ctx, "libvirtd.service"); !errors.Is(err, context.Canceled) {
		t.Errorf("a reload that nobody waits for any more: %v", err)
	}
}
