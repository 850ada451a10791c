package place

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"hugeguard/hook/ledger"
	"hugeguard/install/atomicfile"
	"hugeguard/install/counts"
	"hugeguard/install/daemon"
)

// planInstall returns the steps from the scene to the layout. rec is what will be recorded.
func (j *job) planInstall(ctx context.Context, s scene, layout Layout, prog *program, rec *record) ([]step, error) {
	same, err := j.at(s, layout).same(prog)
	if err != nil {
		return nil, err
	}
	same = same && j.rightLabel(j.at(s, layout).path)
	for _, f := range s.moved(layout, same) {
		if err := f.movable(); err != nil {
			return nil, err
		}
	}
	dirs := hookDirs
	if layout != DropIn {
		dirs = dirs[:len(dirs)-1]
	}
	newState, err := j.missing(stateDirs)
	if err != nil {
		return nil, err
	}
	newHook, err := j.missing(dirs)
	if err != nil {
		return nil, err
	}
	for _, d := range slices.Concat(newState, newHook) {
		if !slices.Contains(rec.Created, d.name) {
			rec.Created = append(rec.Created, d.name)
		}
	}
	// The record goes first: a directory that it lists before there is one does no harm, but one that it does not list
	// would never be removed.
	steps := makeDirs(newState, unlabelled)
	if s.record == nil || s.record.Layout != rec.Layout || len(s.record.Created) != len(rec.Created) {
		name, err := j.file(recordFile)
		if err != nil {
			return nil, err
		}
		steps = append(steps, step{"record in " + name + " what uninstall needs", func() error { return j.writeRecord(rec) }})
	}
	steps = append(steps, makeDirs(newHook, j.labelled)...)
	if !same {
		more, err := j.put(ctx, s, layout, prog)
		if err != nil {
			return nil, err
		}
		steps = append(steps, more...)
	}
	more, err := j.clear(ctx, s, layout, rec)
	return append(steps, more...), err
}

// makeDirs returns the steps that create directories, and label each.
func makeDirs(dirs []directory, label func(path string, directory bool) error) (steps []step) {
	for _, d := range dirs {
		steps = append(steps, step{"create directory " + d.path, func() error { return errors.Join(mkdir(d.path), label(d.path, true)) }})
	}
	return steps
}

// put returns the steps that put the program in place.
func (j *job) put(ctx context.Context, s scene, layout Layout, prog *program) (steps []step, err error) {
	to := j.at(s, layout)
	dir, err := j.dir(HookDir)
	if err != nil {
		return nil, err
	}
	// First a second name, then ours in place of the first: the site's hook is never missing.
	if layout == Chain && s.main.kind == theirs && s.site.kind == absent {
		steps = append(steps, step{fmt.Sprintf("rename the site's hook %s to %s", s.main.path, s.site.path), func() error {
			if err := os.Link(s.main.path, s.site.path); err != nil {
				return err
			}
			return atomicfile.SyncDir(filepath.Dir(s.site.path))
		}})
	}
	verb := "place"
	if to.kind == ours {
		verb = "replace"
	}
	steps = append(steps, step{fmt.Sprintf("%s %s (layout %s)", verb, to.path, layout), func() error {
		if j.live && to.kind == theirs {
			// An interpreter that has just been started opens its script by name.
			if err := j.untilNoHooks(ctx); err != nil {
				return err
			}
		}
		if err := to.unchanged(); err != nil {
			if to.kind == theirs && s.site.kind == absent {
				err = errors.Join(err, remove(s.site.path)) // the second name, of what is no more
			}
			return err
		}
		return placeFinished(to.path, dir, prog.data, 0o755, func(tmp string) error { return j.label(tmp, to.path, false) })
	}})
	return steps, nil
}

// clear returns the steps that remove what another layout left. Until then libvirt calls the guard twice, but never not
// at all.
func (j *job) clear(ctx context.Context, s scene, layout Layout, rec *record) (steps []step, err error) {
	if layout != DropIn {
		if slices.Contains(s.layouts(), DropIn) {
			return j.removeDropIn(ctx, s, rec)
		}
		return nil, nil
	}
	switch {
	case s.main.kind == ours && s.site.kind != absent:
		steps = j.unchain(ctx, s)
	case s.main.kind == ours:
		steps = append(steps, j.takeAway(ctx, s.main))
	case s.halfChained():
		steps = append(steps, j.removeSecondName(ctx, s))
	case s.waiting():
		steps = append(steps, s.renameBack())
	}
	if s.oldDropIn.kind == ours {
		steps = append(steps, j.takeAway(ctx, s.oldDropIn))
	}
	return steps, nil
}

// moved returns the files that an install to the layout renames, removes or replaces.
func (s scene) moved(layout Layout, same bool) (files []file) {
	add := func(f file, moved bool) {
		if moved {
			files = append(files, f)
		}
	}
	add(s.dropIn, s.dropIn.kind == ours && (layout != DropIn || !same))
	add(s.oldDropIn, s.oldDropIn.kind == ours)
	add(s.main, s.main.kind == ours && (layout == DropIn || !same))
	add(s.main, s.main.kind == theirs && layout == Chain)
	add(s.site, layout == DropIn && (s.main.kind == ours && s.site.kind != absent || s.halfChained() || s.waiting()))
	return files
}

// at returns where the hook is put in a layout.
func (j *job) at(s scene, l Layout) file {
	if l == DropIn {
		return s.dropIn
	}
	return s.main
}

// renameBack returns the step that gives the site's hook its own name again, which nothing else has.
func (s scene) renameBack() step {
	return step{fmt.Sprintf("rename the site's hook %s back to %s", s.site.path, s.main.path), func() error { return atomicfile.Rename(s.site.path, s.main.path) }}
}

// removeSecondName returns the step that removes the name by which ours would call the site's hook, once no run of our
// program can still use it: that run would fail, and with it the start of a guest.
func (j *job) removeSecondName(ctx context.Context, s scene) step {
	return step{fmt.Sprintf("remove %s, a second name of %s", s.site.path, s.main.path), func() error {
		if j.live {
			if err := j.untilNoHooks(ctx); err != nil {
				return err
			}
			if s.main.kind == ours {
				j.untilUnused(ctx, s.main.info)
			}
		}
		if err := s.site.unchanged(); err != nil {
			return err
		}
		return remove(s.site.path)
	}}
}

// unchain returns the steps that give the site's hook its own name back.
func (j *job) unchain(ctx context.Context, s scene) []step {
	return []step{
		{fmt.Sprintf("rename the site's hook %s back to %s", s.site.path, s.main.path), func() error {
			tmp := filepath.Join(filepath.Dir(s.main.path), tempName)
			if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			if err := s.main.unchanged(); err != nil {
				return err
			}
			if err := os.Link(s.site.path, tmp); err != nil {
				return err
			}
			return atomicfile.Rename(tmp, s.main.path)
		}},
		j.removeSecondName(ctx, s),
	}
}

// takeAway returns the step that removes a file, which libvirt may run, once no daemon runs hooks: a daemon that has
// listed the hooks for a start and then finds one of them gone refuses the start.
func (j *job) takeAway(ctx context.Context, f file) step {
	return step{"remove " + f.path, func() error {
		if j.live {
			if err := j.untilNoHooks(ctx); err != nil {
				return err
			}
		}
		if err := f.unchanged(); err != nil {
			return err
		}
		return remove(f.path)
	}}
}

// dropInsGo returns the steps that remove the drop-in, under each of its names.
func (j *job) dropInsGo(ctx context.Context, s scene) (steps []step) {
	for _, f := range []file{s.dropIn, s.oldDropIn} {
		if f.kind == ours {
			steps = append(steps, j.takeAway(ctx, f))
		}
	}
	return steps
}

// removeDropIn returns the steps that remove the drop-in, and its directory if install made it.
func (j *job) removeDropIn(ctx context.Context, s scene, rec *record) ([]step, error) {
	steps := j.dropInsGo(ctx, s)
	if !slices.Contains(rec.Created, dropInDir) {
		return steps, nil
	}
	dir, err := j.dir(dropInDir)
	if err != nil {
		return nil, err
	}
	return append(steps, step{"remove directory " + dir + " if it is empty", func() error {
		if err := rmdir(dir); err != nil {
			return err
		}
		if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) { // one that is created later is not ours
			rec.Created = slices.DeleteFunc(rec.Created, func(name string) bool { return name == dropInDir })
		}
		return j.writeRecord(rec)
	}}), nil
}

// planUninstall returns the steps that remove the hook, and those that remove the rest after the daemons were told.
func (j *job) planUninstall(ctx context.Context, s scene) (hooks, rest []step, err error) {
	for _, f := range s.hookFiles() {
		if f.kind == ours {
			if err := f.movable(); err != nil {
				return nil, nil, err
			}
		}
	}
	switch {
	case s.main.kind == ours && s.site.kind == theirs:
		hooks = j.unchain(ctx, s)
	case s.main.kind == ours:
		hooks = append(hooks, j.takeAway(ctx, s.main))
	case s.halfChained():
		rest = append(rest, j.removeSecondName(ctx, s))
	case s.waiting():
		hooks = append(hooks, s.renameBack())
	case s.site.kind != absent && s.chained():
		fmt.Fprintf(j.Out, "%s is no longer hugeguard's, so it stays, and so does %s, the hook before it\n", s.main.path, s.site.path)
	}
	hooks = append(hooks, j.dropInsGo(ctx, s)...)
	for _, part := range []func(context.Context, scene) ([]step, error){j.removeTemporary, j.removeLedger, j.removeState} {
		steps, err := part(ctx, s)
		if err != nil {
			return nil, nil, err
		}
		rest = append(rest, steps...)
	}
	return hooks, rest, nil
}

// removeTemporary returns the steps that remove what an interrupted run may have left.
func (j *job) removeTemporary(context.Context, scene) (steps []step, err error) {
	for _, name := range []string{HookDir, dropInDir, stateDir} {
		tmp, there, err := j.there(name + "/" + tempName)
		if err != nil {
			return nil, err
		}
		if there {
			steps = append(steps, step{"remove " + tmp, func() error { return os.RemoveAll(tmp) }})
		}
	}
	return steps, nil
}

// removeLedger returns the step that removes the ledger of starting guests.
func (j *job) removeLedger(ctx context.Context, s scene) ([]step, error) {
	claims, there, err := j.there(ledger.Dir)
	// In a chroot ("--root /") /run may be that of the host around it.
	if err != nil || !there || !j.live && j.root == "" {
		return nil, err
	}
	return []step{{"remove " + claims, func() error {
		for _, f := range s.hookFiles() {
			if f.kind == ours && j.live { // a call that has not ended writes there
				j.untilUnused(ctx, f.info)
			}
		}
		return os.RemoveAll(claims)
	}}}, nil
}

// removeState returns the steps that remove the counts, the record and the directories that install made. The record
// goes after what it lists.
func (j *job) removeState(_ context.Context, s scene) (steps []step, err error) {
	counted, there, err := j.there(counts.File)
	if err != nil {
		return nil, err
	}
	if there {
		steps = append(steps, step{"remove " + counted, func() error { return remove(counted) }})
	}
	dirs, err := j.rmdirs(s, hookDirs)
	if err != nil {
		return nil, err
	}
	steps = append(steps, dirs...)
	if s.record != nil || s.recordErr != nil {
		name, err := j.file(recordFile)
		if err != nil {
			return nil, err
		}
		steps = append(steps, step{"remove " + name, func() error { return remove(name) }})
	}
	if s.recordErr != nil {
		fmt.Fprintf(j.Out, "%v: directories that install may have made stay\n", s.recordErr)
	}
	dirs, err = j.rmdirs(s, stateDirs)
	return append(steps, dirs...), err
}

// mountedBy returns a daemon in a container that has the directory dir, which is called name, mounted there. If it were
// removed and made again, that daemon would not see the new one.
func (j *job) mountedBy(name, dir string) (daemon.Process, bool) {
	here, err := os.Stat(dir)
	if err != nil || !j.live {
		return daemon.Process{}, false
	}
	host := j.daemons()
	running, _ := host.Running(context.Background(), nil) // one that is not known has nothing mounted
	for _, p := range running {
		theirs, err := os.Stat(host.Root(p) + name)
		if err == nil && os.SameFile(theirs, here) && host.Contained(p) && host.Mounted(p, name) {
			return p, true
		}
	}
	return daemon.Process{}, false
}

// rmdirs returns the steps that remove those of the directories that install made, innermost first.
func (j *job) rmdirs(s scene, names []string) (steps []step, err error) {
	for _, name := range slices.Backward(names) {
		// The directory of the record is created before there is a record, and its name is ours alone.
		made := name == stateDir || s.record != nil && slices.Contains(s.record.Created, name)
		dir, err := j.dir(name)
		if err != nil {
			return nil, err
		}
		if _, err := os.Lstat(dir); !made || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if p, mounted := j.mountedBy(name, dir); mounted {
			fmt.Fprintf(j.Out, "%s stays, because %s (pid %d) has it mounted\n", dir, p.Name, p.PID)
			continue
		}
		if name == HookDir && slices.Contains(s.record.Created, libvirtDir) {
			// A libvirt installed since then uses it.
			above, err := j.dir(libvirtDir)
			if err != nil {
				return nil, err
			}
			in, err := os.ReadDir(above)
			if err != nil {
				return nil, err
			}
			if len(in) > 1 {
				continue
			}
		}
		steps = append(steps, step{"remove directory " + dir + " if it is empty", func() error { return rmdir(dir) }})
	}
	return steps, nil
}
