// Numabox proves hugeguard on a machine with two NUMA nodes: Debian's kernel, systemd, journald, AppArmor,
// libvirt, QEMU and Open vSwitch with DPDK in a QEMU under software emulation. Nothing in it is simulated but
// the CPUs. It installs hugeguard as an admin would, replays the incident at full size, compares what the guard says
// with what really becomes of a launch, scenario by scenario. If it is asked to, it executes the fixes instead.
//
//	go run ./testdata/numabox                  # all of it but the fixes
//	go run ./testdata/numabox -run 'strict.*'  # the scenarios of that name
//	go run ./testdata/numabox -run differing   # the scenarios that depend on releases
//	go run ./testdata/numabox -run fixes       # the fixes
//	go run ./testdata/numabox -shell           # a shell in the box
//	SUITE=trixie go run ./testdata/numabox     # from Debian 13; bullseye, sid, trixie-backports, bookworm-backports+qemu
//
// It needs root, 11 GiB of memory and 2 GiB of disk. The root file system is kept in the user's cache
// directory; nothing else stays.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"hugeguard/testdata/vm"
)

type options struct {
	suite  vm.Suite
	only   *regexp.Regexp // the scenarios to run; nil for all, and the rest
	shell  bool
	build  bool // the root file system and no more
	export string
	pack   bool // export as text archives
	played string
	limit  time.Duration
}

// wants reports whether a part is to be run.
func (o options) wants(part string) bool { return o.only == nil || o.only.MatchString(part) }

// plays reports whether a part, or one of its cases, is to be run.
func (o options) plays(p part) bool {
	return (!p.apart || o.only != nil) && (o.wants(p.name) || slices.ContainsFunc(p.cases, o.wants))
}

// apart reports whether the box is for a part that takes one of its own.
func (o options) apart() bool {
	return slices.ContainsFunc(parts, func(p part) bool { return p.apart && o.plays(p) })
}

// scenarios are those to be run.
func (o options) scenarios() (chosen []scenario) {
	for _, s := range scenarios {
		if o.wants(s.name) || o.wants(allScenarios) || s.differs() && o.wants(differing) {
			chosen = append(chosen, s)
		}
	}
	return chosen
}

// pick sets what is to be run: the parts and scenarios whose name matches a pattern.
func (o *options) pick(pattern string) (err error) {
	if o.only, err = regexp.Compile("^(?:" + pattern + ")$"); err != nil {
		return err
	}
	if !slices.ContainsFunc(names(), o.wants) {
		return fmt.Errorf("nothing is named %s; there are %s", pattern, strings.Join(names(), " "))
	}
	return nil
}

// keep exports a scenario, if that is wanted.
func (o options) keep(name string, c capture) error {
	switch {
	case o.export == "":
		return nil
	case o.pack:
		return c.archive(filepath.Join(o.export, name+".txtar"))
	}
	return c.folder(filepath.Join(o.export, name))
}

func main() {
	// QEMU is to die with the thread that started it.
	runtime.LockOSThread()
	var o options
	var suite, only string
	flag.StringVar(&suite, "suite", cmp.Or(os.Getenv("SUITE"), "bookworm"), "the Debian `release` of the box, or trixie-backports and the like")
	flag.StringVar(&only, "run", "", "run only the parts and scenarios whose name matches this `pattern`")
	flag.BoolVar(&o.shell, "shell", false, "give a shell in the box")
	flag.BoolVar(&o.build, "build", false, "only build the root file system")
	flag.StringVar(&o.export, "export", "", "write every scenario as a captured host below this `directory`")
	flag.BoolVar(&o.pack, "archive", false, "export text archives, as those in testdata/numabox/captured, not directories")
	flag.StringVar(&o.played, "played", "", "write what became of the scenarios to SUITE.tsv in this `directory`, as in testdata/numabox/played")
	flag.DurationVar(&o.limit, "limit", 4*time.Hour, "give up after this time")
	flag.Parse()
	o.suite = vm.ParseSuite(suite)
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "numabox: %q is not an option\n", flag.Arg(0))
		os.Exit(2)
	}
	if only != "" {
		if err := o.pick(only); err != nil {
			fmt.Fprintln(os.Stderr, "numabox:", err)
			os.Exit(2)
		}
	}
	ends := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	defer stop()
	go vm.Tick(ctx)
	if err := run(ctx, o); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		fmt.Fprintln(os.Stderr, "numabox:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if !o.shell {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.limit, fmt.Errorf("not done within %v", o.limit))
		defer cancel()
	}
	if err := vm.Provide(ctx); err != nil {
		return err
	}
	b := &box{Machine: &vm.Machine{Context: ctx, Args: machine, Lasts: o.apart()}}
	if b.Image, err = recipe(o.suite).Image(ctx); err != nil {
		return err
	}
	defer b.Image.Close()
	b.Cmdline = o.commandLine(b.Image)
	if o.build {
		vm.Say("built Debian %s: %s", o.suite.Name, b.Image.Versions())
		return nil
	}
	if err := vm.EnoughMemory(gib); err != nil {
		return err
	}
	if b.Dir, err = os.MkdirTemp("", "numabox-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.Dir)
	if err := b.buildProduct(ctx, o.shell || o.wants("packages")); err != nil {
		return err
	}
	vm.Say("booting Debian %s: %s", o.suite.Name, b.Image.Versions())
	defer func() {
		b.Stop()
		if err != nil && ctx.Err() == nil {
			b.KeepConsole()
		}
	}()
	if err := b.Start(); err != nil {
		return fmt.Errorf("boot: %w", err)
	}
	vm.Say("the box is up")
	if o.shell {
		return b.shell()
	}
	return b.prove(o)
}
