package hook

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"hugeguard/guard"
	"hugeguard/guard/claims"
	"hugeguard/guard/domain"
	"hugeguard/sysfs/sysfstest"
)

// hostile is a captured host of which a file can hold anything.
type hostile struct {
	sysfstest.Host
	xml   []byte   // of the domain that was started there
	files []string // of the kernel's, of libvirt's, of Nova's, without the root
}

// newHostile prepares a host for changes. Each change is undone by the next.
func newHostile(t testing.TB, host sysfstest.Host, xml []byte) hostile {
	t.Helper()
	h := hostile{Host: host, xml: xml}
	root := host.Path("")
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

// with has a file, by its number, hold something until what is returned is called; a number too large is no file.
func (h hostile) with(t testing.TB, file uint16, data []byte) (restore func()) {
	t.Helper()
	if int(file) >= len(h.files) {
		return func() {}
	}
	path := h.Path(h.files[file])
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h.Write(h.files[file], string(data))
	return func() { h.Write(h.files[file], string(old)) }
}

// untouched is the number of no file.
const untouched = 1<<16 - 1

// hostiles are captured hosts of each sort.
func hostiles(t testing.TB) []hostile {
	xml, err := os.ReadFile(incident + "/prepare.xml")
	if err != nil {
		t.Fatal(err)
	}
	host := sysfstest.Copy(t, incident+"/host")
	summarize(t, host)
	host.Write("proc/uptime", "5000.00 9000.00\n")
	host.Write("etc/nova/nova.conf", "[DEFAULT]\nreserved_huge_pages = node:0,size:2048,count:64\n")
	host.Write(ConfigPath, "exempt = test-*\nnova_conf = /etc/nova/nova.conf\n")
	host.Write(CapturedOVS, answering(`,["dpdk-socket-mem","1024,1024"]`))
	host.Write("proc/sysvipc/shm", "key shmid perms size cpid lpid nattch uid gid cuid cgid atime dtime ctime rss swap\n0 5 600 4194304 1 1 0 0 0 0 0 0 0 0 4194304 0\n")
	all := []hostile{newHostile(t, host, xml)}
	files, err := filepath.Glob("../testdata/numabox/captured/*/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		host := sysfstest.Archive(t, file)
		xml, err := os.ReadFile(host.Path("prepare.xml"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, newHostile(t, host, xml))
	}
	return all
}

// number is that of a file of a host.
func (h hostile) number(t testing.TB, name string) uint16 {
	t.Helper()
	i := slices.Index(h.files, name)
	if i < 0 {
		t.Fatalf("the host has no %s", name)
	}
	return uint16(i)
}

// plainLines reports whether nothing in a text acts on a terminal but the ends of its lines.
func plainLines(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && !strconv.IsPrint(r) })
}

// Whatever a domain's XML and a file of the host hold, a start is allowed, or refused in one line that libvirt can
// print; never is it refused for XML that makes no sense, and never has the program a bug of its own.
func FuzzPrepare(f *testing.F) {
	all := hostiles(f)
	for i, h := range all {
		f.Add(uint8(i), h.xml, uint16(untouched), []byte{})
	}
	first := all[0]
	for _, name := range []string{ConfigPath, "etc/nova/nova.conf", "proc/mounts", "proc/meminfo", "proc/sysvipc/shm", "proc/2974/numa_maps", "proc/2974/maps",
		"proc/2974/status", "proc/3066/cmdline", "sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages"} {
		for _, data := range []string{"", "\x00\xff\x1b[2J", "0", "-1", strings.Repeat("9", 40)} {
			f.Add(uint8(0), first.xml, first.number(f, name), []byte(data))
		}
	}
	domains, err := filepath.Glob("../testdata/domains/*.xml")
	if err != nil || len(domains) == 0 {
		f.Fatal(len(domains), err)
	}
	for i, name := range domains {
		if raceDetector && i%4 > 0 {
			continue // the tests of the domains themselves are guard's
		}
		xml, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(0), xml, uint16(untouched), []byte{})
	}
	f.Add(uint8(0), []byte("<domain><name>x"), uint16(untouched), []byte{})
	f.Fuzz(func(t *testing.T, host uint8, xml []byte, file uint16, data []byte) {
		h := all[int(host)%len(all)]
		h.Host = h.For(t)
		defer h.with(t, file, data)()
		defer h.Remove(LedgerDir)
		call := newCall(t, h.Host, bytes.NewReader(xml))
		status := call.guarded()
		stderr := call.stderr.String()
		demand, unreadable := domain.Parse(xml)
		switch {
		case status == exitAccept && stderr == "":
		case status == exitRefuse && plainLines(stderr) && strings.Count(stderr, "\n") == 1 && len(stderr) > 1:
			if config, _ := ReadConfig(call.fs); (unreadable != nil || len(demand.Backends) == 0) && config.Fail != FailClosed {
				t.Errorf("refused for %v: %s", unreadable, stderr)
			}
		default:
			t.Errorf("status %d, stderr %q", status, stderr)
		}
		if len(call.entries) > 5 {
			t.Errorf("%d entries", len(call.entries))
		}
		for _, e := range call.entries {
			if !plainLines(e.Message) || len(e.Message) > 1<<20 || strings.Contains(e.Message, defect("").Error()) {
				t.Errorf("the journal has %.2000q", e.Message)
			}
		}
	})
}

// Whatever a process shows of itself, who holds pages is found twice the same, and nobody has more than there is in what
// is said of him.
func FuzzHolders(f *testing.F) {
	h := hostiles(f)[0]
	shown := []string{"proc/2974/numa_maps", "proc/2974/maps", "proc/2974/status", "proc/2974/cmdline", "proc/3066/numa_maps", "proc/3066/cmdline", "proc/sysvipc/shm"}
	for i, name := range shown {
		text, err := os.ReadFile(h.Path(name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), text)
		f.Add(uint8(i), bytes.ReplaceAll(text, []byte("N0="), []byte("N1023=")))
		f.Add(uint8(i), bytes.Repeat(text, 3))
		f.Add(uint8(i), text[:len(text)/2])
		f.Add(uint8(i), []byte{})
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		h := h
		h.Host = h.For(t)
		name := shown[int(which)%len(shown)]
		defer h.with(t, h.number(t, name), data)()
		look := func() guard.Host {
			host, err := SurveyAll(h.FS())
			if err != nil {
				t.Fatal(err)
			}
			AddHolders(h.FS(), &host, time.Now().Add(time.Hour))
			return host
		}
		host := look()
		if again := look(); !reflect.DeepEqual(host.Holders, again.Holders) {
			t.Errorf("%s = %q: %+v, then %+v", name, data, host.Holders, again.Holders)
		}
		for _, pool := range host.Report() {
			if pool.Unaccounted != nil && *pool.Unaccounted > pool.Total {
				t.Errorf("%s = %q: %d of %d pages are unexplained", name, data, *pool.Unaccounted, pool.Total)
			}
			for _, holder := range pool.Holders {
				if !plainLines(holder.String()) || strings.Contains(holder.String(), "\n") {
					t.Errorf("%s = %q: %q", name, data, holder)
				}
			}
		}
	})
}

// A ledger of any content costs no start anything but what it says of others: the start is judged, and leaves a ledger
// that can be read.
func FuzzLedger(f *testing.F) {
	h := hostiles(f)[0]
	boot, err := h.FS().BootID()
	if err != nil {
		boot = ""
	}
	// This guest fits, and finds its own claim and others'.
	xml := bytes.ReplaceAll(h.xml, []byte("mode='strict' nodeset='0'"), []byte("mode='strict' nodeset='1'"))
	l := claims.New(boot)
	f.Add(l.Text())
	l.Put(claims.Claim{Name: "other", UUID: "6a9c0000-0000-4000-8000-000000000001", Parts: []claims.Part{{PageKiB: 2048, Pages: 100, Nodes: []int{1}}}})
	f.Add(l.Text())
	// Those that are in its way are looked at: one has a QEMU, one has none.
	for _, name := range []string{"instance-00000001", "gone"} {
		l.Put(claims.Claim{Name: name, UUID: "6a9c0000-0000-4000-8000-00000000000" + name[len(name)-1:], Parts: []claims.Part{{PageKiB: 2048, Pages: 400, Nodes: []int{1}, Hard: true}}})
		f.Add(l.Text())
	}
	f.Add(bytes.ReplaceAll(l.Text(), []byte("100"), []byte("99999999999999999999")))
	f.Add([]byte{})
	f.Add([]byte("{"))
	f.Add(bytes.Repeat([]byte("["), 1<<12))
	f.Fuzz(func(t *testing.T, text []byte) {
		h := h
		h.Host = h.For(t)
		defer h.Remove(LedgerDir)
		h.Write(LedgerDir+"/"+ledgerName, string(text))
		if err := os.Chmod(h.Path(LedgerDir), 0o700); err != nil {
			t.Fatal(err)
		}
		parsed, unread := claims.Parse(text, boot)
		call := newCall(t, h.Host, bytes.NewReader(xml))
		status := call.guarded()
		if unread != nil && status != exitAccept {
			t.Errorf("refused for a ledger of garbage (%v): %s", unread, &call.stderr)
		}
		if status == exitRefuse && len(parsed.Claims) == 0 {
			t.Errorf("refused without others: %s", &call.stderr)
		}
		left, err := readLedger(h.FS())
		if err != nil || status == exitAccept && !slices.ContainsFunc(left.Claims, func(c claims.Claim) bool { return c.Name == "instance-00000003" }) {
			t.Errorf("%q leaves %+v, %v", text, left, err)
		}
		// The end of the start leaves those of the others, and not its own.
		call.args = []string{"qemu", "instance-00000003", "stopped", "end", "-"}
		call.ended()
		after, err := readLedger(h.FS())
		if err != nil || slices.ContainsFunc(after.Claims, func(c claims.Claim) bool { return c.Name == "instance-00000003" }) || len(left.Claims) > 1 && len(after.Claims) != len(left.Claims)-1 {
			t.Errorf("%q: its end leaves %+v of %+v, %v", text, after, left, err)
		}
		for _, e := range call.entries {
			if !plainLines(e.Message) || strings.Contains(e.Message, defect("").Error()) {
				t.Errorf("the journal has %.2000q", e.Message)
			}
		}
	})
}

// The site's hook gets what libvirt wrote, all of it and nothing else, however it comes; what is kept for us is the same,
// or ends in an error where it is too much or where reading fails.
func FuzzChain(f *testing.F) {
	xml, err := os.ReadFile(incident + "/prepare.xml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(xml, uint32(0), false)
	f.Add(xml, uint32(100), true)
	f.Add([]byte{}, uint32(0), true)
	f.Add(xml, uint32(mostXML), false)
	f.Add(xml, uint32(mostXML-1), true)
	f.Fuzz(func(t *testing.T, text []byte, more uint32, fails bool) {
		written := append(slices.Clone(text), make([]byte, more%(mostXML+4096))...)
		stdin := io.Reader(bytes.NewReader(written))
		if len(written) < 1<<16 {
			stdin = iotest.OneByteReader(stdin)
		}
		if fails {
			stdin = io.MultiReader(stdin, failing{io.ErrUnexpectedEOF})
		}
		ours, its := keep(stdin)
		kept, err := io.ReadAll(ours)
		if !bytes.HasPrefix(written, kept) || len(kept) > mostXML || (err == nil) != (!fails && len(written) < mostXML) || err == nil && len(kept) < len(written) {
			t.Errorf("of %d bytes %d are kept, %v", len(written), len(kept), err)
		}
		// The reader that failed has nothing more to say.
		if whole, _ := io.ReadAll(its); !bytes.Equal(whole, written) {
			t.Errorf("of %d bytes the site's hook gets %d", len(written), len(whole))
		}
	})
}
