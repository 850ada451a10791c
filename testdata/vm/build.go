package vm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Build builds a program of this module into a file; static is one for any Linux.
func Build(ctx context.Context, out string, static bool, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-buildvcs=false", "-trimpath", "-o", out}, args...)...)
	if static {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	}
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", strings.Join(args, " "), err, text)
	}
	return nil
}

// BuildAgent builds the machine's agent.
func BuildAgent(ctx context.Context, out string) error {
	return Build(ctx, out, true, "hugeguard/testdata/vm/agent")
}

// BuildPackage builds a version of the Debian package into a directory.
func BuildPackage(ctx context.Context, dir, version string) error {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("go list -m: %w", err)
	}
	cmd := exec.CommandContext(ctx, "install/package/build.sh", dir)
	cmd.Dir = strings.TrimSpace(string(root))
	cmd.Env = append(os.Environ(), "ARCHES=amd64", "FORMATS=deb", "VERSION="+version)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build.sh: %w\n%s", err, text)
	}
	return nil
}
