package place

import (
	"context"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"hugeguard/install/daemon"
)

// Options are what Install, Uninstall and Inspect work on.
type Options struct {
	// Root is the directory of a package or an image; "" is this host. With a Root, no symbolic link leads out of it
	// and no daemon is told.
	Root string
	// Layout is the layout to install; Uninstall removes any.
	Layout Layout
	// Hook is the hook program; "" for the one that belongs to the running command.
	Hook string
	// DryRun prints each step and changes nothing.
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

// begin checks that the caller may change the hooks, and locks out any other install on the same root until done is
// called. It waits for one that runs, for lockPatience at most.
func begin(ctx context.Context, o Options) (j *job, done func(), err error) {
	j = &job{Options: o, live: o.Root == ""}
	if j.live && os.Geteuid() != 0 && !o.DryRun {
		return nil, nil, errRoot
	}
	j.tree, err = treeAt(o.Root)
	if err != nil {
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
	if err := exclude(ctx, lock); err != nil {
		lock.Close()
		return nil, nil, fmt.Errorf("another install is running on %s: %w", lock.Name(), err)
	}
	return j, func() { lock.Close() }, nil
}

// lockPatience is longer than any install takes, and than the timer's look at whether the hook is denied: each may wait
// twice for lastHooks.
var lockPatience = 3 * time.Minute

// exclude locks a file.
func exclude(ctx context.Context, f *os.File) error {
	for end := time.Now().Add(lockPatience); ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != syscall.EWOULDBLOCK || time.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// openLock opens the file to lock: one that only root can open, so that nobody else can hold it; below another root the
// root itself, which belongs to the caller.
func (j *job) openLock() (*os.File, error) {
	if !j.live {
		return os.Open(j.root + "/")
	}
	return os.OpenFile("/run/hugeguard-install.lock", os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
}

// A step is one change to the host. All steps are planned before the first is done, so that a dry run prints exactly
// what a run would do.
type step struct {
	says string
	do   func() error
}

// run does the steps in order, or prints them.
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

// tellTimeout bounds the reload of one daemon; tests set it and other limits of this package.
var tellTimeout = 10 * time.Second

// sayLimits prints which limits of the daemons may keep the hook from running.
func (j *job) sayLimits(running []daemon.Process) {
	for _, p := range running {
		for _, tight := range j.daemons().Limits(p) {
			fmt.Fprintf(j.Out, "note: %s\n", tight)
		}
	}
}

// tellAll tells each running daemon that the hook is gone. A failure is printed and is no error: libvirt 6.5 and later
// checks by itself whether there is a hook to call.
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
