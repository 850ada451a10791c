package hook

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"hugeguard/guard"
)

// SiteSuffix is what the site's own hook is called beside ours, where ours took its place:
// /etc/libvirt/hooks/qemu.site. It stays in libvirt's folder, since these scripts look for more beside themselves and
// AppArmor lets libvirtd run hooks from there alone.
const SiteSuffix = ".site"

// program is the path of the running program: what libvirt called, as it names its hooks by their whole path
// (virHookCall), unless that leads to another file by now. A link may lead to us from where the other hooks are.
func program(args []string) string {
	absolute := len(args) > 0 && filepath.IsAbs(args[0])
	if absolute && isSelf(args[0]) {
		return args[0]
	}
	self, err := os.Executable()
	if err != nil && absolute {
		return args[0] // there is no /proc to tell
	}
	return self
}

// isSelf reports whether a file is this program.
func isSelf(name string) bool {
	called, err := os.Stat(name)
	if err != nil {
		return false
	}
	own, err := os.Stat("/proc/self/exe")
	return err == nil && os.SameFile(own, called)
}

// site is the hook of the site's own that ours stands in front of; "" where there is none.
type site string

// findSite looks for a site's hook beside the program.
func findSite(program string) site {
	// As libvirt does it, a hook that is not executable is no hook (virFileIsExecutable).
	path := program + SiteSuffix
	if program == "" || unix.Access(path, unix.X_OK) != nil {
		return ""
	}
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	// A link to ourselves would go round for ever. At our own path the site's hook may lie again by now, as an
	// install has moved us.
	own, err := os.Stat("/proc/self/exe")
	if err != nil {
		own, err = os.Stat(program)
	}
	if err == nil && os.SameFile(own, info) {
		return ""
	}
	return site(path)
}

// become turns this process into the site's hook, with the same arguments, environment, standard input, output and
// error, so that its exit status is libvirt's answer. It returns only where that is impossible.
func (s site) become(args []string) error {
	return &os.PathError{Op: "exec", Path: string(s), Err: syscall.Exec(string(s), args, os.Environ())}
}

// call runs the site's hook to its end, however long that takes, with the same arguments, environment, standard output
// and error, and returns its exit status. An error is that it could not be run.
func (s site) call(args []string, stdin io.Reader, stderr io.Writer) (status int, err error) {
	itsInput, ours, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer ours.Close()
	process, err := os.StartProcess(string(s), args, &os.ProcAttr{Files: []*os.File{itsInput, os.Stdout, os.Stderr}})
	itsInput.Close()
	if err != nil {
		return 0, err
	}
	go func() {
		// It need not read all of it; libvirt does not mind either.
		_, _ = io.Copy(ours, stdin)
		ours.Close()
	}()
	ended, err := process.Wait()
	if err != nil {
		return 0, err
	}
	if how, ok := ended.Sys().(syscall.WaitStatus); ok && how.Signaled() {
		fmt.Fprintf(stderr, "%s was ended by a signal: %v\n", guard.Printable(string(s), 200), how.Signal())
		return 128 + int(how.Signal()), nil
	}
	return ended.ExitCode(), nil
}

// lacksMeans says whether an error of [site.call] is that there is no descriptor, memory
// or process left for another program, of which becoming it needs none.
func lacksMeans(err error) bool {
	return slices.ContainsFunc([]error{syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.ENOMEM},
		func(lack error) bool { return errors.Is(err, lack) })
}

// replay has standard input start again with what was read of it, to its end. The descriptor that it has must do.
func replay(whole io.Reader) error {
	text, err := io.ReadAll(whole)
	if err != nil {
		return err
	}
	if err := unix.Close(0); err != nil {
		return os.NewSyscallError("close", err)
	}
	fd, err := unix.MemfdCreate("domain.xml", 0)
	if err != nil {
		return os.NewSyscallError("memfd_create", err)
	}
	if fd != 0 { // another thread was faster
		if err := unix.Dup3(fd, 0, 0); err != nil {
			return os.NewSyscallError("dup3", err)
		}
		unix.Close(fd)
	}
	for len(text) > 0 {
		n, err := unix.Write(0, text)
		if err != nil && err != unix.EINTR {
			return os.NewSyscallError("write", err)
		}
		text = text[max(n, 0):]
	}
	_, err = unix.Seek(0, 0, io.SeekStart)
	return os.NewSyscallError("lseek", err)
}

// mostXML is how much of a domain's XML is kept for us while the site's hook
// runs, in bytes: far more than any domain has.
const mostXML = 4 << 20

// keep reads what libvirt writes, most bytes of it at the most: xml is ours to read, and whole the same with
// what was too much to keep, for the site's hook.
func keep(stdin io.Reader, most int) (xml, whole io.Reader) {
	kept, err := io.ReadAll(io.LimitReader(stdin, int64(most)))
	xml = bytes.NewReader(kept)
	if err != nil {
		xml = io.MultiReader(xml, failing{err})
	} else if len(kept) == most {
		xml = io.MultiReader(xml, failing{fmt.Errorf("larger than %s", guard.Size(uint64(most)>>10))})
	}
	return xml, io.MultiReader(bytes.NewReader(kept), stdin)
}

// failing is a reader of nothing but an error.
type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }

// gone says that the site's hook is there no more. A failing exec does not:
// the interpreter of a script may be what is missing.
func (s site) gone() bool {
	_, err := os.Stat(string(s))
	return errors.Is(err, fs.ErrNotExist)
}
