package livehost

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Operations of <linux/fuse.h>.
const (
	fuseInit   = 26
	fuseKilled = 36 // FUSE_INTERRUPT: a signal has come for one who waits
)

// hung is a file system whose server reads every request and answers none but the mount's: a process that waits for
// another sleeps as no signal can end.
type hung struct {
	fuse     *os.File
	requests atomic.Int64 // that nobody will answer
}

// hang mounts a file system of this kind over a file or directory. Its end, at the test's at the latest, wakes each
// process that waits.
func (s *scene) hang(name string) *hung {
	s.t.Helper()
	fd := s.openFUSE(unix.O_NONBLOCK)
	mode := unix.S_IFDIR | 0o755
	if info, err := os.Stat(name); err == nil && !info.IsDir() {
		mode = unix.S_IFREG | 0o644
	}
	s.must(mount("hung", name, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=%o,user_id=0,group_id=0,allow_other", fd, mode)))
	h := &hung{fuse: os.NewFile(uintptr(fd), "/dev/fuse")}
	s.hungs = append(s.hungs, h)
	initialized := make(chan struct{})
	go h.serve(initialized)
	<-initialized
	s.t.Cleanup(func() {
		h.abort()
		s.check(unix.Unmount(name, unix.MNT_DETACH))
	})
	return h
}

// openFUSE opens a new connection to the kernel, with flags of open(2). The host's /dev has no node for that at first.
func (s *scene) openFUSE(flags int) int {
	s.t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		s.must(unix.Mknod("/dev/fuse", unix.S_IFCHR|0o600, int(unix.Mkdev(10, 229))))
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC|flags, 0)
	s.must(err)
	return fd
}

// abort ends the connection, and with it every wait.
func (h *hung) abort() { h.fuse.Close() }

func (h *hung) serve(initialized chan<- struct{}) {
	request := make([]byte, 1<<20)
	for {
		n, err := h.fuse.Read(request)
		if err != nil || n < 40 {
			return
		}
		// struct fuse_in_header: len, opcode, unique, nodeid, uid, gid, pid
		opcode, unique := binary.NativeEndian.Uint32(request[4:]), binary.NativeEndian.Uint64(request[8:])
		switch opcode {
		case fuseInit:
			answer := make([]byte, 16+64) // struct fuse_out_header: len, error, unique; struct fuse_init_out
			binary.NativeEndian.PutUint64(answer[8:], unique)
			for at, value := range map[int]int{0: len(answer), 16: 7, 20: 31, 36: 4096} { // len, major, minor, max_write
				binary.NativeEndian.PutUint32(answer[at:], uint32(value))
			}
			if _, err := h.fuse.Write(answer); err != nil {
				return
			}
			close(initialized)
		case fuseKilled:
		default:
			h.requests.Add(1)
		}
	}
}

// hangKillably makes a reader of a kernel file wait as the kernel's own locks make it wait: until it is killed.
// Nobody reads the requests of this file system.
func (s *scene) hangKillably(name string) {
	s.t.Helper()
	fd := s.openFUSE(0)
	s.must(mount("hung", name, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=%o,user_id=0,group_id=0", fd, unix.S_IFREG)))
	s.t.Cleanup(func() {
		s.check(unix.Unmount(name, unix.MNT_DETACH))
		unix.Close(fd)
	})
}
