package livehost

import (
	"fmt"
	"strings"
	"testing"
)

// A neighbour is a second host on this machine: another libvirtd, whose configuration, state, hooks and processes are its
// own. It has this host's journal, and its guests have their pages from the same pool: those that this host's processes
// hold are gone there, and nobody visible has them.
type neighbour struct {
	*daemon
	uri string
}

// neighbourScript makes a host of namespaces, and runs its libvirtd. The arguments are the
// hook program, "" for none, and the host's UUID: libvirt moves no guest from a host to itself.
const neighbourScript = `set -e
hook=$1 uuid=$2
mkdir -p /run/hugeguard /mnt/libvirt
mount -t tmpfs tmpfs /mnt
cp -r /etc/libvirt /mnt
for dir in /etc/libvirt /run/libvirt /run/hugeguard /var/lib/libvirt /var/cache/libvirt /var/log/libvirt; do
	mount -t tmpfs -o mode=0755 tmpfs $dir
done
mount -t hugetlbfs -o pagesize=2M hugetlbfs /dev/hugepages
cp -r /mnt/libvirt/qemu.conf /etc/libvirt
echo 'stdio_handler = "file"' >>/etc/libvirt/qemu.conf
# QEMU takes a capability for userfaultfd, by which post-copy works.
echo 'clear_emulator_capabilities = 0' >>/etc/libvirt/qemu.conf
printf 'auth_unix_ro = "none"\nauth_unix_rw = "none"\nhost_uuid = "%s"\n' "$uuid" >/etc/libvirt/` + daemonName + `.conf
mkdir -p /etc/libvirt/hooks /etc/libvirt/qemu /var/log/libvirt/qemu
if [ -n "$hook" ]; then cp "$hook" /etc/libvirt/hooks/qemu; fi
hostname neighbour
` + libvirtd + ` --pid-file /run/libvirt/daemon.pid &
wait $! # and reaps what libvirtd leaves`

// neighbour starts one and waits until it answers.
func (s *scene) neighbour(hook string) *neighbour {
	s.t.Helper()
	d, err := s.host.start("neighbour", "unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", neighbourScript, "neighbour",
		hook, "6a9c0000-0000-4000-8000-0000000000bb")
	s.must(err)
	n := &neighbour{d, fmt.Sprintf("qemu+unix:///system?socket=/proc/%d/root/run/libvirt/%s", d.pid(), daemonSocket)}
	s.t.Cleanup(n.end)
	s.must(eventually(func() error {
		if !n.running() {
			return stop{fmt.Errorf("the neighbour ended: %v", n.cmd.ProcessState)}
		}
		// Before it has its own directories, its socket is this host's.
		name, err := n.virsh("hostname")
		if err == nil && strings.TrimSpace(name) != "neighbour" {
			err = fmt.Errorf("it is %q", name)
		}
		return err
	}))
	return n
}

// end ends all of its processes. It may be called twice.
func (n *neighbour) end() {
	n.cmd.Process.Kill()
	<-n.done
}

func (n *neighbour) virsh(args ...string) (string, error) {
	return run(append([]string{"virsh", "-c", n.uri, "-q"}, args...)...)
}

// migrate moves a running guest to the neighbour.
func (s *scene) migrate(d domain, n *neighbour) error {
	_, err := virsh("migrate", "--live", d.name, n.uri, "--migrateuri", "unix://"+s.path("migration.sock"))
	return err
}

// A guest that is moved while it runs is judged where it arrives. Refused there it runs on where it is; the error of the
// migration has the guard's line. Without the guard QEMU dies there.
func TestLiveMigration(t *testing.T) {
	s := begin(t, 80)
	s.must(s.build())
	d := domain{name: "moves", mib: 64, cells: 1}
	s.define(d)
	s.starts(d)
	s.virsh("resume", d.name)
	other := s.hold("other", touched, 30)
	stays := func(n *neighbour) {
		t.Helper()
		if state := strings.TrimSpace(s.virsh("domstate", d.name)); state != "running" {
			t.Errorf("the guest is %s where it was", state)
		}
		out, err := n.virsh("list", "--all", "--name")
		s.must(err)
		if strings.TrimSpace(out) != "" {
			t.Errorf("the neighbour has %q", out)
		}
	}

	bare := s.neighbour("")
	err := s.migrate(d, bare)
	t.Logf("without the guard: %v", err)
	if err == nil || !strings.Contains(err.Error(), "unable to map backing store for guest RAM: Cannot allocate memory") {
		t.Errorf("without the guard: %v; want QEMU's own message", err)
	}
	stays(bare)
	bare.end()

	n := s.neighbour(s.hook)
	s.launches(d)
	err = s.migrate(d, n)
	t.Logf("refused: %v", err)
	if err == nil || !strings.Contains(err.Error(), "unexpected exit status 1: ") || !strings.Contains(err.Error(), "node 0's 2M pages: 18 of 80 free, 32 needed (64 MiB)") {
		t.Errorf("the migration ends with %v; want the guard's line", err)
	}
	if launched := s.launches(d); launched != 0 {
		t.Errorf("QEMU was run %d times for the refused guest", launched)
	}
	entries := s.guardEntries()
	if len(entries) != 1 {
		t.Fatalf("%d journal entries, want 1: %q", len(entries), entries)
	}
	entries[0].want(t, map[string]string{"HUGEGUARD_DECISION": "refuse", "HUGEGUARD_CAUSE": "unaccounted", "HUGEGUARD_UUID": d.uuid(), "HUGEGUARD_FREE": "18"})
	stays(n)

	other.release()
	s.must(s.migrate(d, n))
	out, err := n.virsh("domstate", d.name)
	s.must(err)
	if here := strings.TrimSpace(s.virsh("domstate", d.name)); strings.TrimSpace(out) != "running" || here != "shut off" {
		t.Errorf("after the migration the guest is %s there and %s here", out, here)
	}
	if entries := s.guardEntries(); len(entries) != 1 {
		t.Errorf("the migration made journal entries: %q", entries[1:])
	}
	_, err = n.virsh("destroy", d.name)
	s.must(err)
}
