// Package place puts the hook program where libvirt runs it, takes it away so
// that nothing of it stays, and says whether it is in force.
//
// Whose a file is, is read from the file and never from its name or from notes: nothing
// that somebody else wrote is replaced or removed.
package place

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hugeguard/guard"
	"hugeguard/hook/ledger"
	"hugeguard/install/atomicfile"
	"hugeguard/install/counts"
	"hugeguard/install/daemon"
)

// ErrNotTold is in the error of an Install that put the hook in place but could not make the
// running daemon look for it: until its next reload or start it may call no hook.
var ErrNotTold = errors.New("the hook is in place but not live")

// tellTimeout bounds the reload of one daemon; tests set it and other limits of this package.
var tellTimeout = 10 * time.Second

// Options says what Install and Uninstall work on.
type Options struct {
	// Root is the directory of a package or an image; "" is this host. Below a Root no symbolic link
	// leads out of it and no daemon is told.
	Root string
	// Layout is Auto or the one that is wanted. Uninstall takes away any.
	Layout Layout
	// Hook is the hook program; "" finds the one that belongs to the running command.
	Hook string
	// DryRun says each step and changes nothing.
	DryRun bool
	// Out takes a line for each step.
	Out io.Writer
	// Units is the service manager of this host, if it has one.
	Units daemon.Units
}

// A job is one run of Install or Uninstall.
type job struct {
	Options
	tree
	live bool // the tree is a running host's: its daemons are told
}

// A step is one change to the host: a plan is made whole before the first is done, so a dry
// run says exactly what a run would do.
type step struct {
	says string
	do   func() error
}

// Install puts the hook in place, or replaces it by another version, or moves it to
// another layout. At each moment of it libvirt finds the old state or the new one, and the site's own
// hook in either. Installing what is there already changes nothing.
func Install(ctx context.Context, o Options) error {
	j, done, err := begin(o)
	if err != nil {
		return err
	}
	defer done()
	return j.install(ctx)
}

// Uninstall takes the hook away and leaves the hook directory as Install found it: the
// site's own hook back under its name, the directories that Install made removed if they are empty. What
// others changed since is left alone and said.
func Uninstall(ctx context.Context, o Options) error {
	j, done, err := begin(o)
	if err != nil {
		return err
	}
	defer done()
	return j.uninstall(ctx)
}

// begin checks who asks, and keeps any other install on the same root away until done is called.
func begin(o Options) (j *job, done func(), err error) {
	j = &job{Options: o, live: o.Root == ""}
	if j.live && os.Geteuid() != 0 && !o.DryRun {
		return nil, nil, errRoot
	}
	if j.tree, err = treeAt(o.Root); err != nil {
		return nil, nil, err
	}
	done = func() {}
	if o.DryRun {
		return j, done, nil
	}
	if j.root != "" {
		if err := os.MkdirAll(j.root, 0o755); err != nil {
			return nil, nil, err
		}
	}
	lock, err := j.openLock()
	if err != nil {
		return nil, nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, nil, fmt.Errorf("another install is at work on %s: %w", lock.Name(), err)
	}
	return j, func() { lock.Close() }, nil
}

// openLock opens what keeps two installs apart: a file that only root can open, so that nobody else can hold it;
// below another root the root itself, which is the caller's.
func (j *job) openLock() (*os.File, error) {
	if !j.live {
		return os.Open(j.root + "/")
	}
	return os.OpenFile("/run/hugeguard-install.lock", os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
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
	rec := &record{Layout: layout}
	if s.record != nil {
		rec.Created, rec.Placed, rec.Told = slices.Clone(s.record.Created), s.record.Placed, s.record.Told
	} else if s.recordErr != nil {
		fmt.Fprintf(j.Out, "%v: the directories that an earlier install made are not known any more\n", s.recordErr)
	}
	first := len(s.layouts()) == 0
	if first {
		rec.Placed, rec.Told = nil, nil
	}
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
	if len(steps) == 0 {
		fmt.Fprintf(j.Out, "already installed: %s, layout %s\n", j.at(s, layout).path, layout)
	}
	if _, after := s.around(j.at(s, layout).path); len(after) > 0 {
		fmt.Fprintf(j.Out, "other hooks may run after it, so that it only warns of a shortage: %s\n", Paths(j.describe(after)))
	}
	if !j.live {
		return nil
	}
	if len(steps) > 0 {
		// What they have seen is not forgotten with the file that they saw.
		for _, p := range aware {
			if !rec.told(p) {
				rec.Told = append(rec.Told, p)
			}
		}
	}
	return j.tellUnaware(ctx, rec, first, aware)
}

// aware returns the daemons that have seen the hook as it lies there.
func (j *job) aware(ctx context.Context, s scene) (aware []daemon.Process) {
	running, err := j.daemons().Running(ctx, j.Units)
	if err != nil || s.record == nil || s.record.Placed == nil {
		return nil // they are told once more, which does no harm
	}
	at := s.lies(s.layouts()[0])
	for _, p := range running {
		if j.knows(s.record, p, at) {
			aware = append(aware, p)
		}
	}
	return aware
}

// planInstall lists the changes from the scene to the layout. rec is what will be recorded.
func (j *job) planInstall(ctx context.Context, s scene, layout Layout, prog *program, rec *record) ([]step, error) {
	var steps []step
	add := func(says string, do func() error) { steps = append(steps, step{says, do}) }

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
	for _, name := range slices.Concat(newState, newHook) {
		if !slices.Contains(rec.Created, name) {
			rec.Created = append(rec.Created, name)
		}
	}
	mkdirs := func(names []string) error {
		for _, name := range names {
			real, err := j.dir(name)
			if err != nil {
				return err
			}
			add("create directory "+real, func() error { return mkdir(real) })
		}
		return nil
	}

	// The record goes first: what it lists and does not exist yet is harmless, what exists and it
	// does not list would stay for ever.
	if err := mkdirs(newState); err != nil {
		return nil, err
	}
	if s.record == nil || s.record.Layout != rec.Layout || len(s.record.Created) != len(rec.Created) {
		name, err := j.file(recordFile)
		if err != nil {
			return nil, err
		}
		add("record in "+name+" what uninstall needs", func() error { return j.writeRecord(rec) })
	}
	if err := mkdirs(newHook); err != nil {
		return nil, err
	}

	// A second name first, then ours over the first one: there is no moment without the site's hook.
	if layout == Chain && s.main.kind == theirs && s.site.kind == absent {
		add(fmt.Sprintf("rename the site's hook %s to %s", s.main.path, s.site.path), func() error {
			if err := os.Link(s.main.path, s.site.path); err != nil {
				return err
			}
			return atomicfile.SyncDir(filepath.Dir(s.site.path))
		})
	}
	to := j.at(s, layout)
	same, err := to.same(prog)
	if err != nil {
		return nil, err
	}
	for _, f := range s.moved(layout, same) {
		if err := f.movable(); err != nil {
			return nil, err
		}
	}
	if !same {
		says := fmt.Sprintf("place %s (layout %s)", to.path, layout)
		if to.kind == ours {
			says = fmt.Sprintf("replace %s (layout %s)", to.path, layout)
		}
		dir, err := j.dir(HookDir)
		if err != nil {
			return nil, err
		}
		add(says, func() error {
			if j.live && to.kind == theirs {
				// An interpreter that has been started for it opens it by its name.
				if err := j.untilNoHooks(ctx); err != nil {
					return err
				}
			}
			return place(to.path, dir, prog.data, 0o755)
		})
		var made []string
		for _, name := range newHook {
			real, err := j.dir(name)
			if err != nil {
				return nil, err
			}
			made = append(made, real)
		}
		steps = append(steps, j.relabel(ctx, append(made, to.path))...)
	}

	// Then what another layout left. Between the two the guard is asked twice, never not at all.
	switch {
	case layout != DropIn:
	case s.main.kind == ours && s.site.kind != absent:
		steps = append(steps, j.unchain(ctx, s)...)
	case s.main.kind == ours:
		steps = append(steps, j.takeAway(ctx, s.main.path))
	case s.halfChained():
		add("remove "+s.site.path+", a second name of "+s.main.path, func() error { return remove(s.site.path) })
	case s.waiting():
		steps = append(steps, s.renameBack())
	}
	switch {
	case layout == DropIn && s.oldDropIn.kind == ours:
		steps = append(steps, j.takeAway(ctx, s.oldDropIn.path))
	case layout != DropIn && slices.Contains(s.layouts(), DropIn):
		more, err := j.removeDropIn(ctx, s, rec)
		if err != nil {
			return nil, err
		}
		steps = append(steps, more...)
	}
	return steps, nil
}

// restorecon are the places of the program that gives files their SELinux labels by the policy of the host.
var restorecon = []string{"/usr/sbin/restorecon", "/sbin/restorecon"}

// relabel is the step that gives what install made its SELinux label, before a daemon is told to run it: with the one of
// its directory the daemon may not be allowed to. It touches nothing of the site's. Below another root the label is the
// business of whoever makes the image.
func (j *job) relabel(ctx context.Context, made []string) []step {
	i := slices.IndexFunc(restorecon, func(name string) bool { return unix.Access(name, unix.X_OK) == nil })
	if j.root != "" && !j.live || i < 0 {
		return nil
	}
	return []step{{"label for SELinux " + strings.Join(made, ", "), func() error {
		ctx, cancel := context.WithTimeout(ctx, tellTimeout)
		defer cancel()
		if out, err := exec.CommandContext(ctx, restorecon[i], made...).CombinedOutput(); err != nil {
			fmt.Fprintf(j.Out, "%s: %v: %s\n", restorecon[i], err, guard.Printable(strings.TrimSpace(string(out)), 400)) // hugeguard verify shows whether it matters
		}
		return nil
	}}}
}

// moved lists the files that an install to the layout renames, removes or replaces.
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

// renameBack gives the site's hook its own name again where nothing of ours has it.
func (s scene) renameBack() step {
	return step{fmt.Sprintf("rename the site's hook %s back to %s", s.site.path, s.main.path), func() error { return atomicfile.Rename(s.site.path, s.main.path) }}
}

// unchain gives the site's hook its own name back. It keeps the other one until no run of our program is
// left that is about to run it by that name: such a run would fail, and with it the start of a guest.
func (j *job) unchain(ctx context.Context, s scene) []step {
	return []step{
		{fmt.Sprintf("rename the site's hook %s back to %s", s.site.path, s.main.path), func() error {
			tmp := filepath.Join(filepath.Dir(s.main.path), tempName)
			if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			if err := os.Link(s.site.path, tmp); err != nil {
				return err
			}
			return atomicfile.Rename(tmp, s.main.path)
		}},
		{fmt.Sprintf("remove %s, a second name of %s", s.site.path, s.main.path), func() error {
			if j.live {
				if err := j.untilNoHooks(ctx); err != nil {
					return err
				}
				j.untilUnused(ctx, s.main.info)
			}
			return remove(s.site.path)
		}},
	}
}

// at returns where the hook is put in a layout.
func (j *job) at(s scene, l Layout) file {
	if l == DropIn {
		return s.dropIn
	}
	return s.main
}

// takeAway is the step that removes the file at path, which libvirt may run, once no daemon runs hooks: one that has
// listed them for a start and then finds one of them gone refuses the start.
func (j *job) takeAway(ctx context.Context, path string) step {
	return step{"remove " + path, func() error {
		if j.live {
			if err := j.untilNoHooks(ctx); err != nil {
				return err
			}
		}
		return remove(path)
	}}
}

// dropInsGo are the steps that remove the drop-in, under each of its names.
func (j *job) dropInsGo(ctx context.Context, s scene) (steps []step) {
	for _, f := range []file{s.dropIn, s.oldDropIn} {
		if f.kind == ours {
			steps = append(steps, j.takeAway(ctx, f.path))
		}
	}
	return steps
}

// removeDropIn removes the drop-in, and its directory if install made it.
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
		if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) { // another that is made there later is not ours
			rec.Created = slices.DeleteFunc(rec.Created, func(name string) bool { return name == dropInDir })
		}
		return j.writeRecord(rec)
	}}), nil
}

func (j *job) uninstall(ctx context.Context) error {
	j.known, _ = findProgram(j.Hook) // without it, part of it may be taken for the site's
	s, err := j.scene()
	if err != nil {
		return err
	}
	for _, f := range []file{s.main, s.dropIn, s.oldDropIn} {
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
	// At once: until it is told, a libvirt before 6.5 fails each start for a hook that it knew.
	if j.live && len(s.layouts()) > 0 {
		j.tellAll(ctx)
	}
	return j.run(rest)
}

// planUninstall lists the steps that take the hook away from libvirt, and those that remove the rest after the daemons
// were told.
func (j *job) planUninstall(ctx context.Context, s scene) (hooks, rest []step, err error) {
	for _, f := range []file{s.main, s.dropIn, s.oldDropIn} {
		if f.kind == ours {
			if err := f.movable(); err != nil {
				return nil, nil, err
			}
		}
	}
	add := func(says string, do func() error) { rest = append(rest, step{says, do}) }

	switch {
	case s.main.kind == ours && s.site.kind == theirs:
		hooks = j.unchain(ctx, s)
	case s.main.kind == ours:
		hooks = append(hooks, j.takeAway(ctx, s.main.path))
	case s.halfChained():
		add("remove "+s.site.path+", a second name of "+s.main.path, func() error { return remove(s.site.path) })
	case s.waiting():
		hooks = append(hooks, s.renameBack())
	case s.site.kind != absent && s.chained():
		fmt.Fprintf(j.Out, "%s is not hugeguard's any more and is left alone; %s, which was there before, is left too\n", s.main.path, s.site.path)
	}
	hooks = append(hooks, j.dropInsGo(ctx, s)...)

	// What a run that was interrupted may have left.
	for _, name := range []string{HookDir, dropInDir, stateDir} {
		tmp, err := j.file(name + "/" + tempName)
		if err != nil {
			return nil, nil, err
		}
		if _, err := os.Lstat(tmp); err == nil {
			add("remove "+tmp, func() error { return os.RemoveAll(tmp) })
		}
	}

	claims, err := j.file(ledger.Dir)
	if err != nil {
		return nil, nil, err
	}
	// The /run that a chroot sees ("--root /") may be that of the host around it.
	if _, err := os.Lstat(claims); err == nil && (j.live || j.root != "") {
		add("remove "+claims, func() error {
			for _, f := range []file{s.main, s.dropIn, s.oldDropIn} {
				if f.kind == ours && j.live { // a call that is not over writes there
					j.untilUnused(ctx, f.info)
				}
			}
			return os.RemoveAll(claims)
		})
	}

	counts, err := j.file(counts.File)
	if err != nil {
		return nil, nil, err
	}
	if _, err := os.Lstat(counts); err == nil {
		add("remove "+counts, func() error { return remove(counts) })
	}

	// The record goes after what it lists.
	for _, name := range slices.Backward(hookDirs) {
		if err := j.planRmdir(add, s, name); err != nil {
			return nil, nil, err
		}
	}
	if s.record != nil || s.recordErr != nil {
		name, err := j.file(recordFile)
		if err != nil {
			return nil, nil, err
		}
		add("remove "+name, func() error { return remove(name) })
	}
	if s.recordErr != nil {
		fmt.Fprintf(j.Out, "%v: directories that install may have made are left\n", s.recordErr)
	}
	for _, name := range slices.Backward(stateDirs) {
		if err := j.planRmdir(add, s, name); err != nil {
			return nil, nil, err
		}
	}
	return hooks, rest, nil
}

// planRmdir adds the removal of a directory that install made.
func (j *job) planRmdir(add func(string, func() error), s scene, name string) error {
	dir, err := j.dir(name)
	if err != nil {
		return err
	}
	// That of the record is made before there is a record to say so, and nobody else's by its name.
	made := name == stateDir || s.record != nil && slices.Contains(s.record.Created, name)
	if _, err := os.Lstat(dir); !made || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if name == HookDir && slices.Contains(s.record.Created, libvirtDir) {
		// A libvirt that was installed since has made this its own.
		above, err := j.dir(libvirtDir)
		if err != nil {
			return err
		}
		if in, err := os.ReadDir(above); err != nil || len(in) > 1 {
			return err
		}
	}
	add("remove directory "+dir+" if it is empty", func() error { return rmdir(dir) })
	return nil
}

// run does the steps in order, or says them.
func (j *job) run(steps []step) error {
	for _, s := range steps {
		if j.DryRun {
			fmt.Fprintln(j.Out, "would "+s.says)
			continue
		}
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.says, err)
		}
		fmt.Fprintln(j.Out, s.says)
	}
	return nil
}

// tellUnaware tells each running daemon that may not have looked for hooks since ours lies there, and
// records it.
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
		fmt.Fprintln(j.Out, "no libvirt daemon runs: it will see the hook when it starts")
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

// sayLimits says which limits of the daemons may keep the hook from running.
func (j *job) sayLimits(running []daemon.Process) {
	for _, p := range running {
		for _, tight := range j.daemons().Limits(p) {
			fmt.Fprintf(j.Out, "note: %s\n", tight)
		}
	}
}

// tellAll tells each running daemon that the hook is gone. One that does not hear it is no error, but is said: libvirt
// 6.5 and later looks itself whether there is a hook to call.
func (j *job) tellAll(ctx context.Context) {
	running, err := j.daemons().Running(ctx, j.Units)
	if err != nil {
		fmt.Fprintf(j.Out, "no daemon is told: %v\n", err)
	}
	for _, p := range running {
		if err := j.tellOne(ctx, p); err != nil {
			fmt.Fprintf(j.Out, "%v\n", err)
		}
	}
}

func (j *job) tellOne(ctx context.Context, p daemon.Process) error {
	return j.run([]step{{p.Says(), func() error {
		ctx, cancel := context.WithTimeout(ctx, tellTimeout)
		defer cancel()
		return j.daemons().Tell(ctx, j.Units, p)
	}}})
}
