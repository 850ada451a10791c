package main

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"hugeguard/testdata/vm"
)

//go:embed rootfs setup.sh
var files embed.FS

// recipe is a compute node whose SELinux is enforcing.
var recipe = vm.Recipe{Name: "selinuxbox", Suite: vm.ParseSuite("trixie"), Files: files, After: "setup.sh", Size: "3G", Packages: []string{
	"systemd", "systemd-sysv", "udev", "dbus", "kmod", vm.Kernel, "selinux-policy-default", "policycoreutils", "auditd",
	"libvirt-daemon-system", "libvirt-clients", vm.QEMU, "openvswitch-switch-dpdk",
	"iproute2", "procps", "numactl",
}}

// newMachine has two small nodes with one CPU each. One thread of QEMU's emulates both in turn.
func newMachine(ctx context.Context, image *vm.Image, dir string) *vm.Machine {
	return &vm.Machine{Context: ctx, Dir: dir, Image: image,
		Cmdline: "security=selinux selinux=1 enforcing=1 audit=1 audit_backlog_limit=8192 hugepagesz=2M hugepages=0:160,1:64",
		Args: []string{"-accel", "tcg,thread=single", "-smp", "2,sockets=2", "-m", "2560", "-net", "none",
			"-object", "memory-backend-ram,id=m0,size=1536M", "-object", "memory-backend-ram,id=m1,size=1024M",
			"-numa", "node,nodeid=0,cpus=0,memdev=m0", "-numa", "node,nodeid=1,cpus=1,memdev=m1"}}
}

// The versions of the packages.
const (
	older = "0.1.0"
	later = "0.2.0"
)

// hookPackage and policyPackage are where the machine finds a version of the two packages.
func hookPackage(version string) string {
	return "/opt/numabox/packages/hugeguard_" + version + "-1_amd64.deb"
}
func policyPackage(version string) string {
	return "/opt/numabox/packages/hugeguard-selinux_" + version + "-1_all.deb"
}

// bring builds the packages and boots the machine.
func bring(m *vm.Machine) error {
	if err := vm.EnoughMemory(3); err != nil {
		return err
	}
	vm.Say("building hugeguard's packages and the agent")
	stage := m.Path("product")
	if err := os.MkdirAll(stage, 0o755); err != nil {
		return err
	}
	if err := vm.BuildAgent(m.Context, filepath.Join(stage, "agent")); err != nil {
		return err
	}
	for _, version := range []string{older, later} {
		if err := vm.BuildPackage(m.Context, filepath.Join(stage, "packages"), version); err != nil {
			return err
		}
	}
	if err := label(stage); err != nil {
		return err
	}
	if err := vm.Disk(m.Context, stage, m.Product(), "96M"); err != nil {
		return err
	}
	vm.Say("booting Debian 13: %s", m.Image.Versions())
	if err := m.Start(); err != nil {
		m.KeepConsole()
		return fmt.Errorf("boot: %w", err)
	}
	vm.Say("the machine is up")
	return nil
}

// label gives all files of a directory the label of those in /usr/bin.
func label(dir string) error {
	return filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := unix.Lsetxattr(name, "security.selinux", []byte("system_u:object_r:bin_t:s0\x00"), 0); err != nil {
			return &fs.PathError{Op: "label", Path: name, Err: err}
		}
		return nil
	})
}
