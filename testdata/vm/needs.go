package vm

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// needs are the programs and files that building and running the box takes, and Debian's packages for them.
var needs = []struct{ name, debian string }{
	{"mmdebstrap", "mmdebstrap"},
	{"qemu-system-x86_64", "qemu-system-x86"},
	{"mke2fs", "e2fsprogs"},
	{"systemctl", "systemd"},
	{keyring, "debian-archive-keyring"},
}

// Provide installs what this machine lacks, where it may.
func Provide(ctx context.Context) error {
	var missing []string
	for _, need := range needs {
		var err error
		if filepath.IsAbs(need.name) {
			_, err = os.Stat(need.name)
		} else {
			_, err = exec.LookPath(need.name)
		}
		if err != nil {
			missing = append(missing, need.debian)
		}
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("the box needs root: its root file system is made with chroot and device nodes (missing packages: %s)", cmp.Or(strings.Join(missing, " "), "none"))
	}
	if missing == nil {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("this machine lacks Debian's packages %s, and has no apt-get to install them", strings.Join(missing, " "))
	}
	Say("installing %s", strings.Join(missing, " "))
	os.Setenv("DEBIAN_FRONTEND", "noninteractive")
	if err := Step(ctx, "", "apt-get", "update", "-qq"); err != nil {
		return err
	}
	return Step(ctx, "", "apt-get", append([]string{"install", "-y", "-qq", "--no-install-recommends"}, missing...)...)
}

// EnoughMemory says what this machine lacks for a box that takes so much of its memory at the most.
func EnoughMemory(gib int) error {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(string(text), "\nMemAvailable:")
	var kib int
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return fmt.Errorf("/proc/meminfo: no MemAvailable: %w", err)
	}
	if kib < gib<<20 {
		return fmt.Errorf("the box takes %d GiB of memory, and this machine has %.1f GiB available (MemAvailable in /proc/meminfo): end something, or use a larger one", gib, float64(kib)/(1<<20))
	}
	return nil
}
