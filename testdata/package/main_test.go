// Package package_test looks at the packages as those who install them do: what is in them, whether two builds of
// them are the same, what lintian says, and what dpkg and rpm do with them on a system of their own.
package package_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	repository = "../.."
	version    = "0.2.0~test"
	older      = "0.1.0" // of what is upgraded from
)

// Where the packages are: of the version, of the version built elsewhere, and of the older one.
var built, again, before string

// privateEnv says that this process has its mounts for itself.
const privateEnv = "HUGEGUARD_PACKAGE_TEST"

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "package:", err)
		return 1
	}
	if os.Getenv(privateEnv) == "" {
		if os.Geteuid() != 0 {
			return fail(fmt.Errorf("dpkg and rpm need root"))
		}
		cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
		cmd.Env = append(os.Environ(), privateEnv+"=1")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		// Go makes them private in the new namespace: what is mounted below ends with this process.
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		if err := cmd.Run(); err != nil {
			return fail(err)
		}
		return 0
	}
	dir, err := os.MkdirTemp("", "hugeguard-package-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	built, again, before = filepath.Join(dir, "built"), filepath.Join(dir, "again"), filepath.Join(dir, "before")
	if err := build(dir); err != nil {
		return fail(err)
	}
	return m.Run()
}

// build builds the version here, then in another place, under another umask and zone, from files of another time;
// and the older one.
func build(dir string) error {
	const epoch = "SOURCE_DATE_EPOCH=1700000000"
	if err := buildIn(repository, built, "022", epoch, "VERSION="+version, "ARCHES=amd64 arm64"); err != nil {
		return err
	}
	elsewhere := filepath.Join(dir, "a longer name, with spaces")
	if err := copySource(elsewhere); err != nil {
		return err
	}
	if err := buildIn(elsewhere, again, "077", epoch, "VERSION="+version, "ARCHES=arm64 amd64", "TZ=Pacific/Kiritimati", "LC_ALL=C.UTF-8",
		"CGO_CFLAGS=-O1 -g", "GOFLAGS=-buildvcs=true -gcflags=-N", "TMPDIR="+dir); err != nil {
		return err
	}
	return buildIn(elsewhere, before, "022", epoch, "VERSION="+older)
}

// buildIn builds the packages of a source tree as make packages does.
func buildIn(source, out, umask string, env ...string) error {
	began := time.Now()
	cmd := exec.Command("sh", "-c", "umask "+umask+` && exec install/package/build.sh "$1"`, "sh", out)
	cmd.Dir, cmd.Env = source, append(os.Environ(), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build.sh: %w\n%s", err, text)
	}
	fmt.Printf("built %s in %.0f s\n", out, time.Since(began).Seconds())
	return nil
}

// copySource copies what the packages are built from.
func copySource(to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"go.mod", "go.sum", "LICENSE", "CHANGELOG.md", "Makefile"} {
		text, err := os.ReadFile(filepath.Join(repository, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), text, 0o600)
		}
		if err != nil {
			return err
		}
	}
	for _, dir := range []string{"hook", "guard", "sysfs", "install", "testdata/tools"} {
		if err := os.CopyFS(filepath.Join(to, dir), os.DirFS(filepath.Join(repository, dir))); err != nil {
			return err
		}
	}
	return nil
}

// deb and rpm name the package of a build for an architecture as Go calls it.
func deb(dir, version, arch string) string {
	return filepath.Join(dir, fmt.Sprintf("hugeguard_%s-1_%s.deb", version, arch))
}

func rpm(dir, version, arch string) string {
	return filepath.Join(dir, fmt.Sprintf("hugeguard-%s-1.%s.rpm", version, map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[arch]))
}

// policyDeb and policyRPM name the package of the SELinux policy.
func policyDeb(dir, version string) string {
	return filepath.Join(dir, fmt.Sprintf("hugeguard-selinux_%s-1_all.deb", version))
}

func policyRPM(dir, version string) string {
	return filepath.Join(dir, fmt.Sprintf("hugeguard-selinux-%s-1.noarch.rpm", version))
}

// output runs a program that has to succeed and returns what it printed. rpm makes its database in the home directory.
func output(t *testing.T, program string, args ...string) string {
	t.Helper()
	var stderr strings.Builder
	cmd := exec.Command(program, args...)
	cmd.Stderr = &stderr
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", program, args, err, text, &stderr)
	}
	return string(text)
}
