package main

import (
	"context"
	"embed"
	"os"
	"path/filepath"

	"hugeguard/testdata/vm"
)

//go:embed rootfs packages.sh setup.sh
var files embed.FS

// computeConf is nova.conf on the compute node.
//
//go:embed compute.conf
var computeConf string

// recipe makes one root file system for both: the control services' and the compute node's.
func recipe(suite vm.Suite) vm.Recipe {
	return vm.Recipe{Name: "novabox", Suite: suite, Files: files, Before: "packages.sh", After: "setup.sh", Size: "8G", Packages: []string{
		"systemd", "systemd-sysv", "udev", "dbus", "kmod", "linux-image-cloud-amd64", "apparmor",
		"libvirt-daemon-system", "libvirt-clients", "qemu-system-x86", "openvswitch-switch-dpdk", "python3-libvirt",
		"iproute2", "procps", "numactl", "sudo",
		"mariadb-server", "rabbitmq-server", "keystone", "placement-api", "glance-api", "nova-api", "nova-conductor", "nova-scheduler",
		"python3-openstackclient", "python3-osc-placement",
	}}
}

// The compute node: pages of 2 MiB on each node, of which Open vSwitch gets a half.
const (
	poolPages = 512
	ovsPages  = 256
)

// newMachine is the compute node, with two nodes of two CPUs each, since Nova gives the instances of the incident CPUs
// of their own. Its only network is the loopback of the control services.
func newMachine(ctx context.Context, dir string, image *vm.Image) *vm.Machine {
	return &vm.Machine{Context: ctx, Dir: dir, Image: image,
		Cmdline: "net.ifnames=0 no_timer_check nowatchdog nosoftlockup rcupdate.rcu_cpu_stall_suppress=1 " +
			"default_hugepagesz=2M hugepagesz=2M hugepages=0:512,1:512",
		Args: []string{"-accel", "tcg,thread=multi", "-smp", "4,sockets=2,cores=2", "-m", "4608", "-device", "virtio-rng-pci",
			"-object", "memory-backend-ram,id=m0,size=2304M", "-object", "memory-backend-ram,id=m1,size=2304M",
			"-numa", "node,nodeid=0,cpus=0-1,memdev=m0", "-numa", "node,nodeid=1,cpus=2-3,memdev=m1",
			"-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="}}
}

// version is of the package that is installed.
const version = "0.1.0"

// packageInBox is where the compute node finds it.
const packageInBox = "/opt/numabox/packages/hugeguard_" + version + "-1_amd64.deb"

// buildProduct builds the package and the agent, and the disk that brings them to the compute node.
func buildProduct(ctx context.Context, m *vm.Machine) error {
	vm.Say("building hugeguard's package and the agent")
	stage := product(m.Dir)
	if err := os.MkdirAll(stage, 0o755); err != nil {
		return err
	}
	if err := vm.BuildAgent(ctx, filepath.Join(stage, "agent")); err != nil {
		return err
	}
	if err := vm.BuildPackage(ctx, filepath.Join(stage, "packages"), version); err != nil {
		return err
	}
	return vm.Disk(ctx, stage, m.Product(), "64M")
}
