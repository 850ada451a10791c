package hook

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

const ownRunEnv = "HUGEGUARD_OWN_RUN"

// raceDetector is whether these tests are built with the race detector.
var raceDetector bool

// TestMain gives the tests of root a /run and a configuration of their own: some
// run the program as libvirt does, whose ledger, journal and settings are those of
// the host.
func TestMain(m *testing.M) {
	if os.Args[0] == childName {
		os.Exit(testChild(os.Args)) // what a call of these tests has started
	}
	if argv, ok := os.LookupEnv(measureEnv); ok {
		os.Unsetenv(measureEnv)
		root, argv, _ := strings.Cut(argv, "\n")
		measure(root, strings.Split(argv, "\n"))
		os.Exit(0)
	}
	if root := os.Getenv(rootEnv); root != "" {
		status, err := judgeAt(root)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(status)
	}
	if os.Geteuid() != 0 || os.Getenv(ownRunEnv) != "" {
		os.Exit(run(m))
	}
	status, err := inOwnRun()
	if errors.Is(err, syscall.EPERM) {
		status = run(m) // root in a container, which has nothing of a host's
	} else if err != nil {
		fmt.Fprintf(os.Stderr, "a mount namespace for /run: %v\n", err)
	}
	os.Exit(status)
}

// programs is where the tests build what they run.
var programs string

func run(m *testing.M) (status int) {
	var err error
	if programs, err = os.MkdirTemp("", "hugeguard"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(programs)
	return m.Run()
}

// inOwnRun runs the tests in a mount namespace, and returns their exit status.
func inOwnRun() (status int, err error) {
	// Hosts for tests are trees of many small files.
	const script = `mount -t tmpfs -o mode=755 none /run && mkdir -m 1777 /run/tmp && export TMPDIR=/run/tmp && {
	! test -e /etc/hugeguard.conf || { : >/run/none && mount --bind /run/none /etc/hugeguard.conf; }
} && exec "$0" "$@"`
	cmd := exec.Command("/bin/sh", append([]string{"-c", script, os.Args[0]}, os.Args[1:]...)...)
	cmd.Env = append(os.Environ(), ownRunEnv+"=yes")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	err = cmd.Run()
	var ended *exec.ExitError
	if err == nil || errors.As(err, &ended) {
		return cmd.ProcessState.ExitCode(), nil
	}
	return 1, err
}
