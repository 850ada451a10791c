package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hugeguard/guard"
	"hugeguard/guard/nova"
	"hugeguard/hook/config"
	"hugeguard/hook/ledger"
	"hugeguard/hook/survey/compute"
	"hugeguard/hook/survey/process"
	"hugeguard/install/atomicfile"
	"hugeguard/install/reserve"
	"hugeguard/install/status"
	"hugeguard/sysfs"
)

// change writes what Nova is to reserve, or removes what was written, and restarts nova-compute if that is asked for.
func (o reserveOptions) change(cmd *cobra.Command, host sysfs.FS, conf config.Config, found guard.Host) error {
	changes, err := o.apply(cmd, host, conf, found, found.Reservations())
	if err != nil {
		return err
	}
	stale := found.Nova != nil && found.Nova.Stale != ""
	switch {
	case changes == 0 && !stale:
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

// apply shows what is to be changed so that Nova reserves what is wanted, and does it, unless this is a dry run. It
// returns how many files are changed.
func (o reserveOptions) apply(cmd *cobra.Command, host sysfs.FS, conf config.Config, found guard.Host, wanted []guard.Reservation) (int, error) {
	if status.Hidden(host) && !o.dryRun {
		return 0, &fs.PathError{Op: "write", Path: "nova.conf", Err: fs.ErrPermission}
	}
	if host.Root() != "" {
		if info, err := os.Stat(o.root); err != nil || !info.IsDir() {
			return 0, usageError{errors.New("a capture cannot be changed: name a directory with --root, or leave it out")}
		}
	}
	changes, err := o.plan(host, conf, found, wanted)
	for i, c := range changes {
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), strings.Join(c.Diff(), "\n")); err != nil {
			return i, err
		}
		if o.dryRun {
			continue
		}
		if err := c.Do(); err != nil {
			return i, err
		}
		if backup := c.Backup(); backup != "" && !o.remove {
			note(cmd.ErrOrStderr(), "%s is kept as %s", c.File, backup)
		}
	}
	return len(changes), err
}

// plan returns what is to be changed.
func (o reserveOptions) plan(host sysfs.FS, conf config.Config, found guard.Host, wanted []guard.Reservation) ([]*reserve.Change, error) {
	sources, contained := compute.Sources(host, conf, time.Now().Add(holdersDeadline))
	from := reserve.Configuration{Root: host.Root(), Sources: sources, Contained: contained, Named: len(conf.NovaConf) > 0}
	if o.remove {
		return from.PlanRemoval()
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
	if wanted == nil || found.Agrees() {
		return nil, nil // in a container, too, the files of which this command may not find
	}
	change, err := from.Plan(wanted)
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
	ctx, cancel := context.WithTimeout(ctx, restartPatience)
	defer cancel()
	argv, err := restarts(ctx, host, n.PID)
	if err != nil {
		return fmt.Errorf("nova-compute (pid %d) is not restarted: %w: restart it yourself", n.PID, err)
	}
	if !host.Live() {
		return fmt.Errorf("with --root nothing is restarted: run %s on the host", strings.Join(argv, " "))
	}
	said, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, said)
	}
	return nil
}

// restarts returns the command that restarts nova-compute and nothing else: its unit has its name, or has it as the main
// process, or its container has no daemon besides.
func restarts(ctx context.Context, host sysfs.FS, pid int) ([]string, error) {
	place, err := host.Place(pid)
	if err != nil {
		return nil, err
	}
	if err := alone(host, place); err != nil {
		return nil, err
	}
	named := process.Service{Units: []string{"nova compute", "n-cpu"}} // the latter is devstack's
	switch {
	case (place.Engine == "docker" || place.Engine == "podman") && !place.Pod:
		return []string{place.Engine, "restart", place.Container}, nil
	case !strings.HasSuffix(place.Unit, ".service") || place.Container != "" || place.User:
		return nil, errors.New("hugeguard does not know how it was started")
	case !named.RunsIn(place.Unit) && !isMain(ctx, host, place.Unit, pid):
		return nil, fmt.Errorf("it is not the main process of %s", place.Unit)
	}
	return []string{"systemctl", "restart", place.Unit}, nil
}

// isMain reports whether systemd says that a process is the main one of a unit.
func isMain(ctx context.Context, host sysfs.FS, unit string, pid int) bool {
	if !host.Live() {
		return false
	}
	main, err := exec.CommandContext(ctx, "systemctl", "show", "--property=MainPID", "--value", unit).Output()
	return err == nil && strings.TrimSpace(string(main)) == strconv.Itoa(pid)
}

// daemons are what the names begin with of programs that run guests, or without which guests are not reached.
var daemons = []string{"libvirt", "virt", "ovs", "cloud-hyperviso"} // the kernel cuts names to 15 bytes

// alone returns an error if a guest or another daemon runs in the same unit or container, which a restart would end, or if
// that is not known.
func alone(host sysfs.FS, of sysfs.Place) error {
	processes, cut, err := process.List(host, time.Now().Add(holdersDeadline))
	if err != nil || cut {
		return errors.Join(errors.New("not all processes were seen"), err)
	}
	for _, p := range processes {
		if !process.IsQEMU(host, p) && !slices.ContainsFunc(daemons, func(name string) bool { return strings.HasPrefix(p.Name, name) }) {
			continue
		}
		place, err := host.Place(p.PID)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // it has ended
			return err
		}
		if err == nil && of.String() != "" && place.String() == of.String() {
			return fmt.Errorf("%s runs beside it in %s", guard.Printable(p.Name, 60), of)
		}
	}
	return nil
}

// lookFile keeps what the timer saw last, below the root.
const lookFile = "/var/lib/hugeguard/reserve.json"

// A timerLook is what the timer keeps of its last one that counted.
type timerLook struct {
	Boot    string              `json:"boot"`              // the boot's id
	Wanted  []guard.Reservation `json:"wanted"`            // what Nova was to reserve
	Restart bool                `json:"restart,omitempty"` // nova-compute has not read yet what the timer wrote
}

// runTimer does what the setting reserve says about pages that Nova does not reserve, if the last look saw these, too.
func (o reserveOptions) runTimer(cmd *cobra.Command, host sysfs.FS, conf config.Config, found guard.Host) error {
	if conf.Reserve == config.ReserveOff {
		return nil
	}
	if why := uncertain(found); len(why) > 0 {
		note(cmd.ErrOrStderr(), "not all of the host was seen, so this look does not count: %s", strings.Join(why, "; "))
		return nil
	}
	if found.Nova == nil {
		note(cmd.ErrOrStderr(), "this host shows no sign of Nova, so nothing is reserved: disable hugeguard-reserve.timer, or set reserve = off in /etc/hugeguard.conf")
		return nil
	}
	boot, err := host.BootID()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	before, err := lastLook(host.Root()+lookFile, boot)
	if err != nil {
		return err
	}
	now := timerLook{boot, found.Reservations(), before.Restart && found.Nova.Stale != ""}
	wanted, lacks := lasting(before.Wanted, now.Wanted, found.Nova.Reserved), false
	for _, r := range wanted {
		if r.Lacking {
			lacks = true
			note(cmd.ErrOrStderr(), "Nova does not reserve what is held or was promised: %s", r)
		}
	}
	if err := o.keep(host, now); err != nil || conf.Reserve == config.ReserveReport {
		return err
	}
	if lacks {
		written, err := o.apply(cmd, host, conf, found, wanted)
		if err != nil {
			return err
		}
		now.Restart = now.Restart || written > 0
		if err := o.keep(host, now); err != nil {
			return err
		}
	}
	if !now.Restart || conf.Reserve != config.ReserveRestart || o.dryRun {
		return nil
	}
	if guests := starting(host, conf); len(guests) > 0 {
		note(cmd.ErrOrStderr(), "guests are starting, so a later look restarts nova-compute: %s", strings.Join(guests, ", "))
		return nil
	}
	o.read() // a restart may take a minute
	if err := restartNova(cmd.Context(), host, conf); err != nil {
		return err
	}
	now.Restart = false // whatever the files' times say: it would be restarted at each look
	return o.keep(host, now)
}

// uncertain returns why a look at the host does not count.
func uncertain(found guard.Host) []string {
	why := unsure(found)
	if n := found.Nova; n != nil && !n.Known() {
		why = append(why, "it is not known what Nova reserves: "+cmp.Or(n.Fault, "no configuration of nova-compute was found"))
	}
	return why
}

// lasting returns what Nova is to reserve by two looks: of each pool the smaller count, and no less than it reserves.
func lasting(before, now []guard.Reservation, reserved nova.Reserved) (all []guard.Reservation) {
	seen := nova.Reserved{}
	for _, r := range before {
		seen[r.Pool] = int64(r.Count)
	}
	for _, r := range now {
		is := reserved[r.Pool]
		if count := max(min(int64(r.Count), seen[r.Pool]), is); count > 0 {
			all = append(all, guard.Reservation{Pool: r.Pool, Count: uint64(count), Lacking: count != is})
		}
	}
	return all
}

// starting returns the guests that the ledger has: nova-compute, restarted, would give up those that it starts.
func starting(host sysfs.FS, conf config.Config) (guests []string) {
	claims, _ := ledger.Read(host) // without one no start is known
	claims.Look(host, guard.Domain{}, conf.StartingLimit, time.Now().Add(holdersDeadline))
	for _, c := range claims.Claims {
		guests = append(guests, guard.Printable(c.Name, 60))
	}
	return guests
}

// lastLook returns the last look. What it saw in another boot is left out.
func lastLook(name, boot string) (last timerLook, err error) {
	text, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return timerLook{}, err
	}
	if json.Unmarshal(text, &last) != nil {
		return timerLook{}, nil // what makes no sense was no look
	}
	if last.Boot != boot {
		last.Wanted = nil
	}
	return last, nil
}

// keep keeps a look, unless this is a dry run.
func (o reserveOptions) keep(host sysfs.FS, now timerLook) error {
	if o.dryRun {
		return nil
	}
	name := host.Root() + lookFile
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	text, err := json.Marshal(now)
	if err != nil {
		return err
	}
	return atomicfile.Write(name, append(text, '\n'), 0o644)
}
