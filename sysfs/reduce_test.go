package sysfs

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"testing"
)

// reads are what is read of each file that is reduced on its own, with an example.
var reads = []struct {
	files, example string
	read           func(text []byte) (any, error)
}{
	{"cgroup.procs", "0\n4711\n12\n", func(text []byte) (any, error) { return parseProcs(string(text)) }},
	{"cgroup.stat", "nr_descendants 0\nnr_dying_descendants 3\n", func(text []byte) (any, error) { return parseDescendants(string(text)) }},
	{"*.pid", " 4711\n", func(text []byte) (any, error) { return parsePID(text) }},
	{"proc/meminfo", "MemTotal:  9 kB\nMemFree: 5 kB\nMemAvailable: 7 kB\nInactive(file): 2 kB\nHugepagesize:    2048 kB\n", func(text []byte) (any, error) {
		kib, ok, err := parsePageKiB(string(text))
		memory, complete, errMemory := parseMemory(string(text))
		available, known, errAvailable := parseAvailable(string(text))
		return []any{kib, ok, memory, complete, available, known}, errors.Join(err, errMemory, errAvailable)
	}},
	{nodeDir + "/node*/meminfo", "Node 0 MemTotal:  9 kB\nNode 0 MemFree: 5 kB\nNode 0 Active(file): 2 kB\nNode 0 Mapped: 3 kB\n", func(text []byte) (any, error) {
		memory, ok, err := parseMemory(string(text))
		return []any{memory, ok}, err
	}},
	{"proc/cmdline", "quiet default_hugepagesz=1G hugepages=16 hugepagesz=2M hugepages=0:512,1:512 hugetlb_cma=0:4G x -- hugepages=9\n",
		func(text []byte) (any, error) { return parseBoot(string(text)), nil }},
	{"proc/mounts", "proc /proc proc rw 0 0\nhugetlbfs /dev/huge\\040pages hugetlbfs rw,pagesize=2M 0 0\nx /dev/huge\\040pages/x tmpfs rw,x 0 0\n" +
		"hugetlbfs /dev/huge\\040pages hugetlbfs rw,size=2097152,min_size=4096 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\ncgroup /c cgroup rw,cpuset,hugetlb 0 0\n",
		func(text []byte) (any, error) { return parseMounts(string(text), math.MaxInt) }},
	{"proc/self/auxv", "\x21\x00\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00",
		func(text []byte) (any, error) { _, size, err := parsePageSize(text); return size, err }},
	{"proc/self/cgroup", "12:cpuset,hugetlb:/kubepods/besteffort/../x\n0::/a:b\n", func(text []byte) (any, error) {
		var groups []string
		for _, controller := range []string{"", "cpuset", "hugetlb"} {
			groups = append(groups, parseOwnCgroup(string(text), controller))
		}
		return []any{groups, parseOwnPlace(string(text))}, nil
	}},
	{"proc/stat", "cpu 1 2\nbtime 1700000000\nprocesses 3\n", func(text []byte) (any, error) { return parseBootTime(string(text)) }},
	{"proc/sysvipc/shm", "key shmid perms size cpid lpid nattch uid gid cuid cgid atime dtime ctime rss swap\n0 5 600 2097152 12 12 1 0 0 0 0 0 0 0 2097152 0\n",
		func(text []byte) (any, error) { return parseSegments(bytes.NewReader(text)) }},
	{"etc/sysctl.d/a.conf", "# vm.nr_hugepages = 7\n-vm/nr_hugepages=3\nvm.nr_hugepages = 5\nvm.swappiness = 9\n", readPoolSetting},
	{"run/sysctl.d/a.conf", "vm.nr_hugepages = x\nvm.nr_hugepages = 5\n", readPoolSetting},
	{"usr/lib/sysctl.d/a.conf", "vm.nr_hugepages = 5\n", readPoolSetting},
	{"usr/local/lib/sysctl.d/a.conf", "vm.nr_hugepages\n", readPoolSetting},
	{"proc/7/cgroup", "1:name=systemd:/docker/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n2:cpu:/x\n0::/user.slice/user-0.slice/a.service\n",
		func(text []byte) (any, error) { return parsePlace(string(text)), nil }},
	{"proc/7/numa_maps", "7fd02b400000 bind:0 file=/hp/t huge dirty=20 N0=20 kernelpagesize_kB=2048\n00400000 default file=/x mapped=1 N0=1\n7fb6a7400000 prefer (many):0 file=/k\\040(deleted) huge\n",
		func(text []byte) (any, error) { return parseNUMAMaps(bytes.NewReader(text), 1<<20) }},
	{"proc/7/smaps", "7f00-7fff rw-s 00000000 00:0f 4711 /x\nSize:  2048 kB\nKernelPageSize:     2048 kB\nShared_Hugetlb:  2048 kB\nVmFlags: rd ht nr\n" +
		"8000-9000 r--p 0 0:0 0\nKernelPageSize:     4 kB\nVmFlags: rd\n", func(text []byte) (any, error) { return parseSmaps(bytes.NewReader(text), 1<<20) }},
	{"proc/7/stat", "4711 (a) b) S 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 0 0\n", func(text []byte) (any, error) { return parseStart(string(text)) }},
	{"proc/7/status", "Name:\tx\\n\nUmask:\t0022\nPPid:\t1\nUid:\t7\t7\t7\t7\nVmPeak: 1 kB\nHugetlbPages:\t  524288 kB\n", func(text []byte) (any, error) { return ParseStatus(text) }},
	{"proc/7/task/8/stat", "8 (x) y) R 1\n", func(text []byte) (any, error) {
		fields, err := statFields(string(text))
		return err == nil && busy(fields[0]), err
	}},
}

func readPoolSetting(text []byte) (any, error) {
	pages, ok := parsePoolSetting(string(text))
	return []any{pages, ok}, nil
}

// aside are the reductions of files that others decide about, or of which all is kept.
var aside = []string{"proc/7/maps", "proc/7/mounts"}

// Of what is kept of a file the same is read as of the file, whatever it holds; of what is kept of that, all is kept.
func FuzzReductions(f *testing.F) {
	for _, r := range reductions {
		known := r.keep == nil && reflect.ValueOf(r.Keep).Pointer() == reflect.ValueOf(whatItIs).Pointer()
		for _, name := range aside {
			known = known || r.matches(name)
		}
		for _, read := range reads {
			known = known || r.matches(read.files) || r.Files == read.files
		}
		if !known {
			f.Errorf("of %s it is not known what is read", r.Files)
		}
	}
	for i, r := range reads {
		example := []byte(r.example)
		if got, err := r.read(example); err != nil {
			f.Errorf("%s: %v, %v", r.files, got, err)
		}
		f.Add(uint8(i), example)
		f.Add(uint8(i), example[:len(example)-1])
		f.Add(uint8(i), example[:len(example)/2])
		f.Add(uint8(i), bytes.ReplaceAll(example, []byte("0"), []byte("x")))
		f.Add(uint8(i), bytes.ReplaceAll(example, []byte("\n"), []byte("\n\n")))
		f.Add(uint8(i), append(bytes.Repeat([]byte("x"), lineLimit), example...))
		f.Add(uint8(i), append(append([]byte{}, example...), bytes.Repeat([]byte("huge "), lineLimit/4)...))
		f.Add(uint8(i), bytes.Repeat(example, 2))
		f.Add(uint8(i), []byte{})
	}
	f.Fuzz(func(t *testing.T, which uint8, text []byte) {
		r := reads[int(which)%len(reads)]
		reducer := NewReducer(nil)
		want, wantErr := r.read(text)
		kept, err := reducer.Reduce(r.files, Entry{Data: text, File: true})
		if err != nil {
			if wantErr == nil {
				t.Errorf("%s: nothing is kept of %q, which is %+v: %v", r.files, text, want, err)
			}
			return
		}
		got, gotErr := r.read(kept)
		if (gotErr == nil) != (wantErr == nil) || gotErr == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q is %+v, %v; what is kept, %q, is %+v, %v", r.files, text, want, wantErr, kept, got, gotErr)
		}
		again, err := reducer.Reduce(r.files, Entry{Data: kept, File: true})
		if err != nil || !bytes.Equal(again, kept) {
			t.Errorf("%s: of %q, which is kept, is kept %q, %v", r.files, kept, again, err)
		}
	})
}

// FuzzReducedMaps: of maps are kept the mappings that numa_maps or smaps has, and those that may be of huge pages.
func FuzzReducedMaps(f *testing.F) {
	const numa = "7f00 default file=/hp/k huge\n8f00 default file=/x N0=1\n"
	const maps = "7f00-7fff rw-s 00200000 00:0f 4711 /hp/k\\012 (deleted)\n8f00-8fff r--p 0 0:0 9 /x\n9f00-9fff rw-s 0 0:1 7 /memfd:x (deleted)\n"
	f.Add(numa, maps)
	f.Add("", maps)
	f.Add(numa, "7f00-7fff rw-s 0 0:0 0\n8f00-8fff r--p 0 0:0 9 /mnt/other\nx\n")
	f.Add(numa, maps[:len(maps)-30])
	f.Fuzz(func(t *testing.T, numaMaps, text string) {
		read := func(numaMaps, text []byte) (answers []any, failed bool) {
			mappings, err := parseNUMAMaps(bytes.NewReader(numaMaps), 1<<20)
			errFiles := addFiles(mappings, bytes.NewReader(text))
			huge, errHuge := mapsHuge(bytes.NewReader(text), []MountPoints{{"/hp/"}})
			if errFiles != nil {
				mappings = nil
			}
			return []any{mappings, err != nil, errFiles != nil, huge, errHuge != nil}, err != nil || errFiles != nil || errHuge != nil
		}
		reducer := NewReducer(nil)
		var kept [][]byte
		_, err := reducer.Reduce("proc/mounts", Entry{Data: []byte("x /hp hugetlbfs rw 0 0\n")})
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range [][2]string{{"numa_maps", numaMaps}, {"maps", text}} {
			left, err := reducer.Reduce("proc/7/"+file[0], Entry{Data: []byte(file[1])})
			if err != nil {
				if _, failed := read([]byte(numaMaps), []byte(text)); !failed {
					t.Errorf("nothing is kept of %q, %q: %v", numaMaps, text, err)
				}
				return
			}
			kept = append(kept, left)
		}
		want, _ := read([]byte(numaMaps), []byte(text))
		got, _ := read(kept[0], kept[1])
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q, %q are %+v; what is kept, %q, is %+v", numaMaps, text, want, kept, got)
		}
	})
}
