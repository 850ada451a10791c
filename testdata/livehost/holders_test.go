package livehost

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	holderPagesEnv = "HUGEGUARD_LIVEHOST_HOLD"
	holderKindEnv  = "HUGEGUARD_LIVEHOST_HOLD_KIND"

	pageBytes = 2 << 20

	shmHugetlb = 0o4000 // SHM_HUGETLB of <linux/shm.h>
)

// How a holder has its pages.
const (
	touched   = "touched"   // an anonymous mapping, every page written to
	reserved  = "reserved"  // the same, mapped only: the kernel has promised the pages
	file      = "file"      // pages of a file on the mount, which stays when the holder ends
	mapped    = "mapped"    // a mapping of that file, none of whose pages it has touched
	memfd     = "memfd"     // a memfd whose pages were written to and which is not mapped any more
	adrift    = "adrift"    // a memfd on its way through a socket, where nobody sees whose it is
	elsewhere = "elsewhere" // that file, open by the path that it has in a container, and not mapped
	ordinary  = "ordinary"  // a System V segment of as much memory in ordinary pages, which stays, too
	sysv      = "sysv"      // a System V segment, which stays when the holder ends
)

// runHolder is the holder's side of scene.hold: it takes its pages, says so and waits for the end of
// its stdin.
func runHolder() int {
	pages, err := strconv.Atoi(os.Getenv(holderPagesEnv))
	if err != nil {
		return fail("%v", err)
	}
	kind := os.Getenv(holderKindEnv)
	fd, flags, id := -1, unix.MAP_SHARED, 0
	var mem []byte
	switch kind {
	case sysv, ordinary:
		flags := unix.IPC_CREAT | 0o600
		if kind == sysv {
			flags |= shmHugetlb
		}
		id, err = unix.SysvShmGet(unix.IPC_PRIVATE, pages*pageBytes, flags)
		if err == nil {
			mem, err = unix.SysvShmAttach(id, 0, 0)
		}
	case file, mapped:
		fd, err = unix.Open(leftover, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	case elsewhere:
		const inside = "/run/huge"
		if err = os.MkdirAll(inside, 0o755); err == nil {
			err = mount(hugetlbfs, inside, "", unix.MS_BIND, "")
		}
		if err == nil {
			fd, err = unix.Open(filepath.Join(inside, filepath.Base(leftover)), unix.O_RDWR|unix.O_CLOEXEC, 0)
		}
	case memfd, adrift:
		fd, err = unix.MemfdCreate("parked", unix.MFD_CLOEXEC|unix.MFD_HUGETLB|unix.MFD_HUGE_2MB)
	default:
		flags = unix.MAP_PRIVATE | unix.MAP_ANON | unix.MAP_HUGETLB
	}
	if err == nil && fd >= 0 {
		err = unix.Ftruncate(fd, int64(pages)*pageBytes)
	}
	if err == nil && mem == nil {
		mem, err = unix.Mmap(fd, 0, pages*pageBytes, unix.PROT_READ|unix.PROT_WRITE, flags)
	}
	if err != nil {
		return fail("%s, %d huge pages: %v", kind, pages, err)
	}
	if kind != reserved && kind != mapped && kind != elsewhere {
		for i := 0; i < len(mem); i += os.Getpagesize() {
			mem[i] = 1
		}
	}
	switch kind {
	case memfd, elsewhere:
		err = unix.Munmap(mem)
	case mapped:
		err = unix.Close(fd) // as a vhost-user back end does
	case adrift:
		var sockets [2]int
		if sockets, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0); err == nil {
			err = errors.Join(unix.Sendmsg(sockets[0], []byte{0}, unix.UnixRights(fd), nil, 0), unix.Munmap(mem), unix.Close(fd))
		}
	}
	if err != nil {
		return fail("%v", err)
	}
	fmt.Println("holding", id)
	io.Copy(io.Discard, os.Stdin)
	return 0
}

// leftover is the file of a holder of kind file.
var leftover = filepath.Join(hugetlbfs, "rtemap_0")

// holder is a plain process that holds huge pages.
type holder struct {
	cmd     *exec.Cmd
	stdin   io.Closer
	segment string // the id of its System V segment
}

// hold starts a process of that name which takes that many pages, and returns when it has them.
func (s *scene) hold(name, kind string, pages int) *holder {
	s.t.Helper()
	return s.holdAs(0, name, kind, pages)
}

// holdAs is hold as a user, with arguments.
func (s *scene) holdAs(uid uint32, name, kind string, pages int, args ...string) *holder {
	s.t.Helper()
	// The kernel names a process after the file it was run from.
	program := s.path(name)
	self, err := os.ReadFile("/proc/self/exe")
	s.must(err)
	s.must(os.WriteFile(program, self, 0o755))
	h := &holder{cmd: exec.Command(program, args...)}
	h.cmd.Env = append(cleanEnv(), roleEnv+"="+roleHolder, holderKindEnv+"="+kind, holderPagesEnv+"="+strconv.Itoa(pages))
	h.cmd.Stderr = os.Stderr
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	if kind == elsewhere {
		h.cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
	}
	out, err := h.cmd.StdoutPipe()
	s.must(err)
	h.stdin, err = h.cmd.StdinPipe()
	s.must(err)
	s.must(h.cmd.Start())
	s.t.Cleanup(h.release)
	line, err := bufio.NewReader(out).ReadString('\n')
	says := strings.Fields(line)
	if len(says) != 2 || says[0] != "holding" {
		s.t.Fatalf("the holder says %q (%v)", line, err)
	}
	h.segment = says[1]
	return h
}

func (h *holder) pid() int { return h.cmd.Process.Pid }

// release ends the holder and returns when it is gone. It may be called twice.
func (h *holder) release() {
	h.stdin.Close()
	h.cmd.Wait()
}
