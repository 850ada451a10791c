package sysfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// manyMounts returns a file of mounts with n of hugetlbfs, each at a path of its own, and as many files below them.
func manyMounts(n int) string {
	var text strings.Builder
	for i := range n {
		path := fmt.Sprintf("/somewhere/in/a/namespace/of/a/user/%06d", i)
		fmt.Fprintf(&text, "hugetlbfs %s hugetlbfs rw,pagesize=2M 0 0\nnone %s/over tmpfs rw 0 0\n", path, path)
	}
	return text.String()
}

// Any user can mount hugetlbfs thousands of times in a namespace of his own: work grows with the mounts, and not with
// their square.
func TestManyMountsTakeNoMoreEach(t *testing.T) {
	for name, read := range map[string]func(text string) error{
		"parse": func(text string) error {
			_, err := parseMounts(text, math.MaxInt)
			return err
		},
		"reduce": func(text string) error {
			_, _, err := reduceMounts([]byte(text), math.MaxInt)
			return err
		},
	} {
		const n = 1000
		var allocated [2]float64
		for i := range allocated {
			text := manyMounts(n << i)
			allocated[i] = testing.AllocsPerRun(1, func() {
				if err := read(text); err != nil {
					t.Fatal(err)
				}
			})
		}
		if allocated[1] > 2.2*allocated[0] {
			t.Errorf("%s: %v allocations for %d mounts, %v for twice as many", name, allocated[0], n, allocated[1])
		}
	}
}

func TestManyMountsForManyMappings(t *testing.T) {
	mounts, err := parseMounts(manyMounts(1000), math.MaxInt)
	if err != nil {
		t.Fatal(err)
	}
	const lines = 1000
	maps := strings.Repeat("7f00-7fff r--p 00000000 00:0f 4711 /somewhere/in/a/namespace/of/a/user/lib/libc.so.6\n", lines)
	points := []MountPoints{mounts.Points()}
	allocated := testing.AllocsPerRun(1, func() {
		if huge, err := mapsHuge(strings.NewReader(maps), points); huge || err != nil {
			t.Fatal(huge, err)
		}
	})
	if allocated > 3*lines {
		t.Errorf("%v allocations for %d mappings", allocated, lines)
	}
}

// A process has few enough mounts, or is not read in full; a capture of it is not either. The host's own count all.
func TestMostMounts(t *testing.T) {
	for _, n := range []int{mostMounts, mostMounts + 1} {
		text := manyMounts(n)
		own, err := parseMounts(text, mostMounts)
		if tooMany := n > mostMounts; errors.Is(err, errManyMounts) != tooMany || !tooMany && (err != nil || len(own.Hugetlb) != n) {
			t.Errorf("%d: %d mounts, %v", n, len(own.Hugetlb), err)
		}
		for name, most := range map[string]int{"proc/7/mounts": mostMounts, "proc/mounts": math.MaxInt} {
			kept, err := NewReducer(nil).Reduce(name, Entry{Data: []byte(text), File: true})
			if tooMany := n > most; errors.Is(err, errManyMounts) != tooMany || !tooMany && (err != nil || string(kept) != text) {
				t.Errorf("%s: of %d mounts are kept %d bytes, %v", name, n, len(kept), err)
			}
		}
	}
}

// TestMountPoints tries every choice of these mounts with files at, above, below and beside them.
func TestMountPoints(t *testing.T) {
	paths := []string{"/a", "/a/b", "/a/b/c", "/a-b", "/a0", "/b/", "b", "/"}
	var files []string
	for _, path := range paths {
		files = append(files, path, path+"/", path+"/x", path+"-", path+"0/y", path+"/b", strings.TrimPrefix(path, "/")+"/z")
	}
	for chosen := range 1 << len(paths) {
		var mounts Mounts
		for i, path := range paths {
			if chosen>>i&1 > 0 {
				mounts.Hugetlb = append(mounts.Hugetlb, Mount{Path: path})
			}
		}
		points := mounts.Points()
		for _, file := range files {
			want := slices.ContainsFunc(mounts.Hugetlb, func(m Mount) bool {
				return strings.HasPrefix(file, strings.TrimSuffix(m.Path, "/")+"/")
			})
			if got := points.hold(file); got != want {
				t.Errorf("%q hold %q: %v", points, file, got)
			}
		}
	}
}

// VmFlags belong to one mapping: more of them, as a captured host can have, are none of it.
func TestMoreFlagsAreNoMapping(t *testing.T) {
	text := []byte("7f00-7fff rw-s 00000000 00:0f 4711 /x\nKernelPageSize:     2048 kB\nShared_Hugetlb:  2048 kB\n" + strings.Repeat("VmFlags: ht\n", 1000))
	mappings, err := parseSmaps(bytes.NewReader(text), 2)
	if err != nil || len(mappings) != 1 || mappings[0].Pages[0] != 1 {
		t.Errorf("%+v, %v", mappings, err)
	}
	kept, starts, err := reduceSmaps(text)
	if err != nil || len(starts) != 1 || strings.Count(string(kept), "VmFlags") != 1 || !bytes.HasPrefix(text, kept) {
		t.Errorf("of %d bytes are kept %d: %.300q, %v", len(text), len(kept), kept, err)
	}
}

// A process with one mapping of huge pages is read no further.
func TestMapsHugeEndsWithTheFirst(t *testing.T) {
	first := strings.NewReader("7f00-7fff rw-s 00000000 00:0f 4711 /memfd:x (deleted)\n")
	huge, err := mapsHuge(io.MultiReader(first, iotest.ErrReader(errors.New("read further"))), nil)
	if !huge || err != nil {
		t.Errorf("%v, %v", huge, err)
	}
}
