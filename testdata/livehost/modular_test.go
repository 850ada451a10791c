//go:build modular

package livehost

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The whole tier plays the modular daemon that runs QEMU, in a libvirt that connects to it directly.
const (
	daemonName    = "virtqemud"
	daemonSocket  = "virtqemud-sock"
	daemonPackage = "none: make modular builds it"
)

// booted is a host of its own on which systemd runs libvirt's daemons as its units have it. It has the files of the
// private host, but for what belongs to one boot.
type booted struct {
	*scene
	pid int // of systemd
}

// bootScript boots it. The arguments are the control group of version 2 that it gets, and for how many seconds virtqemud
// stays without clients.
const bootScript = `set -e
group=$1 timeout=$2
mkdir "$group"
echo $$ >"$group/cgroup.procs"
exec unshare --cgroup --mount --ipc --pid --fork --kill-child --mount-proc sh -c '
set -e
mount --rbind /run /mnt
mount -t tmpfs tmpfs /run
mkdir /run/lock /run/livehost
mount --bind /mnt/livehost /run/livehost
umount -l /mnt
mount -t tmpfs tmpfs /tmp
mkdir -p /etc/systemd /etc/sysconfig
mount -t tmpfs tmpfs /etc/systemd
mount -t tmpfs tmpfs /etc/sysconfig
echo VIRTQEMUD_ARGS=\"--timeout $0\" >/etc/sysconfig/virtqemud
mkdir /etc/systemd/system
for unit in systemd-tmpfiles-setup.service systemd-tmpfiles-setup-dev.service systemd-sysctl.service systemd-udevd.service systemd-udev-trigger.service; do
	ln -s /dev/null /etc/systemd/system/$unit
done
mount -t cgroup2 cgroup2 /sys/fs/cgroup
exec env -i container=livehost PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=sysinit.target
' "$timeout"`

// boot boots the host, in place of the daemon that runs.
func boot(s *scene, timeout int) booted {
	s.t.Helper()
	s.must(s.build())
	s.must(s.libvirtd.stop())
	s.t.Cleanup(func() { s.must(s.startLibvirtd()) })
	group := filepath.Join(cgroup2(s.t), fmt.Sprintf("livehost-booted-%d", os.Getpid()))
	d, err := s.host.start("booted", "sh", "-c", bootScript, "sh", group, itoa(timeout))
	s.must(err)
	s.t.Cleanup(func() {
		d.cmd.Process.Kill()
		<-d.done
		s.check(eventually(func() error { return removeGroups(group) }))
	})
	b := booted{scene: s}
	s.must(eventually(func() error {
		if !d.running() {
			return stop{fmt.Errorf("it ended: %v", d.cmd.ProcessState)}
		}
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", d.pid()))
		if err != nil {
			return err
		}
		if b.pid, err = strconv.Atoi(strings.TrimSpace(string(children))); err != nil {
			return err
		}
		_, err = b.run("systemctl", "is-active", "sysinit.target")
		return err
	}))
	return b
}

// removeGroups removes a control group with those below it.
func removeGroups(dir string) error {
	var errs []error
	below, _ := os.ReadDir(dir)
	for _, group := range below {
		if group.IsDir() {
			errs = append(errs, removeGroups(filepath.Join(dir, group.Name())))
		}
	}
	return errors.Join(append(errs, os.Remove(dir))...)
}

// run runs a program there.
func (b booted) run(argv ...string) (string, error) {
	return run(append([]string{"nsenter", "-t", itoa(b.pid), "--mount", "--pid", "--ipc", "--cgroup", "--"}, argv...)...)
}

// does runs a program there, which has to succeed.
func (b booted) does(argv ...string) string {
	b.t.Helper()
	out, err := b.run(argv...)
	b.must(err)
	return out
}

// show returns a property of a unit.
func (b booted) show(unit, property string) string {
	b.t.Helper()
	return strings.TrimSpace(b.does("systemctl", "show", "--value", "--property", property, unit))
}

// idles waits until virtqemud has ended for want of clients.
func (b booted) idles() {
	b.t.Helper()
	b.must(eventually(func() error {
		if state := b.show("virtqemud.service", "ActiveState"); state != "inactive" {
			return errors.New("virtqemud.service is " + state)
		}
		return nil
	}))
	for _, file := range []string{"/run/virtqemud.pid", "/run/libvirt/qemu/driver.pid"} {
		if _, err := b.run("test", "!", "-e", file); err != nil {
			b.t.Errorf("%s is there after virtqemud", file)
		}
	}
}

// starting starts a domain by a URI.
func (b booted) starting(uri string, d domain) error {
	_, err := b.run("virsh", "-c", uri, "start", "--paused", d.name)
	return err
}

const (
	direct = "qemu:///system"
	legacy = "qemu:///system?mode=legacy" // by virtproxyd
)

// systemd starts virtqemud when a client connects, and it ends without clients. The guard is live throughout, says which
// daemon will run it, and wakes nobody; guests do not notice.
func TestStartsOnDemand(t *testing.T) {
	s := begin(t, 64)
	b := boot(s, 2)
	b.does("systemctl", "start", "virtqemud.socket", "virtqemud-ro.socket", "virtproxyd.socket", "virtproxyd-ro.socket")
	small, large := domain{name: "small", mib: 32, cells: 1}, domain{name: "large", mib: 256, cells: 1}
	s.says(b.does(s.cliLibvirt, "install", "--hook", s.hook), "\nno libvirt daemon runs: virtqemud starts when a client connects, and will see the hook then\n")
	t.Cleanup(func() { b.does(s.cliLibvirt, "uninstall") })
	const waiting = "\n  no libvirt daemon runs now: virtqemud starts when a client connects\n"
	asleep := func() string {
		t.Helper()
		out := b.does(s.cliLibvirt, "status", "--hook", s.hook)
		s.says(out, "hook: live: "+mainHook, waiting)
		s.says(b.does(s.cliLibvirt, "metrics", "--hook", s.hook), "\nhugeguard_hook_live 1\n")
		if state := b.show("virtqemud.service", "ActiveState"); state != "inactive" {
			t.Errorf("who looks at the host has started virtqemud.service: it is %s", state)
		}
		return out
	}
	asleep()

	out := b.does(s.cliLibvirt, "verify", "--hook", s.hook)
	s.says(out, fmt.Sprintf("hook: live: virtqemud (pid %s) called it for hugeguard-verify-", b.show("virtqemud.service", "MainPID")), "which it refused\n")
	for _, d := range []domain{small, large} {
		s.must(os.WriteFile(s.path("domain.xml"), []byte(d.xml()), 0o644))
		b.does("virsh", "define", s.path("domain.xml"))
	}
	b.refuses(large)
	awake := b.does(s.cliLibvirt, "status", "--hook", s.hook)
	s.says(awake, fmt.Sprintf("\n  called by virtqemud (pid %s)\n", b.show("virtqemud.service", "MainPID")))
	b.idles()
	if now := asleep(); judged(now) != judged(awake) {
		t.Errorf("launches are judged for %q while virtqemud runs, and for %q while it does not", judged(awake), judged(now))
	}

	// The next client finds it as it was.
	b.refuses(large)
	s.must(b.starting(direct, small))
	guest := strings.TrimSpace(b.does("cat", "/run/libvirt/qemu/small.pid"))
	main := b.show("virtqemud.service", "MainPID")
	b.does("systemctl", "reload", "virtqemud.service")
	b.refuses(large)
	if now := b.show("virtqemud.service", "MainPID"); now != main {
		t.Errorf("virtqemud was %s before the reload, and is %s", main, now)
	}
	s.says(b.does(s.cliLibvirt, "uninstall"), "\nreload virtqemud.service (pid "+main+")\n")
	s.says(b.does(s.cliLibvirt, "install", "--hook", s.hook), "\nreload virtqemud.service (pid "+main+")\n")
	b.refuses(large)

	// Its guests outlive it, and are known by their control groups.
	b.does("systemctl", "stop", "virtqemud.service")
	held := fmt.Sprintf("guest small (pid %s) 16 (32 MiB)", guest)
	s.says(asleep(), held)
	s.says(b.does("cat", "/proc/"+guest+"/cgroup"), "0::/machine.slice/machine-qemu\\x2d")
	b.refuses(large)
	if state := strings.TrimSpace(b.does("virsh", "domstate", small.name)); state != "paused" {
		t.Errorf("the guest is %s", state)
	}
	if now := strings.TrimSpace(b.does("cat", "/run/libvirt/qemu/small.pid")); now != guest {
		t.Errorf("the guest was %s, and is %s", guest, now)
	}
	b.does("virsh", "destroy", small.name)
	b.idles()
	asleep()
	if out := b.does("find", "/run/hugeguard", "-type", "f", "!", "-name", "told", "-size", "+0"); strings.TrimSpace(out) != "" {
		t.Errorf("%s has something after the guests", out)
	}
	for _, d := range []domain{small, large} {
		b.does("virsh", "undefine", d.name)
	}
}

// judged returns what a status says of the releases that launches are judged for.
func judged(status string) string {
	_, rest, _ := strings.Cut(status, "launches with ")
	line, _, _ := strings.Cut(rest, "\n")
	return line
}

// refuses starts a domain by both daemons; each passes on the refusal.
func (b booted) refuses(d domain) {
	b.t.Helper()
	for _, uri := range []string{direct, legacy} {
		err := b.starting(uri, d)
		if err == nil || !strings.Contains(err.Error(), "unexpected exit status 1: ") || !strings.Contains(err.Error(), ", 128 needed (256 MiB)") {
			b.t.Errorf("%s: %v; want the refusal", uri, err)
		}
	}
}
