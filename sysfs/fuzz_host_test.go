package sysfs_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hugeguard/sysfs"
	"hugeguard/sysfs/sysfstest"
)

// look reads all that there is to read of a host. It returns what each reader answered, with whether it failed, and the
// errors.
func look(host sysfs.FS) (seen []any, errs []error) {
	note := func(what any, err error) {
		seen = append(seen, what, err != nil)
		if err != nil {
			errs = append(errs, err)
		}
	}
	pair := func(what, ok any, err error) { note([]any{what, ok}, err) }
	nodes, err := host.Nodes()
	note(nodes, err)
	for _, n := range nodes {
		cpus, ok, err := host.CPUs(n.ID)
		pair(cpus, ok, err)
		note(host.Distances(n.ID))
		memory, ok, err := host.NodeMemory(n.ID)
		pair(memory, ok, err)
	}
	sizes, err := host.PageSizes()
	note(sizes, err)
	for _, n := range nodes {
		note(host.PoolMemory(n.ID, sizes))
	}
	note(host.HasNodes(), nil)
	available, ok, err := host.Available()
	pair(available, ok, err)
	note(host.FreeBlocks())
	note(host.PoolSetting(), nil)
	boot, ok, err := host.Boot()
	pair(boot, ok, err)
	major, minor, _, ok := host.KernelRelease()
	note([]any{major, minor, ok}, nil)
	for _, kib := range sizes {
		pool, ok, err := host.Pool(kib, nodes)
		pair(pool, ok, err)
		note(host.HugetlbLimits("sys/fs/cgroup", kib, false))
		note(host.HugetlbLimits("sys/fs/cgroup/hugetlb", kib, true))
	}
	base, ok, err := host.BasePageKiB()
	pair(base, ok, err)
	dflt, ok, err := host.DefaultPageKiB()
	pair(dflt, ok, err)
	mounts, err := host.Mounts()
	note(mounts.Hugetlb, err)
	note(mounts.Cgroup, err)
	for _, m := range mounts.Hugetlb {
		free, ok, err := host.HugetlbFree(m.Path)
		pair(free, ok, err)
		note(host.HugetlbDevice(m.Path), nil)
		note(host.Files(m.Path, time.Now().Add(time.Hour)))
	}
	dir, ok, err := host.CpusetMount()
	pair(dir, ok, err)
	if ok {
		list, ok, err := host.CpusetNodes(dir, "cpuset.mems")
		pair(list, ok, err)
		list, ok, err = host.CpusetCPUs(dir, "cpuset.cpus")
		pair(list, ok, err)
	}
	for _, controller := range []string{"", "cpuset", "hugetlb"} {
		note(host.OwnCgroup(controller))
	}
	note(host.OwnPlace())
	note(host.Segments())
	note(host.SharedStorage(0, "/var/lib/nova/instances"))
	note(host.BootID())
	note(host.SinceBoot())
	note(host.ReadPID("run/openvswitch/ovs-vswitchd.pid"))
	for _, m := range mounts.Hugetlb {
		note(host.MountAge(m.Path, "libvirt/qemu", "run/libvirt/qemu/driver.pid"))
		note(host.Leads(m.Path, nil))
	}
	pids, err := host.Processes()
	slices.Sort(pids)
	note(pids, err)
	for _, pid := range pids {
		own, err := host.MountsOf(pid)
		note(own.Hugetlb, err)
		note(host.Process(pid))
		note(host.InnerPID(pid), nil)
		note(host.Arguments(pid))
		note(host.Place(pid))
		note(host.UnitProcesses(pid))
		note(host.BusyThreads(pid))
		threads, err := host.Threads(pid)
		slices.Sort(threads)
		note(threads, err)
		note(host.StartedAfterBoot(pid))
		started, ok, err := host.Started(pid)
		pair(started, ok, err)
		note(path.Base(host.Program(pid)), nil)
		mappings, err := host.Mappings(pid, 1<<12)
		note(mappings, err)
		note(nil, host.Reservations(pid, mappings))
		note(mappings, nil)
		note(host.MapsHuge(pid, mounts.Points(), own.Points()))
		note(host.OpenFiles(pid, mounts.Points(), own.Points()))
		for _, m := range mappings {
			file, ok, err := host.MappedFile(pid, m)
			pair(file, ok, err)
		}
	}
	return seen, errs
}

// The methods of a tree that read nothing of the kernel's by themselves.
var plumbing = []string{
	"Live", "Root", "Path", "Recorded", "Near", "Far", "Outer", "Sure", "Exists", "Stat", "Status", "Readlink", "OpenPath",
	"ReadFile", "ReadStart", "ReadOwn", "ReadOf", "ReadStartOfRoots", "ReadDir", "ReadDirOf",
}

// TestLook: every reader is looked with, so that the tests of this file are of all of them.
func TestLook(t *testing.T) {
	source, err := os.ReadFile("fuzz_host_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(source), "\nfunc look(")
	text, _, _ = strings.Cut(text, "\n}\n")
	for method := range reflect.TypeFor[sysfs.FS]().Methods() {
		if strings.Contains(text, "host."+method.Name+"(") == slices.Contains(plumbing, method.Name) {
			t.Errorf("look has to read with %s, unless it reads nothing of the kernel's", method.Name)
		}
	}
}

// tree is a host, and what a capture keeps of it.
type tree struct {
	sysfstest.Host
	files []string // that the host has
	kept  sysfstest.Host
	has   map[string]string // what there is of each name that was asked for, as take returns it
}

// take looks at a host, and returns what it saw, what a capture keeps of it, and the errors. An empty text is a file,
// "/" a directory, what begins with "@" a link; nothing is kept of what is gone.
func take(t testing.TB, host sysfs.FS) (seen []any, errs []error, kept map[string]string) {
	t.Helper()
	var lock sync.Mutex
	kept = map[string]string{}
	// What is kept of arguments is up to those who look for something in them.
	reducer := sysfs.NewReducer([]sysfs.Reduction{{Files: "proc/[0-9]*/cmdline", Keep: func(text []byte) ([]byte, error) { return text, nil }}})
	seen, errs = look(host.Recorded(func(name string, e sysfs.Entry) {
		lock.Lock()
		defer lock.Unlock()
		if e.File && !reducer.Knows(name) {
			t.Errorf("%s: %v", name, sysfs.ErrNoReader)
		}
		switch {
		case e.Gone:
			delete(kept, name)
		case e.Err != nil:
			kept[name] = "@" + path.Base(name)
		case e.Dir:
			kept[name] = "/"
		case e.Link != "":
			kept[name] = "@" + path.Base(e.Link)
		case e.Data != nil:
			text, err := reducer.Reduce(name, e)
			if err != nil {
				kept[name] = "@" + path.Base(name) // which cannot be read either
				return
			}
			kept[name] = " " + string(text)
		}
	}))
	return seen, errs, kept
}

// put makes the tree of what is kept be of that, and not of what was kept before.
func (h *tree) put(t testing.TB, kept map[string]string) {
	t.Helper()
	tree := h.kept.For(t)
	for name, text := range h.has {
		if kept[name] != text && text != "/" {
			tree.Remove(name)
		}
	}
	for name, text := range kept {
		if h.has[name] == text {
			continue
		}
		var err error
		switch {
		case text == "/":
			err = os.MkdirAll(tree.Path(name), 0o755)
		case text[0] == '@':
			err = errors.Join(os.MkdirAll(tree.Path(path.Dir(name)), 0o755), os.Symlink(text[1:], tree.Path(name)))
		default:
			tree.Write(name, text[1:])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	h.has = kept
}

// checkKept looks at a host and at what is kept of it, which must be the same, and returns it.
func (h *tree) checkKept(t testing.TB) (seen []any, errs []error) {
	t.Helper()
	seen, errs, kept := take(t, h.FS())
	h.put(t, kept)
	got, _ := look(h.kept.FS())
	if !reflect.DeepEqual(got, seen) {
		for i := range min(len(got), len(seen)) {
			if !reflect.DeepEqual(got[i], seen[i]) {
				t.Errorf("of what is kept is read\n%+v\nand of the host\n%+v", got[i], seen[i])
			}
		}
		t.Errorf("of what is kept is read\n%v\nand of the host\n%v, with %q", got, seen, errs)
	}
	return seen, errs
}

// newTree reads which files a host has.
func newTree(t testing.TB, host sysfstest.Host) tree {
	t.Helper()
	h := tree{Host: host, kept: sysfstest.New(t)}
	root := h.Path("")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			h.files = append(h.files, strings.TrimPrefix(path, root+"/"))
		}
		return err
	})
	if err != nil || len(h.files) == 0 {
		t.Fatal(len(h.files), err)
	}
	slices.Sort(h.files)
	return h
}

// hosts are the captured host and kernels.
func hosts(t testing.TB) []tree {
	t.Helper()
	archives, err := filepath.Glob("../testdata/kernels/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatal(len(archives), err)
	}
	trees := []tree{newTree(t, sysfstest.Copy(t, "../testdata/hosts/plain/host"))}
	for _, archive := range archives {
		trees = append(trees, newTree(t, sysfstest.Archive(t, archive)))
	}
	return trees
}

// TestReductions: of what a capture keeps of them the same is read as of the hosts, and all of that is kept.
func TestReductions(t *testing.T) {
	trees := hosts(t)
	launches, err := filepath.Glob("../testdata/numabox/captured/*/*.txtar")
	if err != nil || len(launches) == 0 {
		t.Fatal(len(launches), err)
	}
	for _, launch := range launches {
		trees = append(trees, newTree(t, sysfstest.Archive(t, launch)))
	}
	for i := range trees {
		h := &trees[i]
		h.checkKept(t)
		_, _, again := take(t, h.kept.FS())
		if !maps.Equal(again, h.has) {
			t.Errorf("of what is kept, %q, is kept %q", h.has, again)
		}
	}
}

// Whatever one of its files holds, a host is read twice the same, the same is read of what a capture keeps of it, and each
// error names what it is about.
func FuzzHost(f *testing.F) {
	trees := hosts(f)
	for i, h := range trees {
		f.Add(uint8(i), uint16(1<<16-1), []byte{})
		for k := 0; k < len(h.files); k += 1 + len(h.files)/8 {
			f.Add(uint8(i), uint16(k), []byte("\x00 1\n"))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, file uint16, data []byte) {
		h := &trees[int(which)%len(trees)]
		host := h.For(t)
		if int(file) < len(h.files) {
			name := h.files[file]
			old, err := os.ReadFile(host.Path(name))
			if err != nil {
				t.Fatal(err)
			}
			host.Write(name, string(data))
			defer host.Write(name, string(old))
		}
		seen, errs := h.checkKept(t)
		if again, _ := look(host.FS()); !reflect.DeepEqual(seen, again) {
			t.Errorf("the host is read as\n%v\nand then\n%v", seen, again)
		}
		for _, err := range errs {
			if !strings.Contains(err.Error(), "/") || strings.ContainsAny(err.Error(), "\x00\x1b") {
				t.Errorf("%q does not say in print which file it is about", err)
			}
		}
	})
}
