package hooktest

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// mostMemory is what the program may have resident at its peak, in KiB.
const mostMemory = 64 << 10

const measureEnv = "HUGEGUARD_MEASURE"

// Bounded runs a program, below a root of its own if that is not empty, and checks what it takes.
func Bounded(t *testing.T, want int, root string, stdin io.Reader, argv ...string) {
	t.Helper()
	// A process begins with the peak of the one that forked it, which must therefore be a small one.
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), measureEnv+"="+strings.Join(append([]string{root}, argv...), "\n"))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	// What nobody reads need not be written to the end.
	go func() {
		io.Copy(in, stdin)
		in.Close()
	}()
	out, err := cmd.CombinedOutput()
	var status, peak int
	if _, scanned := fmt.Sscanf(string(out), "%d %d\n", &status, &peak); err != nil || scanned != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if t.Logf("status %d, %d MiB", status, peak>>10); status != want || peak > mostMemory {
		t.Errorf("status %d, %d MiB resident, want %d and %d", status, peak>>10, want, mostMemory>>10)
	}
}

// measure runs a program and prints its exit status, and how much of it was resident at its peak, in KiB.
func measure(root string, argv []string) {
	cmd := exec.Command(argv[0], argv[1:]...)
	if root != "" {
		cmd.SysProcAttr, cmd.Dir = &syscall.SysProcAttr{Chroot: root}, "/"
	}
	cmd.Stdin = os.Stdin
	cmd.Run()
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	fmt.Println(cmd.ProcessState.ExitCode(), usage.Maxrss)
}
