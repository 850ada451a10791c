package sysfs

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// What the kernel prints about others' files and names is other people's
// input: whatever it is, reading it ends, and in sane numbers.

func FuzzNUMAMaps(f *testing.F) {
	f.Add("7fd02b400000 bind:0 file=/hp/t huge dirty=20 N0=20 kernelpagesize_kB=2048\n7fb6a7400000 default file=/hp/k\\040(deleted) huge\n",
		"7fd02b400000-7fd02dc00000 rw-s 00000000 00:0f 4711 /hp/t\n")
	f.Add("7f6653c00000 prefer (many):0 file=/hp/q huge anon=20 dirty=20 mapmax=2 N0=15 N1=5 kernelpagesize_kB=2048\n", "7f6653c00000-7fff rw-p 00200000 00:0f 1 /a  b\\040\\012c (deleted)")
	f.Fuzz(func(t *testing.T, numaMaps, maps string) {
		mappings, err := parseNUMAMaps(strings.NewReader(numaMaps), 1<<20)
		if err != nil {
			return
		}
		_ = addFiles(mappings, strings.NewReader(maps))
		for _, m := range mappings {
			for node := range m.Pages {
				if node < 0 || node > maxNode {
					t.Errorf("%q has pages on node %d", numaMaps, node)
				}
			}
			if strings.Count(numaMaps, "huge") == 0 {
				t.Errorf("%q has no huge pages: %+v", numaMaps, m)
			}
		}
	})
}

func FuzzSmaps(f *testing.F) {
	f.Add("7f00-7fff rw-s 00000000 00:0f 4711 /x\nKernelPageSize:     2048 kB\nShared_Hugetlb:  2048 kB\nVmFlags: rd ht nr\n")
	f.Add("7f00-7fff rw-p 00000000 00:0f 4711 /x\nKernelPageSize:     2048 kB\nPrivate_Hugetlb:  4096 kB\nVmFlags: rd ht\n8000-9000 r--p 0 0:0 0\n")
	f.Fuzz(func(t *testing.T, text string) {
		mappings, _ := parseSmaps(strings.NewReader(text), 1<<20)
		for _, m := range mappings {
			if m.PageKiB == 0 || m.Anon > m.Pages[0] {
				t.Errorf("%q is read as %+v", text, m)
			}
		}
	})
}

func FuzzMounts(f *testing.F) {
	f.Add("hugetlbfs /dev/hugepages hugetlbfs rw,relatime,pagesize=2M 0 0\nnone /mnt/one\\040gig hugetlbfs rw,pagesize=1024M,size=2097152,min_size=4096 0 0\n")
	f.Add("x / hugetlbfs rw 0 0\nx /a hugetlbfs rw 0 0\nx /a/b hugetlbfs rw 0 0\nx //c tmpfs rw 0 0\nx /a/b/c tmpfs rw 0 0\nx /a-b tmpfs rw 0 0\nx /a hugetlbfs rw 0 0\nx /a/ x rw 0 0\n")
	f.Add("cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\ncgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset,hugetlb 0 0\n")
	f.Fuzz(func(t *testing.T, text string) {
		mounts, err := parseMounts(text, math.MaxInt)
		if err != nil {
			return
		}
		paths := map[string]bool{}
		for _, m := range mounts.Hugetlb {
			if paths[m.Path] {
				t.Errorf("%q has two mounts at %q", text, m.Path)
			}
			paths[m.Path] = true
			// What came after the last mount there, at its path or below.
			var over []string
			for line := range lines(text) {
				entry, _ := parseMountLine(line)
				switch {
				case entry.path == m.Path && entry.kind == "hugetlbfs":
					over = nil
				case entry.path == m.Path, strings.HasPrefix(entry.path, m.Path+"/"):
					over = append(over, entry.path)
				}
			}
			if !slices.EqualFunc(m.Over, over, func(o OverMount, path string) bool { return o.Path == path }) {
				t.Errorf("%q: over %s are %+v, want %q", text, m.Path, m.Over, over)
			}
		}
	})
}

func FuzzStatus(f *testing.F) {
	f.Add("Name:\tx\\n\nVmPeak: 1 kB\nHugetlbPages:\t  524288 kB\n")
	f.Add("4711 (a) b) S 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 0 0\n")
	f.Add("key shmid perms size cpid lpid nattch uid gid cuid cgid atime dtime ctime rss swap\n0 5 600 2097152 12 12 1 0 0 0 0 0 0 0 2097152 0\n")
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := ParseStatus([]byte(text)); err == nil && !strings.HasPrefix(text, "Name:\t"+p.Name[:min(len(p.Name), 1)]) && !strings.Contains(text, `\`) {
			t.Errorf("%q is the status of %q", text, p.Name)
		}
		if ticks, err := parseStart(text); err == nil && ticks < 0 {
			t.Errorf("%q began at %d", text, ticks)
		}
		_, _ = parseSegments(strings.NewReader(text))
	})
}

func FuzzCgroups(f *testing.F) {
	f.Add("0::/system.slice/a.service\n", "cpuset")
	f.Add("12:cpuset,hugetlb:/machine.slice/../x\n1:name=systemd:/docker/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n", "hugetlb")
	f.Fuzz(func(t *testing.T, text, controller string) {
		if group := parseOwnCgroup(text, controller); !strings.HasPrefix(group, "/") || strings.Contains(group+"/", "/../") {
			t.Errorf("%q has %q in %q", text, controller, group)
		}
		parsePlace(text)
	})
}

func FuzzNumbers(f *testing.F) {
	for _, text := range []string{"0-3,8\n", "10 20\n", "18446744073709551615\n", "1024M", "hugepages-2048kB", "\x06\x00\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if list, err := parseList(text, maxNode); err == nil {
			for i, n := range list {
				if n < 0 || n > maxNode || i > 0 && list[i-1] >= n {
					t.Errorf("%q is read as %v", text, list)
				}
			}
		}
		if distances, err := parseDistances(text); err == nil && len(distances) != len(strings.Fields(text)) {
			t.Errorf("%q is read as %v", text, distances)
		}
		if n, err := parseNumber(text); err == nil && strings.Trim(strings.TrimSpace(text), "0123456789") != "" {
			t.Errorf("%q is read as %d", text, n)
		}
		if kib, err := parseBinarySize(text); err == nil && strings.Contains(text, "-") {
			t.Errorf("%q is read as %d", text, kib)
		}
		if kib, ok := parsePoolName(text); ok && !strings.HasPrefix(text, "hugepages-") {
			t.Errorf("%q is a pool of %d", text, kib)
		}
		_, _, _ = parsePageSize([]byte(text))
	})
}
