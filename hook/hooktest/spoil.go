package hooktest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"hugeguard/sysfs/sysfstest"
)

// summary has the files of a summary once it was made.
var summary struct {
	sync.Mutex
	files map[string]string
}

// Summary makes the host of the incident again, with less of what its processes map, which hundreds of calls need not
// read.
func Summary(t testing.TB) sysfstest.Host {
	t.Helper()
	summary.Lock()
	defer summary.Unlock()
	if summary.files == nil {
		host := Incident(t)
		summarize(t, host)
		summary.files = map[string]string{}
		for _, name := range filesOf(t, host) {
			text, err := os.ReadFile(host.Path(name))
			if err != nil {
				t.Fatal(err)
			}
			summary.files[name] = string(text)
		}
	}
	host := sysfstest.New(t)
	for name, text := range summary.files {
		host.Write(name, text)
	}
	return host
}

// summarize leaves of what the processes map what is of huge pages and a little
// more, Open vSwitch's thousand files being one for each node.
func summarize(t testing.TB, host sysfstest.Host) {
	const pages = 512
	var mapped, numa strings.Builder
	for node := range 2 {
		start := 0x2200200000 + node<<32
		fmt.Fprintf(&mapped, "%x-%x rw-s 00000000 00:0f %d /memfd:seg_%d (deleted)\n", start, start+pages<<21, 42245+node, node)
		fmt.Fprintf(&numa, "%x local file=/memfd:seg_%d\\040(deleted) huge dirty=%d N%d=%[3]d kernelpagesize_kB=2048\n", start, node, pages, node)
	}
	for _, pid := range []int{2974, 3066, 3085} {
		dir := fmt.Sprintf("proc/%d/", pid)
		huge := map[string]bool{} // by where they start
		shorten(t, host, dir+"numa_maps", numa.String(), func(start, line string) bool {
			huge[start] = pid != 2974 && strings.Contains(line, " huge ")
			return huge[start]
		})
		shorten(t, host, dir+"maps", mapped.String(), func(start, _ string) bool { return huge[start] })
		mapped.Reset()
		numa.Reset()
	}
}

// shorten leaves the first lines of a file, and those that are to be kept, after others.
func shorten(t testing.TB, host sysfstest.Host, file, others string, keep func(start, line string) bool) {
	text, err := os.ReadFile(host.Path(file))
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	for line := range strings.Lines(string(text)) {
		start, _, _ := strings.Cut(line, " ")
		start, _, _ = strings.Cut(start, "-")
		if kept := keep(start, line); kept || i < 5 && !strings.Contains(line, "seg_") {
			others += line
		}
		i++
	}
	host.Write(file, others)
}

// Host is a captured host of which a file can hold anything.
type Host struct {
	sysfstest.Host
	XML   []byte   // of the domain that was started there
	Files []string // of the kernel's, of libvirt's, of Nova's, without the root
}

// newHost prepares a host for changes. Each change is undone by the next.
func newHost(t testing.TB, host sysfstest.Host, xml []byte) Host {
	t.Helper()
	return Host{Host: host, XML: xml, Files: filesOf(t, host)}
}

// filesOf returns the names of a host's files, in their order.
func filesOf(t testing.TB, host sysfstest.Host) (names []string) {
	t.Helper()
	root := host.Path("")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			names = append(names, strings.TrimPrefix(path, root+"/"))
		}
		return err
	})
	if err != nil || len(names) == 0 {
		t.Fatal(len(names), err)
	}
	slices.Sort(names)
	return names
}

// With has a file, by its number, hold something until what is returned is called; a number too large is no file.
func (h Host) With(t testing.TB, file uint16, data []byte) (restore func()) {
	t.Helper()
	if int(file) >= len(h.Files) {
		return func() {}
	}
	path := h.Path(h.Files[file])
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h.Write(h.Files[file], string(data))
	return func() { h.Write(h.Files[file], string(old)) }
}

// Spoilable is the host of the incident with files of each sort.
func Spoilable(t testing.TB) Host {
	host := Summary(t)
	host.Write("proc/uptime", "5000.00 9000.00\n")
	host.Write("etc/nova/nova.conf", "[DEFAULT]\nreserved_huge_pages = node:0,size:2048,count:64\n")
	host.Write("etc/hugeguard.conf", "exempt = test-*\nnova_conf = /etc/nova/nova.conf\n")
	host.Write("run/openvswitch/db.json", OVSAnswer(`,["dpdk-socket-mem","1024,1024"]`))
	host.Write("proc/sysvipc/shm", "key shmid perms size cpid lpid nattch uid gid cuid cgid atime dtime ctime rss swap\n0 5 600 4194304 1 1 0 0 0 0 0 0 0 0 4194304 0\n")
	return newHost(t, host, []byte(Domain(t, "prepare.xml")))
}

// Hosts are captured hosts of each sort, [Spoilable] the first of them.
func Hosts(t testing.TB) []Host {
	all := []Host{Spoilable(t)}
	files, err := filepath.Glob(Data("numabox/captured/*/*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		host := sysfstest.Archive(t, file)
		xml, err := os.ReadFile(host.Path("prepare.xml"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, newHost(t, host, xml))
	}
	return all
}

// Number is that of a file of a host.
func (h Host) Number(t testing.TB, name string) uint16 {
	t.Helper()
	i := slices.Index(h.Files, name)
	if i < 0 {
		t.Fatalf("the host has no %s", name)
	}
	return uint16(i)
}

// PlainLines reports whether nothing in a text acts on a terminal but the ends of its lines.
func PlainLines(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && !strconv.IsPrint(r) })
}
