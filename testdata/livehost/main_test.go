// Package livehost proves hugeguard on a live host: real libvirtd, journald, QEMU, ovs-vswitchd with
// DPDK and real 2 MiB pages. Nothing of it is simulated but the guests' CPUs, and nothing of it stays:
// the tests run in PID, mount, network and IPC namespaces of their own, which end with them.
//
// It lies below testdata because it needs root and Debian's packages; run it by
//
//	go test -count=1 ./testdata/livehost
//
// Where something is missing it fails and says what: a caller of this tier wants it run.
package livehost

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"hugeguard/testdata/machine"
)

// The test binary runs in four roles, one inside the other. The role is in the environment, because
// the arguments belong to package testing.
const (
	roleEnv  = "HUGEGUARD_LIVEHOST_ROLE"
	pagesEnv = "HUGEGUARD_LIVEHOST_PAGES_BEFORE"

	roleOuter  = ""       // on the machine itself: owns the machine's pool, starts init
	roleInit   = "init"   // PID 1 of the namespaces: mounts, reaps
	roleTests  = "tests"  // runs the tests
	roleHolder = "holder" // a process that holds huge pages (holders_test.go)

	// libvirtEnv names a directory that has a usr with a libvirt, which is laid over this machine's; "" for none.
	libvirtEnv = "HUGEGUARD_LIBVIRT"
)

// poolDir is the machine's pool of 2 MiB pages, the one thing here that no namespace makes private.
const (
	poolDir        = machine.HugePages + "/hugepages-2048kB"
	overcommitFile = poolDir + "/nr_overcommit_hugepages"
)

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleEnv); role {
	case roleOuter:
		os.Exit(runOuter())
	case roleInit:
		os.Exit(runInit())
	case roleTests:
		os.Exit(runTests(m))
	case roleHolder:
		os.Exit(runHolder())
	default:
		fmt.Fprintf(os.Stderr, "livehost: %s=%s is none of its roles\n", roleEnv, role)
		os.Exit(1)
	}
}

// runOuter starts the private host and puts the machine's pool back, however that ends.
func runOuter() int {
	if what := missing(); what != "" {
		return fail("%s", what)
	}
	pool, err := os.OpenFile(filepath.Join(poolDir, "nr_hugepages"), os.O_RDWR, 0)
	if err != nil {
		return fail("no pool of 2 MiB pages to work with: %v", err)
	}
	// Two runs at a time would judge each other's pages.
	if err := syscall.Flock(int(pool.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fail("another run has the machine's huge pages (lock on %s): %v", pool.Name(), err)
	}
	before, err := readInt(pool.Name())
	if err != nil {
		return fail("%v", err)
	}
	overcommit, err := readInt(overcommitFile)
	if err != nil {
		return fail("%v", err)
	}
	if free, err := readInt(filepath.Join(poolDir, "free_hugepages")); err != nil || free != before {
		return fail("somebody uses this machine's 2 MiB pages: %d of %d are free (%v)", free, before, err)
	}

	// The private host has no network to fetch what they are built from. The tarball of a release has it.
	if _, err := os.Stat("../../vendor"); err != nil {
		if out, err := exec.Command("go", "mod", "download").CombinedOutput(); err != nil {
			return fail("go mod download: %v\n%s", err, out)
		}
	}

	// init sees the other end of this pipe close when this process dies, even by SIGKILL.
	alive, held, err := os.Pipe()
	if err != nil {
		return fail("%v", err)
	}
	cmd := exec.Command("/proc/self/exe", machine.Arguments()...)
	cmd.Env = append(os.Environ(), roleEnv+"="+roleInit, pagesEnv+"="+strconv.Itoa(before))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{alive}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC,
		Setsid:     true, // a signal to this process group must not take init, which still has to clean up
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	if err := cmd.Start(); err != nil {
		return fail("cannot make namespaces: %v", err)
	}
	alive.Close()
	go func() {
		s := <-signals
		fmt.Fprintf(os.Stderr, "livehost: %v: ending the private host\n", s)
		cmd.Process.Kill() // the kernel ends everything else in its PID namespace
	}()
	err = cmd.Wait() // returns after the last process of the namespace is gone, its pages with it
	held.Close()
	if werr := errors.Join(machine.SetPool(poolDir, before), writeInt(overcommitFile, overcommit)); werr != nil {
		return fail("the pool is not put back to %d pages: %v", before, werr)
	}
	if err != nil {
		if code := cmd.ProcessState.ExitCode(); code > 0 {
			return code
		}
		return fail("the private host ended: %v", err)
	}
	return 0
}

// missing names what this machine lacks for a live host, "" if nothing.
func missing() string {
	if os.Geteuid() != 0 {
		return "needs root: it makes namespaces and changes the machine's pool of huge pages"
	}
	for _, need := range []struct{ file, pkg string }{
		{journald, "systemd"},
		{"/usr/bin/journalctl", "systemd"},
		{filepath.Join(os.Getenv(libvirtEnv), libvirtd), daemonPackage},
		{virtlogd, "libvirt-daemon"},
		{"/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so", "libvirt-daemon-driver-qemu"},
		{"/usr/bin/virsh", "libvirt-clients"},
		{emulator, "qemu-system-x86"},
		{"/usr/bin/fuser", "psmisc"},
		{"/usr/bin/jq", "jq"},
		{"/usr/bin/ansible-playbook", "ansible-core"},
		{"/usr/bin/ovsdb-tool", "openvswitch-common"},
		{"/usr/bin/ovs-vsctl", "openvswitch-switch"},
		{ovsVswitchd, "openvswitch-switch-dpdk"},
		{postgresql("postgres"), "postgresql"},
		{"/usr/bin/psql", "postgresql"},
		{prometheus, "prometheus"},
		{promtool, "prometheus"},
		{nodeExporter, "prometheus-node-exporter"},
	} {
		if _, err := os.Stat(need.file); err != nil {
			return fmt.Sprintf("needs %s of Debian's package %s: %v", need.file, need.pkg, err)
		}
	}
	for _, tool := range []string{"go", "gcc", "make"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Sprintf("needs %s, to build what it tests: %v", tool, err)
		}
	}
	return ""
}

// runInit is PID 1: it furnishes the namespaces, runs the tests and reaps whatever they orphan. When
// it returns the kernel kills what is left of them.
func runInit() int {
	// Whatever else this process was given is not handed on.
	if err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fail("%v", err)
	}
	var outerDied atomic.Bool
	go func() {
		io.Copy(io.Discard, os.NewFile(3, "outer")) // ends when the outer process has died
		outerDied.Store(true)
		syscall.Kill(-1, syscall.SIGKILL)
		for {
			// The main loop reaps too; either sees ECHILD only when all are gone and their pages free.
			if _, err := syscall.Wait4(-1, nil, 0, nil); err == syscall.ECHILD {
				break
			}
		}
		if before, err := strconv.Atoi(os.Getenv(pagesEnv)); err == nil {
			writeInt(filepath.Join(poolDir, "nr_hugepages"), before)
		}
		os.Exit(1)
	}()
	if err := furnish(); err != nil {
		return fail("%v", err)
	}
	cmd := exec.Command("/proc/self/exe", machine.Arguments()...)
	cmd.Env = append(os.Environ(), roleEnv+"="+roleTests)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return fail("%v", err)
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case outerDied.Load():
			select {} // the goroutine above ends this process when it has cleaned up
		case err == syscall.EINTR:
		case err != nil:
			return fail("waiting for the tests: %v", err)
		case pid == cmd.Process.Pid && status.Exited():
			return status.ExitStatus()
		case pid == cmd.Process.Pid:
			return fail("the tests ended: %v", status.Signal())
		}
	}
}

// furnish makes everything private that the daemons or the product read or write: what this machine has installed is
// not part of the private host, nor is anything that its own libvirt, journal or Open vSwitch left.
func furnish() error {
	if err := mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	libvirt, err := os.Open(os.Getenv(libvirtEnv) + "/usr") // before that is hidden
	if err != nil {
		return err
	}
	defer libvirt.Close()
	if err := machine.Hide(); err != nil {
		return err
	}
	if os.Getenv(libvirtEnv) != "" {
		lay := exec.Command("cp", "-a", "/proc/self/fd/3/.", "/usr")
		lay.ExtraFiles = []*os.File{libvirt}
		if out, err := lay.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w\n%s", lay, err, out)
		}
	}
	return furnishDev()
}

// furnishDev makes a /dev with what the daemons need: syslog's socket and the mount of the huge pages
// are to be private, and journald must not read the machine's kernel log.
func furnishDev() error {
	if err := mount("dev", "/mnt", "tmpfs", 0, "mode=0755"); err != nil {
		return err
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		to := filepath.Join("/mnt", name)
		if err := os.WriteFile(to, nil, 0o666); err != nil {
			return err
		}
		if err := mount(filepath.Join("/dev", name), to, "", syscall.MS_BIND, ""); err != nil {
			return err
		}
	}
	for _, dir := range []string{"pts", "shm", "hugepages"} {
		if err := os.Mkdir(filepath.Join("/mnt", dir), 0o755); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{"fd": "/proc/self/fd", "ptmx": "pts/ptmx", "log": "/run/systemd/journal/dev-log"} {
		if err := os.Symlink(target, filepath.Join("/mnt", name)); err != nil {
			return err
		}
	}
	if err := mount("devpts", "/mnt/pts", "devpts", 0, "newinstance,ptmxmode=0666"); err != nil {
		return err
	}
	if err := mount("shm", "/mnt/shm", "tmpfs", 0, "mode=1777"); err != nil {
		return err
	}
	if err := mount("hugetlbfs", "/mnt/hugepages", "hugetlbfs", 0, "pagesize=2M"); err != nil {
		return err
	}
	return mount("/mnt", "/dev", "", syscall.MS_MOVE, "")
}

var mount = machine.Mount

// runTests brings the host up and runs the tests on it. It need not stop it: see runInit.
func runTests(m *testing.M) int {
	h, err := newHost()
	if err != nil {
		if h != nil {
			h.dumpLogs(os.Stderr)
		}
		return fail("%v", err)
	}
	live = h
	return m.Run()
}

func fail(format string, args ...any) int {
	fmt.Fprintf(os.Stderr, "livehost: "+format+"\n", args...)
	return 1
}

func readInt(file string) (int, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	return n, nil
}

func writeInt(file string, n int) error {
	return os.WriteFile(file, []byte(strconv.Itoa(n)), 0)
}
