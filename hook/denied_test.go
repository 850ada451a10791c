package hook

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"hugeguard/hook/hooktest"
)

const denyEnv = "HUGEGUARD_DENY_MEMFD"

// denyMemfd has the kernel deny memfd_create to this process from now on, as a security
// policy may (seccomp_unotify(2) has the filter's input).
func denyMemfd() error {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the system call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_MEMFD_CREATE, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EACCES)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	return nil
}

// TestDeniedMemfd: who may make no file in memory to hand the domain's XML on judges by the
// kernel's counters, and says that nobody looked further.
func TestDeniedMemfd(t *testing.T) {
	t.Parallel()
	h := hooktest.Incident(t)
	h.Write("etc/hugeguard.conf", "deadline = 1m\n")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), rootEnv+"="+h.Path(""), denyEnv+"=yes")
	out, _ := cmd.CombinedOutput()
	if status := cmd.ProcessState.ExitCode(); status != exitRefuse {
		t.Errorf("exit status %d, want %d: %s", status, exitRefuse, out)
	}
	entry, err := os.ReadFile(h.Path("entry"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(entry), "node 0 is short of 2M pages: 0 of 1024 free, 256 needed (512 MiB); holders were not examined") {
		t.Errorf("the journal's last entry is\n%s", entry)
	}
}
