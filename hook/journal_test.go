package hook

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// What journald gets: in the message itself, and where the entry is too large for that, in a file that nobody can change.
func TestSendFields(t *testing.T) {
	dir, err := os.MkdirTemp("", "j") // a socket's path may have 107 characters
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "s")
	journald, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	defer journald.Close()
	large := strings.Repeat("x", 4<<20)
	for _, c := range []struct{ value, want string }{
		{"one line", "MESSAGE=one line\n"},
		{"", "MESSAGE=\n"},
		{"two\nlines", "MESSAGE\n\x09\x00\x00\x00\x00\x00\x00\x00two\nlines\n"},
		{large, "MESSAGE=" + large + "\n"},
	} {
		if err := sendFields(socket, map[string]string{"MESSAGE": c.value}); err != nil {
			t.Fatalf("%d bytes: %v", len(c.value), err)
		}
		if got := receive(t, journald); got != c.want {
			t.Errorf("%d bytes: journald got %.80q, want %.80q", len(c.value), got, c.want)
		}
	}
	if err := sendFields(socket+"-none", map[string]string{"MESSAGE": "x"}); err == nil {
		t.Error("nobody listens there, and it was sent")
	}
}

// Where memfd_create is denied, journald gets the same in a file that it takes besides.
func TestSendFieldsWithoutMemfd(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.v", "-test.run=^TestSendFields$")
	cmd.Env = append(os.Environ(), denyEnv+"=yes")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestSendFields ") {
		t.Errorf("%v: %s", err, out)
	}
}

// receive returns an entry as journald reads it.
func receive(t *testing.T, journald *net.UnixConn) string {
	t.Helper()
	message, control := make([]byte, 1<<20), make([]byte, 1<<10)
	n, length, _, _, err := journald.ReadMsgUnix(message, control)
	if err != nil {
		t.Fatal(err)
	}
	if n > 0 {
		return string(message[:n])
	}
	messages, err := syscall.ParseSocketControlMessage(control[:length])
	if err != nil || len(messages) != 1 {
		t.Fatalf("%d control messages, %v", len(messages), err)
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		t.Fatalf("%d files, %v", len(fds), err)
	}
	file := os.NewFile(uintptr(fds[0]), "entry")
	defer file.Close()
	// journald refuses a file that was opened in an odd way (fd_verify_safe_flags).
	flags, err := unix.FcntlInt(file.Fd(), unix.F_GETFL, 0)
	const largeFile = 0o100000 | 0o400000 // that and O_NOFOLLOW, on each architecture
	if odd := flags &^ (unix.O_ACCMODE | largeFile); err != nil || odd != 0 {
		t.Errorf("the file was opened with flags %o, %v", odd, err)
	}
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fds[0]))
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv(denyEnv) != "" {
		// Unless it is root's, journald takes a file that can still be written to only from some directories
		// (server_process_native_file).
		if !strings.HasPrefix(path, "/dev/shm/") || !strings.HasSuffix(path, " (deleted)") {
			t.Errorf("the file is %s", path)
		}
	} else if _, err := file.WriteAt([]byte("y"), 0); err == nil {
		t.Errorf("%s can still be written to", path)
	}
	text := make([]byte, 8<<20)
	n, _ = file.ReadAt(text, 0)
	return string(text[:n])
}
