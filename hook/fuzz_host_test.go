package hook

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"hugeguard/guard/domain"
	"hugeguard/hook/config"
	"hugeguard/hook/hooktest"
	"hugeguard/hook/ledger"
)

// untouched is the number of no file.
const untouched = 1<<16 - 1

// Whatever a domain's XML and a file of the host hold, a start is allowed, or refused in one line that libvirt can
// print; never is it refused for XML that makes no sense, and never has the program a bug of its own.
func FuzzPrepare(f *testing.F) {
	all := hooktest.Hosts(f)
	for i, h := range all {
		f.Add(uint8(i), h.XML, uint16(untouched), []byte{})
	}
	first := all[0]
	for _, name := range []string{config.Path, "etc/nova/nova.conf", "proc/mounts", "proc/meminfo", "proc/sysvipc/shm", "proc/2974/numa_maps", "proc/2974/maps",
		"proc/2974/status", "proc/3066/cmdline", "sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages"} {
		for _, data := range []string{"", "\x00\xff\x1b[2J", "0", "-1", strings.Repeat("9", 40)} {
			f.Add(uint8(0), first.XML, first.Number(f, name), []byte(data))
		}
	}
	domains, err := filepath.Glob(hooktest.Data("domains/*.xml"))
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
		defer h.With(t, file, data)()
		defer h.Remove(ledger.Dir)
		call := newCall(t, h.Host, bytes.NewReader(xml))
		status := call.guarded()
		stderr := call.stderr.String()
		switch {
		case status == exitAccept && stderr == "":
		case status == exitRefuse && hooktest.PlainLines(stderr) && !strings.Contains(stderr, "\n") && stderr != "":
			demand, unreadable := domain.Parse(xml)
			if read, _ := config.Read(call.fs); (unreadable != nil || len(demand.Backends) == 0) && read.Fail != config.FailClosed {
				t.Errorf("refused for %v: %s", unreadable, stderr)
			}
		default:
			t.Errorf("status %d, stderr %q", status, stderr)
		}
		if len(call.entries) > 5 {
			t.Errorf("%d entries", len(call.entries))
		}
		for _, e := range call.entries {
			if !hooktest.PlainLines(e.Message) || len(e.Message) > 1<<20 || strings.Contains(e.Message, bug("").Error()) {
				t.Errorf("the journal has %.2000q", e.Message)
			}
		}
	})
}

// A ledger of any content costs no start anything but what it says of others: the start is judged, and leaves a ledger
// that can be read.
func FuzzLedger(f *testing.F) {
	h := hooktest.Spoilable(f)
	boot, err := h.FS().BootID()
	if err != nil {
		boot = ""
	}
	// This guest fits, and finds its own claim and others'.
	xml := bytes.ReplaceAll(h.XML, []byte("mode='strict' nodeset='0'"), []byte("mode='strict' nodeset='1'"))
	l := ledger.Ledger{Boot: boot}
	f.Add(l.Text())
	l.Put(ledger.Claim{Name: "other", UUID: "6a9c0000-0000-4000-8000-000000000001", Parts: []ledger.Part{{PageKiB: 2048, Pages: 100, Nodes: []int{1}}}})
	f.Add(l.Text())
	// Those that are in its way are looked at: one has a QEMU, one has none.
	for _, name := range []string{"instance-00000001", "gone"} {
		l.Put(ledger.Claim{Name: name, UUID: "6a9c0000-0000-4000-8000-00000000000" + name[len(name)-1:], Parts: []ledger.Part{{PageKiB: 2048, Pages: 400, Nodes: []int{1}, Hard: true}}})
		f.Add(l.Text())
	}
	f.Add(bytes.ReplaceAll(l.Text(), []byte("100"), []byte("99999999999999999999")))
	f.Add([]byte{})
	f.Add([]byte("{"))
	f.Add(bytes.Repeat([]byte("["), 1<<12))
	f.Fuzz(func(t *testing.T, text []byte) {
		h := h
		h.Host = h.For(t)
		defer h.Remove(ledger.Dir)
		h.Write(ledger.Path, string(text))
		if err := os.Chmod(h.Path(ledger.Dir), 0o700); err != nil {
			t.Fatal(err)
		}
		parsed, unread := ledger.Parse(text, boot)
		call := newCall(t, h.Host, bytes.NewReader(xml))
		status := call.guarded()
		if unread != nil && status != exitAccept {
			t.Errorf("refused for a ledger of garbage (%v): %s", unread, &call.stderr)
		}
		if status == exitRefuse && len(parsed.Claims) == 0 {
			t.Errorf("refused without others: %s", &call.stderr)
		}
		left, err := ledger.Read(h.FS())
		if err != nil || status == exitAccept && !slices.ContainsFunc(left.Claims, func(c ledger.Claim) bool { return c.Name == "instance-00000003" }) {
			t.Errorf("%q leaves %+v, %v", text, left, err)
		}
		// The end of the start leaves those of the others, and not its own.
		call.args = []string{"qemu", "instance-00000003", "stopped", "end", "-"}
		call.ended()
		after, err := ledger.Read(h.FS())
		if err != nil || slices.ContainsFunc(after.Claims, func(c ledger.Claim) bool { return c.Name == "instance-00000003" }) || len(left.Claims) > 1 && len(after.Claims) != len(left.Claims)-1 {
			t.Errorf("%q: its end leaves %+v of %+v, %v", text, after, left, err)
		}
		for _, e := range call.entries {
			if !hooktest.PlainLines(e.Message) || strings.Contains(e.Message, bug("").Error()) {
				t.Errorf("the journal has %.2000q", e.Message)
			}
		}
	})
}

// The site's hook gets what libvirt wrote, all of it and nothing else, however it comes; what is kept for us is the same,
// or ends in an error where it is too much or where reading fails.
func FuzzChain(f *testing.F) {
	xml, err := os.ReadFile(hooktest.Data("hosts/plain/prepare.xml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(xml, uint32(0), false)
	f.Add(xml, uint32(100), true)
	f.Add([]byte{}, uint32(0), true)
	const most = 8 << 10
	f.Add(xml, uint32(most), false)
	f.Add(xml, uint32(most-len(xml)), true)
	f.Add(xml, uint32(most-len(xml)-1), false)
	f.Fuzz(func(t *testing.T, text []byte, more uint32, fails bool) {
		written := append(slices.Clone(text), make([]byte, more%(2*most))...)
		stdin := io.Reader(bytes.NewReader(written))
		if len(written) < 4<<10 {
			stdin = iotest.OneByteReader(stdin)
		}
		if fails {
			stdin = io.MultiReader(stdin, failing{io.ErrUnexpectedEOF})
		}
		ours, its := keep(stdin, most)
		kept, err := io.ReadAll(ours)
		if !bytes.HasPrefix(written, kept) || len(kept) > most || (err == nil) != (!fails && len(written) < most) || err == nil && len(kept) < len(written) {
			t.Errorf("of %d bytes %d are kept, %v", len(written), len(kept), err)
		}
		// The reader that failed has nothing more to say.
		if whole, _ := io.ReadAll(its); !bytes.Equal(whole, written) {
			t.Errorf("of %d bytes the site's hook gets %d", len(written), len(whole))
		}
	})
}
