// Command init is the only program of the machines that capture.sh boots. It
// sets up huge pages, takes some of them in every way that a process can, and
// prints what the kernel says about it all as one txtar archive.
//
// Files that are no text, or do not end in a line feed, are in the archive in
// base64, under their name with ".base64" after it.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	poolDir = "/sys/kernel/mm/hugepages"
	nodeDir = "/sys/devices/system/node"

	// wanted is how many pages of the size that the mappings are made of the
	// nodes get between them; wantedOther is the same for the other sizes.
	wanted      = 48
	wantedOther = 6

	shmHugetlb = 0o4000 // SHM_HUGETLB of <linux/shm.h>

	giant = 1 << 20 // KiB; pools of these pages are set up by the kernel's command line alone
)

func main() {
	if kind := os.Getenv("CAPTURE_CHILD"); kind != "" {
		child(kind)
		return
	}
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "init: this is for the machines of capture.sh, where it is process 1")
		os.Exit(2)
	}
	debug.SetPanicOnFault(true)
	c := &capture{}
	c.run()
	c.print()
	// The console is slower than the program.
	time.Sleep(time.Second)
	unix.Sync()
	report("power off", unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))
	time.Sleep(time.Hour)
}

// report says on the console what did not work; what a kernel lacks is no
// reason to stop.
func report(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "init: %s: %v\n", what, err)
	}
}

type capture struct {
	sizes    []uint64 // KiB, ascending
	normal   uint64   // the kernel's default size in KiB
	size     uint64   // what most mappings are made of, in KiB
	nodes    []int    // those with memory
	children []int
	archive  bytes.Buffer
}

func (c *capture) run() {
	for _, m := range [][3]string{
		{"proc", "/proc", "proc"}, {"sysfs", "/sys", "sysfs"}, {"devtmpfs", "/dev", "devtmpfs"}, {"tmpfs", "/tmp", "tmpfs"},
	} {
		report("mount "+m[1], mount(m[0], m[1], m[2], ""))
	}
	report("silence the kernel", write("/proc/sys/kernel/printk", "1"))
	report("shmmax", write("/proc/sys/kernel/shmmax", "1099511627776"))

	c.eject()
	c.look()
	c.pools()
	c.mounts()
	if len(c.sizes) > 0 {
		c.mappings()
	}
	c.zombie()
	c.collect()
}

// eject takes away the CPU that capture.eject= on the kernel's command line
// has the number of. A node that is left without CPUs and memory goes offline.
func (c *capture) eject() {
	cmdline, err := os.ReadFile("/proc/cmdline")
	report("cmdline", err)
	for _, word := range strings.Fields(string(cmdline)) {
		if cpu, ok := strings.CutPrefix(word, "capture.eject="); ok {
			report("eject", write("/sys/devices/system/cpu/cpu"+cpu+"/firmware_node/eject", "1"))
			time.Sleep(2 * time.Second)
		}
	}
}

// look finds the sizes and the nodes.
func (c *capture) look() {
	dirs, _ := filepath.Glob(poolDir + "/hugepages-*kB")
	for _, dir := range dirs {
		digits := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(dir), "hugepages-"), "kB")
		kib, err := strconv.ParseUint(digits, 10, 64)
		report(dir, err)
		c.sizes = append(c.sizes, kib)
	}
	slices.Sort(c.sizes)
	meminfo, err := os.ReadFile("/proc/meminfo")
	report("meminfo", err)
	if _, rest, ok := strings.Cut(string(meminfo), "\nHugepagesize:"); ok {
		c.normal, err = strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
		report("Hugepagesize", err)
	}
	c.size = c.normal
	if c.size >= giant && len(c.sizes) > 0 {
		c.size = c.sizes[0]
	}
	list, err := os.ReadFile(nodeDir + "/has_memory")
	report("nodes", err)
	for _, part := range strings.FieldsFunc(string(list), func(r rune) bool { return r == ',' || r == '\n' }) {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		first, err1 := strconv.Atoi(low)
		last, err2 := strconv.Atoi(high)
		report("nodes", errors.Join(err1, err2))
		for n := first; n <= last; n++ {
			c.nodes = append(c.nodes, n)
		}
	}
	fmt.Printf("init: sizes %v default %d using %d nodes %v\n", c.sizes, c.normal, c.size, c.nodes)
}

// mounts mounts hugetlbfs with and without a page size, and at mount points
// whose names the kernel has to escape.
func (c *capture) mounts() {
	if len(c.sizes) == 0 {
		return
	}
	report("mount", mount("hugetlbfs", "/dev/hugepages", "hugetlbfs", ""))
	for _, kib := range c.sizes {
		report("mount", mount("none", hugeDir(kib), "hugetlbfs", "pagesize="+option(kib)))
	}
	report("mount", mount("huge source", "/mnt/huge pages", "hugetlbfs",
		fmt.Sprintf("pagesize=%s,mode=0770,gid=64055,size=%dK,min_size=%dK", option(c.size), 8*c.size, c.size)))
	report("mount", mount("hugetlbfs", "/mnt/tab\tback\\slash#hash", "hugetlbfs", ""))
	report("mount", mount("hugetlbfs", "/mnt/pagesize=2M", "tmpfs", "size=64k"))
}

func hugeDir(kib uint64) string { return "/mnt/huge-" + option(kib) }

// option prints a size as mount option pagesize= wants it.
func option(kib uint64) string {
	switch {
	case kib%(1<<20) == 0:
		return fmt.Sprintf("%dG", kib>>20)
	case kib%(1<<10) == 0:
		return fmt.Sprintf("%dM", kib>>10)
	}
	return fmt.Sprintf("%dK", kib)
}

// pools shares the wanted pages out to the nodes, a little unevenly.
func (c *capture) pools() {
	for _, kib := range c.sizes {
		pool := fmt.Sprintf("hugepages-%dkB", kib)
		if kib >= giant {
			continue
		}
		total := wantedOther
		if kib == c.size {
			total = wanted
		}
		if len(c.nodes) == 0 {
			report("pool", write(poolDir+"/"+pool+"/nr_hugepages", strconv.Itoa(total)))
		}
		for i, node := range c.nodes {
			n := total/len(c.nodes) + 2*i - (len(c.nodes) - 1)
			report("pool", write(fmt.Sprintf("%s/node%d/hugepages/%s/nr_hugepages", nodeDir, node, pool), strconv.Itoa(n)))
		}
		report("overcommit", write(poolDir+"/"+pool+"/nr_overcommit_hugepages", "4"))
	}
}

// Kinds of memory policy and their flags, of <linux/mempolicy.h>.
const (
	mpolPreferred          = 1
	mpolBind               = 2
	mpolInterleave         = 3
	mpolLocal              = 4
	mpolPreferredMany      = 5
	mpolWeightedInterleave = 6
	mpolRelative           = 1 << 14
	mpolStatic             = 1 << 15
)

// mappings takes pages in every way.
func (c *capture) mappings() {
	const private, shared, anonymous = unix.MAP_PRIVATE, unix.MAP_SHARED, unix.MAP_ANONYMOUS
	huge := unix.MAP_HUGETLB | hugeFlag(c.size)
	dir := hugeDir(c.size)

	c.take("private, anonymous", -1, 3, private|anonymous|huge).touch(0, 2)
	c.take("shared, anonymous", -1, 2, shared|anonymous|huge).touch(0, 2)
	c.take("shared file", c.open(dir+"/shared"), 4, shared).touch(0, 2)
	p := c.take("private file", c.open(dir+"/private"), 3, private)
	p.read(0)
	p.touch(1, 2)
	memfd, err := unix.MemfdCreate("guest ram", unix.MFD_HUGETLB|hugeFlag(c.size))
	report("memfd", err)
	report("memfd", unix.Ftruncate(memfd, int64(3*c.size<<10)))
	c.take("memfd", memfd, 3, shared).touch(0, 2)
	c.take("untouched", c.open(dir+"/untouched"), 2, shared)
	c.take("untouched and not reserved", -1, 5, private|anonymous|huge|unix.MAP_NORESERVE)
	c.take("a space", c.open("/mnt/huge pages/a file = a name"), 1, shared).touch(0, 1)
	c.take("a backslash", c.open(dir+`/odd\040name`), 1, shared).touch(0, 1)
	fd := c.open(dir + "/qemu_back_mem._objects_ram0.AbCdEf")
	report("unlink", os.Remove(dir+"/qemu_back_mem._objects_ram0.AbCdEf"))
	c.take("unlinked", fd, 2, shared).touch(0, 1)
	c.openSize("/dev/hugepages/never mapped", c.normal)

	if id, err := unix.SysvShmGet(unix.IPC_PRIVATE, int(2*c.size<<10), unix.IPC_CREAT|0o600|shmHugetlb|hugeFlag(c.size)); err != nil {
		report("System V shared memory", err)
	} else {
		at, err := unix.SysvShmAttach(id, 0, 0)
		report("System V shared memory", err)
		if err == nil {
			mapping{"System V shared memory", unsafe.Pointer(unsafe.SliceData(at)), c.size << 10, len(at)}.touch(0, 1)
		}
	}

	// Names that may be taken for those of huge pages.
	if fd, err := os.OpenFile("/tmp/not huge N0=7 huge", os.O_RDWR|os.O_CREATE, 0o600); err == nil {
		report("no huge pages", fd.Truncate(1<<20))
		_, err := unix.MmapPtr(int(fd.Fd()), 0, nil, 1<<20, unix.PROT_READ|unix.PROT_WRITE, shared)
		report("no huge pages", err)
	}

	if len(c.nodes) > 0 {
		all, first, last := uint64(0), uint64(1)<<c.nodes[0], uint64(1)<<c.nodes[len(c.nodes)-1]
		for _, n := range c.nodes {
			all |= 1 << n
		}
		for _, p := range []struct {
			name  string
			mode  int
			nodes uint64
			pages int
			touch int
		}{
			{"prefer many", mpolPreferredMany, all, 2, 2},
			{"prefer many, static", mpolPreferredMany | mpolStatic, all, 1, 1},
			{"prefer", mpolPreferred, last, 1, 1},
			{"bind", mpolBind, last, 2, 1},
			{"bind, static", mpolBind | mpolStatic, first, 1, 1},
			{"interleave", mpolInterleave, all, 2, 2},
			{"interleave, relative", mpolInterleave | mpolRelative, all, 1, 1},
			{"weighted interleave", mpolWeightedInterleave, all, 2, 2},
			{"local", mpolLocal, 0, 1, 1},
		} {
			m := c.take(p.name, -1, p.pages, shared|anonymous|huge)
			m.bind(p.mode, p.nodes)
			m.touch(0, p.touch)
		}
	}

	// One of every other size.
	for _, kib := range c.sizes {
		if kib == c.size || c.count(kib, "free_hugepages") == 0 {
			continue
		}
		other := capture{size: kib}
		other.take("other size", other.open(hugeDir(kib)+"/other"), 1, shared).touch(0, 1)
		if c.count(kib, "free_hugepages") > 1 {
			other.take("other size, private", -1, 1, private|anonymous|unix.MAP_HUGETLB|hugeFlag(kib))
		}
	}

	c.child("holder", "/bin/holder", "-name", "guest=a name,debug-threads=on", "")
	c.surplus()
}

// surplus empties one node and takes pages above what was set up from it.
func (c *capture) surplus() {
	if len(c.nodes) == 0 {
		return
	}
	node := c.nodes[len(c.nodes)-1]
	m := c.take("surplus", -1, wanted, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_HUGETLB|hugeFlag(c.size)|unix.MAP_NORESERVE)
	m.bind(mpolBind, 1<<node)
	for i := range wanted {
		if c.count(c.size, "surplus_hugepages") >= 2 {
			return
		}
		m.touch(i, 1)
	}
}

func (c *capture) count(kib uint64, file string) uint64 {
	text, err := os.ReadFile(fmt.Sprintf("%s/hugepages-%dkB/%s", poolDir, kib, file))
	report(file, err)
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	report(file, err)
	return n
}

// hugeFlag names a size to mmap, memfd_create and shmget, which have it at
// the same place.
func hugeFlag(kib uint64) int { return bits.TrailingZeros64(kib<<10) << unix.MAP_HUGE_SHIFT }

func (c *capture) open(name string) int { return c.openSize(name, c.size) }

func (c *capture) openSize(name string, kib uint64) int {
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	report("open "+name, err)
	if err == nil {
		report("truncate "+name, unix.Ftruncate(fd, int64(4*kib<<10)))
	}
	return fd
}

// mapping is a mapping of pages of a size in bytes.
type mapping struct {
	name  string
	start unsafe.Pointer
	size  uint64
	bytes int
}

// take maps pages.
func (c *capture) take(name string, fd, pages, flags int) mapping {
	n := uintptr(pages) * uintptr(c.size<<10)
	start, err := unix.MmapPtr(fd, 0, nil, n, unix.PROT_READ|unix.PROT_WRITE, flags)
	report("map: "+name, err)
	return mapping{name, start, c.size << 10, int(n)}
}

func (m mapping) bind(mode int, nodes uint64) {
	if m.start == nil {
		return
	}
	mask := [16]uint64{nodes}
	at, length := uintptr(unsafe.Pointer(&mask)), uintptr(len(mask)*64)
	if nodes == 0 {
		at, length = 0, 0
	}
	if _, _, e := unix.Syscall6(unix.SYS_MBIND, uintptr(m.start), uintptr(m.bytes), uintptr(mode), at, length, 0); e != 0 {
		report("policy: "+m.name, e)
	}
}

// touch writes to pages, so that the kernel has to give them.
func (m mapping) touch(first, pages int) {
	m.each(first, pages, func(p *byte) { *p = 1 })
}

func (m mapping) read(page int) {
	sum := byte(0)
	m.each(page, 1, func(p *byte) { sum += *p })
	if sum != 0 {
		report(m.name, errors.New("a fresh page is not zero"))
	}
}

func (m mapping) each(first, pages int, do func(*byte)) {
	if m.start == nil {
		return
	}
	// A page that the kernel cannot give is a bus error.
	defer func() {
		if e := recover(); e != nil {
			report("touch: "+m.name, fmt.Errorf("%v", e))
		}
	}()
	for i := first; i < first+pages && uint64(i)*m.size < uint64(m.bytes); i++ {
		do((*byte)(unsafe.Add(m.start, uint64(i)*m.size)))
	}
}

// child starts this program again as a process that maps the shared file too
// and has a name and arguments that are no plain words.
func (c *capture) child(kind string, args ...string) {
	cmd := exec.Cmd{
		Path:   "/init",
		Args:   args,
		Env:    []string{"CAPTURE_CHILD=" + kind, "CAPTURE_SIZE=" + strconv.FormatUint(c.size, 10)},
		Stderr: os.Stderr,
	}
	out, err := cmd.StdoutPipe()
	report("child", err)
	if err := cmd.Start(); err != nil {
		report("child", err)
		return
	}
	_, err = out.Read(make([]byte, 1))
	report("child", err)
	c.children = append(c.children, cmd.Process.Pid)
}

func child(kind string) {
	if kind == "zombie" {
		return
	}
	debug.SetPanicOnFault(true)
	size, err := strconv.ParseUint(os.Getenv("CAPTURE_SIZE"), 10, 64)
	report("size", err)
	c := capture{size: size}
	c.take("child's shared file", c.open(hugeDir(size)+"/shared"), 4, unix.MAP_SHARED).touch(1, 2)
	c.take("child's own", -1, 1, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_HUGETLB|hugeFlag(size)).touch(0, 1)
	report("name", write("/proc/self/comm", "CPU 0/K\\V M huge"))
	fmt.Print(".")
	for {
		time.Sleep(time.Hour)
	}
}

// zombie leaves a process behind that has ended.
func (c *capture) zombie() {
	p, err := os.StartProcess("/init", []string{"/bin/gone"}, &os.ProcAttr{Env: []string{"CAPTURE_CHILD=zombie"}})
	if err != nil {
		report("zombie", err)
		return
	}
	for range 600 {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid))
		if err != nil || strings.Contains(string(status), "State:\tZ") {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	c.children = append(c.children, p.Pid)
}

// collect puts the files into the archive.
func (c *capture) collect() {
	var u unix.Utsname
	report("uname", unix.Uname(&u))
	fmt.Fprintf(&c.archive, "kernel: %s %s %s\n", text(u.Release[:]), text(u.Version[:]), text(u.Machine[:]))
	cmdline, err := os.ReadFile("/proc/cmdline")
	report("cmdline", err)
	fmt.Fprintf(&c.archive, "command line: %s\n", bytes.TrimSpace(cmdline))

	var names []string
	add := func(pattern string) {
		found, err := filepath.Glob(pattern)
		report(pattern, err)
		names = append(names, found...)
	}
	for _, name := range []string{"online", "possible", "has_memory", "has_cpu", "has_normal_memory", "has_generic_initiator"} {
		add(nodeDir + "/" + name)
	}
	for _, name := range []string{"distance", "cpulist", "meminfo", "hugepages/*/*"} {
		add(nodeDir + "/node[0-9]*/" + name)
	}
	add(poolDir + "/*/*")
	names = append(names, "/proc/meminfo", "/proc/mounts", "/proc/self/auxv")
	for _, pid := range append([]int{1, 2}, c.children...) {
		for _, name := range []string{"status", "comm", "cmdline", "maps", "numa_maps"} {
			name = fmt.Sprintf("/proc/%d/%s", pid, name)
			if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
				// A kernel without NUMA has no numa_maps; this one is what
				// tells of huge pages there.
				fmt.Fprintf(&c.archive, "no file: %s\n", name[1:])
				name = fmt.Sprintf("/proc/%d/smaps", pid)
			}
			names = append(names, name)
		}
	}
	if dirs, _ := filepath.Glob(nodeDir + "/node[0-9]*"); len(dirs) > 0 {
		for _, dir := range dirs {
			entries, err := os.ReadDir(dir + "/hugepages")
			switch {
			case errors.Is(err, fs.ErrNotExist):
				fmt.Fprintf(&c.archive, "no directory: %s/hugepages\n", dir[1:])
			case err == nil && len(entries) == 0:
				fmt.Fprintf(&c.archive, "empty directory: %s/hugepages\n", dir[1:])
			}
		}
	} else {
		fmt.Fprintf(&c.archive, "no directory: %s\n", nodeDir[1:])
	}

	var files bytes.Buffer
	for _, name := range names {
		data, err := os.ReadFile(name)
		switch {
		case errors.Is(err, fs.ErrPermission): // files that are only written to
			continue
		case err != nil:
			fmt.Fprintf(&c.archive, "%v\n", err)
			continue
		}
		name = name[1:]
		if len(data) > 0 && (bytes.IndexByte(data, 0) >= 0 || data[len(data)-1] != '\n') {
			name += ".base64"
			data = append([]byte(base64.StdEncoding.EncodeToString(data)), '\n')
		}
		fmt.Fprintf(&files, "-- %s --\n%s", name, data)
	}
	c.archive.Write(files.Bytes())
}

// print puts the archive onto the console between two lines, the first of
// which has its checksum.
func (c *capture) print() {
	if t, err := unix.IoctlGetTermios(1, unix.TCGETS); err == nil {
		t.Oflag &^= unix.OPOST
		report("console", unix.IoctlSetTermios(1, unix.TCSETS, t))
	}
	fmt.Printf("\ncapture-begin %x\n", sha256.Sum256(c.archive.Bytes()))
	_, err := os.Stdout.Write(c.archive.Bytes())
	report("console", err)
	fmt.Print("capture-end\n")
}

func mount(source, target, kind, options string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(source, target, kind, 0, options); err != nil {
		return fmt.Errorf("%q (%s): %w", target, options, err)
	}
	return nil
}

func write(name, text string) error {
	return os.WriteFile(name, []byte(text), 0)
}

func text(b []byte) string {
	before, _, _ := bytes.Cut(b, []byte{0})
	return string(before)
}
