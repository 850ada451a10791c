package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"

	"hugeguard/testdata/vm"
)

// buildProduct builds the product and the agent, and the disk image that brings them into the box. The image
// has what a package would have, a hook program of a later build to upgrade to, and if wanted the packages themselves.
func (b *box) buildProduct(ctx context.Context, packaged bool) error {
	vm.Say("building hugeguard and the agent")
	stage := b.Path("product")
	for _, dir := range []string{"usr/bin", "usr/lib/hugeguard", "later"} {
		if err := os.MkdirAll(filepath.Join(stage, dir), 0o755); err != nil {
			return err
		}
	}
	b.hook, b.command = filepath.Join(stage, "usr/lib/hugeguard/qemu"), filepath.Join(stage, "usr/bin/hugeguard")
	if err := vm.Build(ctx, b.hook, true, "-ldflags", "-s -w", "hugeguard/hook/qemu"); err != nil {
		return err
	}
	// The later build differs in nothing but its name.
	if err := vm.Build(ctx, filepath.Join(stage, "later/qemu"), true, "-ldflags", "-s -w -buildid=later", "hugeguard/hook/qemu"); err != nil {
		return err
	}
	// Loads libvirt at run time where there is a C compiler, as in the Makefile, and the box's C library is no older than
	// what that program takes.
	static, tags := true, []string(nil)
	if _, err := exec.LookPath("cc"); err == nil && !b.Image.Before(vm.Libc, 2, 34) {
		static, tags = false, []string{"-tags", "libvirt_dlopen"}
	}
	if err := vm.Build(ctx, b.command, static, append(tags, "hugeguard/install/hugeguard")...); err != nil {
		return err
	}
	if err := vm.BuildAgent(ctx, filepath.Join(stage, "agent")); err != nil {
		return err
	}
	if packaged {
		for _, version := range []string{olderPackage, laterPackage} {
			if err := vm.BuildPackage(ctx, filepath.Join(stage, "packages"), version); err != nil {
				return err
			}
		}
	}
	// Processes are known by their program's name.
	if err := os.Symlink("agent", filepath.Join(stage, "dpdk-testpmd")); err != nil {
		return err
	}
	return vm.Disk(ctx, stage, b.Product(), "128M")
}
