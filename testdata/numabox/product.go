package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
)

// buildProduct builds the product and the agent, and the disk image that brings them into the box. The image
// has what a package would have, a hook program of a later build to upgrade to, and if wanted the packages themselves.
func (b *box) buildProduct(ctx context.Context, packaged bool) error {
	say("building hugeguard and the agent")
	stage := b.path("product")
	for _, dir := range []string{"usr/bin", "usr/lib/hugeguard", "later"} {
		if err := os.MkdirAll(filepath.Join(stage, dir), 0o755); err != nil {
			return err
		}
	}
	b.hook, b.command = filepath.Join(stage, "usr/lib/hugeguard/qemu"), filepath.Join(stage, "usr/bin/hugeguard")
	static := []string{"CGO_ENABLED=0"}
	build := func(env []string, out string, args ...string) error {
		cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-buildvcs=false", "-trimpath", "-o", out}, args...)...)
		cmd.Env = append(os.Environ(), env...)
		text, err := cmd.CombinedOutput()
		if err != nil {
			os.Stderr.Write(text)
		}
		return err
	}
	if err := build(static, b.hook, "-ldflags", "-s -w", "hugeguard/hook/qemu"); err != nil {
		return err
	}
	// The later build differs in nothing but its name.
	if err := build(static, filepath.Join(stage, "later/qemu"), "-ldflags", "-s -w -buildid=later", "hugeguard/hook/qemu"); err != nil {
		return err
	}
	// Loads libvirt at run time where there is a C compiler, as in the Makefile, and the box's C library is no older than
	// what that program takes.
	env, tags := static, []string(nil)
	if _, err := exec.LookPath("cc"); err == nil && !b.image.before(libcPackage, 2, 34) {
		env, tags = nil, []string{"-tags", "libvirt_dlopen"}
	}
	if err := build(env, b.command, append(tags, "hugeguard/install/hugeguard")...); err != nil {
		return err
	}
	if err := build(static, filepath.Join(stage, "agent"), "hugeguard/testdata/numabox/agent"); err != nil {
		return err
	}
	if packaged {
		if err := buildPackages(ctx, filepath.Join(stage, "packages")); err != nil {
			return err
		}
	}
	// Processes are known by their program's name.
	if err := os.Symlink("agent", filepath.Join(stage, "dpdk-testpmd")); err != nil {
		return err
	}
	return step(ctx, nil, "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", stage, b.path("product.img"), "128M")
}
