package install

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
)

// hookPackage is the main package of the hook program. Go writes it into every program it
// builds and strip(1) leaves it there: our file is known by what it is, under any name.
const hookPackage = "hugeguard/hook/qemu"

// A program is the hook program as built, read once: what was examined is what is placed.
type program struct {
	path string
	data []byte
}

// readProgram reads the hook program; another program is an error that says what it is.
func readProgram(name string) (*program, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	info, err := buildinfo.Read(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s is not hugeguard's hook program: %w", name, err)
	}
	if info.Path != hookPackage {
		return nil, fmt.Errorf("%s is not hugeguard's hook program: it is %s", name, info.Path)
	}
	return &program{path: name, data: data}, nil
}

// runsHere says why the program cannot run on this machine, if so. libvirt refuses every start
// when it cannot execute a hook, so a program for another machine would stop them all.
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

// findProgram returns the hook program that belongs to this command: named, or a file qemu
// beside the command (a build tree), or ../lib/hugeguard/qemu from there, or
// /usr/lib/hugeguard/qemu (a package).
func findProgram(named string) (*program, error) {
	if named != "" {
		return readProgram(named)
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if exe, err = filepath.EvalSymlinks(exe); err != nil {
		return nil, err
	}
	places := []string{
		filepath.Join(filepath.Dir(exe), "qemu"),
		filepath.Join(filepath.Dir(exe), "../lib/hugeguard/qemu"),
		"/usr/lib/hugeguard/qemu",
	}
	for _, name := range places {
		// Another program that is called qemu, as in /usr/bin, is passed over.
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
	if !fi.Mode().IsRegular() { // a FIFO would block the reader
		return false, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := buildinfo.Read(f)
	return err == nil && info.Path == hookPackage, nil
}

// A kind says whose a file is.
type kind int

const (
	absent kind = iota
	ours        // hugeguard's hook program, a real file
	theirs      // somebody else's file or link
	odd         // neither a file nor a link to one, or a link to our program
)

// A file is one place in the hook directory: where it really is and whose it is.
type file struct {
	path string
	kind kind
	info fs.FileInfo // nil when absent
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
	switch f.info.Mode().Type() {
	case 0:
		f.kind = theirs
		if is, err := isOurs(p); err != nil {
			return f, err
		} else if is {
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

// oddity says what is odd about f.
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
