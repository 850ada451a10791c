package sysfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hugeguard/sysfs"
	"hugeguard/sysfs/sysfstest"
)

// TestMain keeps the hosts of the tests, which are trees of many small files, in memory.
func TestMain(m *testing.M) { os.Exit(sysfstest.InMemory(m.Run)) }

const incident = "../testdata/hosts/plain/host"

func root(t *testing.T, dir string) sysfs.FS {
	t.Helper()
	abs, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	return sysfs.New(abs)
}

// TestIncident reads the captured host of the incident as its README and its truth.json describe it.
func TestIncident(t *testing.T) {
	host := root(t, incident)
	nodes, err := host.Nodes()
	if err != nil {
		t.Fatal(err)
	}
	check(t, "nodes", nodes, []sysfs.Node{{0, true, true}, {1, true, true}})
	sizes, err := host.PageSizes()
	if err != nil {
		t.Fatal(err)
	}
	check(t, "sizes", sizes, []uint64{2048, 1048576})
	pool, ok, err := host.Pool(2048, nodes)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	check(t, "pool", pool, sysfs.Pool{PageKiB: 2048, Total: 2048, Free: 512,
		Nodes: []sysfs.NodePool{{Node: 0, Total: 1024, Free: 0}, {Node: 1, Total: 1024, Free: 512}}})
	if _, ok, err := host.Pool(16384, nodes); ok || err != nil {
		t.Errorf("a size that this kernel lacks: %v, %v", ok, err)
	}
	dflt, ok, err := host.DefaultPageKiB()
	if dflt != 2048 || !ok || err != nil {
		t.Errorf("default page size %d, %v, %v", dflt, ok, err)
	}
	mounts, err := host.Mounts()
	if err != nil {
		t.Fatal(err)
	}
	check(t, "mounts", mounts.Hugetlb, []sysfs.Mount{{Path: "/dev/hugepages", PageKiB: 2048}, {Path: "/dev/hugepages1G", PageKiB: 1 << 20}})
	distances, err := host.Distances(1)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "distances", distances, []int{20, 10})
	if _, ok, err := host.BasePageKiB(); ok || err != nil {
		t.Errorf("a base page size out of nothing: %v, %v", ok, err)
	}

	vswitchd, err := host.Process(2974)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "process", vswitchd, sysfs.Process{PID: 2974, Name: "ovs-vswitchd", Memory: true, HugetlbKiB: 1024 * 2048, Parent: 1})
	mappings, err := host.Mappings(2974, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	pages := map[int]uint64{}
	inodes := map[uint64]bool{}
	for _, m := range mappings {
		for node, n := range m.Pages {
			pages[node] += n
		}
		if m.Inode == 0 || !strings.HasPrefix(m.File, "/memfd:seg_") || m.PageKiB != 2048 {
			t.Fatalf("mapping %+v", m)
		}
		inodes[m.Inode] = true
	}
	check(t, "Open vSwitch's pages", pages, map[int]uint64{0: 512, 1: 512})
	if len(inodes) != 1024 {
		t.Errorf("%d files for 1024 pages of a memfd each", len(inodes))
	}
	guest, err := host.Mappings(3066, 1<<20)
	if err != nil || len(guest) != 1 {
		t.Fatal(guest, err)
	}
	if g := guest[0]; g.File != "/dev/hugepages/libvirt/qemu/15-instance-00000001/qemu_back_mem.ram-node0.9sewNp (deleted)" || g.Anon != 0 {
		t.Errorf("guest's mapping %+v", g)
	}
	arguments, err := host.Arguments(3066)
	if err != nil || len(arguments) < 3 || arguments[2] != "guest=instance-00000001,debug-threads=on" {
		t.Errorf("arguments %q, %v", arguments, err)
	}
}

func check[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// TestAbsentIsNotZero takes files away one after the other.
func TestAbsentIsNotZero(t *testing.T) {
	h := sysfstest.Copy(t, incident)
	h.Remove("sys/devices/system/node/node1/hugepages")
	nodes, err := h.FS().Nodes()
	if err != nil {
		t.Fatal(err)
	}
	pool, ok, err := h.FS().Pool(2048, nodes)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	check(t, "pools of a node without memory", pool.Nodes, []sysfs.NodePool{{Node: 0, Total: 1024, Free: 0}})

	h.Remove("sys/devices/system/node")
	if nodes, err = h.FS().Nodes(); err != nil {
		t.Fatal(err)
	}
	check(t, "nodes of a kernel without NUMA", nodes, []sysfs.Node{{0, true, true}})
	if pool, _, err = h.FS().Pool(2048, nodes); err != nil {
		t.Fatal(err)
	}
	check(t, "its pool", pool.Nodes, []sysfs.NodePool{{Node: 0, Total: 2048, Free: 512}})

	h.Remove("sys/kernel/mm/hugepages")
	if sizes, err := h.FS().PageSizes(); err == nil {
		t.Errorf("a host without sysfs has page sizes %v", sizes)
	}
	if nodes, err := h.FS().Nodes(); err == nil {
		t.Errorf("a host without sysfs has nodes %v", nodes)
	}
	h.Write("sys/devices/system/node/online", "0\n")
	if sizes, err := h.FS().PageSizes(); sizes != nil || err != nil {
		t.Errorf("a kernel without huge pages: %v, %v", sizes, err)
	}
	h.Write("proc/meminfo", "MemTotal: 1 kB\n")
	if _, ok, err := h.FS().DefaultPageKiB(); ok || err != nil {
		t.Errorf("a default size out of nothing: %v, %v", ok, err)
	}
}

// TestCPUs reads the CPUs of nodes, and of control groups.
func TestCPUs(t *testing.T) {
	h := sysfstest.Copy(t, incident)
	if cpus, _, err := h.FS().CPUs(1); err != nil || !cmp.Equal(cpus, []int{2, 3}) {
		t.Errorf("%v, %v", cpus, err)
	}
	h.Remove("sys/devices/system/node/node0/cpulist")
	if cpus, ok, err := h.FS().CPUs(0); ok || err != nil {
		t.Errorf("CPUs out of nothing: %v, %v", cpus, err)
	}
	const node, group = "sys/devices/system/node/node1/cpulist", "sys/fs/cgroup/machine.slice/cpuset.cpus.effective"
	many := strings.Repeat("8191,", 1000) + "4,5\n" // more than a page of the kernel's
	for text, want := range map[string][]int{"1,3\n": {1, 3}, "\n": nil, "1022-1025\n": {1022, 1023, 1024, 1025}, many: {4, 5, 8191}} {
		h.Write(node, text)
		h.Write(group, text)
		cpus, ok, err := h.FS().CPUs(1)
		if !ok || err != nil {
			t.Error(ok, err)
		}
		check(t, "CPUs", cpus, want)
		if cpus, ok, err = h.FS().CpusetCPUs("/sys/fs/cgroup/machine.slice", "cpuset.cpus.effective"); !ok || err != nil {
			t.Error(ok, err)
		}
		check(t, "CPUs of a group", cpus, want)
	}
	h.Write(node, "8192")
	if _, _, err := h.FS().CPUs(1); err == nil || !strings.Contains(err.Error(), node+`: "8192" is not a list of CPUs`) {
		t.Error(err)
	}
	h.Remove("sys/fs/cgroup")
	if cpus, ok, err := h.FS().CpusetCPUs("/sys/fs/cgroup", "cpuset.cpus.effective"); ok || err != nil {
		t.Errorf("CPUs of no group: %v, %v", cpus, err)
	}
}

// TestErrors: each names the file and what it holds, and unwraps.
func TestErrors(t *testing.T) {
	const counter = "sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages"
	read := func(h sysfstest.Host) error {
		nodes, err := h.FS().Nodes()
		if err != nil {
			return err
		}
		_, _, err = h.FS().Pool(2048, nodes)
		return err
	}
	for _, test := range []struct {
		file, text, want string
	}{
		{counter, "many\n", `"many" is not a count`},
		{counter, "", `"" is not a count`},
		{counter, "-1", `"-1" is not a count`},
		{counter, "99999999999999999999", "is not a count: value out of range"},
		{counter, strings.Repeat("9", 10000), "larger than it can be"},
		{"sys/devices/system/node/online", "0-", `"0-" is not a list of nodes`},
		{"sys/devices/system/node/online", "0-4000000000", "is not a list of nodes"},
		{"sys/devices/system/node/has_memory", "x\x00\x1b[31m", `is not a list of nodes`},
	} {
		h := sysfstest.Copy(t, incident)
		h.Write(test.file, test.text)
		err := read(h)
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), test.file) || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%s holding %.20q: %v", test.file, test.text, err)
		}
	}
	h := sysfstest.Copy(t, incident)
	h.Remove("sys/devices/system/node/has_cpu")
	if err := read(h); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the error does not unwrap: %v", err)
	}
}

// TestReadNeverWaits: a FIFO in place of a file answers at once.
func TestReadNeverWaits(t *testing.T) {
	h := sysfstest.Copy(t, incident)
	const name = "proc/meminfo"
	h.Remove(name)
	if err := syscall.Mkfifo(h.Path(name), 0o600); err != nil {
		t.Fatal(err)
	}
	writer, err := os.OpenFile(h.Path(name), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	done := make(chan error, 1)
	go func() { _, _, err := h.FS().DefaultPageKiB(); done <- err }()
	select {
	case err := <-done:
		if err == nil {
			t.Error("an empty FIFO was read without an error")
		}
	case <-time.After(5 * time.Minute):
		t.Fatal("reading a FIFO hangs")
	}
}

// TestLiveHost reads the machine that runs the test.
func TestLiveHost(t *testing.T) {
	live := sysfs.New("/")
	if !live.Live() {
		t.Error("/ is not the running host")
	}
	nodes, err := live.Nodes()
	if err != nil || len(nodes) == 0 {
		t.Fatal(nodes, err)
	}
	base, ok, err := live.BasePageKiB()
	if !ok || err != nil || base*1024 != uint64(os.Getpagesize()) {
		t.Errorf("base page %d KiB, %v, %v, want %d bytes", base, ok, err, os.Getpagesize())
	}
	self, err := live.Process(os.Getpid())
	if err != nil || !strings.HasPrefix("sysfs.test", self.Name) {
		t.Errorf("this process: %+v, %v", self, err)
	}
	if _, err := live.Mappings(os.Getpid(), 1<<20); err != nil {
		t.Error(err)
	}
	pids, err := live.Processes()
	if err != nil || len(pids) == 0 {
		t.Errorf("processes %v, %v", pids, err)
	}
}

func TestStarted(t *testing.T) {
	h := sysfstest.Copy(t, "../testdata/hosts/plain/host")
	if _, ok, err := h.FS().Started(2974); ok || err != nil {
		t.Errorf("%v, %v without /proc/stat", ok, err)
	}
	h.Write("proc/stat", "cpu  1 1\nbtime 1000000000\nprocesses 9\n")
	got, ok, err := h.FS().Started(2974) // 76504 ticks
	if want := time.UnixMilli(1_000_000_765_040); !ok || err != nil || !got.Equal(want) {
		t.Errorf("%v, %v, %v; want %v", got, ok, err, want)
	}
	for stat, want := range map[string]string{
		"77 (x) S 1": "has no start time",
		"77 (a ) b) S" + strings.Repeat(" 1", 18) + " x": `"x" is not a start time`,
	} {
		h.Write("proc/77/stat", stat)
		if _, _, err := h.FS().Started(77); err == nil || !strings.Contains(err.Error(), "proc/77/stat: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", stat, err)
		}
	}
	h.Write("proc/stat", "cpu 1\nbtime soon\n")
	if _, _, err := h.FS().Started(2974); err == nil || !strings.Contains(err.Error(), `proc/stat: btime: "soon" is not a count`) {
		t.Error(err)
	}
}

// TestLostCount: a kernel that has lost count of reservations has none.
func TestLostCount(t *testing.T) {
	host := sysfstest.Copy(t, incident)
	host.Write("sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "18446744073709551615\n")
	pool, _, err := host.FS().Pool(2048, []sysfs.Node{{ID: 0}})
	if err != nil || pool.Reserved != 0 {
		t.Errorf("%d, %v", pool.Reserved, err)
	}
}

// TestLimitErrors: what is wrong with a limit is told with its file.
func TestLimitErrors(t *testing.T) {
	const group = "/sys/fs/cgroup/machine.slice"
	host := sysfstest.Copy(t, incident)
	fs := host.FS()
	for _, test := range []struct {
		file, text string
		read       func() error
	}{
		{group + "/hugetlb.2MB.max", "much", func() error { _, err := fs.HugetlbLimits(group, 2048, false); return err }},
		{group + "/hugetlb.1GB.rsvd.max", "-1", func() error { _, err := fs.HugetlbLimits(group, 1<<20, false); return err }},
		{group + "/hugetlb.64KB.usage_in_bytes", "", func() error {
			host.Write(group+"/hugetlb.64KB.limit_in_bytes", "65536\n")
			_, err := fs.HugetlbLimits(group, 64, true)
			return err
		}},
		{group + "/cpuset.mems.effective", "0-", func() error { _, _, err := fs.CpusetNodes(group, "cpuset.mems.effective"); return err }},
		{"/dev/hugepages.statfs", "20", func() error { _, _, err := fs.HugetlbFree("/dev/hugepages"); return err }},
	} {
		host.Write(test.file, test.text)
		if err := test.read(); err == nil || !strings.Contains(err.Error(), host.Path(test.file)+": ") {
			t.Errorf("%s holding %q: %v", test.file, test.text, err)
		}
	}
}

// TestReadOwn: what others can have written is not read, by whatever name.
func TestReadOwn(t *testing.T) {
	h := sysfstest.Copy(t, t.TempDir())
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]os.FileMode{"own": 0o644, "secret": 0o600, "group": 0o664, "anybody": 0o646} {
		h.Write(name, name)
		must(os.Chmod(h.Path(name), mode))
	}
	h.Write("folder/file", "")
	must(syscall.Mkfifo(h.Path("fifo"), 0o600))
	must(os.Symlink("own", h.Path("link")))
	must(os.Symlink("anybody", h.Path("link to anybody's")))
	want := map[string]bool{"own": true, "secret": true, "link": true, "group": false, "anybody": false, "link to anybody's": false, "folder": false, "fifo": false}
	h.Write("foreign", "foreign")
	if os.Chown(h.Path("foreign"), 65534, 65534) == nil { // else this is not root
		want["foreign"] = false
	}
	for name, ok := range want {
		text, err := h.FS().ReadOwn(name, 100)
		if ok && err != nil || !ok && (!errors.Is(err, sysfs.ErrOthers) || len(text) > 0) {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if _, err := h.FS().ReadOwn("own", 2); !errors.Is(err, sysfs.ErrTooLarge) {
		t.Error(err)
	}
}

// TestLinksStayInside: a reader of a tree that others made follows no link of it to a file of the own host.
func TestLinksStayInside(t *testing.T) {
	outside := t.TempDir()
	for _, name := range []string{"file", "status"} {
		if err := os.WriteFile(filepath.Join(outside, name), []byte("Name:\tsecret\nHugetlbPages:\t 2048 kB\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h := sysfstest.Copy(t, "../testdata/hosts/plain/host")
	link := func(target, name string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(h.Path(name)), 0o755), os.Symlink(target, h.Path(name))); err != nil {
			t.Fatal(err)
		}
	}
	up := strings.Repeat("../", 40)
	link(outside+"/file", "etc/absolute")
	link(up+outside+"/file", "etc/upwards")
	link(outside, "proc/9")
	link("itself", "etc/itself")
	link("/proc/meminfo", "etc/inside")
	link("../proc", "etc/dir")
	fs := h.FS()
	for _, name := range []string{"etc/absolute", "etc/upwards", up[1:] + outside + "/file", "etc/itself", "proc/9/status"} {
		if data, err := fs.ReadFile(name, 1000); err == nil {
			t.Errorf("%s: read %q", name, data)
		}
		if _, err := fs.Stat(name); err == nil || fs.Exists(name) {
			t.Errorf("%s exists", name)
		}
	}
	if p, err := fs.Process(9); err == nil {
		t.Errorf("%+v", p)
	}
	if names, err := fs.ReadDir("proc/9"); err == nil {
		t.Error(names)
	}
	want, err := fs.ReadFile("proc/meminfo", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"etc/inside", "etc/dir/meminfo", "etc/../" + up + "proc/meminfo"} {
		if got, err := fs.ReadFile(name, 1<<20); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if _, err := fs.ReadFile("etc/itself", 1000); !errors.Is(err, syscall.ELOOP) {
		t.Error(err)
	}
	if target, err := fs.Readlink("etc/absolute"); err != nil || target != outside+"/file" {
		t.Errorf("%q, %v", target, err)
	}
}

// TestNoWaiting: a FIFO in the place of a file or directory keeps nobody waiting.
func TestNoWaiting(t *testing.T) {
	h := sysfstest.Copy(t, "../testdata/hosts/plain/host")
	if err := syscall.Mkfifo(h.Path("etc/fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := h.FS().ReadFile("etc/fifo", 10); err != nil || len(data) > 0 {
		t.Errorf("%q, %v", data, err)
	}
	if names, err := h.FS().ReadDir("etc/fifo"); err == nil {
		t.Error(names)
	}
}

// TestRecorded: a recorder is told what another tree needs to give the same answers: this one finds the same.
func TestRecorded(t *testing.T) {
	told := map[string]sysfs.Entry{}
	fs := sysfs.New("").Recorded(func(name string, e sysfs.Entry) { told[name] = e })
	pid := os.Getpid()
	p, err := fs.Process(pid)
	if err != nil {
		t.Fatal(err)
	}
	mounts, err := fs.Mounts()
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.OpenFiles(pid, mounts.Points())
	if err != nil {
		t.Fatal(err)
	}
	program := fs.Program(pid)
	fs.Exists("proc/nothing/of/that/name")
	fs.Exists("proc/self/fd")
	fs.Sure("etc/one", func() bool { return true })
	fs.Sure("etc/other", func() bool { return false })
	if _, err := fs.ReadFile("proc/self/fd", 10); err == nil {
		t.Error("read a directory")
	}
	mapsHuge, err := fs.MapsHuge(pid, mounts.Points())
	if err != nil {
		t.Fatal(err)
	}
	self := fmt.Sprintf("proc/%d/", pid)
	if e := told[self+"maps"]; !bytes.Contains(e.Data, []byte("[stack]\n")) || !bytes.HasSuffix(e.Data, []byte("\n")) {
		t.Errorf("of maps, which was read, it was told %.200q", e.Data)
	}
	if e := told["proc/self/fd"]; e.Err == nil {
		t.Errorf("of what cannot be read it was told %+v", e)
	}
	if e := told["proc/nothing/of/that/name"]; !e.Gone {
		t.Errorf("of what is not there it was told %+v", e)
	}
	h := sysfstest.New(t)
	for name, e := range told {
		switch {
		case e.Data != nil:
			h.Write(name, string(e.Data))
		case e.Link != "":
			if err := errors.Join(os.MkdirAll(filepath.Dir(h.Path(name)), 0o755), os.Symlink(e.Link, h.Path(name))); err != nil {
				t.Fatal(err)
			}
		}
	}
	again := h.FS()
	if got, err := again.Process(pid); err != nil || got != p {
		t.Errorf("%+v, %v; it was %+v", got, err, p)
	}
	if got, err := again.Mounts(); err != nil || !reflect.DeepEqual(got, mounts) {
		t.Errorf("%+v, %v; it was %+v", got, err, mounts)
	}
	if got, err := again.OpenFiles(pid, mounts.Points()); err != nil || !reflect.DeepEqual(got, files) {
		t.Errorf("%+v, %v; it was %+v", got, err, files)
	}
	if got, err := again.MapsHuge(pid, mounts.Points()); err != nil || got != mapsHuge {
		t.Errorf("%v, %v; it was %v", got, err, mapsHuge)
	}
	if got := again.Program(pid); got != program || program == "" {
		t.Errorf("%q; it was %q", got, program)
	}
	never := func() bool { t.Error("a captured host is asked"); return false }
	if !again.Sure("etc/one", never) || again.Sure("etc/other", never) {
		t.Error("what was sure is not, or what was not is")
	}
}

// TestCapturedFiles: the files of a mount and of a process come from what stands beside them, in part where that is
// cut.
func TestCapturedFiles(t *testing.T) {
	const line = "00:1f 77 2048 3 \"/dev/hugepages/a \\\"b\"\n"
	want := sysfs.File{Path: "/dev/hugepages/a \"b", Device: "00:1f", Inode: 77, PageKiB: 2048, Pages: 3}
	h := sysfstest.Copy(t, "../testdata/hosts/plain/host")
	h.Write("dev/hugepages.files", line+"and others: not all of it was looked at\n")
	h.Write("proc/7/fd.files", line)
	h.Write("proc/7/map_files/1000-2000", line)
	fs := h.FS()
	if files, err := fs.Files("/dev/hugepages", time.Now()); err == nil || errors.Is(err, os.ErrNotExist) || !reflect.DeepEqual(files, []sysfs.File{want}) {
		t.Errorf("%+v, %v", files, err)
	}
	if files, err := fs.OpenFiles(7, nil); err != nil || !reflect.DeepEqual(files, []sysfs.File{want}) {
		t.Errorf("%+v, %v", files, err)
	}
	if f, ok, err := fs.MappedFile(7, sysfs.Mapping{Start: 0x1000, End: 0x2000}); err != nil || !ok || f != want {
		t.Errorf("%+v, %v, %v", f, ok, err)
	}
	if f, ok, err := fs.MappedFile(7, sysfs.Mapping{Start: 0x1000, End: 0x3000}); !errors.Is(err, os.ErrNotExist) || ok {
		t.Errorf("%+v, %v, %v", f, ok, err)
	}
}
