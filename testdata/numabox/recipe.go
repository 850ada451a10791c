package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// packages are what a compute node of the incident has, and what it takes to watch it.
var packages = []string{
	"systemd", "systemd-sysv", "udev", "dbus", "kmod", "linux-image-cloud-amd64", "apparmor", "auditd",
	"libvirt-daemon-system", "libvirt-clients", "qemu-system-x86", "numad", "openvswitch-switch-dpdk",
	"iproute2", "procps", "numactl",
}

//go:embed rootfs customize.sh
var recipeFiles embed.FS

// diskSize is the size of the root file system; what is not used takes no room.
const diskSize = "3G"

// An image is a root file system with its kernel, in the cache.
type image struct {
	dir      string
	disk     string
	kernel   string
	initrd   string
	versions map[string]string // of all packages in it
	lock     *os.File          // keeps others from removing it
}

// getImage returns the image of a Debian release, from the cache, or builds it.
func getImage(ctx context.Context, suite suite) (*image, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	cache = filepath.Join(cache, "hugeguard")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	hash, err := recipeHash(suite)
	if err != nil {
		return nil, err
	}
	prefix := "numabox-" + suite.name + "-"
	dir := filepath.Join(cache, prefix+hash)
	lock, err := lockFile(ctx, filepath.Join(cache, prefix+"lock"))
	if err != nil {
		return nil, err
	}
	img := &image{dir: dir, disk: filepath.Join(dir, "root.img"), kernel: filepath.Join(dir, "vmlinuz"), initrd: filepath.Join(dir, "initrd.img"), lock: lock}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		// Nobody else can be using an older one: they would have the lock.
		old, _ := filepath.Glob(filepath.Join(cache, prefix+"*[0-9a-f]"))
		for _, name := range old {
			os.RemoveAll(name)
		}
		if err := buildImage(ctx, suite, dir); err != nil {
			return nil, err
		}
	} else {
		say("root file system from the cache: %s", dir)
	}
	// From here on several runs may share it.
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_SH); err != nil {
		return nil, err
	}
	list, err := os.ReadFile(filepath.Join(dir, "packages"))
	if err != nil {
		return nil, err
	}
	img.versions = map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(string(list)), "\n") {
		name, version, _ := strings.Cut(line, " ")
		img.versions[name] = version
	}
	return img, nil
}

// lockFile waits until it is the only one to have the file.
func lockFile(ctx context.Context, name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for said := false; ; said = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
		}
		if !said {
			say("waiting for another run that has %s", name)
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), f.Close())
		case <-time.After(time.Second):
		}
	}
}

// recipeHash names all that an image is made from, but for the day.
func recipeHash(suite suite) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, suite.name, diskSize, suite.packages())
	err := fs.WalkDir(recipeFiles, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := recipeFiles.ReadFile(name)
		fmt.Fprintf(h, "%s %d\n%s", name, len(data), data)
		return err
	})
	return hex.EncodeToString(h.Sum(nil))[:16], err
}

// buildImage builds an image with mmdebstrap, beside its place, and moves it there when it is whole.
func buildImage(ctx context.Context, suite suite, dir string) error {
	sources, err := aptSources(ctx, suite)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), ".building-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	recipe := filepath.Join(work, "recipe")
	if err := os.CopyFS(recipe, recipeFiles); err != nil {
		return err
	}
	customize := filepath.Join(recipe, "customize.sh")
	if err := os.Chmod(customize, 0o755); err != nil {
		return err
	}
	root, out := filepath.Join(work, "root"), filepath.Join(work, "image")
	if err := os.Mkdir(out, 0o755); err != nil {
		return err
	}
	say("building the root file system of Debian %s: %d packages and what they need", suite.name, len(suite.packages()))
	args := []string{"--variant=minbase", "--mode=root", "--format=directory", "--include=" + strings.Join(suite.packages(), ","),
		`--aptopt=Acquire::Check-Valid-Until "false"`, "--customize-hook=copy-in " + filepath.Join(recipe, "rootfs/etc") + " /",
		"--customize-hook=" + customize + ` "$1"`}
	if pins := suite.pins(); pins != "" {
		file := filepath.Join(work, "backports")
		if err := os.WriteFile(file, []byte(pins), 0o644); err != nil {
			return err
		}
		const preferences = "/etc/apt/preferences.d"
		args = append(args, `--setup-hook=mkdir -p "$1"`+preferences, "--setup-hook=copy-in "+file+" "+preferences)
	}
	args = append(args, suite.release, root, "-")
	if err := step(ctx, strings.NewReader(sources), "mmdebstrap", args...); err != nil {
		return err
	}
	list, err := exec.CommandContext(ctx, "dpkg-query", "--admindir="+filepath.Join(root, "var/lib/dpkg"), "-W", "-f", "${Package} ${Version}\n").Output()
	if err != nil {
		return fmt.Errorf("dpkg-query: %w", err)
	}
	if err := os.WriteFile(filepath.Join(out, "packages"), list, 0o644); err != nil {
		return err
	}
	for _, name := range []string{"vmlinuz", "initrd.img"} {
		found, _ := filepath.Glob(filepath.Join(root, "boot", name+"-*"))
		if len(found) != 1 {
			return fmt.Errorf("the root file system should have one /boot/%s-*, and has %q", name, found)
		}
		if err := os.Rename(found[0], filepath.Join(out, name)); err != nil {
			return err
		}
	}
	if err := step(ctx, nil, "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", root, filepath.Join(out, "root.img"), diskSize); err != nil {
		return err
	}
	return os.Rename(out, dir)
}

// aptSources returns the lines for mmdebstrap: this machine's own sources of Debian, told for that release.
func aptSources(ctx context.Context, suite suite) (string, error) {
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", err
	}
	var here string
	for _, line := range strings.Split(string(release), "\n") {
		if value, ok := strings.CutPrefix(line, "VERSION_CODENAME="); ok {
			here = strings.Trim(value, `"`)
		}
	}
	targets, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)", "Created-By: Packages").Output()
	if err != nil {
		return "", fmt.Errorf("apt-get indextargets: %w", err)
	}
	kinds := suite.archives()
	var lines []string
	for _, line := range strings.Split(string(targets), "\n") {
		words := strings.Fields(line)
		if len(words) < 3 || words[2] != "main" || len(words) > 3 && words[3] != "Debian" {
			continue
		}
		if kind, ok := strings.CutPrefix(words[1], here); ok && slices.Contains(kinds, kind) {
			lines = append(lines, fmt.Sprintf("deb [signed-by=%s] %s %s main\n", keyring, words[0], suite.release+kind))
			if kind == "" && suite.backports != nil {
				lines = append(lines, fmt.Sprintf("deb [signed-by=%s] %s %s-backports main\n", keyring, words[0], suite.release))
			}
		}
	}
	if lines == nil {
		return "", errors.New("this machine's apt knows no source of Debian's packages")
	}
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), ""), nil
}

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// step runs a program of the building, in a mount namespace of its own, so that nothing stays mounted however
// it ends. What it says is shown when it fails.
func step(ctx context.Context, stdin *strings.Reader, program string, args ...string) error {
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	if stdin != nil {
		cmd.Stdin = stdin
	}
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Run(); err != nil {
		text := output.String()
		return fmt.Errorf("%s: %w\n%s", program, err, text[max(0, len(text)-4000):])
	}
	return nil
}
