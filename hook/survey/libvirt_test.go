package survey

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"hugeguard/guard"
	"hugeguard/guard/fix"
	"hugeguard/guard/words"
	"hugeguard/hook/hooktest"
	"hugeguard/sysfs/sysfstest"
)

// outside is what is said of a launch that libvirt decides, or that is told to QEMU beside libvirt.
type outside struct {
	decision  guard.Decision
	refusedBy string
	has       []string // patterns of what the text says
	lacks     []string
}

// TestOutsideIncidents asks about launches of which people reported, and about such as are like them.
func TestOutsideIncidents(t *testing.T) {
	for _, test := range []struct {
		name, incident string
		edit           func(t *testing.T, tree sysfstest.Host)
		want           outside
	}{
		{"a page as large as the guest", "page-as-large-as-guest", nil,
			outside{guard.Warn, guard.ByLibvirt, []string{"no hugetlbfs of 1G pages is mounted, only one of 2 MiB pages \\(/dev/hugepages\\)", "1G pages \\(no pool is set up\\)", "give pc.ram 2M pages"}, nil}},
		{"nothing tells when it was mounted", "mounted-by-hand", nil,
			outside{guard.Allow, "", []string{"^it fits: ", "started before /mnt/hugepages1G was mounted.*restarted"}, nil}},
		{"it was mounted later", "mounted-by-hand", writes("mnt/hugepages1G.age", "later\n", "proc/900/cgroup", "0::/system.slice/virtqemud.service\n"),
			outside{guard.Warn, guard.ByLibvirt, []string{"hugetlbfs at /mnt/hugepages1G \\(1G pages\\) was mounted after", "fix: restart libvirt's daemon", "systemctl restart virtqemud.service"}, []string{"# virtqemud"}}},
		{"it was mounted later, over one that the daemon may know", "mounted-by-hand", mountedTwice,
			outside{guard.Allow, "", []string{"^it fits: "}, []string{"was mounted after"}}},
		{"it was mounted before", "mounted-by-hand", writes("mnt/hugepages1G.age", "known\n"), outside{guard.Allow, "", []string{"^it fits: "}, []string{"restart"}}},
		{"a volume over hugetlbfs", "volume-over-hugetlbfs", nil,
			outside{guard.Warn, "", []string{"xfs is mounted over 1M pages at /dev/hugepages/libvirt/qemu: until it is unmounted, s390.ram will lie on it"}, nil}},
		{"a size of arm64 that is not mounted", "page-as-large-as-guest", arm64,
			outside{guard.Warn, guard.ByLibvirt, []string{"no hugetlbfs of 512M pages is mounted, only one of 2 MiB pages \\(/dev/hugepages\\)",
				"mount -t hugetlbfs -o pagesize=512M hugetlbfs /dev/hugepages512M\n"}, nil}},
		{"four nodes on a host with one", "mounted-by-hand", edits("domain.xml", "<vcpu placement='static'>", "<numatune><memory mode='strict' nodeset='0-3'/></numatune><vcpu placement='static'>"),
			outside{guard.Warn, guard.ByLibvirt, []string{"this host has no NUMA nodes 1-3, it has node 0", "bind pc.ram to node 0"}, nil}},
		{"disabled in qemu.conf", "mounted-by-hand", writes("etc/libvirt/qemu.conf", "hugetlbfs_mount = []\n"),
			outside{guard.Warn, guard.ByLibvirt, []string{"hugetlbfs_mount in qemu.conf is empty"}, nil}},
		{"RAM by an argument of QEMU's", "ram-by-own-argument", nil,
			outside{guard.Refuse, guard.ByHugeguard, []string{"2048 pages of 2M \\(4 GiB\\) on any node, for mem \\(qemu:commandline\\)", "1024 free"}, nil}},
		{"by an argument in JSON, and it fits", "ram-by-own-argument", edits("domain.xml", "memory-backend-file,id=mem,size=4096M,mem-path=/dev/hugepages,share=on",
			`{"qom-type":"memory-backend-file","id":"mem","size":2147483648,"mem-path":"/dev/hugepages","host-nodes":[0],"policy":"bind"}`),
			outside{guard.Allow, "", []string{"^it fits: 1024 pages of 2M \\(2 GiB\\) for mem"}, nil}},
		{"an argument binds it to a node that is not there", "ram-by-own-argument", edits("domain.xml", "share=on", "host-nodes=1,policy=bind"),
			outside{guard.Refuse, guard.ByHugeguard, []string{"cannot bind RAM to node 1 for mem: no memory belongs there"}, nil}},
		{"an argument in a file that may be there already", "ram-by-own-argument", edits("domain.xml", "/dev/hugepages,", "/dev/hugepages/vm1,"),
			outside{guard.Warn, "", []string{"2048 needed .*; it fails if mem lies on the huge pages at /dev/hugepages/vm1, which is not certain"}, nil}},
		{"an argument without a size", "ram-by-own-argument", edits("domain.xml", "size=4096M,", ""),
			outside{guard.Warn, "", []string{"^mem is on huge pages at /dev/hugepages by qemu:commandline, and is not judged"}, nil}},
		{"less than a page", "ram-by-own-argument", edits("domain.xml", "size=4096M", "size=4k"),
			outside{guard.Refuse, guard.ByHugeguard, []string{"size is less than one 2M page: mem is 4 KiB"}, nil}},
		{"-mem-path", "ram-by-own-argument", edits("domain.xml", "'-object'", "'-mem-path'", "memory-backend-file,id=mem,size=4096M,mem-path=/dev/hugepages,share=on", "/dev/hugepages"),
			outside{guard.Warn, "", []string{"2048 needed .*; it fails if pc.ram lies on the huge pages at /dev/hugepages, which is not certain"}, nil}},
		{"an NVDIMM in a file that may be there already", "ram-by-own-argument", nvdimm("nvdimm", "/dev/hugepages/nvdimm", 4),
			outside{guard.Warn, "", []string{"2048 needed .*; it fails if memnvdimm0 lies on the huge pages at /dev/hugepages/nvdimm, which is not certain"}, nil}},
		{"an NVDIMM for which there is room", "ram-by-own-argument", nvdimm("nvdimm", "/dev/hugepages/nvdimm", 1),
			outside{guard.Allow, "", []string{"^it fits: 512 pages of 2M \\(1 GiB\\) for memnvdimm0"}, nil}},
		{"an NVDIMM in a file of its own making", "ram-by-own-argument", nvdimm("nvdimm", "/dev/hugepages", 4),
			outside{guard.Refuse, guard.ByHugeguard, []string{"2048 pages of 2M \\(4 GiB\\) on any node, for memnvdimm0 \\(devices/memory\\[1\\]/source/path\\)"}, nil}},
		{"virtio-pmem in a file that may be there already", "ram-by-own-argument", nvdimm("virtio-pmem", "/dev/hugepages/pmem", 4),
			outside{guard.Warn, "", []string{"it fails if memvirtiopmem0 lies on the huge pages at /dev/hugepages/pmem"}, nil}},
		{"memory_backing_dir on hugetlbfs", "backing-dir-on-hugetlbfs", nil,
			outside{guard.Refuse, guard.ByHugeguard, []string{"2048 pages of 2M \\(4 GiB\\) on any node, for ram-node0 \\(memory_backing_dir in qemu.conf\\), as /dev/hugepages is on a hugetlbfs"}, nil}},
		{"memory_backing_dir on hugetlbfs, where there is no ordinary memory either", "backing-dir-on-hugetlbfs", nil,
			outside{guard.Refuse, guard.ByHugeguard, []string{`memory_backing_dir = "/var/lib/libvirt/qemu/ram"\|' /etc/libvirt/qemu.conf\n  grep .*\n  systemctl restart libvirtd`, "a file of 4 GiB"}, []string{"memfd", "/dev/shm"}}},
		{"memory_backing_dir on hugetlbfs, where there is ordinary memory", "backing-dir-on-hugetlbfs", roomy,
			outside{guard.Refuse, guard.ByHugeguard, []string{`fix \(domain\): change the domain \(virsh edit\), so that ram-node0 takes ordinary memory\n  <source type='memfd'/> in memoryBacking`,
				`\n  sed -i 's\S+memory_backing_dir\S+=.*\|memory_backing_dir = "/dev/shm"\|' /etc/libvirt/qemu.conf\n  grep '\^memory_backing_dir = "/dev/shm"\$' /etc/libvirt/qemu.conf\n  systemctl restart libvirtd`, "takes 4 GiB of ordinary memory"}, nil}},
		{"an argument on hugetlbfs, where there is ordinary memory", "ram-by-own-argument", roomy,
			outside{guard.Refuse, guard.ByHugeguard, []string{`in qemu:commandline: memory-backend-memfd in place of memory-backend-file, without mem-path=`}, []string{"memory_backing_dir"}}},
		{"a container without a mount", "container-without-mount", nil,
			outside{guard.Warn, guard.ByLibvirt, []string{`fix: give this container the host's hugetlbfs of 2M pages \(-v /dev/hugepages:/dev/hugepages\)`, `make this container again`}, []string{"systemctl", "fstab"}}},
		{"a pod without a mount", "container-without-mount", writes("proc/self/cgroup", "0::/kubepods.slice/kubepods-pod1.slice\n"),
			outside{guard.Warn, guard.ByLibvirt, []string{`fix \(pod\): declare the pod in which libvirt runs with a volume of 2M pages\n  volumes: .*HugePages-2Mi`}, []string{"systemctl", "fstab", "this container again"}}},
		{"a container whose mount came later", "mounted-by-hand", writes("mnt/hugepages1G.age", "later\n", "run/.containerenv", "", "proc/self/cgroup", "0::/\n"),
			outside{guard.Warn, guard.ByLibvirt, []string{"fix: restart this container", "fix \\(host\\): restart this container"}, []string{"systemctl", "fstab"}}},
		{"reserved and not touched", "backing-dir-on-hugetlbfs", edits("domain.xml", "<allocation mode='immediate'/>", ""),
			outside{guard.Refuse, guard.ByHugeguard, []string{"1024 of 1024 free, 2048 needed"}, nil}},
		{"shared memory, of which not every release makes a file", "backing-dir-on-hugetlbfs", edits("domain.xml", "<source type='file'/>", ""),
			outside{guard.Warn, "", []string{"it fails if ram-node0 lies on the huge pages at /dev/hugepages, which is not certain"}, nil}},
		{"qemu.conf may not be the one that the daemon read", "backing-dir-on-hugetlbfs", writes("etc/libvirt/qemu.conf.unsure", ""),
			outside{guard.Warn, "", []string{"it fails if ram-node0 lies on the huge pages at /dev/hugepages"}, nil}},
		{"memory_backing_dir behind links", "backing-dir-on-hugetlbfs", both(edits("etc/libvirt/qemu.conf", "/dev/hugepages", "/srv/ram"), links("srv/ram", "../var/huge", "var/huge", "../../../dev/hugepages")),
			outside{guard.Refuse, guard.ByHugeguard, []string{"1024 of 1024 free, 2048 needed"}, nil}},
		{"memory_backing_dir behind links that cannot be read", "backing-dir-on-hugetlbfs", both(edits("etc/libvirt/qemu.conf", "/dev/hugepages", "/srv/ram"), links("srv/ram", "../var/huge", "var/huge", "/srv/ram")),
			outside{guard.Allow, "", []string{"^ram-node0 is in a file, and is not judged: /srv/ram, which says where, could not be read"}, nil}},
		{"an argument behind a link", "ram-by-own-argument", both(edits("domain.xml", "/dev/hugepages", "/var/guests"), links("var/guests", "../dev/hugepages")),
			outside{guard.Refuse, guard.ByHugeguard, []string{"1024 of 1024 free, 2048 needed"}, nil}},
		{"an argument behind a link of a capture", "ram-by-own-argument", both(edits("domain.xml", "/dev/hugepages", "/var/guests"), writes("var/guests.leads", "/dev/hugepages\n")),
			outside{guard.Refuse, guard.ByHugeguard, []string{"1024 of 1024 free, 2048 needed"}, nil}},
		{"qemu.conf cannot be read", "backing-dir-on-hugetlbfs", writes("etc/libvirt/qemu.conf", "memory_backing_dir = [\n"),
			outside{guard.Allow, "", []string{"^ram-node0 is in a file, and is not judged: /etc/libvirt/qemu.conf"}, nil}},
	} {
		t.Run(test.name, func(t *testing.T) {
			tree := sysfstest.Archive(t, hooktest.Data("incidents/"+test.incident+".txtar"))
			if test.edit != nil {
				test.edit(t, tree)
			}
			test.want.compare(t, judged(t, tree))
		})
	}
}

// TestDevicesElsewhere: a memory device whose path is on no hugetlbfs takes no huge pages.
func TestDevicesElsewhere(t *testing.T) {
	for model, path := range map[string]string{"nvdimm": "/srv/nvdimm", "virtio-pmem": "/dev/pmem0", "egm": "/dev/egm0"} {
		tree := sysfstest.Archive(t, hooktest.Data("incidents/ram-by-own-argument.txtar"))
		nvdimm(model, path, 4)(t, tree)
		if v := judged(t, tree); v.Decision != guard.Allow || len(v.Demand) > 0 {
			t.Errorf("%s at %s: %s", model, path, words.Text(v))
		}
	}
}

// nvdimm gives the guest so many GiB of a memory device at a path, and takes from it what it is told beside libvirt.
func nvdimm(model, path string, gib int) func(*testing.T, sysfstest.Host) {
	device := fmt.Sprintf("<memory model='%s'><source><path>%s</path></source><target><size unit='GiB'>%d</size><node>0</node></target></memory></devices>", model, path, gib)
	return edits("domain.xml", "</devices>", device, "<qemu:arg", "<qemu:env", "value='-object'", "", "value='memory-backend-file,id=mem,size=4096M,mem-path=/dev/hugepages,share=on'", "",
		"value='-numa'", "", "value='node,memdev=mem'", "", "value='-mem-prealloc'", "")
}

func (o outside) compare(t *testing.T, v fix.Verdict) {
	t.Helper()
	text := words.Text(v)
	if v.Decision != o.decision || v.RefusedBy() != o.refusedBy {
		t.Errorf("%s, refused by %q, want %s by %q", v.Decision, v.RefusedBy(), o.decision, o.refusedBy)
	}
	for _, pattern := range o.has {
		if !regexp.MustCompile(pattern).MatchString(text) {
			t.Errorf("%s is not said in\n%s", pattern, text)
		}
	}
	for _, pattern := range append(o.lacks, "needs no huge pages") {
		if regexp.MustCompile(pattern).MatchString(text) {
			t.Errorf("%s is said in\n%s", pattern, text)
		}
	}
	if line := words.Summary(v); len(line) > 600 {
		t.Errorf("the line has %d bytes: %s", len(line), line)
	}
}

// writes returns what writes files of a host: names and texts in turn.
func writes(files ...string) func(*testing.T, sysfstest.Host) {
	return func(t *testing.T, tree sysfstest.Host) {
		for i := 0; i < len(files); i += 2 {
			name := tree.Path(files[i])
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte(files[i+1]), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// links returns what makes symbolic links on a host: names and where they lead, in turn.
func links(names ...string) func(*testing.T, sysfstest.Host) {
	return func(t *testing.T, tree sysfstest.Host) {
		for i := 0; i < len(names); i += 2 {
			link := tree.Path(names[i])
			if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(names[i+1], link); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// both returns what makes one change of a host and then another.
func both(first, second func(*testing.T, sysfstest.Host)) func(*testing.T, sysfstest.Host) {
	return func(t *testing.T, tree sysfstest.Host) {
		first(t, tree)
		second(t, tree)
	}
}

// mountedTwice has the 1 GiB mount of a host lie over another of its kind, and be younger than the daemon.
func mountedTwice(t *testing.T, tree sysfstest.Host) {
	const line = "hugetlbfs /mnt/hugepages1G hugetlbfs rw,relatime,pagesize=1024M 0 0\n"
	writes("mnt/hugepages1G.age", "later\n")(t, tree)
	edits("proc/mounts", line, line+line)(t, tree)
}

// edits returns what replaces texts in a file of a host: old and new ones in turn.
func edits(file string, texts ...string) func(*testing.T, sysfstest.Host) {
	return func(t *testing.T, tree sysfstest.Host) {
		old, err := os.ReadFile(tree.Path(file))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer(texts...).Replace(string(old))
		if text == string(old) {
			t.Fatalf("%s has none of %q", file, texts)
		}
		writes(file, text)(t, tree)
	}
}

// arm64 makes a host one with pages of 512 MiB, all free and not mounted, and its guest ask for two of them.
func arm64(t *testing.T, tree sysfstest.Host) {
	for _, dir := range []string{"sys/kernel/mm/hugepages/", "sys/devices/system/node/node0/hugepages/"} {
		if err := os.Rename(tree.Path(dir+"hugepages-1048576kB"), tree.Path(dir+"hugepages-524288kB")); err != nil {
			t.Fatal(err)
		}
		writes(dir+"hugepages-524288kB/nr_hugepages", "4\n", dir+"hugepages-524288kB/free_hugepages", "4\n")(t, tree)
	}
	edits("domain.xml", "size='1048576'", "size='524288'", "x86_64", "aarch64", "pc-q35-7.2", "virt")(t, tree)
}

// TestNoHugePagesInFiles: files elsewhere need no huge pages, and a volume over those on hugetlbfs is told.
func TestNoHugePagesInFiles(t *testing.T) {
	tmpfs := edits("proc/mounts", "hugetlbfs /dev/hugepages hugetlbfs rw,relatime,pagesize=2M", "tmpfs /dev/hugepages tmpfs rw")
	over := edits("proc/mounts", "pagesize=2M 0 0\n", "pagesize=2M 0 0\ntmpfs /dev/hugepages/libvirt/qemu tmpfs rw 0 0\n")
	for _, test := range []struct {
		incident string
		edit     func(*testing.T, sysfstest.Host)
		want     string
	}{
		{"backing-dir-on-hugetlbfs", tmpfs, "it needs no huge pages"},
		{"ram-by-own-argument", tmpfs, "it needs no huge pages"},
		{"backing-dir-on-hugetlbfs", edits("etc/libvirt/qemu.conf", "/dev/hugepages", "/dev/hugepagesize"), "it needs no huge pages"},
		{"ram-by-own-argument", edits("proc/mounts", "pagesize=2M 0 0\n", "pagesize=2M 0 0\ntmpfs /dev/hugepages tmpfs rw 0 0\n"), "it needs no huge pages"},
		{"backing-dir-on-hugetlbfs", over, "tmpfs is mounted over 2M pages at /dev/hugepages/libvirt/qemu: until it is unmounted, ram-node0 will lie on it, in ordinary memory"},
	} {
		tree := sysfstest.Archive(t, hooktest.Data("incidents/"+test.incident+".txtar"))
		test.edit(t, tree)
		if got := words.Summary(judged(t, tree)); got != test.want {
			t.Errorf("%s: %s, want %s", test.incident, got, test.want)
		}
	}
}

// roomy gives a host 20 GiB of free memory.
func roomy(t *testing.T, tree sysfstest.Host) {
	writes("proc/meminfo", "MemTotal: 67108864 kB\nMemFree: 20971520 kB\nMemAvailable: 20971520 kB\nHugepagesize: 2048 kB\n",
		"sys/devices/system/node/node0/meminfo", "Node 0 MemTotal: 67108864 kB\nNode 0 MemFree: 20971520 kB\n")(t, tree)
}
