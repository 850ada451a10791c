// Selinuxbox proves hugeguard's packages where SELinux is enforcing: Debian 13 with its policy in a virtual machine, with
// libvirt, QEMU and Open vSwitch with DPDK. No dontaudit rule hides a denial. Without hugeguard's policy module nothing is
// placed, and guests start. With it the hook does all that it does elsewhere, and nothing of its is denied. A change of
// the policy denies it, and it is taken away.
//
//	go run ./testdata/selinuxbox                   # all of it
//	go run ./testdata/selinuxbox -run 'denied'     # the parts of that name
//	go run ./testdata/selinuxbox -keep             # and leaves the machine running afterwards
//	go run ./testdata/selinuxbox -in DIR -run ovs  # plays on it
//
// It needs root, 3 GiB of memory and 2 GiB of disk. The root file system is kept in the user's cache directory; nothing
// else stays.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
	"time"

	"hugeguard/testdata/vm"
)

type options struct {
	only  *regexp.Regexp // the parts to be played
	keep  bool           // leave the machine running
	in    string         // the directory of a run that does so, to play on its machine
	build bool           // the root file system and no more
	limit time.Duration
}

func main() {
	runtime.LockOSThread() // QEMU is to die with the thread that started it
	var o options
	only := flag.String("run", ".*", "play only the parts whose name matches this `pattern`")
	flag.BoolVar(&o.keep, "keep", false, "leave the machine running afterwards, until it is interrupted")
	flag.StringVar(&o.in, "in", "", "play on the machine of the run in this `directory`, which was told to keep it")
	flag.BoolVar(&o.build, "build", false, "only build the root file system")
	flag.DurationVar(&o.limit, "limit", 4*time.Hour, "give up after this time")
	flag.Parse()
	var err error
	if o.only, err = regexp.Compile("^(?:" + *only + ")$"); err != nil {
		fmt.Fprintln(os.Stderr, "selinuxbox: -run:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, o); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		fmt.Fprintln(os.Stderr, "selinuxbox:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	playing, played := context.WithCancel(ctx)
	defer played()
	go vm.Tick(playing)
	limited, cancel := context.WithTimeoutCause(ctx, o.limit, fmt.Errorf("not done within %v", o.limit))
	defer cancel()
	if o.in != "" {
		return enter(limited, o)
	}
	if err := vm.Provide(ctx); err != nil {
		return err
	}
	image, err := recipe.Image(ctx)
	if err != nil {
		return err
	}
	defer image.Close()
	if o.build {
		vm.Say("built: %s", image.Versions())
		return nil
	}
	dir, err := os.MkdirTemp("", "selinuxbox-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p := &play{Machine: newMachine(limited, image, dir)}
	defer p.Stop()
	if err := bring(p.Machine); err != nil {
		return err
	}
	err = p.Again(func() error { return p.all(o.only) })
	if err != nil {
		p.KeepConsole()
	}
	if !o.keep {
		return err
	}
	played()
	p.Context = ctx
	if err != nil {
		fmt.Fprintln(os.Stderr, "selinuxbox:", err)
	}
	vm.Say("the machine stays until this is interrupted; to play on it: go run ./testdata/selinuxbox -in %s -run PART", dir)
	return errors.Join(os.WriteFile(p.Path(imageFile), []byte(image.Dir), 0o644), p.Lend(p.Path(lentFile)))
}

// A run that keeps its machine leaves in its directory where it lends it, and the image's directory.
const (
	lentFile  = "lent"
	imageFile = "image"
)

// enter plays on the machine of a run that keeps it.
func enter(ctx context.Context, o options) error {
	dir, err := os.ReadFile(filepath.Join(o.in, imageFile))
	if err != nil {
		return err
	}
	image, err := vm.Open(string(dir))
	if err != nil {
		return err
	}
	p := &play{Machine: newMachine(ctx, image, o.in)}
	defer p.Stop()
	if err := p.Attach(p.Path(lentFile)); err != nil {
		return err
	}
	return p.all(o.only)
}
