// Novabox proves hugeguard under a real Nova: Debian's Keystone, Placement, Glance, RabbitMQ, MariaDB and Nova's control
// services in namespaces of their own beside a virtual machine with two NUMA nodes, on which nova-compute, libvirt, QEMU
// and Open vSwitch with DPDK run with AppArmor enforcing. Some lines stand for Neutron: the instances have no network.
// It plays the incident through Nova's API, before and after hugeguard is installed from its package, and compares
// what Nova's database says of huge pages with hugeguard status, step by step.
//
//	go run ./testdata/novabox                   # all of it
//	go run ./testdata/novabox -run 'packing'    # the parts of that name
//	go run ./testdata/novabox -keep             # and leaves the machines running afterwards
//	go run ./testdata/novabox -in DIR -run loop # plays on these, until they are interrupted
//
// It needs root, 8 GiB of memory and 6 GiB of disk. The root file system is kept in the user's cache directory; nothing
// else stays.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"hugeguard/testdata/vm"
)

// insideEnv is the directory of the run in the environment of the process in the namespaces.
const insideEnv = "NOVABOX_INSIDE"

// gib is what the control services and the compute node take of this machine's memory at the most.
const gib = 8

type options struct {
	suite vm.Suite
	only  string // the parts to be played, as a pattern
	keep  bool   // leave the machines running
	in    string // the directory of a run that does so, to play on its machines
	limit time.Duration
}

func main() {
	runtime.LockOSThread() // what is started is to die with the thread that started it
	var o options
	suite := flag.String("suite", cmp.Or(os.Getenv("SUITE"), "bookworm"), "the Debian `release`, and with it Nova's")
	flag.StringVar(&o.only, "run", ".*", "play only the parts whose name matches this `pattern`")
	flag.BoolVar(&o.keep, "keep", false, "leave the machines running afterwards, until it is interrupted")
	flag.StringVar(&o.in, "in", "", "play on the machines of the run in this `directory`, which was told to keep them")
	flag.DurationVar(&o.limit, "limit", 3*time.Hour, "give up after this time")
	flag.Parse()
	o.suite = vm.ParseSuite(*suite)
	if _, err := regexp.Compile(o.only); err != nil {
		fmt.Fprintln(os.Stderr, "novabox: -run:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	run := outside
	switch {
	case os.Getenv(insideEnv) != "":
		run = inside
	case o.in != "":
		run = enter
	}
	if err := run(ctx, o); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		fmt.Fprintln(os.Stderr, "novabox:", err)
		os.Exit(1)
	}
}

// outside builds what there is to build, and then runs this program again in namespaces of its own. With its first
// process all that it started there ends.
func outside(ctx context.Context, o options) error {
	building, built := context.WithCancel(ctx)
	defer built()
	go vm.Tick(building)
	if err := vm.Provide(ctx); err != nil {
		return err
	}
	if err := vm.EnoughMemory(gib); err != nil {
		return err
	}
	image, err := recipe(o.suite).Image(ctx)
	if err != nil {
		return err
	}
	defer image.Close()
	dir, err := os.MkdirTemp("", "novabox-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	machine := newMachine(ctx, dir, image)
	if err := buildProduct(ctx, machine); err != nil {
		return err
	}
	built()
	ctx, cancel := context.WithTimeoutCause(ctx, o.limit, fmt.Errorf("not done within %v", o.limit))
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideEnv+"="+dir, imageEnv+"="+image.Dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true,
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC}
	if err := cmd.Start(); err != nil {
		return err
	}
	entry := fmt.Sprintf("%d %s", cmd.Process.Pid, image.Dir)
	if err := errors.Join(os.WriteFile(filepath.Join(dir, entryFile), []byte(entry), 0o644), cmd.Wait()); err != nil {
		return errors.Join(context.Cause(ctx), fmt.Errorf("inside: %w", err))
	}
	return nil
}

// imageEnv is the image's directory in the environment of the process in the namespaces.
const imageEnv = "NOVABOX_IMAGE"

// entryFile has, in a run's directory, the process whose namespaces it has, and the image's directory.
const entryFile = "entry"

// enter runs this program again in the namespaces of a run that keeps its machines.
func enter(ctx context.Context, o options) error {
	text, err := os.ReadFile(filepath.Join(o.in, entryFile))
	if err != nil {
		return err
	}
	pid, image, _ := strings.Cut(string(text), " ")
	program, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.limit, fmt.Errorf("not done within %v", o.limit))
	defer cancel()
	args := append([]string{"-t", pid, "-m", "-p", "-n", "-u", "-i", "--", program}, os.Args[1:]...)
	cmd := exec.CommandContext(ctx, "nsenter", args...)
	cmd.Env = append(os.Environ(), insideEnv+"="+o.in, imageEnv+"="+image)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // and what nsenter started
	if err := cmd.Run(); err != nil {
		return errors.Join(context.Cause(ctx), fmt.Errorf("inside: %w", err))
	}
	return nil
}

// inside plays.
func inside(ctx context.Context, o options) error {
	go vm.Tick(ctx)
	image, err := vm.Open(os.Getenv(imageEnv))
	if err != nil {
		return err
	}
	dir := os.Getenv(insideEnv)
	c := newControl(ctx, dir)
	machine := newMachine(ctx, dir, image)
	defer machine.Stop()
	if o.in != "" {
		err = machine.Attach(filepath.Join(dir, lentFile))
	} else {
		err = bring(ctx, c, machine)
	}
	if err != nil {
		return err
	}
	p := &play{Machine: machine, control: c}
	if err = p.all(regexp.MustCompile("^(?:"+o.only+")$"), o.in == ""); err != nil {
		c.keepLogs(machine)
	} else {
		vm.Say("all %d checks hold: Debian %s, Nova %s, %s", p.Done, o.suite.Name, image.Version("nova-compute"), image.Versions())
	}
	if o.keep {
		vm.Say("the machines stay until this is interrupted; to play on them: go run ./testdata/novabox -in %s -run PART", dir)
		return errors.Join(err, machine.Lend(filepath.Join(dir, lentFile)))
	}
	return err
}

// bring starts the control services and the compute node.
func bring(ctx context.Context, c *control, m *vm.Machine) error {
	if err := c.mount(m.Dir, m.Image); err != nil {
		return fmt.Errorf("the control services: %w", err)
	}
	vm.Say("booting the compute node: Nova %s, %s", m.Image.Version("nova-compute"), m.Image.Versions())
	booted := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		booted <- m.Start()
		<-ctx.Done() // QEMU lives as long as this thread
	}()
	if err := c.start(); err != nil {
		c.keepLogs(nil)
		return fmt.Errorf("the control services: %w", err)
	}
	vm.Say("the control services answer")
	if err := <-booted; err != nil {
		m.KeepConsole()
		return fmt.Errorf("boot: %w", err)
	}
	vm.Say("the compute node is up")
	return nil
}

// lentFile is where a run that keeps its machines lends the port of the compute node's agent.
const lentFile = "lent"

func product(dir string) string { return filepath.Join(dir, "product") }
