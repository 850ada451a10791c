package livehost

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	holderPagesEnv = "HUGEGUARD_LIVEHOST_HOLD"
	holderKindEnv  = "HUGEGUARD_LIVEHOST_HOLD_KIND"

	pageBytes = 2 << 20
)

// How a holder has its pages.
const (
	touched  = "touched"  // an anonymous mapping, every page written to
	reserved = "reserved" // the same, mapped only: the kernel has promised the pages
	file     = "file"     // pages of a file on the mount, which stays when the holder ends
)

// runHolder is the holder's side of scene.hold: it takes its pages, says so and waits for the end of
// its stdin.
func runHolder() int {
	pages, err := strconv.Atoi(os.Getenv(holderPagesEnv))
	if err != nil {
		return fail("%v", err)
	}
	fd, flags := -1, syscall.MAP_PRIVATE|syscall.MAP_ANON|syscall.MAP_HUGETLB
	if os.Getenv(holderKindEnv) == file {
		f, err := os.Create(filepath.Join(hugetlbfs, "leftover"))
		if err != nil {
			return fail("%v", err)
		}
		fd, flags = int(f.Fd()), syscall.MAP_SHARED
		if err := f.Truncate(int64(pages) * pageBytes); err != nil {
			return fail("%v", err)
		}
	}
	mem, err := syscall.Mmap(fd, 0, pages*pageBytes, syscall.PROT_READ|syscall.PROT_WRITE, flags)
	if err != nil {
		return fail("mmap of %d huge pages: %v", pages, err)
	}
	if os.Getenv(holderKindEnv) != reserved {
		for i := 0; i < len(mem); i += pageBytes {
			mem[i] = 1
		}
	}
	fmt.Println("holding")
	io.Copy(io.Discard, os.Stdin)
	return 0
}

// holder is a plain process that holds huge pages.
type holder struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

// hold starts a process of that name which takes that many pages, and returns when it has them.
func (s *scene) hold(name, kind string, pages int) *holder {
	s.t.Helper()
	// The kernel names a process after the file it was run from.
	program := s.path(name)
	self, err := os.ReadFile("/proc/self/exe")
	s.must(err)
	s.must(os.WriteFile(program, self, 0o755))
	h := &holder{cmd: exec.Command(program)}
	h.cmd.Env = append(cleanEnv(), roleEnv+"="+roleHolder, holderKindEnv+"="+kind, holderPagesEnv+"="+strconv.Itoa(pages))
	h.cmd.Stderr = os.Stderr
	out, err := h.cmd.StdoutPipe()
	s.must(err)
	h.stdin, err = h.cmd.StdinPipe()
	s.must(err)
	s.must(h.cmd.Start())
	s.t.Cleanup(h.release)
	line, err := bufio.NewReader(out).ReadString('\n')
	if strings.TrimSpace(line) != "holding" {
		s.t.Fatalf("the holder says %q (%v)", line, err)
	}
	return h
}

func (h *holder) pid() int { return h.cmd.Process.Pid }

// release ends the holder and returns when it is gone. It may be called twice.
func (h *holder) release() {
	h.stdin.Close()
	h.cmd.Wait()
}
