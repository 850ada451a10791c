package compute

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/nova"
	"hugeguard/hook/config"
	"hugeguard/hook/hooktest"
	"hugeguard/hook/ledger"
)

// TestNovaFound: where the configuration is looked for, and what comes first.
func TestNovaFound(t *testing.T) {
	reserving := func(n int) string {
		return fmt.Sprintf("[DEFAULT]\nreserved_huge_pages=node:0,size:2048,count:%d\n", n)
	}
	for _, test := range []struct {
		name  string
		files map[string]string
		run   []string // the arguments of nova-compute, nil where it does not run
		named string   // in hugeguard.conf
		read  string   // that were read
		count int64
	}{
		{"packages", map[string]string{"usr/share/nova/nova-dist.conf": reserving(1), "etc/nova/nova.conf": reserving(2), "etc/nova/nova-compute.conf": "", "etc/nova/nova.conf.d/b.conf": reserving(3),
			"etc/nova/nova.conf.d/a.conf": reserving(4), "etc/nova/nova.conf.d/.c.conf": reserving(5), "etc/nova/nova.conf.d/d.conf~": reserving(6), "etc/nova.conf": reserving(7)}, nil, "",
			"/usr/share/nova/nova-dist.conf /etc/nova/nova.conf /etc/nova/nova-compute.conf /etc/nova/nova.conf.d/a.conf /etc/nova/nova.conf.d/b.conf", 3},
		{"Debian's packages", map[string]string{"etc/init.d/nova-compute": "", "etc/nova/nova.conf": reserving(2), "etc/nova/nova-compute.conf": "", "etc/nova/nova.conf.d/b.conf": reserving(3)}, nil, "",
			"/etc/nova/nova.conf.d/b.conf /etc/nova/nova.conf /etc/nova/nova-compute.conf", 2},
		{"TripleO", map[string]string{"var/lib/config-data/puppet-generated/nova_libvirt/etc/nova/nova.conf": reserving(2), "etc/nova/nova.conf": reserving(1)}, nil, "",
			"/var/lib/config-data/puppet-generated/nova_libvirt/etc/nova/nova.conf", 2},
		{"kolla", map[string]string{"etc/kolla/nova-compute/nova.conf": reserving(2), "etc/kolla/nova-compute/auth.conf": "x"}, nil, "", "/etc/kolla/nova-compute/nova.conf", 2},
		{"RHOSO", map[string]string{"var/lib/openstack/config/nova/01-nova.conf": reserving(2), "var/lib/openstack/config/nova/25-nova-extra.conf": reserving(3)}, nil, "",
			"/var/lib/openstack/config/nova/01-nova.conf /var/lib/openstack/config/nova/25-nova-extra.conf", 3},
		{"as it runs", map[string]string{"srv/a.conf": reserving(2), "srv/d/b.conf": reserving(3), "etc/nova/nova.conf": reserving(1)}, []string{"--config-file", "/srv/a.conf", "--config-dir=/srv/d"}, "",
			"/srv/a.conf /srv/d/b.conf", 3},
		{"in a container that is shut", map[string]string{"etc/kolla/nova-compute/nova.conf": reserving(2)}, []string{}, "", "/etc/kolla/nova-compute/nova.conf", 2},
		{"named", map[string]string{"srv/a.conf": reserving(2), "srv/d/b.conf": reserving(3), "etc/nova/nova.conf": reserving(1)}, []string{"--config-file", "/etc/nova/nova.conf"}, "/srv/d /srv/a.conf",
			"/srv/d/b.conf /srv/a.conf", 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := hooktest.Incident(t)
			for name, text := range test.files {
				h.Write(name, text)
			}
			if test.run != nil {
				hooktest.NovaRuns(h, 1000, test.run...)
			}
			config := config.Config{NovaConf: strings.Fields(test.named)}
			n, _ := Look(h.FS(), config, nil, time.Now().Add(time.Hour))
			if n == nil || n.Fault != "" {
				t.Fatalf("%+v", n)
			}
			if got := strings.Join(n.Files, " "); got != test.read {
				t.Errorf("read %s\nwant %s", got, test.read)
			}
			if got := n.Reserved[nova.Pool{Node: 0, PageKiB: 2048}]; got != test.count {
				t.Errorf("%d reserved, want %d", got, test.count)
			}
			if pid := n.PID; (pid == 812) != (test.run != nil) || pid > 0 && n.Unit != "nova-compute.service" {
				t.Errorf("nova-compute is %d, %s", pid, n.Unit)
			}
		})
	}
}

// TestNovaFaults: what keeps the configuration from being known.
func TestNovaFaults(t *testing.T) {
	for _, test := range []struct {
		run   []string
		named string
		want  string
	}{
		{[]string{"--config-file=/srv/gone.conf"}, "", "srv/gone.conf: no such file or directory"},
		{[]string{"--config-dir=/srv/gone.d"}, "", "srv/gone.d: no such file or directory"},
		{[]string{"--config-file=nova.conf"}, "", "nova.conf: this path depends on how nova-compute was started"},
		{nil, "/srv/gone.conf", "srv/gone.conf: no such file or directory"},
	} {
		h := hooktest.Incident(t)
		if test.run != nil {
			hooktest.NovaRuns(h, 1000, test.run...)
		}
		found, _ := Look(h.FS(), config.Config{NovaConf: strings.Fields(test.named)}, nil, time.Now().Add(time.Hour))
		if found == nil || !strings.HasSuffix(found.Fault, test.want) {
			t.Errorf("%+v: %+v", test, found)
		}
	}
	h := hooktest.Incident(t)
	found, _ := Look(h.FS(), config.Config{}, nil, time.Now().Add(time.Hour))
	if found != nil {
		t.Errorf("%+v without a sign of Nova", found)
	}
}

// TestNovaInContainer: nova-compute reads its own files, which are a copy of
// the host's from when its container was started.
func TestNovaInContainer(t *testing.T) {
	h := hooktest.Incident(t)
	h.Write("etc/kolla/nova-compute/nova.conf", hooktest.ReservesAll)
	hooktest.NovaRuns(h, 1000)
	h.Write("proc/812/root/etc/nova/nova.conf", hooktest.ReservesAll)
	for pid, namespace := range map[string]string{"self": "mnt:[1]", "812": "mnt:[2]"} {
		h.Write("proc/"+pid+"/ns/keep", "")
		if err := os.Symlink(namespace, h.Path("proc/"+pid+"/ns/mnt")); err != nil {
			t.Fatal(err)
		}
	}
	read := func() *guard.Nova {
		found, _ := Look(h.FS(), config.Config{}, nil, time.Now().Add(time.Hour))
		if found == nil || found.Fault != "" || len(found.Reserved) != 2 {
			t.Fatalf("%+v", found)
		}
		return found
	}
	if n := read(); n.Stale != "" || n.Files[0] != "/etc/kolla/nova-compute/nova.conf" {
		t.Errorf("%+v", n)
	}
	h.Write("proc/812/root/etc/nova/nova.conf", "[DEFAULT]\n")
	if n := read(); n.Stale != "/etc/kolla/nova-compute/nova.conf" || n.Read == nil || len(n.Read) > 0 {
		t.Errorf("%+v", n)
	}
	// A mounted file is no copy, so it shows by when it was changed whether it was read.
	h.Write("proc/812/root/etc/nova/nova.conf", hooktest.ReservesAll)
	for second, want := range map[int]string{900: "", 2000: "/etc/kolla/nova-compute/nova.conf"} {
		for _, file := range []string{"proc/812/root/etc/nova/nova.conf", "etc/kolla/nova-compute/nova.conf"} {
			hooktest.ChangedAt(t, h, file, second)
		}
		if n := read(); n.Stale != want || n.Read != nil {
			t.Errorf("changed after %d s: %+v, want %q", second, n, want)
		}
	}
	h.Write("proc/812/root/etc/nova/nova.conf", "[DEFAULT]\n")
	// It is the one who asks that is confined.
	h.Write("proc/1/ns/keep", "")
	if err := os.Symlink("mnt:[2]", h.Path("proc/1/ns/mnt")); err != nil {
		t.Fatal(err)
	}
	found, _ := Look(h.FS(), config.Config{}, nil, time.Now().Add(time.Hour))
	if found == nil || found.Files[0] != "/etc/nova/nova.conf" || len(found.Reserved) > 0 {
		t.Errorf("%+v of a nova-compute that sees what the host sees", found)
	}
	h.Remove("proc/1")
	h.Remove("etc/kolla")
	h.Write("proc/812/root/etc/nova/nova.conf", hooktest.ReservesAll)
	hooktest.ChangedAt(t, h, "proc/812/root/etc/nova/nova.conf", 900)
	if n := read(); n.Stale != "" || n.Files[0] != "/etc/nova/nova.conf" {
		t.Errorf("%+v", n)
	}
}

// TestNovaLinks: links among the files of a nova-compute stay in its root.
func TestNovaLinks(t *testing.T) {
	h := hooktest.Incident(t)
	hooktest.NovaRuns(h, 1000)
	h.Write("srv/nova.conf", hooktest.ReservesAll)
	h.Write("proc/812/root/etc/nova/keep", "")
	if err := os.Symlink("/srv/nova.conf", h.Path("proc/812/root/etc/nova/nova.conf")); err != nil {
		t.Fatal(err)
	}
	for _, inside := range []bool{false, true} {
		if inside {
			h.Write("proc/812/root/srv/nova.conf", "[DEFAULT]\nreserved_huge_pages=node:0,size:2048,count:7\n")
		}
		n, _ := Look(h.FS(), config.Config{}, nil, time.Now().Add(time.Hour))
		if n == nil || (len(n.Files) == 1) != inside || (n.Reserved[nova.Pool{Node: 0, PageKiB: 2048}] == 7) != inside || len(n.Reserved) > 1 {
			t.Errorf("inside %v: %+v", inside, n)
		}
	}
}

// TestInstances: Nova's own domains, running or off, with what Nova counts.
func TestInstances(t *testing.T) {
	h := hooktest.Incident(t)
	hooktest.MadeByNova(t, h)
	two, err := os.ReadFile(hooktest.Data("domains/nova-two-cells.xml"))
	if err != nil {
		t.Fatal(err)
	}
	h.Write("etc/libvirt/qemu/instance-00000006.xml", string(two))
	h.Write("etc/libvirt/qemu/instance-00000001.xml", string(two)) // runs, as something else meanwhile
	h.Write("etc/libvirt/qemu/other.xml", "<domain type='kvm'><name>other</name></domain>")
	at := func(node int) nova.Pool { return nova.Pool{Node: node, PageKiB: 2048} }
	want := []guard.Instance{
		{Name: "instance-00000001", Running: true, Pages: map[nova.Pool]uint64{at(0): 256}},
		{Name: "instance-00000002", Running: true, Pages: map[nova.Pool]uint64{at(0): 256}},
		{Name: "instance-00000006", UUID: "6d0f1a52-4a5e-4c5e-9b1d-70a5e000005e", Pages: map[nova.Pool]uint64{at(0): 256, at(1): 256}},
	}
	got, unread, _ := instances(h.FS(), time.Now().Add(time.Hour))
	for i := range min(2, len(got)) {
		want[i].UUID = got[i].UUID // the machine's own
		if len(got[i].UUID) != 36 {
			t.Errorf("%+v", got[i])
		}
	}
	if unread != 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("%d unread, %+v\nwant %+v", unread, got, want)
	}
	h.Write("etc/libvirt/qemu/broken.xml", domain.NovaNamespace+"<domain type='kvm'>")
	if _, unread, late := instances(h.FS(), time.Now().Add(time.Hour)); unread != 1 || late {
		t.Errorf("%d unread", unread)
	}
	if got, unread, late := instances(h.FS(), time.Now().Add(-time.Second)); len(got) > 0 || unread != 5 || !late {
		t.Errorf("%d unread, %+v, without any time", unread, got)
	}
}

// TestLost: instances whose start was refused, and that Nova still counts.
func TestLost(t *testing.T) {
	const refused, unknown, gone = "00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b", "00000000-0000-0000-0000-00000000000c"
	h := hooktest.Incident(t)
	hooktest.MadeByNova(t, h)
	h.Write(hooktest.NovaConf, "[DEFAULT]\nstate_path=/srv/nova\n")
	read := func() *guard.Nova {
		t.Helper()
		n, known := Look(h.FS(), config.Config{}, nil, time.Now().Add(time.Hour))
		if n == nil || !known || len(n.Instances) != 2 {
			t.Fatalf("%+v, %t", n, known)
		}
		return n
	}
	defined := read().Instances[0].UUID
	pages := map[nova.Pool]uint64{{Node: 0, PageKiB: 2048}: 512}
	for _, uuid := range []string{refused, gone, defined} {
		if err := ledger.KeepRefused(h.FS(), guard.Instance{Name: "instance-" + uuid[35:], UUID: uuid, Pages: pages}); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{refused, unknown, defined, defined + "_resize", "_base", "locks"} {
		h.Write("srv/nova/instances/"+dir+"/disk.info", "{}")
	}
	want := []guard.Instance{{Name: "instance-a", UUID: refused, Pages: pages}}
	n := read()
	if !reflect.DeepEqual(n.Refused, want) || strings.Join(n.Uncounted, " ") != strings.Join(sorted(unknown, defined+"_resize"), " ") {
		t.Errorf("refused %+v, want %+v; not counted %q", n.Refused, want, n.Uncounted)
	}
	if n.Unlisted != "" {
		t.Errorf("all are known, but %s", n.Unlisted)
	}
	// Many have no name, and none that was refused is left out.
	for i := range mostNamed {
		h.Write(fmt.Sprintf("srv/nova/instances/00000000-0000-0000-0000-%012d/disk.info", i), "{}")
	}
	if n := read(); !reflect.DeepEqual(n.Refused, want) || len(n.Uncounted) != mostNamed || n.Unlisted != "2 more directories of instances have no domain" {
		t.Errorf("of many: refused %+v, want %+v; not counted %d, %q", n.Refused, want, len(n.Uncounted), n.Unlisted)
	}
	// They may be other hosts', or nobody knows where they are.
	h.Write("srv/nova/instances.unsure", "")
	if n := read(); n.Refused != nil || strings.Join(n.Uncounted, " ") != refused+" "+gone || n.Unlisted != "/srv/nova/instances is on shared storage, and may have other hosts' instances" {
		t.Errorf("on shared storage: refused %+v, not counted %q, %q", n.Refused, n.Uncounted, n.Unlisted)
	}
	h.Write(hooktest.NovaConf, "[DEFAULT]\ninstances_path=$mine\n")
	if n := read(); n.Refused != nil || strings.Join(n.Uncounted, " ") != refused+" "+gone || n.Unlisted != "instances_path of Nova's configuration depends on another option" {
		t.Errorf("somewhere: refused %+v, not counted %q, %q", n.Refused, n.Uncounted, n.Unlisted)
	}
	// It is deleted.
	h.Write(hooktest.NovaConf, "[DEFAULT]\nstate_path=/srv/nova\n")
	for _, name := range []string{"srv/nova/instances.unsure", "srv/nova/instances/" + refused} {
		h.Remove(name)
	}
	if n := read(); n.Refused != nil || slices.Contains(n.Uncounted, refused) {
		t.Errorf("deleted: refused %+v, not counted %q", n.Refused, n.Uncounted)
	}
	// It was deleted, too, if it never ran, though libvirt logs a refused start.
	failed := "2026-11-30 16:23:57.265+0000: shutting down, reason=failed\n"
	log := DomainLogs + "/instance-a.log"
	h.Write(log, failed+failed)
	if n := read(); n.Refused != nil || slices.Contains(n.Uncounted, refused) {
		t.Errorf("never ran: refused %+v, not counted %q", n.Refused, n.Uncounted)
	}
	// That something starts it again and again changes nothing.
	h.Write(log, strings.Repeat(failed, 100))
	if n := read(); n.Refused != nil || slices.Contains(n.Uncounted, refused) {
		t.Errorf("refused often: refused %+v, not counted %q", n.Refused, n.Uncounted)
	}
	// It is rebuilt, since it ran before.
	h.Write(log, failed+"2026-11-30 16:41:05.125+0000: starting up libvirt version: 9.0.0\n"+failed)
	if n := read(); n.Refused != nil || !slices.Contains(n.Uncounted, refused) {
		t.Errorf("rebuilt: refused %+v, not counted %q", n.Refused, n.Uncounted)
	}
}

func sorted(names ...string) []string { slices.Sort(names); return names }
