package daemon

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
)

// systemd is the service manager of that name, reached over D-Bus.
type systemd struct{ conn *dbus.Conn }

// Systemd connects to the service manager of this host. The caller must call close. units is nil if the host has
// another or none (sd_booted(3): /run/systemd/system), and with an error.
func Systemd(ctx context.Context) (units Units, close func(), err error) {
	close = func() {}
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return nil, close, nil
	}
	conn, err := connect(ctx)
	if err != nil {
		return nil, close, err
	}
	return systemd{conn}, conn.Close, nil
}

// DialPatience is how long connecting to the bus may take. Tests set it.
var DialPatience = 5 * time.Second

func connect(ctx context.Context) (*dbus.Conn, error) {
	// The context lasts as long as the connection, so it cannot bound the dial alone.
	ctx, cancel := context.WithCancel(ctx)
	watchdog := time.AfterFunc(DialPatience, cancel)
	conn, err := dbus.NewWithContext(ctx)
	watchdog.Stop()
	if err != nil {
		cancel()
		return nil, fmt.Errorf("D-Bus: %w", err)
	}
	return conn, nil
}

// MainPID implements [Units].
func (s systemd) MainPID(ctx context.Context, unit string) (int, error) {
	active, err := s.conn.GetUnitPropertyContext(ctx, unit, "ActiveState")
	if err != nil {
		return 0, fmt.Errorf("%s: %w", unit, err)
	}
	switch active.Value.Value() {
	case "active", "reloading":
	default:
		return 0, nil
	}
	main, err := s.conn.GetServicePropertyContext(ctx, unit, "MainPID")
	if err != nil {
		return 0, fmt.Errorf("%s: %w", unit, err)
	}
	pid, ok := main.Value.Value().(uint32)
	if !ok {
		return 0, fmt.Errorf("%s: MainPID is %v", unit, main.Value)
	}
	return int(pid), nil
}

// Reload implements [Units].
func (s systemd) Reload(ctx context.Context, unit string) error {
	done := make(chan string, 1)
	if _, err := s.conn.ReloadUnitContext(ctx, unit, "replace", done); err != nil {
		return err
	}
	select {
	case result := <-done:
		if result != "done" {
			return fmt.Errorf("the job ended as %q", result)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
