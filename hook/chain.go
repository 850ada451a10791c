package hook

import (
	"errors"
	"io"
	"io/fs"
	"os"
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
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || unix.Access(path, unix.X_OK) != nil {
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

// keep copies in, libvirt's pipe, to a file in memory that becomes standard
// input, so that the XML can be read here and by the site's hook after us.
// The returned reader reads it without moving the file's position; where
// something fails it says so instead of the XML.
func keep(in io.Reader) io.Reader {
	fd, err := unix.MemfdCreate("domain.xml", unix.MFD_CLOEXEC)
	if err != nil {
		return failingReader{os.NewSyscallError("memfd_create", err)}
	}
	memory := os.NewFile(uintptr(fd), "domain.xml")
	size, err := io.Copy(memory, in)
	if err == nil {
		_, err = memory.Seek(0, io.SeekStart)
	}
	if err == nil {
		err = os.NewSyscallError("dup3", unix.Dup3(fd, 0, 0))
	}
	if err != nil {
		return failingReader{err}
	}
	return io.NewSectionReader(memory, 0, size)
}

// gone says that the site's hook is there no more. A failing exec does not:
// the interpreter of a script may be what is missing.
func (s site) gone() bool {
	_, err := os.Stat(string(s))
	return errors.Is(err, fs.ErrNotExist)
}

// failingReader is a reader that only fails.
type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }
