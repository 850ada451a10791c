package process

import (
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"hugeguard/sysfs"
)

// headlessEnv has this program become a process whose first thread has ended, and the others not before its standard
// input is at its end.
const headlessEnv = "HUGEGUARD_TEST_HEADLESS"

func init() {
	if os.Getenv(headlessEnv) == "" {
		return
	}
	go func() {
		os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}()
	syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0) // of this thread, which is the first during init
}

// TestHeadless: a process whose first thread has ended is seen by one that has its memory.
func TestHeadless(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), headlessEnv+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer stdin.Close()
	fs := sysfs.New("/")
	end := time.Now().Add(5 * time.Minute)
	for {
		p, err := fs.Process(cmd.Process.Pid)
		if err != nil || time.Now().After(end) {
			t.Fatal("its first thread has not ended:", p, err)
		}
		if p.Headless {
			break
		}
		time.Sleep(time.Millisecond)
	}
	threads, err := fs.Threads(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	processes, _, err := List(fs, end)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		if p.PID != cmd.Process.Pid && slices.Contains(threads, p.PID) && p.Memory {
			return
		}
	}
	t.Errorf("none of its threads %v is seen", threads)
}
