package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// etc is all of /etc that is shown: what programs of every kind look up. All else is somebody's configuration.
var etc = []string{"alternatives", "debian_version", "group", "hosts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d",
	"nsswitch.conf", "os-release", "passwd", "protocols", "services"}

// empty are the directories that are there as on a machine on which nothing has run, with those that programs do not
// make themselves.
var empty = map[string][]string{
	"/media": nil, "/mnt": nil, "/opt": nil, "/root": nil, "/srv": nil, "/tmp": nil,
	"/run": {"lock"},
	"/var": {"cache/libvirt", "lib/libvirt", "lib/openvswitch", "log", "spool", "tmp"},
}

// product is what of hugeguard may be installed: of /usr, which is otherwise as it is, since it has the programs.
var product = []string{"bin/hugeguard", "lib/hugeguard", "share/hugeguard", "lib/systemd/catalog/hugeguard*", "lib/systemd/system/hugeguard*"}

// Hide hides from this process's mount namespace, which has to be its own, all that is installed, configured or left on
// the machine but for programs: /etc and /var are those of a machine on which nothing was ever set up, /usr lacks
// hugeguard, and what is written there goes with the namespace. What Go needs to build this module stays.
func Hide() error {
	if err := Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	kept, err := keep()
	if err != nil {
		return err
	}
	// Made below /mnt, which is hidden itself at last.
	const scratch = "/mnt"
	if err := Mount("tmpfs", scratch, "tmpfs", 0, "mode=0755"); err != nil {
		return err
	}
	if err := overlay("/usr", scratch); err != nil {
		return err
	}
	for _, prefix := range []string{"/usr", "/usr/local"} {
		for _, pattern := range product {
			found, err := filepath.Glob(filepath.Join(prefix, pattern))
			for _, name := range found {
				err = errors.Join(err, os.RemoveAll(name))
			}
			if err != nil {
				return err
			}
		}
	}
	shown := filepath.Join(scratch, "etc")
	if err := os.Mkdir(shown, 0o755); err != nil {
		return err
	}
	args := []string{"-rd", "--preserve=mode,timestamps"}
	for _, name := range etc {
		if name = filepath.Join("/etc", name); exists(name) {
			args = append(args, name)
		}
	}
	if out, err := exec.Command("cp", append(args, shown)...).CombinedOutput(); err != nil {
		return fmt.Errorf("cp %s: %w: %s", strings.Join(args, " "), err, out)
	}
	if err := Mount(shown, "/etc", "", unix.MS_BIND, ""); err != nil {
		return err
	}
	for dir, below := range empty {
		mode := "mode=0755"
		if dir == "/tmp" {
			mode = "mode=1777"
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := Mount("tmpfs", dir, "tmpfs", 0, mode); err != nil {
			return err
		}
		for _, name := range below {
			if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
				return err
			}
		}
	}
	// Another directory for temporary files may be hidden now.
	if err := os.Setenv("TMPDIR", "/tmp"); err != nil {
		return err
	}
	for name, target := range map[string]string{"/var/run": "/run", "/var/lock": "/run/lock"} {
		if err := os.Symlink(target, name); err != nil {
			return err
		}
	}
	for name, dir := range kept {
		if err := os.MkdirAll(name, 0o755); err != nil {
			return err
		}
		if err := Mount(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()), name, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return err
		}
		dir.Close()
	}
	return nil
}

// overlay has all that is written to dir go to a directory below scratch.
func overlay(dir, scratch string) error {
	upper, work := filepath.Join(scratch, dir, "upper"), filepath.Join(scratch, dir, "work")
	for _, d := range []string{upper, work} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	return Mount("overlay", dir, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", dir, upper, work))
}

// goEnv are Go's settings that matter here, all but one directories.
var goEnv = []string{"GOROOT", "GOCACHE", "GOMODCACHE", "GOFLAGS", "GOMOD"}

// keep opens what is hidden and must not be: what Go reads and writes, and this module.
func keep() (map[string]*os.File, error) {
	out, err := exec.Command("go", append([]string{"env"}, goEnv...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	kept := map[string]*os.File{}
	for i, name := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		if goEnv[i] == "GOMOD" {
			name = filepath.Dir(name)
		} else if err := os.Setenv(goEnv[i], name); err != nil { // Go's own settings are hidden
			return nil, err
		}
		for dir := range empty {
			if !strings.HasPrefix(name, dir+"/") {
				continue
			}
			file, err := os.Open(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue // Go makes it where it wants it
			}
			if err != nil {
				return nil, err
			}
			kept[name] = file
		}
	}
	return kept, nil
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return !errors.Is(err, fs.ErrNotExist)
}

// Mount is mount(2) with an error that says what it was about.
func Mount(source, target, fstype string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, fstype, flags, data); err != nil {
		return fmt.Errorf("mount %s %s: %w", fstype, target, err)
	}
	return nil
}

// Arguments are those of this test program for one that runs its tests apart. go test's own record of what a test opened,
// for its cache, is left out: it lies where it is hidden.
func Arguments() []string {
	return slices.DeleteFunc(slices.Clone(os.Args[1:]), func(arg string) bool { return strings.HasPrefix(arg, "-test.testlogfile=") })
}

// apartEnv says that this process runs apart.
const apartEnv = "HUGEGUARD_TEST_APART"

// Apart runs the tests, m.Run, in namespaces of their own from which the machine is hidden ([Hide]), and returns their
// exit status. Who is not root is root there.
func Apart(run func() int) int {
	if os.Getenv(apartEnv) != "" {
		if err := Hide(); err != nil {
			fmt.Fprintln(os.Stderr, "hiding this machine from the tests:", err)
			return 1
		}
		return run()
	}
	cmd := exec.Command("/proc/self/exe", Arguments()...)
	cmd.Env = append(os.Environ(), apartEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	runtime.LockOSThread() // the signal is for the end of the thread
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "namespaces for the tests:", err)
		return 1
	}
	go func() {
		for s := range signals {
			cmd.Process.Signal(s)
		}
	}()
	cmd.Wait() // what it says of the end is below
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		return code
	}
	return 1
}
