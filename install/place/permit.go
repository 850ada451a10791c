package place

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"hugeguard/hook"
	"hugeguard/install/confine"
	"hugeguard/install/daemon"
)

// ErrWithdrawn is wrapped by the error of an Install that did not place the hook, or took it away, because a daemon may not
// execute it.
var ErrWithdrawn = errors.New("the hook is not in place, and guests start without it")

// planned returns the hook as it will lie at a path.
func (t tree) planned(path string) confine.Hook {
	label, _, err := t.policyLabel(path, false)
	dirLabel, dirErr := t.dropInLabel(path)
	return confine.Hook{Path: path, Label: label, DirLabel: dirLabel, Unknown: cmp.Or(err, dirErr)}
}

// found returns the hook as it lies at a path. It does not look up the policy's label, since the timer of the metrics
// calls it every minute.
func (t tree) found(path string) confine.Hook {
	dirLabel, err := t.dropInLabel(path)
	return confine.Hook{Path: path, Label: t.confined().Kernel.Label(path), DirLabel: dirLabel, Unknown: err}
}

// dropInLabel returns the label of qemu.d, if the path is in it, and "" otherwise.
func (t tree) dropInLabel(path string) (label string, err error) {
	dir := filepath.Dir(path)
	if filepath.Base(dir) != hook.DropInDir {
		return "", nil
	}
	label = t.confined().Kernel.Label(dir)
	if label == "" {
		label, _, err = t.policyLabel(dir, true)
	}
	return label, err
}

// denial returns what keeps a daemon from executing the hook, first what is enforced; nil if nothing does. An error
// means that the kernel was not asked about all daemons.
func (t tree) denial(running []daemon.Process, h confine.Hook) (found *confine.Denial, err error) {
	host := t.confined()
	for _, s := range host.Subjects(running) {
		d, askErr := host.Denied(s, h)
		err = errors.Join(err, askErr)
		if d != nil && (found == nil || d.Enforced && !found.Enforced) {
			found = d
		}
	}
	return found, err
}

// permitted returns the layout that install uses, and what the kernel denies there. Without a layout of the admin's it
// prefers one in which every daemon may execute the hook: hugeguard-selinux allows only the drop-in, whose path is
// hugeguard's alone.
func (j *job) permitted(running []daemon.Process, s scene, layout Layout) (Layout, *confine.Denial, error) {
	denied, err := j.denial(running, j.planned(j.at(s, layout).path))
	if denied == nil || j.Layout != Auto || layout == DropIn || s.libvirt < hook.DropInSince || s.dropInFits() != nil {
		return layout, denied, err
	}
	if other, otherErr := j.denial(running, j.planned(s.dropIn.path)); other == nil && otherErr == nil {
		return DropIn, nil, nil
	}
	return layout, denied, err
}

// permit returns the layout to install. If a daemon may not execute the hook there, it takes away a hook that is in
// place, and returns an error that says what to do: a start without a guard is better than none.
func (j *job) permit(ctx context.Context, s scene, layout Layout) (Layout, error) {
	if !j.live {
		return layout, nil
	}
	running, err := j.daemons().Running(ctx, j.Units)
	if err != nil {
		fmt.Fprintf(j.Out, "note: no daemon is known, so the kernel was not asked whether it may execute the hook: %v\n", err)
		return layout, nil
	}
	layout, denied, err := j.permitted(running, s, layout)
	if errors.Is(err, confine.ErrLabel) {
		return layout, err // it might be a hook that libvirt may not execute
	}
	if err != nil {
		fmt.Fprintf(j.Out, "note: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	switch {
	case denied == nil:
		return layout, nil
	case !denied.Enforced:
		fmt.Fprintf(j.Out, "note: %v\n", denied)
		return layout, nil
	}
	return layout, j.withdraw(ctx, s, denied)
}

// withdraw takes the hook away, in any layout, and returns why as an error.
func (j *job) withdraw(ctx context.Context, s scene, denied *confine.Denial) error {
	why := fmt.Errorf("%w: %v", ErrWithdrawn, denied)
	hooks, _, err := j.planUninstall(ctx, s)
	if err != nil {
		return errors.Join(why, err)
	}
	if s.record != nil && slices.Contains(s.record.Created, dropInDir) {
		// The daemon may not be allowed to list it either.
		more, err := j.removeDropIn(ctx, scene{}, s.record)
		if err != nil {
			return errors.Join(why, err)
		}
		hooks = append(hooks, more...)
	}
	if err := j.run(hooks); err != nil {
		return errors.Join(why, err)
	}
	if len(s.layouts()) > 0 {
		j.tellAll(ctx)
	}
	return why
}

// WithdrawDenied takes the hook away if it is in place and a daemon may not execute it, as after a change of the policy.
// It prints nothing if there is no need.
func WithdrawDenied(ctx context.Context, o Options) error {
	j, done, err := begin(ctx, o)
	if err != nil {
		return err
	}
	defer done()
	return j.withdrawDenied(ctx)
}

func (j *job) withdrawDenied(ctx context.Context) error {
	j.known, _ = findProgram(j.Hook)
	s, err := j.scene()
	if err != nil || !j.live {
		return err
	}
	running, err := j.daemons().Running(ctx, j.Units)
	if err != nil {
		return err
	}
	for _, l := range s.layouts() {
		denied, err := j.denial(running, j.found(s.lies(l).path))
		if err != nil {
			return err
		}
		if denied != nil && denied.Enforced {
			return j.withdraw(ctx, s, denied)
		}
	}
	return nil
}
