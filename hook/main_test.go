package hook

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

const ownRunEnv = "HUGEGUARD_OWN_RUN"

// TestMain gives the tests of root a /run of their own: some run the program as
// libvirt does, whose ledger and journal are those of the host.
func TestMain(m *testing.M) {
	if os.Geteuid() != 0 || os.Getenv(ownRunEnv) != "" {
		os.Exit(m.Run())
	}
	status, err := inOwnRun()
	if errors.Is(err, syscall.EPERM) {
		status = m.Run() // root in a container, which has nothing of a host's
	} else if err != nil {
		fmt.Fprintf(os.Stderr, "a mount namespace for /run: %v\n", err)
	}
	os.Exit(status)
}

// inOwnRun runs the tests in a mount namespace, and returns their exit status.
func inOwnRun() (status int, err error) {
	cmd := exec.Command("/bin/sh", append([]string{"-c", `mount -t tmpfs -o mode=755 none /run && exec "$0" "$@"`, os.Args[0]}, os.Args[1:]...)...)
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
