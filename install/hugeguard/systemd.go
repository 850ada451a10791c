package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
)

// units is systemd, spoken to over D-Bus, as install.Units.
type units struct{ conn *dbus.Conn }

// systemd connects to the service manager; nil where the host runs another or none
// (sd_booted(3): /run/systemd/system).
func systemd(ctx context.Context) (*units, error) {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return nil, nil
	}
	conn, err := connect(ctx)
	if err != nil {
		return nil, err
	}
	return &units{conn}, nil
}

// dialPatience is how long the bus may take to let us in.
var dialPatience = 5 * time.Second

func connect(ctx context.Context) (*dbus.Conn, error) {
	// The context ends the connection with it, so it cannot bound the dial alone.
	ctx, cancel := context.WithCancel(ctx)
	watchdog := time.AfterFunc(dialPatience, cancel)
	conn, err := dbus.NewWithContext(ctx)
	watchdog.Stop()
	if err != nil {
		cancel()
		return nil, fmt.Errorf("D-Bus: %w", err)
	}
	return conn, nil
}

func (u *units) close() { u.conn.Close() }

// MainPID implements install.Units.
func (u *units) MainPID(ctx context.Context, unit string) (int, error) {
	active, err := u.conn.GetUnitPropertyContext(ctx, unit, "ActiveState")
	if err != nil {
		return 0, fmt.Errorf("%s: %w", unit, err)
	}
	switch active.Value.Value() {
	case "active", "reloading":
	default:
		return 0, nil
	}
	main, err := u.conn.GetServicePropertyContext(ctx, unit, "MainPID")
	if err != nil {
		return 0, fmt.Errorf("%s: %w", unit, err)
	}
	pid, ok := main.Value.Value().(uint32)
	if !ok {
		return 0, fmt.Errorf("%s: MainPID is %v", unit, main.Value)
	}
	return int(pid), nil
}

// Reload implements install.Units.
func (u *units) Reload(ctx context.Context, unit string) error {
	done := make(chan string, 1)
	if _, err := u.conn.ReloadUnitContext(ctx, unit, "replace", done); err != nil {
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
