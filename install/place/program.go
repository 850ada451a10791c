package place

import (
	"bytes"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// hookPackage is the main package of the hook program. Go writes it into every program that it builds and strip(1)
// keeps it, so that our file is recognised under any name.
const hookPackage = "hugeguard/hook/qemu"

// isHook reports whether a program is a hook program of any release. Where its module has a home, that comes before.
func isHook(info *buildinfo.BuildInfo) bool {
	return strings.HasSuffix("/"+info.Path, "/"+hookPackage)
}

// A program is the hook program as built, read once: what was checked is what is placed.
type program struct {
	path string
	data []byte
}

// readProgram reads the hook program. It returns an error that names the program if it is another.
func readProgram(name string) (*program, error) {
	f, err := openFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	info, err := buildinfo.Read(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s is not hugeguard's hook program: %w", name, err)
	}
	if !isHook(info) {
		return nil, fmt.Errorf("%s is not hugeguard's hook program: it is %s", name, info.Path)
	}
	return &program{path: name, data: data}, nil
}

// openFile opens a regular file for reading. Anything else is an error; it does not wait for the writer of a FIFO.
func openFile(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// runsHere returns an error if the program is built for another kind of machine. libvirt refuses every start if it
// cannot execute a hook.
func (p *program) runsHere() error {
	info, err := buildinfo.Read(bytes.NewReader(p.data))
	if err != nil {
		return fmt.Errorf("%s: %w", p.path, err)
	}
	for _, s := range info.Settings {
		if s.Key == "GOARCH" && s.Value != runtime.GOARCH {
			return fmt.Errorf("%s is built for %s, this host is %s", p.path, s.Value, runtime.GOARCH)
		}
	}
	return nil
}

// findProgram returns the hook program that belongs to this command: the one that is named, or qemu beside the command
// (a build tree), ../lib/hugeguard/qemu from there, or /usr/lib/hugeguard/qemu (a package).
func findProgram(named string) (*program, error) {
	if named != "" {
		return readProgram(named)
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	exe, err = filepath.EvalSymlinks(exe)
	if err != nil {
		return nil, err
	}
	places := []string{
		filepath.Join(filepath.Dir(exe), "qemu"),
		filepath.Join(filepath.Dir(exe), "../lib/hugeguard/qemu"),
		"/usr/lib/hugeguard/qemu",
	}
	for _, name := range places {
		// Another program called qemu, as in /usr/bin, is skipped.
		if ours, err := isOurs(name); err == nil && ours {
			return readProgram(name)
		}
	}
	return nil, fmt.Errorf("no hook program at %s, %s or %s: name it with --hook",
		places[0], places[1], places[2])
}

// isOurs reports whether the file is hugeguard's hook program, of any version.
func isOurs(name string) (bool, error) {
	fi, err := os.Stat(name)
	if err != nil {
		return false, err
	}
	if !fi.Mode().IsRegular() {
		return false, nil
	}
	f, err := openFile(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := buildinfo.Read(f)
	return err == nil && isHook(info), nil
}

// largestProgram is larger than any hook program, in bytes.
const largestProgram = 64 << 20

// isPiece reports whether the file is a part of hugeguard's hook program, whose copying was interrupted: the beginning
// of the known version, or of another one whose name was copied. It cannot be run.
func isPiece(name string, known *program) (bool, error) {
	f, err := openFile(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, largestProgram))
	if err != nil || len(data) == 0 {
		return false, err
	}
	if known != nil && len(data) < len(known.data) && bytes.HasPrefix(known.data, data) {
		return true, nil
	}
	if _, err := buildinfo.Read(bytes.NewReader(data)); err == nil {
		return false, nil // a whole program of somebody else
	}
	return bytes.HasPrefix(data, []byte("\x7fELF")) && bytes.Contains(data, []byte(hookPackage+"\nmod\t")), nil
}

// A kind is whose a file is.
type kind int

const (
	absent kind = iota
	ours        // hugeguard's hook program, a real file
	theirs      // somebody else's file or link
	odd         // neither a file nor a link to one, or a link to our program
)

// A file is one place in the hook directory: where it really is, and whose.
type file struct {
	path string
	kind kind
	info fs.FileInfo // nil when absent
	// piece reports whether it is ours and was cut short.
	piece bool
	// mounted reports whether something is mounted there, so that it cannot be renamed, removed or replaced.
	mounted bool
}

// unchanged returns an error where another file, or none, lies is now in place of this one: somebody who put it there did
// so while hooks were waited for, or a moment ago.
func (f file) unchanged() error {
	now, err := os.Lstat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && f.kind == absent, err == nil && f.kind != absent && os.SameFile(now, f.info):
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return fmt.Errorf("%s changed meanwhile, so it stays as it is: run the same command again", f.path)
}

// movable returns an error where the file cannot be renamed, removed or replaced.
func (f file) movable() error {
	if !f.mounted {
		return nil
	}
	return fmt.Errorf("%s is a mount, and hugeguard cannot replace it: unmount it first, or change the mounted file", f.path)
}

// isMount reports whether something is mounted at the name itself; false where the kernel (before 5.8) does not say.
func isMount(name string) bool {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, name, unix.AT_SYMLINK_NOFOLLOW, 0, &st)
	return err == nil && st.Attributes_mask&st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

// look examines the file called name without following it.
func (t tree) look(name string) (file, error) {
	p, err := t.file(name)
	if err != nil {
		return file{}, err
	}
	f := file{path: p}
	f.info, err = os.Lstat(p)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f, nil
	case err != nil:
		return f, err
	}
	f.mounted = isMount(p)
	switch f.info.Mode().Type() {
	case 0:
		f.kind = theirs
		is, err := isOurs(p)
		if err == nil && !is {
			f.piece, err = isPiece(p, t.known)
		}
		if err != nil {
			return f, err
		}
		if is || f.piece {
			f.kind = ours
		}
	case fs.ModeSymlink:
		f.kind = theirs
		target, err := t.dir(name)
		if err != nil {
			return f, err
		}
		if is, err := isOurs(target); err == nil && is {
			f.kind = odd
		}
	default:
		f.kind = odd
	}
	return f, nil
}

// oddity returns the error about an odd file.
func (f file) oddity() error {
	if f.info.Mode().Type() == fs.ModeSymlink {
		return fmt.Errorf("%s is a symbolic link to hugeguard's hook program that install did not make: remove it first", f.path)
	}
	return fmt.Errorf("%s is neither a file nor a symbolic link: remove it first", f.path)
}

// same reports whether f holds the program p as install would leave it.
func (f file) same(p *program) (bool, error) {
	if f.kind != ours || f.info.Mode() != 0o755 || f.info.Size() != int64(len(p.data)) {
		return false, nil
	}
	if uid, gid := owner(f.info); os.Geteuid() == 0 && (uid != 0 || gid != 0) {
		return false, nil
	}
	return f.holds(p)
}

// holds reports whether the content of f is that of p.
func (f file) holds(p *program) (bool, error) {
	r, err := os.Open(f.path)
	if err != nil {
		return false, err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return false, fmt.Errorf("%s: %w", f.path, err)
	}
	return bytes.Equal(data, p.data), nil
}

// sameFile reports whether two places hold one file under two names.
func sameFile(a, b file) bool { return os.SameFile(a.info, b.info) }
