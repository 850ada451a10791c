package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hugeguard/hook/ledger"
	"hugeguard/install/capture"
	"hugeguard/install/installtest"
	"hugeguard/sysfs/sysfstest"
)

// command runs the command in this process.
func command(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = Run(context.Background(), args, strings.NewReader(""), &out, &errs)
	return status, out.String(), errs.String()
}

// must runs the command, which has to do what it is asked.
func must(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	status, stdout, stderr := command(t, args...)
	if status != exitOK {
		t.Fatalf("hugeguard %q: exit status %d: %s", args, status, stderr)
	}
	return stdout, stderr
}

// answers is what the command says of a host, of the domains in the files first.
func answers(t *testing.T, root string, files ...string) (domains, status string) {
	t.Helper()
	var all strings.Builder
	for _, file := range files {
		status, out, stderr := command(t, "check", "--json", "--root", root, file)
		fmt.Fprintf(&all, "%s: %d %s %t\n", file, status, out, stderr != "")
	}
	code, out, stderr := command(t, "status", "--json", "--root", root)
	status = fmt.Sprintf("status: %d %s %t\n", code, out, stderr != "")
	return temporary().ReplaceAllString(all.String(), "/"), temporary().ReplaceAllString(status, "/")
}

// unpacked is a capture unpacked by hand.
func unpacked(t *testing.T, file string) (dir string) {
	t.Helper()
	dir, err := capture.Unpack(context.Background(), file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// sameCaptured captures a host, and compares what is said of it with what is said of the capture, packed and unpacked,
// and of a capture of the capture. It returns the archive.
func sameCaptured(t *testing.T, root string, files ...string) (archive string) {
	t.Helper()
	dir := t.TempDir()
	archive = filepath.Join(dir, "host.tar")
	must(t, "capture", "--root", root, archive)
	tree := unpacked(t, archive)
	domains, status := answers(t, root, files...)
	again, statusAgain := answers(t, tree, files...)
	if diff := cmp.Diff(domains+status, again+statusAgain); diff != "" {
		t.Errorf("of the capture (+) is said\n%s", diff)
	}
	if _, packed := answers(t, archive); packed != status {
		t.Errorf("of the packed capture (+) is said\n%s", cmp.Diff(status, packed))
	}
	second := filepath.Join(dir, "again.tar")
	must(t, "capture", "--root", tree, second)
	if a, b := readFile(t, archive), readFile(t, second); !bytes.Equal(a, b) {
		t.Errorf("captured again it is\n%s", cmp.Diff(installtest.Entries(t, a), installtest.Entries(t, b)))
	}
	return archive
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Of every captured host the same is said after it was captured again: of the domain that was started there, and of
// others that it never had.
func TestCaptureSaysTheSame(t *testing.T) {
	others := []string{"hugepages-alone.xml", "cells-two-strict.xml"}
	for i := range others {
		others[i] = filepath.Join("../../testdata/domains", others[i])
	}
	t.Run("incident", func(t *testing.T) {
		const dir = "../../testdata/hosts/plain/"
		sameCaptured(t, dir+"host", append(others, dir+"prepare.xml", dir+"prepare-on-node1.xml")...)
	})
	captured, err := filepath.Glob("../../testdata/numabox/captured/bookworm/*.txtar")
	if err != nil || len(captured) == 0 {
		t.Fatal(captured, err)
	}
	kernels, err := filepath.Glob("../../testdata/kernels/*.txtar")
	if err != nil || len(kernels) == 0 {
		t.Fatal(kernels, err)
	}
	for _, file := range slices.Concat(captured, kernels) {
		t.Run(filepath.Base(filepath.Dir(file))+"/"+filepath.Base(file), func(t *testing.T) {
			h := sysfstest.Archive(t, file)
			files := others[:1]
			if prepare := h.Path("prepare.xml"); exists(prepare) {
				files = []string{others[0], prepare}
			}
			t.Parallel()
			sameCaptured(t, h.Path(""), files...)
		})
	}
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// secretHost is a host with all that a verdict can need, and with a secret in every file that has room for one.
func secretHost(t *testing.T) sysfstest.Host {
	t.Helper()
	h := sysfstest.Copy(t, "../../testdata/hosts/plain/host")
	add := func(name, text string) { h.Write(name, string(readFile(t, h.Path(name)))+text) }
	// Pages of node 1 are gone: into files that nobody uses, a segment, and a memfd that is only open.
	h.Write("sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages", "100\n")
	h.Write("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "100\n")
	h.Write("sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "7\n")
	h.Write("dev/hugepages.files", "00:1f 77 2048 100 \"/dev/hugepages/rtemap_0\"\n")
	h.Write("proc/sysvipc/shm", "key shmid perms size cpid lpid nattch uid gid cuid cgid atime dtime ctime rss swap\n"+
		"0 5 600 20971520 9 9 0 hunter2 0 0 0 0 0 0 5368709120 0\n")
	h.Write("proc/4000/status", "Name:\tpacketmover\nUmask:\thunter2\nHugetlbPages:\t       0 kB\n")
	h.Write("proc/4000/cmdline", "packetmover\x00--password=hunter2\x00")
	h.Write("proc/4000/environ", "PASSWORD=hunter2\x00")
	h.Write("proc/4000/cgroup", "0::/system.slice/packetmover.service\n1:name=other:/hunter2\n")
	h.Write("proc/4000/maps", "00400000-00401000 r-xp 00000000 fe:00 7 /home/hunter2/packetmover\n"+
		"7f0000000000-7f0000e00000 rw-s 00000000 00:10 99 /memfd:ring (deleted)\n")
	h.Write("proc/4000/numa_maps", "00400000 default file=/home/hunter2/packetmover mapped=1 N0=1 kernelpagesize_kB=4\n7f0000000000 default file=/memfd:ring\\040(deleted) huge\n")
	h.Write("proc/4000/smaps", "00400000-00401000 r-xp 00000000 fe:00 7 /home/hunter2/packetmover\nSize: 4 kB\nVmFlags: rd ex mr\n"+
		"7f0000000000-7f0000e00000 rw-s 00000000 00:10 99 /memfd:ring (deleted)\nSize: 14336 kB\nKernelPageSize:     2048 kB\nShared_Hugetlb: 0 kB\nPrivate_Hugetlb: 0 kB\nVmFlags: rd wr sh mr mw me ms de ht\n")
	h.Write("proc/4000/fd.files", "00:10 99 2048 300 \"/memfd:ring (deleted)\"\n")
	// One that has nothing to do with it, and one that does not show what it has.
	h.Write("proc/4001/status", "Name:\tsecretive\nHugetlbPages:\t       0 kB\n")
	h.Write("proc/4001/maps", "00400000-00401000 r-xp 00000000 fe:00 7 /home/hunter2/x\n")
	h.Write("proc/4001/cmdline", "hunter2\x00")
	h.Write("proc/4002/status", "Name:\topaque\nHugetlbPages:\t    4096 kB\n")
	h.Write("proc/4002/cmdline", "hunter2\x00")
	if err := os.Symlink("numa_maps", h.Path("proc/4002/numa_maps")); err != nil {
		t.Fatal(err)
	}
	// Nova, in a container.
	h.Write("proc/stat", "cpu 1 2 3\nintr hunter2\nbtime 1700000000\nprocesses 7\n")
	h.Write("proc/5000/status", "Name:\tnova-compute\nHugetlbPages:\t       0 kB\n")
	h.Write("proc/5000/stat", "5000 (nova-compute) S 1"+strings.Repeat(" 71077345", 17)+" 500 71077345\n")
	h.Write("proc/5000/cmdline", "/usr/bin/python3\x00/usr/bin/nova-compute\x00--password\x00hunter2\x00--config-file\x00/etc/nova/nova.conf\x00--config-file=/etc/nova/broken.conf\x00--log=hunter2\x00")
	h.Write("proc/5000/cgroup", "0::/system.slice/nova-compute.service\n")
	h.Write("proc/5000/root/etc/nova/nova.conf", "[DEFAULT]\ntransport_url = rabbit://nova:hunter2@host\n\n\nreserved_huge_pages = node:0,size:2048,count:64\nreserved_huge_pages=node:1,size:2048,\n  count:3\n  ,hunter2:1\n[database]\nconnection=hunter2\n")
	h.Write("proc/5000/root/etc/nova/broken.conf", "[DEFAULT]\n hunter2\n")
	h.Write("etc/hugeguard.conf", "mode = warn\nnot a setting\n")
	h.Write("etc/libvirt/qemu.conf", "vnc_password = \"hunter2\"\nspice_password='hunter2'; cgroup_controllers = [ \"cpu\", \"cpuset\" ]\n# hunter2\nhugetlbfs_mount = [\"/dev/hugepages\", '/dev/hugepages1G']\n")
	caps := string(readFile(t, "../../testdata/capabilities/debian12-x86_64.xml"))
	h.Write("var/cache/libvirt/qemu/capabilities/926803a9278e445ec919c2b6cbd8c1c449c75b26dcb1686b774314180376c725.xml",
		strings.Replace(caps, "<flag name='kvm'/>", "<flag name='hunter2'/>", 1)+"  <hunter2/>\n")
	xml := string(readFile(t, "../../testdata/hosts/plain/prepare.xml"))
	xml = strings.Replace(xml, "</devices>", "<graphics type='vnc' passwd='hunter2'/></devices>", 1)
	h.Write("etc/libvirt/qemu/defined.xml", strings.Replace(xml, "<name>instance-00000003</name>", "<name>defined</name><description>hunter2</description>", 1))
	h.Write("etc/libvirt/qemu/odd.xml", "<domain>hunter2")
	for _, name := range []string{"defined", "second"} {
		h.Write("etc/libvirt/qemu/second.xml", strings.Replace(xml, "<name>instance-00000003</name>", "<name>second</name>", 1))
		link := h.Path("etc/libvirt/qemu/autostart/" + name + ".xml")
		if err := errors.Join(os.MkdirAll(filepath.Dir(link), 0o755), os.Symlink("/etc/libvirt/qemu/"+name+".xml", link)); err != nil {
			t.Fatal(err)
		}
	}
	h.Write("etc/libvirt/qemu/nova.xml", "<domain>hunter2<metadata><nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.0'/>")
	h.Write("run/libvirt/qemu/instance-00000001.xml", strings.Replace(string(readFile(t, h.Path("run/libvirt/qemu/instance-00000001.xml"))), "<monitor path=", "<monitor password='hunter2' path=", 1))
	h.Write("run/libvirt/qemu/odd.pid", "hunter2\n")
	h.Write("run/openvswitch/db.json", `{"id":0,"result":[{"rows":[{"other_config":["map",[["dpdk-init","true"],["dpdk-socket-mem","1024,1024"],["password","hunter2"]]]}]}],"error":null,"hunter2":1}`)
	h.Write("proc/sys/kernel/random/boot_id", "4ea7b5a5-8d6f-4d3f-8c59-1f0f7a0f7a0f\n")
	h.Write("proc/uptime", "1000.00 1.00\n")
	starting := ledger.Ledger{Boot: "4ea7b5a5-8d6f-4d3f-8c59-1f0f7a0f7a0f", Claims: []ledger.Claim{
		{UUID: "u", Name: "early", Since: 999 * time.Second, Parts: []ledger.Part{{PageKiB: 2048, Pages: 5, Nodes: []int{1}, Hard: true}}}}}
	h.Write(ledger.Path, string(starting.Text()))
	h.Write("sys/fs/cgroup/machine.slice/machine-prod.slice/machine-prod-a\\x2db.slice/cpuset.mems.effective", "0\n")
	add("proc/mounts", "//user:hunter2@server/share /mnt cifs rw,password=hunter2 0 0\n")
	add("proc/meminfo", "hunter2: 1 kB\n")
	return h
}

// Nothing gets into a capture but what a verdict makes use of, and all of that does.
func TestCaptureHasNoSecrets(t *testing.T) {
	h := secretHost(t)
	archive := sameCaptured(t, h.Path(""), "../../testdata/hosts/plain/prepare.xml", "../../testdata/domains/cells-two-strict.xml", "defined", "odd", "instance-00000001", "no such domain")
	list := installtest.Entries(t, readFile(t, archive))
	for _, entry := range list {
		if strings.Contains(entry, "hunter2") || strings.Contains(entry, "71077345") || strings.Contains(entry, "proc/4001") || strings.Contains(entry, "/environ") {
			t.Errorf("in it is %s", entry)
		}
	}
	out := answersOfAll(t, archive)
	if diff := cmp.Diff(answersOfAll(t, h.Path("")), out); diff != "" {
		t.Errorf("of the capture (+) is said\n%s", diff)
	}
	// All that was put there had its say, or nothing was proved.
	for _, said := range []string{
		"/dev/hugepages/rtemap_0", "packetmover", `"unit":"packetmover.service"`, "System V segment 5", "early", "dpdk-socket-mem", "opaque", `"autostart":true`,
		`"mode":"warn"`, "/etc/nova/broken.conf: line 2", `"libvirt":"9.0.0"`, `"cpuset":true`,
	} {
		if !strings.Contains(out, said) {
			t.Errorf("nothing is said of %q:\n%s", said, out)
		}
	}
	// A partition of which no domain is known.
	tree := unpacked(t, archive)
	if !exists(filepath.Join(tree, `sys/fs/cgroup/machine.slice/machine-prod.slice/machine-prod-a\x2db.slice/cpuset.mems.effective`)) {
		t.Errorf("the partitions' groups are not in it:\n%s", strings.Join(list, "\n"))
	}
}

// temporary is where a capture is unpacked, and a test has its own, as messages have it.
var temporary = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(regexp.QuoteMeta(os.TempDir()) + `/(hugeguard-capture-\d+|Test\w+/\d+)/`)
})

func answersOfAll(t *testing.T, root string) string {
	t.Helper()
	var all strings.Builder
	for _, args := range [][]string{{"check", "--all"}, {"check", "--json", "--all"}, {"status"}, {"status", "--json"}, {"reserve"}, {"reserve", "--format", "tripleo"}} {
		status, out, _ := command(t, append(args, "--root", root)...)
		fmt.Fprintf(&all, "%q: %d\n%s\n", args, status, out)
	}
	return temporary().ReplaceAllString(strings.ReplaceAll(all.String(), root+"/", "/"), "/")
}

// What makes no sense makes none in a capture either, and is not quoted there.
func TestCaptureOfOddFiles(t *testing.T) {
	h := secretHost(t)
	h.Write("etc/libvirt/qemu.conf", "hugetlbfs_mount = \"/dev/hugepages\"\nvnc_password = hunter2\n")
	h.Write("run/openvswitch/db.json", `{"id":0,"result":[{"rows":[{"other_config":["hunter2",1]}]}],"error":"hunter2"}`)
	h.Write(ledger.Path, "hugeguard claims 2 boot \"\"\n\"hunter2\" uuid 1\nend\n")
	h.Write("proc/5000/stat", "hunter2\n")
	h.Write("proc/5000/root/etc/nova/nova.conf", "hunter2\n")
	h.Write("run/libvirt/qemu/instance-00000001.xml", "<hunter2/>")
	h.Write("proc/sys/kernel/random/boot_id", "4ea7b5a5-8d6f-4d3f-8c59-1f0f7a0f7a0f\n")
	h.Write("var/cache/libvirt/qemu/capabilities/926803a9278e445ec919c2b6cbd8c1c449c75b26dcb1686b774314180376c725.xml", "<hunter2>\n")
	archive := sameCaptured(t, h.Path(""), "../../testdata/hosts/plain/prepare.xml", "defined", "instance-00000001")
	if text := string(readFile(t, archive)); strings.Contains(text, "hunter2") {
		t.Errorf("in it is\n%s", strings.Join(installtest.Entries(t, []byte(text)), "\n"))
	}
}

// A capture keeps the signs of who manages a host, and of what hugeguard runs in, so that the same fixes come of it.
func TestCaptureKeepsTheManager(t *testing.T) {
	const domain = "../../testdata/hosts/plain/prepare.xml"
	process := func(h sysfstest.Host, name string) {
		h.Write("proc/900/status", "Name:\t"+name+"\nUid:\t0\t0\t0\t0\nVmRSS:\t1 kB\nHugetlbPages:\t0 kB\n")
		h.Write("proc/900/cmdline", "/usr/bin/"+name+"\x00--hunter2\x00")
		h.Write("proc/900/cgroup", "0::/system.slice/"+name+".service\n")
	}
	for want, sign := range map[string]func(h sysfstest.Host){
		"hugepages-2Mi: 2Gi":        func(h sysfstest.Host) { h.Write("var/lib/kubelet/config.yaml", "hunter2") },
		"kubelet counts":            func(h sysfstest.Host) { process(h, "kubelet") },
		"reserved_hugepage_count":   func(h sysfstest.Host) { h.Write("etc/vdsm/vdsm.conf", "hunter2") },
		"system host-memory-modify": func(h sysfstest.Host) { h.Write("etc/platform/platform.conf", "hunter2") },
		"outside of this pod":       func(h sysfstest.Host) { h.Write("proc/self/cgroup", "0::/kubepods.slice/x\n") },
		"outside of this container": func(h sysfstest.Host) { h.Write("run/.containerenv", "hunter2") },
	} {
		t.Run(want, func(t *testing.T) {
			h := sysfstest.Copy(t, "../../testdata/hosts/plain/host")
			sign(h)
			archive := sameCaptured(t, h.Path(""), domain)
			var out, errs bytes.Buffer
			Run(context.Background(), []string{"check", "--root", archive, domain}, nil, &out, &errs)
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q is not said in\n%s%s", want, &out, &errs)
			}
		})
	}
}
