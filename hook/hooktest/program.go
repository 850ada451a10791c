package hooktest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

const apartEnv = "HUGEGUARD_APART"

// Main runs tests, and hides the machine from those of root: some run the program as libvirt does, whose settings,
// ledger and journal are those of the host, as are the processes and files that it reads.
func Main(m *testing.M) (status int) {
	if argv, ok := os.LookupEnv(measureEnv); ok {
		os.Unsetenv(measureEnv)
		root, argv, _ := strings.Cut(argv, "\n")
		measure(root, strings.Split(argv, "\n"))
		return 0
	}
	if os.Geteuid() != 0 || os.Getenv(apartEnv) != "" {
		return run(m)
	}
	status, err := apart()
	if errors.Is(err, syscall.EPERM) {
		return run(m) // root in a container, which has nothing of a host's
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "namespaces for the tests: %v\n", err)
	}
	return status
}

// programs is where the tests build what they run.
var programs string

func run(m *testing.M) (status int) {
	var err error
	programs, err = os.MkdirTemp("", "hugeguard")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(programs)
	return m.Run()
}

// built is the hook program, built once and without the race detector, as it is installed.
var built = sync.OnceValues(func() (string, error) {
	program := filepath.Join(programs, "qemu")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", program, "hugeguard/hook/qemu")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return program, nil
})

// Program returns the hook program in a folder of the test's own. It is for tests that [Main] runs.
func Program(t *testing.T) string {
	t.Helper()
	program, err := built()
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(t.TempDir(), "qemu")
	if err := os.Link(program, own); err != nil {
		t.Fatal(err)
	}
	return own
}

// hide leaves of the machine no process, and no file of which the program knows the place, then runs a command. Hosts
// for tests are trees of many small files, which are kept in memory.
const hide = `mount -t proc none /proc && mount -t tmpfs -o mode=755 none /run && mkdir -m 1777 /run/tmp && export TMPDIR=/run/tmp || exit
mkdir /run/etc && for name in alternatives group hosts ld.so.cache nsswitch.conf passwd; do
	! test -e /etc/$name || cp -a /etc/$name /run/etc || exit
done
echo deadline = 1m >/run/etc/hugeguard.conf && mount --bind /run/etc /etc || exit
for dir in /usr/local/var /var/cache/libvirt /var/lib/hugeguard /var/lib/libvirt /var/lib/nova /var/snap; do
	! test -d $dir || mount -t tmpfs none $dir || exit
done
exec "$0" "$@"`

// apart runs the tests where the machine is hidden, and returns their exit status.
func apart() (status int, err error) {
	cmd := exec.Command("/bin/sh", append([]string{"-c", hide, os.Args[0]}, os.Args[1:]...)...)
	cmd.Env = append(os.Environ(), apartEnv+"=yes")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS}
	err = cmd.Run()
	var ended *exec.ExitError
	if err == nil || errors.As(err, &ended) {
		return cmd.ProcessState.ExitCode(), nil
	}
	return 1, err
}
