package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hugeguard/guard"
	"hugeguard/hook/config"
	"hugeguard/hook/survey/compute"
	"hugeguard/install/atomicfile"
	"hugeguard/install/reserve"
	"hugeguard/install/status"
	"hugeguard/sysfs"
)

// change writes what Nova is to reserve, or removes what was written, and restarts nova-compute if that is asked for.
func (o reserveOptions) change(cmd *cobra.Command, host sysfs.FS, conf config.Config, found guard.Host) error {
	if status.Hidden(host) && !o.dryRun {
		return &fs.PathError{Op: "write", Path: "nova.conf", Err: fs.ErrPermission}
	}
	if host.Root() != "" {
		if info, err := os.Stat(o.root); err != nil || !info.IsDir() {
			return usageError{errors.New("a capture cannot be changed: name a directory with --root, or leave it out")}
		}
	}
	changes, err := o.plan(host, conf, found)
	if err != nil {
		return err
	}
	for _, c := range changes {
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), strings.Join(c.Diff(), "\n")); err != nil {
			return err
		}
		if o.dryRun {
			continue
		}
		if err := c.Do(); err != nil {
			return err
		}
		if backup := c.Backup(); backup != "" && !o.remove {
			note(cmd.ErrOrStderr(), "%s is kept as %s", c.File, backup)
		}
	}
	stale := found.Nova != nil && found.Nova.Stale != ""
	switch {
	case len(changes) == 0 && !stale:
		note(cmd.ErrOrStderr(), "nothing is to be changed")
		return nil
	case o.dryRun:
		note(cmd.ErrOrStderr(), "nothing was changed")
		return nil
	case !o.restart:
		note(cmd.ErrOrStderr(), "nova-compute uses it when it is restarted (--restart does so)")
		return nil
	}
	o.read() // a restart may take a minute
	return restartNova(cmd.Context(), host, conf)
}

// plan returns what is to be changed.
func (o reserveOptions) plan(host sysfs.FS, conf config.Config, found guard.Host) ([]*reserve.Change, error) {
	sources, contained := compute.Sources(host, conf, time.Now().Add(holdersDeadline))
	if o.remove {
		return reserve.PlanRemoval(host.Root(), sources)
	}
	if found.Nova == nil {
		return nil, errors.New("this host shows no sign of Nova, so there is nothing to write")
	}
	if found.Nova.Fault != "" {
		return nil, fmt.Errorf("it is not known what is reserved now, so nothing is written: %s", found.Nova.Fault)
	}
	if why := unsure(found); len(why) > 0 {
		return nil, fmt.Errorf("not all of the host was seen, so nothing is written: %s", strings.Join(why, "; "))
	}
	if found.Reservations() == nil {
		return nil, nil
	}
	change, err := reserve.Plan(host.Root(), sources, contained, found.Reservations())
	if change == nil || err != nil {
		return nil, err
	}
	return []*reserve.Change{change}, nil
}

// restartPatience is how long a restart may take.
const restartPatience = 5 * time.Minute

// restartNova restarts nova-compute: its systemd unit or its container.
func restartNova(ctx context.Context, host sysfs.FS, conf config.Config) error {
	n, _ := compute.Look(host, conf, nil, time.Now().Add(holdersDeadline))
	if n == nil || n.PID == 0 {
		return errors.New("nova-compute does not run, so it is not restarted")
	}
	place, err := host.Place(n.PID)
	if err != nil {
		return err
	}
	var argv []string
	switch {
	case (place.Engine == "docker" || place.Engine == "podman") && !place.Pod:
		argv = []string{place.Engine, "restart", place.Container}
	case strings.HasSuffix(place.Unit, ".service") && place.Container == "" && !place.User:
		argv = []string{"systemctl", "restart", place.Unit}
	default:
		return fmt.Errorf("hugeguard does not know how nova-compute (pid %d) was started: restart it yourself", n.PID)
	}
	if !host.Live() {
		return fmt.Errorf("with --root nothing is restarted: run %s on the host", strings.Join(argv, " "))
	}
	ctx, cancel := context.WithTimeout(ctx, restartPatience)
	defer cancel()
	said, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, said)
	}
	return nil
}

// lookFile keeps what the timer saw last, below the root.
const lookFile = "/var/lib/hugeguard/reserve.json"

// runTimer does what the setting reserve says about pages that Nova does not reserve, if the last look saw the same.
func (o reserveOptions) runTimer(cmd *cobra.Command, host sysfs.FS, conf config.Config, found guard.Host) error {
	if conf.Reserve == config.ReserveOff {
		return nil
	}
	if why := unsure(found); len(why) > 0 {
		note(cmd.ErrOrStderr(), "not all of the host was seen, so this look does not count: %s", strings.Join(why, "; "))
		return nil
	}
	var lacking []guard.Reservation
	if found.Nova != nil && !found.Agrees() {
		lacking = found.Reservations()
	}
	lasted, err := lasts(host.Root()+lookFile, lacking, o.dryRun)
	if err != nil || lacking == nil || !lasted {
		return err
	}
	for _, r := range lacking {
		if r.Lacking {
			note(cmd.ErrOrStderr(), "Nova does not reserve what is held or was promised: %s", r)
		}
	}
	if conf.Reserve == config.ReserveReport {
		return nil
	}
	o.restart = conf.Reserve == config.ReserveRestart
	return o.change(cmd, host, conf, found)
}

// lasts reports whether the last look saw the same, and keeps this one.
func lasts(name string, now []guard.Reservation, dryRun bool) (bool, error) {
	var before []guard.Reservation
	text, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	_ = json.Unmarshal(text, &before) // what makes no sense was no look
	if dryRun {
		return slices.Equal(before, now), nil
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return false, err
	}
	text, err = json.Marshal(now)
	if err != nil {
		return false, err
	}
	return slices.Equal(before, now), atomicfile.Write(name, append(text, '\n'), 0o644)
}
