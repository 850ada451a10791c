package hook

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// SiteSuffix is what the site's own hook is called beside ours, where ours
// took its place: /etc/libvirt/hooks/qemu.site. It stays in libvirt's folder,
// since such scripts look for more beside themselves and AppArmor lets
// libvirtd run hooks from there alone.
const SiteSuffix = ".site"

// site is the hook of the site's own that ours stands in front of; "" where
// there is none.
type site string

// findSite looks for a site's hook beside the running program: not by argv,
// which may be anything.
func findSite() site {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	// As libvirt does it, a hook that is not executable is no hook
	// (virFileIsExecutable).
	path := self + SiteSuffix
	if unix.Access(path, unix.X_OK) != nil {
		return ""
	}
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	// A link to ourselves would go round for ever.
	if own, err := os.Stat("/proc/self/exe"); err != nil || os.SameFile(own, info) {
		return ""
	}
	return site(path)
}

// run turns this process into the site's hook, with the same arguments,
// environment, standard output and error, so that its exit status is
// libvirt's answer. It returns only where that is impossible.
func (s site) run(args []string) error {
	return &os.PathError{Op: "exec", Path: string(s), Err: syscall.Exec(string(s), args, os.Environ())}
}

// kept is libvirt's pipe, for us and for the site's hook after us: the first
// reading copies it to a file in memory.
type kept struct {
	pipe   io.Reader
	once   sync.Once
	memory *os.File
	size   int64
	err    error
	at     int64
}

// Read reads the copy without moving the file's position; where something
// fails it says so instead of the XML.
func (k *kept) Read(p []byte) (int, error) {
	if k.once.Do(k.copy); k.err != nil {
		return 0, k.err
	}
	n, err := io.NewSectionReader(k.memory, k.at, k.size-k.at).Read(p)
	k.at += int64(n)
	return n, err
}

func (k *kept) copy() {
	fd, err := unix.MemfdCreate("domain.xml", unix.MFD_CLOEXEC)
	if err != nil {
		k.err = os.NewSyscallError("memfd_create", err)
		return
	}
	k.memory = os.NewFile(uintptr(fd), "domain.xml")
	if k.size, k.err = io.Copy(k.memory, k.pipe); k.err == nil {
		_, k.err = k.memory.Seek(0, io.SeekStart)
	}
}

// handOver makes the copy standard input. Where libvirt has not written it all
// within our deadline the site's hook would have to wait for it, and so do we.
func (k *kept) handOver() {
	if k.once.Do(k.copy); k.err == nil {
		// Where it fails, the site's hook finds the pipe as it is now.
		_ = unix.Dup3(int(k.memory.Fd()), 0, 0)
	}
}

// gone says that the site's hook is there no more. A failing exec does not:
// the interpreter of a script may be what is missing.
func (s site) gone() bool {
	_, err := os.Stat(string(s))
	return errors.Is(err, fs.ErrNotExist)
}
