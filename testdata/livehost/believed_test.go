package livehost

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// process is how one is run.
type process struct {
	uid     uint32
	unshare uintptr
}

// runs runs a process of that name, which does nothing, with these arguments until the test's end.
func (s *scene) runs(name string, how process, argv ...string) *exec.Cmd {
	s.t.Helper()
	// A Python script has its interpreter's name and its own among its arguments.
	cmd := exec.Command("/usr/bin/python3", append([]string{"-c", "import sys; print(flush=True); sys.stdin.read()"}, argv...)...)
	cmd.Args[0] = name
	cmd.Env = cleanEnv()
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: how.unshare, Credential: &syscall.Credential{Uid: how.uid, Gid: how.uid}}
	stdin, err := cmd.StdinPipe()
	s.must(err)
	stdout, err := cmd.StdoutPipe()
	s.must(err)
	s.must(cmd.Start())
	s.t.Cleanup(func() { stdin.Close(); cmd.Wait() })
	_, err = stdout.Read(make([]byte, 1))
	s.must(err)
	return cmd
}

// freeze freezes a process until the test's end.
func (s *scene) freeze(pid int) {
	s.t.Helper()
	freezer := s.path("freezer")
	s.must(os.MkdirAll(freezer, 0o755))
	s.must(mount("freezer", freezer, "cgroup", 0, "freezer"))
	group := filepath.Join(freezer, "hugeguard-frozen")
	s.must(os.Mkdir(group, 0o755))
	state := func(text string) error { return os.WriteFile(filepath.Join(group, "freezer.state"), []byte(text), 0) }
	s.t.Cleanup(func() {
		s.check(state("THAWED"))
		s.check(os.WriteFile(filepath.Join(freezer, "cgroup.procs"), []byte(itoa(pid)), 0))
		s.check(os.Remove(group))
		s.check(unix.Unmount(freezer, 0))
	})
	s.must(os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(itoa(pid)), 0))
	s.must(state("FROZEN"))
	s.must(eventually(func() error {
		now, err := os.ReadFile(filepath.Join(group, "freezer.state"))
		if err == nil && strings.TrimSpace(string(now)) != "FROZEN" {
			err = fmt.Errorf("the group is %s", now)
		}
		return err
	}))
}

// What a user's process calls itself, and what it names, makes nobody open or connect to anything.
func TestUsersProcessesAreNotBelieved(t *testing.T) {
	const nobody = 65534
	s := begin(t, 64)
	s.installGuard() // or it is that which status tells
	d := domain{name: "lacks", mib: 128, cells: 1}
	secret := s.path("secret")
	s.must(unix.Mkfifo(secret, 0o600))
	fifo, err := os.OpenFile(secret, os.O_RDWR|unix.O_NONBLOCK, 0)
	s.must(err)
	defer fifo.Close()
	_, err = fifo.WriteString("for root alone")
	s.must(err)
	large := s.path("large")
	s.must(os.Mkdir(large, 0o755))
	for i := range 61 {
		name := filepath.Join(large, fmt.Sprintf("%d.conf", i))
		s.must(os.WriteFile(name, nil, 0o644))
		s.must(os.Truncate(name, 4<<20))
	}
	watch, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	s.must(err)
	defer unix.Close(watch)
	for _, name := range []string{secret, large} {
		_, err := unix.InotifyAddWatch(watch, name, unix.IN_OPEN|unix.IN_ACCESS)
		s.must(err)
	}
	socket := s.path("users.sock")
	listener, err := net.Listen("unix", socket)
	s.must(err)
	defer listener.Close()
	connected := make(chan net.Conn, 100)
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				close(connected)
				return
			}
			connected <- c
		}
	}()

	for _, argv := range [][]string{
		{"--config-file", secret}, {"--config-file", "/dev/zero"}, {"--config-dir", large},
	} {
		s.runs("nova-compute", process{uid: nobody}, append([]string{"/usr/bin/nova-compute"}, argv...)...)
	}
	// It has pages, so that it is looked at.
	t.Cleanup(func() { os.Remove(s.path("ovs-vswitchd")) }) // or it stands where others have the real one
	h := s.holdAs(nobody, "ovs-vswitchd", touched, 40, "unix:"+socket)
	for what, say := range map[string]func() string{
		"the hook": func() string {
			r := s.callHook(strings.NewReader(d.xml()), d.name, "prepare", "begin", "-")
			if r.status != 1 {
				t.Errorf("exit status %d", r.status)
			}
			return r.stderr
		},
		"status":  func() string { return s.command(s.cli, 0, "status") },
		"metrics": func() string { return s.command(s.cli, 0, "metrics") },
	} {
		said := say()
		if what == "metrics" {
			said = samples(said)
		}
		if strings.Contains(said, "Open vSwitch") || strings.Contains(said, "nova-compute") || strings.Contains(said, "root alone") {
			t.Errorf("%s believes it:\n%s", what, said)
		}
		if what != "metrics" && !strings.Contains(said, fmt.Sprintf("ovs-vswitchd (pid %d)", h.pid())) {
			t.Errorf("%s does not name the process:\n%s", what, said)
		}
	}
	if n, err := unix.Read(watch, make([]byte, 4096)); err != unix.EAGAIN {
		t.Errorf("something was opened: %d bytes of events, %v", n, err)
	}
	left := make([]byte, 100)
	if n, err := fifo.Read(left); string(left[:max(n, 0)]) != "for root alone" {
		t.Errorf("the FIFO has %q left, %v", left[:max(n, 0)], err)
	}
	listener.Close()
	for range connected {
		t.Error("somebody connected")
	}
}

// samples are metrics without the words about them.
func samples(metrics string) string {
	lines := slices.DeleteFunc(strings.Split(metrics, "\n"), func(line string) bool { return strings.HasPrefix(line, "#") })
	return strings.Join(lines, "\n")
}

// A process that listens in place of Open vSwitch's database is asked only if it is root or Open vSwitch's user.
func TestDatabaseOfAUser(t *testing.T) {
	s := begin(t, 32)
	s.must(s.build())
	s.must(os.MkdirAll("/run/openvswitch", 0o755))
	const socket = "/run/openvswitch/db.sock"
	t.Cleanup(func() { os.Remove(socket) })
	record := s.path("asked")
	s.must(os.WriteFile(record, nil, 0o666))
	s.must(os.Chmod(record, 0o666))
	server := exec.Command("/usr/bin/python3", "-c", `
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
os.setgid(65534); os.setuid(65534)
s.listen(5)
print(flush=True)
while True:
    c, _ = s.accept()
    got = c.recv(1000)
    with open(sys.argv[2], "ab") as f: f.write(b"[" + got + b"]")
`, socket, record)
	stdout, err := server.StdoutPipe()
	s.must(err)
	s.must(server.Start())
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })
	_, err = stdout.Read(make([]byte, 1))
	s.must(err)
	d := domain{name: "lacks", mib: 128, cells: 1}
	if r := s.callHook(strings.NewReader(d.xml()), d.name, "prepare", "begin", "-"); r.status != 1 {
		t.Errorf("exit status %d", r.status)
	}
	s.must(eventually(func() error {
		asked, err := os.ReadFile(record)
		if err == nil && len(asked) == 0 {
			err = fmt.Errorf("nobody has connected") // or this would prove nothing
		}
		if err == nil && string(asked) != "[]" {
			err = stop{fmt.Errorf("it was asked %q", asked)}
		}
		return err
	}))
}
