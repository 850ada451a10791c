package domains

import (
	"os"
	"testing"

	"hugeguard/sysfs/sysfstest"
)

// Without libvirt's library or socket, domains are looked for in the files of the daemon's container.
func TestContained(t *testing.T) {
	host, container := sysfstest.New(t), sysfstest.New(t)
	container.Write("etc/libvirt/qemu/inside.xml", "<domain type='kvm'><name>inside</name><memory>1</memory></domain>")
	host.Write("etc/libvirt/qemu/outside.xml", "<domain type='kvm'><name>outside</name><memory>1</memory></domain>")
	has := func(name string) bool {
		_, err := Files{contained(host.FS())}.Get(name)
		return err == nil
	}
	if !has("outside") || has("inside") {
		t.Error("without a daemon it is not the host's files that are read")
	}
	host.Write("run/libvirtd.pid", "77\n")
	host.Write("proc/77/comm", "libvirtd\n")
	host.Write("proc/77/stat", "77 (libvirtd) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 12345 99 100\n")
	if err := os.Symlink(container.Path(""), host.Path("proc/77/root")); err != nil {
		t.Fatal(err)
	}
	if has("outside") || !has("inside") {
		t.Error("the container's files are not read")
	}
}
