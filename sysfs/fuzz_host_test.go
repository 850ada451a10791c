package sysfs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"hugeguard/sysfs"
	"hugeguard/sysfs/sysfstest"
)

// look reads all that there is to read of a host, and what came of it.
func look(host sysfs.FS) (seen []any, errs []error) {
	note := func(what any, err error) {
		seen = append(seen, what)
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
	}
	sizes, err := host.PageSizes()
	note(sizes, err)
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
	note(mounts, err)
	for _, m := range mounts.Hugetlb {
		free, ok, err := host.HugetlbFree(m.Path)
		pair(free, ok, err)
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
	note(host.OwnCgroup("hugetlb"))
	note(host.Segments())
	note(host.BootID())
	note(host.SinceBoot())
	pids, err := host.Processes()
	note(pids, err)
	for _, pid := range pids {
		note(host.Process(pid))
		note(host.Arguments(pid))
		note(host.MountsOf(pid))
		note(host.BusyThreads(pid))
		note(host.StartedAfterBoot(pid))
		note(host.Program(pid), nil)
		mappings, err := host.Mappings(pid, 1<<12)
		note(mappings, err)
		note(nil, host.Reservations(pid, mappings))
		note(host.MapsHuge(pid, mounts.Hugetlb))
		note(host.OpenFiles(pid, mounts.Hugetlb))
		for _, m := range mappings {
			file, ok, err := host.MappedFile(pid, m)
			pair(file, ok, err)
		}
	}
	return seen, errs
}

// Whatever one of its files holds, a host is read twice the same, and each error names what it is about.
func FuzzHost(f *testing.F) {
	archives, err := filepath.Glob("../testdata/kernels/*.txtar")
	if err != nil || len(archives) == 0 {
		f.Fatal(len(archives), err)
	}
	type tree struct {
		sysfstest.Host
		files []string
	}
	trees := []tree{{Host: sysfstest.Copy(f, "../testdata/hosts/incident/host")}}
	for _, archive := range archives {
		trees = append(trees, tree{Host: sysfstest.Archive(f, archive)})
	}
	for i := range trees {
		t := &trees[i]
		root := t.Path("")
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				t.files = append(t.files, strings.TrimPrefix(path, root+"/"))
			}
			return err
		})
		if err != nil || len(t.files) == 0 {
			f.Fatal(len(t.files), err)
		}
		slices.Sort(t.files)
		f.Add(uint8(i), uint16(1<<16-1), []byte{})
		for k := 0; k < len(t.files); k += 1 + len(t.files)/8 {
			f.Add(uint8(i), uint16(k), []byte("\x00 1\n"))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, file uint16, data []byte) {
		h := trees[int(which)%len(trees)]
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
		seen, errs := look(host.FS())
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
