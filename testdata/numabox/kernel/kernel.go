package main

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
)

// fetchLimit bounds each of apt's steps.
const fetchLimit = 5 * time.Minute

// fetchKernel returns the cloud kernel of a Debian suite, which it gets from
// the mirror that apt uses here, or from the one that the environment variable
// MIRROR names, at the first time. The package is unpacked below the user's
// cache directory and not installed.
func fetchKernel(ctx context.Context, suite string) (image, name string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", "", err
	}
	cache = filepath.Join(cache, "hugeguard")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", "", err
	}
	lock, err := os.Create(filepath.Join(cache, "kernel.lock"))
	if err != nil {
		return "", "", err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	dir := filepath.Join(cache, "kernel-"+suite)
	image, name, err = findKernel(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return image, name, err
	}
	fmt.Printf("getting the cloud kernel of Debian %s\n", suite)
	if err := download(ctx, suite, dir); err != nil {
		return "", "", fmt.Errorf("the cloud kernel of Debian %s: %w", suite, err)
	}
	return findKernel(dir)
}

func findKernel(dir string) (image, name string, err error) {
	images, err := filepath.Glob(filepath.Join(dir, "boot/vmlinuz-*"))
	if err != nil {
		return "", "", err
	}
	if len(images) == 0 {
		return "", "", fmt.Errorf("%s: %w", dir, fs.ErrNotExist)
	}
	version, err := os.ReadFile(filepath.Join(dir, "package"))
	return images[0], strings.TrimSpace(string(version)), err
}

// download unpacks the kernel into dir, by a configuration of apt's own that
// leaves the system's alone.
func download(ctx context.Context, suite, dir string) error {
	mirror, err := debianMirror(ctx)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), "fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	for _, d := range []string{"lists/partial", "cache/archives/partial", "etc/apt.conf.d", "etc/preferences.d", "root"} {
		if err := os.MkdirAll(filepath.Join(work, d), 0o755); err != nil {
			return err
		}
	}
	conf := fmt.Sprintf(`APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
Dir::State "%[1]s";
Dir::State::status "%[1]s/status";
Dir::State::lists "%[1]s/lists";
Dir::Cache "%[1]s/cache";
Dir::Etc "%[1]s/etc";
Dir::Etc::sourcelist "%[1]s/sources.list";
Dir::Etc::sourceparts "-";
`, work)
	source := fmt.Sprintf("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n", mirror, suite)
	for file, text := range map[string]string{"apt.conf": conf, "sources.list": source, "status": ""} {
		if err := os.WriteFile(filepath.Join(work, file), []byte(text), 0o644); err != nil {
			return err
		}
	}
	run := func(name string, args ...string) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, fetchLimit)
		defer cancel()
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = work
		cmd.Env = append(os.Environ(), "APT_CONFIG="+filepath.Join(work, "apt.conf"), "LC_ALL=C")
		return output(cmd)
	}
	if _, err := run("apt-get", "-q", "update"); err != nil {
		return err
	}
	pkg, err := kernelPackage(run)
	if err != nil {
		return err
	}
	if _, err := run("apt-get", "-q", "download", pkg); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(work, pkg+"_*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("apt-get download %s left %d packages: %v", pkg, len(debs), err)
	}
	version, err := run("dpkg-deb", "-f", debs[0], "Version")
	if err != nil {
		return err
	}
	root, kept := filepath.Join(work, "root"), filepath.Join(work, "kept")
	if _, err := run("dpkg", "-x", debs[0], root); err != nil {
		return err
	}
	if err := keepKernel(root, kept); err != nil {
		return fmt.Errorf("%s: %w", pkg, err)
	}
	if err := os.WriteFile(filepath.Join(kept, "package"), []byte(pkg+" "+version), 0o644); err != nil {
		return err
	}
	return os.Rename(kept, dir)
}

// kernelPackage returns the package with the newest kernel's image. From Linux 7 on that is one of several on which the
// package of before depends.
func kernelPackage(run func(string, ...string) (string, error)) (string, error) {
	depends, err := run("apt-cache", "depends", "--recurse", "--important", "linux-image-cloud-amd64")
	if err != nil {
		return "", err
	}
	for _, kind := range []string{"linux-binary-", "linux-image-"} {
		if _, release, ok := strings.Cut(depends, "Depends: "+kind); ok {
			return kind + strings.Fields(release)[0], nil
		}
	}
	return "", errors.New("linux-image-cloud-amd64 depends on no kernel")
}

// keepKernel moves the kernel of an unpacked package: the modules are not needed.
func keepKernel(root, kept string) error {
	if err := os.MkdirAll(filepath.Join(kept, "boot"), 0o755); err != nil {
		return err
	}
	images, err := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*"))
	if err != nil {
		return err
	}
	within, err := filepath.Glob(filepath.Join(root, "usr/lib/modules/*/vmlinuz"))
	if err != nil {
		return err
	}
	images = append(images, within...)
	if len(images) != 1 {
		return fmt.Errorf("%d kernels: %q", len(images), images)
	}
	name := filepath.Base(images[0])
	if name == "vmlinuz" {
		name += "-" + filepath.Base(filepath.Dir(images[0]))
	}
	return os.Rename(images[0], filepath.Join(kept, "boot", name))
}

// debianMirror returns the Debian mirror that apt uses here.
func debianMirror(ctx context.Context) (string, error) {
	if mirror := os.Getenv("MIRROR"); mirror != "" {
		return mirror, nil
	}
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	targets, err := output(exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"))
	if err != nil {
		return "", err
	}
	for _, line := range strings.Split(targets, "\n") {
		if mirror, ok := strings.CutPrefix(line, "Debian "); ok {
			return strings.TrimSpace(mirror), nil
		}
	}
	return "", errors.New("apt knows no Debian mirror here; name one in MIRROR")
}

// output runs a command and returns what it prints; an error has the command
// and its own words.
func output(cmd *exec.Cmd) (string, error) {
	out, err := cmd.Output()
	if err == nil {
		return string(out), nil
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(string(exit.Stderr)))
	}
	return "", fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
}
