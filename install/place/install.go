// Package place puts the hook program where libvirt runs it, removes it without a trace, and reports whether it is in
// force.
//
// It tells from a file's content, never from its name or from a record, whether the file is hugeguard's: nothing that
// somebody else wrote is replaced or removed.
package place

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"hugeguard/install/daemon"
)

// ErrNotTold is wrapped by the error of an Install that put the hook in place but could not make a running daemon look
// for it: until its next reload or start that daemon may call no hook.
var ErrNotTold = errors.New("the hook is installed but not live")

// Install puts the hook in place, replaces it by another version, or moves it to another layout. At every moment
// libvirt finds either the old state or the new one, and in both the site's own hook. Installing again changes nothing.
func Install(ctx context.Context, o Options) error {
	j, done, err := begin(ctx, o)
	if err != nil {
		return err
	}
	defer done()
	return j.install(ctx)
}

// Uninstall removes the hook and leaves the hook directory as Install found it: the site's own hook under its own name,
// and without the directories that Install made, if they are empty. It leaves alone what others have changed since, and
// says so.
func Uninstall(ctx context.Context, o Options) error {
	j, done, err := begin(ctx, o)
	if err != nil {
		return err
	}
	defer done()
	return j.uninstall(ctx)
}

func (j *job) install(ctx context.Context) error {
	prog, err := findProgram(j.Hook)
	if err != nil {
		return err
	}
	if j.live {
		if err := prog.runsHere(); err != nil {
			return err
		}
	}
	j.known = prog
	s, err := j.scene()
	if err != nil {
		return err
	}
	layout, err := s.choose(j.Layout)
	if err != nil {
		return err
	}
	layout, err = j.permit(ctx, s, layout)
	if err != nil {
		return err
	}
	first := len(s.layouts()) == 0
	rec := j.newRecord(s, layout, first)
	steps, err := j.planInstall(ctx, s, layout, prog, rec)
	if err != nil {
		return err
	}
	var aware []daemon.Process
	if j.live && !first {
		aware = j.aware(ctx, s)
	}
	if err := j.run(steps); err != nil {
		return err
	}
	if err := j.askAgain(ctx); err != nil {
		return err
	}
	if len(steps) == 0 {
		fmt.Fprintf(j.Out, "already installed: %s, layout %s\n", j.at(s, layout).path, layout)
	}
	if _, after := s.around(j.at(s, layout).path); len(after) > 0 {
		fmt.Fprintf(j.Out, "other hooks may run after it, so it only warns of a shortage: %s\n", Paths(j.describe(after)))
	}
	if !j.live {
		return nil
	}
	if len(steps) > 0 {
		// A daemon that has seen the hook still knows it after the file was replaced.
		for _, p := range aware {
			if !rec.told(p) {
				rec.Told = append(rec.Told, p)
			}
		}
	}
	return j.tellUnaware(ctx, rec, first, aware)
}

// askAgain takes the hook away if a daemon may not execute it as it lies: what was asked before was about the plan.
func (j *job) askAgain(ctx context.Context) error {
	if !j.live || j.DryRun {
		return nil
	}
	err := j.withdrawFound(ctx)
	if errors.Is(err, ErrWithdrawn) {
		return err
	}
	if err != nil {
		fmt.Fprintf(j.Out, "note: the kernel was not asked again: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}

// newRecord returns the record of an install, with what an earlier one noted that still holds.
func (j *job) newRecord(s scene, layout Layout, first bool) *record {
	rec := &record{Layout: layout}
	if s.record != nil {
		rec.Created, rec.Placed, rec.Told = slices.Clone(s.record.Created), s.record.Placed, s.record.Told
	} else if s.recordErr != nil {
		fmt.Fprintf(j.Out, "%v: hugeguard no longer knows which directories an earlier install made\n", s.recordErr)
	}
	if first {
		rec.Placed, rec.Told = nil, nil
	}
	return rec
}

// aware returns the daemons that have seen the hook that lies there.
func (j *job) aware(ctx context.Context, s scene) (aware []daemon.Process) {
	running, err := j.daemons().Running(ctx, j.Units)
	if err != nil || s.record == nil || s.record.Placed == nil {
		return nil // telling them again does no harm
	}
	at := s.lies(s.layouts()[0])
	for _, p := range running {
		if j.knows(s.record, p, at) {
			aware = append(aware, p)
		}
	}
	return aware
}

func (j *job) uninstall(ctx context.Context) error {
	j.known, _ = findProgram(j.Hook) // without it, part of it may be taken for the site's
	s, err := j.scene()
	if err != nil {
		return err
	}
	for _, f := range s.hookFiles() {
		if f.kind == odd && f.info.Mode().Type() == fs.ModeSymlink {
			return f.oddity()
		}
	}
	hooks, rest, err := j.planUninstall(ctx, s)
	if err != nil {
		return err
	}
	if len(hooks)+len(rest) == 0 {
		fmt.Fprintln(j.Out, "not installed: nothing to do")
		return nil
	}
	if err := j.run(hooks); err != nil {
		return err
	}
	// At once: until it is told, a libvirt before 6.5 fails every start because of a hook that is gone.
	if j.live && len(s.layouts()) > 0 {
		j.tellAll(ctx)
	}
	return j.run(rest)
}

// seesLater says when the daemon sees the hook that starts on demand, or whatever starts it.
func seesLater(onDemand string) string {
	if onDemand == "" {
		return "it will see the hook when it starts"
	}
	return onDemand + " starts when a client connects, and will see the hook then"
}

// tellUnaware tells each running daemon that may not have looked for hooks since ours was put in place, and records
// that.
func (j *job) tellUnaware(ctx context.Context, rec *record, first bool, aware []daemon.Process) error {
	if first && !j.DryRun {
		now, err := j.daemons().Now()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNotTold, err)
		}
		rec.Placed = &now
	}
	running, err := j.daemons().Running(ctx, j.Units)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotTold, err)
	}
	if len(running) == 0 {
		fmt.Fprintf(j.Out, "no libvirt daemon runs: %s\n", seesLater(j.daemons().OnDemand()))
	}
	j.sayLimits(running)
	var failed error
	for _, p := range running {
		if rec.told(p) || slices.Contains(aware, p) {
			continue
		}
		if err := j.tellOne(ctx, p); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%w: %w", ErrNotTold, err))
			continue
		}
		rec.Told = append(rec.Told, p)
	}
	if j.DryRun {
		return failed
	}
	// A daemon that has ended needs no entry any more.
	rec.Told = slices.DeleteFunc(rec.Told, func(o daemon.Process) bool {
		return !slices.ContainsFunc(running, func(p daemon.Process) bool { return p.PID == o.PID && p.Start == o.Start })
	})
	return errors.Join(failed, j.writeRecord(rec))
}
