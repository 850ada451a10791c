package main

import (
	"embed"

	"hugeguard/testdata/vm"
)

// A box is the running machine.
type box struct {
	*vm.Machine
	hook    string // the hook program, for this machine
	command string // the admin's command, for this machine
}

//go:embed rootfs
var rootfs embed.FS

// recipe is what a compute node of the incident has, and what it takes to watch it.
func recipe(suite vm.Suite) vm.Recipe {
	packages := []string{
		"systemd", "systemd-sysv", "udev", "dbus", "kmod", vm.Kernel, "apparmor", "auditd",
		"libvirt-daemon-system", "libvirt-clients", vm.QEMU, "numad", vm.OVS,
		"iproute2", "procps", "numactl",
	}
	if suite.Release == "sid" {
		// Its kernel would take another program to make the first root file system, which customize.sh does not know. Its
		// Open vSwitch names devices of buses whose drivers DPDK has in packages that nothing depends on.
		packages = append(packages, "initramfs-tools", "librte-meta-bus")
	}
	return vm.Recipe{Name: "numabox", Suite: suite, Files: rootfs, Size: "3G", Packages: packages}
}

// gib is what the box takes of this machine's memory at the most: two nodes that it can fill, and QEMU itself.
const gib = 11

// gigantic has the kernel make the largest pages at once: later there may be no room left in one piece.
const gigantic = "hugepagesz=1G hugepages=0:1,1:1"

// commandLine has it make the largest pools, too, but for a part of its own. Before 5.16 it knows no number of pages for
// each node, and shares out what it is to make.
func (o options) commandLine(i *vm.Image) string {
	switch {
	case i.Before(vm.Kernel, 5, 16):
		return "hugepagesz=1G hugepages=2 hugepagesz=2M hugepages=2048"
	case o.apart():
		return gigantic
	}
	return gigantic + " hugepagesz=2M hugepages=0:1024,1:1024"
}

// machine is two nodes of 5 GiB, with one CPU each: this machine may have no more. What the box does not touch costs
// nothing, and with 4 GiB node 1 could not make its largest pool at some boots.
// One thread of QEMU's emulates both in turn, and leaves the other CPU to the other tests: to start a guest takes
// programs that wait for each other, on which two threads would spend more and win little.
var machine = []string{"-accel", "tcg,thread=single", "-smp", "2,sockets=2", "-m", "10240", "-net", "none",
	"-object", "memory-backend-ram,id=m0,size=5120M", "-object", "memory-backend-ram,id=m1,size=5120M",
	"-numa", "node,nodeid=0,cpus=0,memdev=m0", "-numa", "node,nodeid=1,cpus=1,memdev=m1"}
