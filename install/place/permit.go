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

// expected returns the drop-in where SELinux will be on and cannot be asked yet, as in an image that is being built:
// hugeguard-selinux allows only that path. A layout of the admin's stays, and libvirt must be known to run it.
func (j *job) expected(s scene, layout Layout) Layout {
	host := j.confined()
	asked := j.live && host.SELinux()
	if j.Layout != Auto || asked || !host.Configured() || s.libvirt < hook.DropInSince || s.dropInFits() != nil {
		return layout
	}
	return DropIn
}

// permit returns the layout to install. If a daemon may not execute the hook there, it takes away a hook that is in
// place, and returns an error that says what to do: a start without a guard is better than none.
func (j *job) permit(ctx context.Context, s scene, layout Layout) (Layout, error) {
	layout = j.expected(s, layout)
	if !j.live {
		return layout, nil
	}
	running, err := j.daemons().Running(ctx, j.Units)
	if err != nil {
		fmt.Fprintf(j.Out, "note: no daemon is known, so the kernel was not asked whether it may execute the hook: %v\n", err)
		return layout, nil
	}
	layout, denied, err := j.permitted(running, s, layout)
	if denied != nil && denied.Enforced {
		return layout, j.withdraw(ctx, s, denied)
	}
	if err != nil && (errors.Is(err, confine.ErrLabel) || !j.confined().Permissive()) {
		return layout, err // it might be a hook that libvirt may not execute
	}
	if err != nil {
		fmt.Fprintf(j.Out, "note: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if denied != nil {
		fmt.Fprintf(j.Out, "note: %v\n", denied)
	}
	return layout, nil
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

// WithdrawDenied moves a hook that a daemon may not execute where it lies, as after a change of the policy, to where it
// may, or takes it away. It prints nothing if there is no need.
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
	_, denied, err := j.deniedInPlace(ctx)
	if denied == nil {
		return err
	}
	err = j.install(ctx)
	if err == nil || errors.Is(err, ErrWithdrawn) || errors.Is(err, ErrNotTold) {
		return err
	}
	return errors.Join(err, j.withdrawFound(ctx))
}

// withdrawFound takes the hook away if it is in place and a daemon may not execute it.
func (j *job) withdrawFound(ctx context.Context) error {
	s, denied, err := j.deniedInPlace(ctx)
	if denied == nil {
		return err
	}
	return j.withdraw(ctx, s, denied)
}

// deniedInPlace returns what is enforced and keeps a daemon from executing the hook as it lies; nil if nothing does, or
// nothing lies there. An error means that this is not known.
func (j *job) deniedInPlace(ctx context.Context) (s scene, denied *confine.Denial, err error) {
	s, err = j.scene()
	if err != nil || !j.live {
		return s, nil, err
	}
	layouts := s.layouts()
	if len(layouts) == 0 {
		return s, nil, nil
	}
	running, err := j.daemons().Running(ctx, j.Units)
	if err != nil {
		return s, nil, err
	}
	var unasked error
	for _, l := range layouts {
		denied, err := j.denial(running, j.found(s.lies(l).path))
		if denied != nil && denied.Enforced {
			return s, denied, nil
		}
		unasked = errors.Join(unasked, err)
	}
	if j.confined().Permissive() {
		return s, nil, nil
	}
	return s, nil, unasked
}
