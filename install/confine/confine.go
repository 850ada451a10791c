// Package confine finds out whether a libvirt daemon may execute the hook, by asking the kernel.
//
// libvirt looks only at the hook's mode bits (virFileIsExecutable). A hook that SELinux or AppArmor denies is executed
// and fails, with exit status 126, and so does every start of every guest.
package confine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hugeguard/guard"
	"hugeguard/install/daemon"
	"hugeguard/sysfs"
)

// A Kernel is what a host's kernel and its policy say. Package go-selinux of opencontainers cannot ask what is allowed.
type Kernel interface {
	// Ask writes a question to a file of selinuxfs or apparmorfs, which are named below the root, and returns the answer.
	Ask(file string, question []byte) (string, error)
	// PolicyLabel returns the SELinux label that the policy has for a path; "" if it has none, or nothing on the host can
	// say. An error wraps ErrLabel: it could not be had in time.
	PolicyLabel(path string, directory bool) (string, error)
	// Label returns the SELinux label of a file, "" without one, and SetLabel sets it.
	Label(path string) string
	SetLabel(path, label string) error
}

// ErrLabel is wrapped by the error of a label that is not known.
var ErrLabel = errors.New("SELinux's label is not known")

// A Host is a host whose kernel is asked.
type Host struct {
	daemon.Host
	Kernel Kernel
}

// On returns the host on which the daemons run, with its running kernel.
func On(host daemon.Host) Host { return Host{host, running{host.Files}} }

// A Subject is a daemon that executes the hook.
type Subject struct {
	Name string
	PID  int // 0 if it does not run
	// Context is the SELinux context, or the AppArmor profile and its mode, of the daemon.
	Context string
}

// A Hook is the hook as the daemon finds it.
type Hook struct {
	Path string
	// Label is its SELinux label, and DirLabel that of qemu.d, which the daemon must list to find the hook there; "" if
	// the hook lies elsewhere.
	Label, DirLabel string
	// Unknown is why these are not known; nil if they are.
	Unknown error
}

// A Denial is what keeps a daemon from executing the hook.
type Denial struct {
	Why string
	Fix string
	// Enforced reports whether it is denied now. Otherwise the kernel only logs it: SELinux, or the daemon's domain, is
	// permissive.
	Enforced bool
}

// String returns the denial with its fix.
func (d Denial) String() string { return d.Why + ": " + d.Fix }

// unknownDaemon is the name of a libvirt of which nothing is known.
const unknownDaemon = "libvirt"

// programDirs are where the daemons' programs are.
var programDirs = []string{"usr/sbin", "usr/bin"}

// Subjects returns the daemons that run. If none does, it returns the one that starts on demand, else those that are
// installed, as they will be when they run; without any, a libvirt of which nothing is known.
func (h Host) Subjects(running []daemon.Process) (list []Subject) {
	for _, p := range running {
		list = append(list, Subject{p.Name, p.PID, h.Confinement(p.PID)})
	}
	if len(list) > 0 {
		return list
	}
	names := daemon.Names
	if name := h.OnDemand(); name != "" {
		names = []string{name}
	}
	for _, name := range names {
		for _, dir := range programDirs {
			if h.Files.Exists(dir + "/" + name) {
				list = append(list, Subject{Name: name, Context: h.future(name, h.Files.Path(dir+"/"+name))})
				break
			}
		}
	}
	if list == nil {
		list = append(list, Subject{Name: unknownDaemon})
	}
	return list
}

// future returns the context in which a daemon will run.
func (h Host) future(name, program string) string {
	if h.SELinux() {
		return h.started(program)
	}
	return h.loaded(name)
}

// Denied returns what keeps a daemon from executing the hook; nil if nothing does. An error means that the kernel could
// not be asked.
func (h Host) Denied(s Subject, hook Hook) (*Denial, error) {
	if d := h.noexec(s, hook); d != nil {
		return d, nil
	}
	switch {
	case s.Context == "" && h.SELinux() && s.Name != unknownDaemon:
		return nil, fmt.Errorf("SELinux was not asked whether %s may execute the hook: the daemon's context is not known", s.Name)
	case s.Context == "":
		return nil, nil
	case h.SELinux() && hook.Unknown != nil:
		return nil, fmt.Errorf("SELinux was not asked whether %s may execute the hook: %w", s.Name, hook.Unknown)
	case h.SELinux():
		return h.deniedBySELinux(s, hook)
	}
	return h.deniedByAppArmor(s, hook)
}

// noexec returns the denial of a file system that the daemon has mounted noexec (statfs(2)).
func (h Host) noexec(s Subject, hook Hook) *Denial {
	root := ""
	if s.PID != 0 && h.Files.Root() == "" {
		root = fmt.Sprintf("/proc/%d/root", s.PID)
	}
	var mount unix.Statfs_t
	for dir := hook.Path; dir != "/"; dir = filepath.Dir(dir) {
		if unix.Statfs(root+dir, &mount) == nil {
			break // the hook, or the directory in which it will be
		}
	}
	if mount.Flags&unix.ST_NOEXEC == 0 {
		return nil
	}
	return &Denial{
		Why:      fmt.Sprintf("%s is on a file system mounted noexec, so libvirt cannot run it", hook.Path),
		Fix:      "mount -o remount,exec, then run hugeguard install",
		Enforced: true,
	}
}

// running is the kernel of this host.
type running struct{ root sysfs.FS }

func (k running) Ask(file string, question []byte) (string, error) {
	f, err := os.OpenFile(k.root.Path(file), os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if _, err := f.Write(question); err != nil {
		return "", err
	}
	answer := make([]byte, 4096) // as much as these files give
	n, err := f.Read(answer)
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(answer[:n]), "\x00\n"), nil
}

// matchpathcon are the paths of the program that says which label the policy has for a path.
var matchpathcon = []string{"/usr/sbin/matchpathcon", "/sbin/matchpathcon", "/usr/bin/matchpathcon"}

// lookupPatience is how long it may take. It compiles all the policy's patterns of paths, which is done in less than a
// second on most hosts.
const lookupPatience = time.Minute

func (k running) PolicyLabel(path string, directory bool) (string, error) {
	kind := "file"
	if directory {
		kind = "dir"
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupPatience)
	defer cancel()
	for _, program := range matchpathcon {
		out, err := exec.CommandContext(ctx, program, "-n", "-m", kind, path).Output()
		if ctx.Err() != nil {
			return "", fmt.Errorf("%w for %s: %s timed out after %v", ErrLabel, path, program, lookupPatience)
		}
		if label := strings.TrimSpace(string(out)); err == nil && isContext(label) {
			return label, nil
		}
	}
	return "", nil
}

// labelAttribute is the extended attribute that holds a file's SELinux label.
const labelAttribute = "security.selinux"

func (k running) Label(path string) string {
	text := make([]byte, 4096)
	n, err := unix.Lgetxattr(path, labelAttribute, text)
	if err != nil {
		return ""
	}
	return strings.TrimRight(string(text[:n]), "\x00")
}

func (k running) SetLabel(path, label string) error {
	err := unix.Lsetxattr(path, labelAttribute, append([]byte(label), 0), 0)
	if err != nil {
		return &fs.PathError{Op: "label for SELinux", Path: path, Err: err}
	}
	return nil
}

// shown returns a context or label as messages show it.
func shown(context string) string { return guard.Printable(context, 200) }
