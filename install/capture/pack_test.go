package capture

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hugeguard/install/installtest"
)

// pack makes an archive of entries as nobody's capture has them.
func pack(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		data := []byte(nil)
		if h.Typeflag == tar.TypeReg {
			data = []byte("text\n")
			h.Size = int64(len(data))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestHostileArchives: an archive from anybody writes nothing but below its own directory, leaves nothing behind, and
// nothing in it leads out.
func TestHostileArchives(t *testing.T) {
	file := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg} }
	link := func(name, target string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}
	}
	for name, archive := range map[string][]byte{
		"absolute":             pack(t, file("/etc/passwd")),
		"upwards":              pack(t, file("../x")),
		"upwards inside":       pack(t, file("proc/../../x")),
		"upwards at the end":   pack(t, tar.Header{Name: "proc/..", Typeflag: tar.TypeDir}),
		"no name":              pack(t, file("proc//x")),
		"long name":            pack(t, file(strings.Repeat("x/", maxName)+"x")),
		"long element":         pack(t, file(strings.Repeat("x", maxElement+1))),
		"absolute link":        pack(t, link("proc", "/proc")),
		"link upwards":         pack(t, link("proc", "..")),
		"link far upwards":     pack(t, link("proc", "../../proc")),
		"link to itself above": pack(t, link("proc", ".")),
		"link to below":        pack(t, link("proc", "sys/x")),
		"deep name":            pack(t, file(strings.Repeat("x/", maxDepth)+"x")),
		"deep directory":       pack(t, tar.Header{Name: strings.Repeat("x/", maxDepth+1), Typeflag: tar.TypeDir}),
		"file through a link":  pack(t, link("proc", "elsewhere"), file("proc/x")),
		"file over a link":     pack(t, link("proc", "elsewhere"), file("proc")),
		"twice":                pack(t, file("a"), file("a")),
		"file below a file":    pack(t, file("a"), file("a/b")),
		"hard link":            pack(t, file("a"), tar.Header{Name: "b", Typeflag: tar.TypeLink, Linkname: "a"}),
		"device":               pack(t, tar.Header{Name: "zero", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 5}),
		"fifo":                 pack(t, tar.Header{Name: "fifo", Typeflag: tar.TypeFifo}),
		"too large":            claim(pack(t, file("a")), maxUnpacked+1),
		"far too large":        claim(pack(t, file("a")), 8<<30-1),
		"cut":                  pack(t, file("a"))[:512],
		"empty":                pack(t),
		"no archive":           []byte("<domain/>"),
		"nothing":              nil,
		"no gzip":              []byte("\x1f\x8bxxxxxxxxxxxxxxx"),
	} {
		t.Run(name, func(t *testing.T) {
			above := t.TempDir()
			t.Setenv("TMPDIR", filepath.Join(above, "tmp"))
			if err := os.Mkdir(filepath.Join(above, "tmp"), 0o700); err != nil {
				t.Fatal(err)
			}
			archived := filepath.Join(above, "hostile.tar")
			if err := os.WriteFile(archived, archive, 0o600); err != nil {
				t.Fatal(err)
			}
			before, err := installtest.List(above)
			if err != nil {
				t.Fatal(err)
			}
			if dir, err := Unpack(context.Background(), archived); err == nil || dir != "" || !strings.HasPrefix(err.Error(), archived+": ") {
				t.Errorf("unpacked to %q, %v", dir, err)
			}
			after, err := installtest.List(above)
			if err != nil {
				t.Fatal(err)
			}
			if after != before {
				t.Errorf("left behind is\n%s\nbefore there was\n%s", after, before)
			}
		})
	}
}

// claim has the header of the first file say that it is larger, and returns the archive.
func claim(archive []byte, size int64) []byte {
	copy(archive[124:136], fmt.Sprintf("%011o\x00", size))
	copy(archive[148:156], "        ")
	sum := 0
	for _, c := range archive[:512] {
		sum += int(c)
	}
	copy(archive[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return archive
}

// TestBomb: files that are together larger than an archive may be are written no further than that, however small they
// come; what an archive may be is not refused for its size.
func TestBomb(t *testing.T) {
	const size, room = 1 << 20, 4 << 20
	var bomb bytes.Buffer
	zip := gzip.NewWriter(&bomb)
	w := tar.NewWriter(zip)
	for i := range room/size + 1 {
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprint("zero", i), Typeflag: tar.TypeReg, Size: size}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	for _, more := range []int64{0, size - 1, size} {
		u := unpacker{dir: t.TempDir(), made: map[string]bool{".": true}, room: room + more}
		if err := u.all(bytes.NewReader(bomb.Bytes())); (more == size) != (err == nil) || err != nil && !errors.Is(err, errLarge) {
			t.Errorf("with %d bytes more: %v", more, err)
		}
		if written, err := os.ReadDir(u.dir); err != nil || len(written) != int((room+more)/size) {
			t.Errorf("with %d bytes more: written are %v, %v", more, written, err)
		}
	}
	name := filepath.Join(t.TempDir(), "host.tar")
	if err := os.WriteFile(name, claim(pack(t, tar.Header{Name: "a", Typeflag: tar.TypeReg}), maxUnpacked), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Unpack(context.Background(), name); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("one that is cut: %v", err)
	}
}

// TestManyDirectories: a directory that a name takes counts, as each entry does, and once.
func TestManyDirectories(t *testing.T) {
	deep := strings.Repeat("x/", maxDepth-1)
	for _, test := range []struct {
		room   int // for entries
		packed []byte
	}{
		{maxDepth + 1, pack(t, tar.Header{Name: deep + "a", Typeflag: tar.TypeReg}, tar.Header{Name: deep + "b", Typeflag: tar.TypeReg})},
		{maxDepth + 1, pack(t, tar.Header{Name: deep + "x", Typeflag: tar.TypeDir})},
		{2, pack(t, tar.Header{Name: "a", Typeflag: tar.TypeReg}, tar.Header{Name: "b", Typeflag: tar.TypeReg})},
	} {
		for _, short := range []int{0, 1} {
			u := unpacker{dir: t.TempDir(), made: map[string]bool{".": true}, entries: maxEntries - test.room + short, room: maxUnpacked}
			if err := u.all(bytes.NewReader(test.packed)); errors.Is(err, errLarge) != (short > 0) || err != nil && short == 0 {
				t.Errorf("%d entries of room, less %d: %v", test.room, short, err)
			}
		}
	}
}

// TestArchive: what was packed comes out again, for its owner alone; packed again by tar(1) as well, with a "." above.
func TestArchive(t *testing.T) {
	changed := time.Date(2026, 1, 2, 3, 4, 5, 678_901_234, time.UTC)
	c := Capture{files: map[string]file{
		About:                  {data: []byte("text")},
		"etc/nova/nova.conf":   {data: []byte("[DEFAULT]\n"), changed: changed},
		"etc/nova":             {dir: true},
		"etc/nova/empty":       {dir: true},
		"proc/7/maps":          {link: "maps"},
		"proc/7":               {link: "7"}, // and something in it
		"a name\nof\xff\x01":   {data: []byte{}},
		"proc/self/ns/mnt":     {link: "mnt:[4026531840]"},
		"sys/1/" + longElement: {data: bytes.Repeat([]byte("x"), 1<<20)},
	}}
	for _, name := range []string{"c.tar", "c.tar.gz", "c.tgz"} {
		file := filepath.Join(t.TempDir(), name)
		checkCreate(t, c, file)
		checkUnpack(t, c, file)
	}
	dot := filepath.Join(t.TempDir(), "dot.tar")
	if err := os.WriteFile(dot, pack(t, tar.Header{Name: "./", Typeflag: tar.TypeDir}, tar.Header{Name: "./proc/", Typeflag: tar.TypeDir}, tar.Header{Name: "./proc/mounts", Typeflag: tar.TypeReg}), 0o600); err != nil {
		t.Fatal(err)
	}
	dir, err := Unpack(context.Background(), dot)
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if text, err := os.ReadFile(filepath.Join(dir, "proc/mounts")); err != nil || string(text) != "text\n" {
		t.Errorf("%q, %v", text, err)
	}
}

// checkCreate creates the capture's file, which is not replaced unless that is wanted.
func checkCreate(t *testing.T, c Capture, file string) {
	t.Helper()
	if err := c.Create(context.Background(), file, false); err != nil {
		t.Fatal(err)
	}
	if err := c.Create(context.Background(), file, false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("created twice: %v", err)
	}
	if err := Exists(file); !errors.Is(err, fs.ErrExist) {
		t.Errorf("it is there: %v", err)
	}
	was, err := os.Stat(file)
	if err != nil || was.Mode() != 0o600 {
		t.Errorf("%v, %v", was.Mode(), err)
	}
	if err := c.Create(context.Background(), file, true); err != nil {
		t.Fatal(err)
	}
	if is, err := os.Stat(file); err != nil || os.SameFile(was, is) || is.Size() != was.Size() || is.Mode() != 0o600 {
		t.Errorf("replaced it is %v, %v", is, err)
	}
	if compressed := was.Size() < 1<<20; compressed != (filepath.Base(file) != "c.tar") {
		t.Errorf("%s has %d bytes", file, was.Size())
	}
}

// checkUnpack unpacks an archive, and finds the capture.
func checkUnpack(t *testing.T, c Capture, archive string) {
	t.Helper()
	dir, err := Unpack(context.Background(), archive)
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	conf, err := os.Stat(filepath.Join(dir, "etc/nova/nova.conf"))
	if err != nil || !conf.ModTime().Equal(c.files["etc/nova/nova.conf"].changed) {
		t.Errorf("changed %v, %v", conf, err)
	}
	for name, f := range c.files {
		info, err := os.Lstat(filepath.Join(dir, name))
		if name == "proc/7" {
			f = file{dir: true}
		}
		if err != nil || info.IsDir() != f.dir {
			t.Errorf("%q: %v, %v", name, info, err)
			continue
		}
		if target, _ := os.Readlink(filepath.Join(dir, name)); target != f.link {
			t.Errorf("%q leads to %q", name, target)
		}
		if data, err := os.ReadFile(filepath.Join(dir, name)); f.link == "" && !f.dir && (err != nil || !bytes.Equal(data, f.data)) {
			t.Errorf("%q: %d bytes, %v", name, len(data), err)
		}
	}
}

var longElement = strings.Repeat("n", maxElement)

// TestCreateFails: where it cannot be written there is no file afterwards, and one that was there stays.
func TestCreateFails(t *testing.T) {
	dir := t.TempDir()
	c := Capture{files: map[string]file{"a\x00b": {data: []byte("no archive has this name")}}}
	for _, force := range []bool{false, true} {
		if err := c.Create(context.Background(), filepath.Join(dir, "new.tar"), force); err == nil {
			t.Error("created")
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("left behind: %v, %v", entries, err)
		}
	}
	old := filepath.Join(dir, "old.tar")
	if err := os.WriteFile(old, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, force := range []bool{false, true} {
		if err := c.Create(context.Background(), old, force); err == nil {
			t.Error("created")
		}
		if text, err := os.ReadFile(old); err != nil || string(text) != "old" {
			t.Errorf("%q, %v", text, err)
		}
	}
}

// TestBounds: beyond the bounds those processes are left out that have the fewest huge pages, and it is said.
func TestBounds(t *testing.T) {
	large := make([]byte, maxBytes/4)
	for _, test := range []struct {
		name  string
		count int
		data  []byte
		kept  int
	}{
		{"processes", maxProcesses + 20, []byte("7f0000000000 default huge\n"), maxProcesses},
		{"bytes", 10, large, 3}, // the fourth, with its status, is too much
	} {
		c := Capture{files: map[string]file{"proc/self/auxv": {data: []byte("x")}}}
		for i := 1; i <= test.count; i++ {
			c.files[fmt.Sprintf("proc/%d/status", i)] = file{data: fmt.Appendf(nil, "Name:\tx\nHugetlbPages:\t%d kB\n", 2048*i)}
			c.files[fmt.Sprintf("proc/%d/numa_maps", i)] = file{data: test.data}
		}
		seen := c.prune()
		notes := c.Notes
		if seen != test.count || len(notes) != 1 || !strings.HasPrefix(notes[0], fmt.Sprintf("%d of %d processes were left out", test.count-test.kept, test.count)) {
			t.Errorf("%s: %d seen, said is %q", test.name, seen, notes)
		}
		if len(c.files) != 2*test.kept+1 {
			t.Errorf("%s: %d files are left", test.name, len(c.files))
		}
		for i := 1; i <= test.count; i++ {
			if _, ok := c.files[fmt.Sprintf("proc/%d/status", i)]; ok != (i > test.count-test.kept) {
				t.Errorf("%s: process %d is kept: %t", test.name, i, ok)
			}
		}
	}
}

// TestOthersBound: what is not about processes leaves them their room. What goes first are domains that are off, then
// the longest files; neither is gone, for nobody to know.
func TestOthersBound(t *testing.T) {
	const off, on, list, counter = "etc/libvirt/qemu/off.xml", "run/libvirt/qemu/on.xml", "dev/hugepages.files", "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
	for _, test := range []struct {
		name string
		list int // bytes
		gone []string
	}{
		{"none", maxOthers / 4, nil},
		{"domains that are off", maxOthers * 5 / 8, []string{off}},
		{"all that is long", 2 * maxOthers, []string{off, list}},
	} {
		c := Capture{files: map[string]file{
			off:                  {data: make([]byte, maxOthers/4)},
			on:                   {data: make([]byte, maxOthers/4)},
			list:                 {data: make([]byte, test.list)},
			counter:              {data: []byte("7\n")},
			"proc/7/status":      {data: []byte("Name:\tx\nHugetlbPages:\t2048 kB\n")},
			"proc/7/numa_maps":   {data: []byte("7f0000000000 default huge\n")},
			"proc/8/status":      {data: []byte("Name:\ty\nHugetlbPages:\t4096 kB\n")},
			"proc/8/numa_maps":   {data: make([]byte, maxBytes-maxOthers-4096)},
			"proc/9/status":      {data: []byte("Name:\tz\n")},
			"etc/nova/nova.conf": {data: []byte("\n"), changed: time.Unix(1, 0)},
		}}
		c.prune()
		notes := c.Notes
		for _, name := range []string{off, on, list, counter, "etc/nova/nova.conf", "proc/7/status", "proc/8/numa_maps"} {
			f, ok := c.files[name]
			if !ok || slices.Contains(test.gone, name) != (f.link == filepath.Base(name)) || f.link == "" && f.data == nil {
				t.Errorf("%s: %s is there %t, leads to %q, has %d bytes", test.name, name, ok, f.link, len(f.data))
			}
		}
		if said := strings.Join(notes, "; "); len(notes) > 1 || (said != "") != (test.gone != nil) || said != "" && !strings.HasPrefix(said, fmt.Sprintf("%d files that are not about processes were left out, for example %s:", len(test.gone), off)) {
			t.Errorf("%s: said is %q", test.name, notes)
		}
	}
}

// interruptedAfter is a context that is done after it was asked so often.
type interruptedAfter struct {
	context.Context
	left int
}

func (c *interruptedAfter) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestInterrupted: what is interrupted, whenever, leaves no part of a file or directory, and what was there as it was.
func TestInterrupted(t *testing.T) {
	c := Capture{files: map[string]file{}}
	for i := range 5 {
		c.files[fmt.Sprintf("proc/%d/maps", i)] = file{data: bytes.Repeat([]byte("x"), 10_000)}
	}
	for _, force := range []bool{false, true} {
		for _, ext := range []string{".tar", ".tar.gz"} {
			ended := false
			for after := 0; !ended; after++ {
				dir := t.TempDir()
				name := filepath.Join(dir, "host"+ext)
				if force {
					if err := os.WriteFile(name, []byte("old"), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				before, err := installtest.List(dir)
				if err != nil {
					t.Fatal(err)
				}
				err = c.Create(&interruptedAfter{context.Background(), after}, name, force)
				if ended = err == nil; ended && after > 0 {
					break
				}
				after, err2 := installtest.List(dir)
				if !errors.Is(err, context.Canceled) || err2 != nil || after != before {
					t.Errorf("%v, %v: left is\n%s\nbefore there was\n%s", err, err2, after, before)
				}
			}
		}
	}
	archived := filepath.Join(t.TempDir(), "host.tar")
	if err := c.Create(context.Background(), archived, false); err != nil {
		t.Fatal(err)
	}
	for after := 0; ; after++ {
		t.Setenv("TMPDIR", t.TempDir())
		dir, err := Unpack(&interruptedAfter{context.Background(), after}, archived)
		if err == nil && after > 0 {
			break
		}
		if left, err2 := os.ReadDir(os.Getenv("TMPDIR")); !errors.Is(err, context.Canceled) || dir != "" || err2 != nil || len(left) > 0 {
			t.Errorf("%q, %v: left is %v, %v", dir, err, left, err2)
		}
	}
}
