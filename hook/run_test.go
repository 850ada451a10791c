package hook

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"hugeguard/hook/config"
	"hugeguard/hook/hooktest"
	"hugeguard/hook/survey/libvirt"
	"hugeguard/sysfs"
	"hugeguard/sysfs/sysfstest"
)

// fixture is a call at prepare on the host of the incident.
type fixture struct {
	call
	t       *testing.T
	stderr  strings.Builder
	entries []entry
	host    sysfstest.Host

	ownTime   bool          // a call has it
	meanwhile func()        // begins with a call, in its time
	took      time.Duration // by the last call, in its time
}

func newFixture(t *testing.T, stdin io.Reader) *fixture {
	host := hooktest.Summary(t)
	host.Write("proc/uptime", "5000.00 9000.00\n") // it was captured without it
	return newCall(t, host, stdin)
}

// newCall is a call at prepare on a host.
func newCall(t *testing.T, host sysfstest.Host, stdin io.Reader) *fixture {
	f := &fixture{t: t, host: host, ownTime: true}
	f.call = call{args: []string{"qemu", "instance-00000003", "prepare", "begin", "-"},
		stdin: stdin, stderr: &f.stderr, fs: f.host.FS(), privileged: true,
		journal: func(e entry) error { f.entries = append(f.entries, e); return nil }}
	return f
}

func (f *fixture) prepare() int { return f.timed(f.t, f.call.prepare) }

// timed makes a call, in a time of its own, and notes how much of it the call took.
func (f *fixture) timed(t *testing.T, call func() int) int {
	t.Helper()
	if !f.ownTime {
		return call()
	}
	return inOwnTime(t, func() int {
		if f.meanwhile != nil {
			f.meanwhile()
		}
		began := time.Now()
		defer func() { f.took = time.Since(began) }()
		return call()
	})
}

// inOwnTime makes a call in a time of its own, which stands still while anything works: however slow the machine, no
// deadline is missed, and one that is to be missed takes no time. It returns when all is over that the call began.
func inOwnTime(t *testing.T, call func() int) (status int) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		status = call()
		time.Sleep(24 * time.Hour)
	})
	return status
}

func TestPrepareRefuses(t *testing.T) {
	f := newCall(t, hooktest.Incident(t), strings.NewReader(hooktest.Domain(t, "prepare.xml")))
	if status := f.prepare(); status != exitRefuse {
		t.Errorf("status %d", status)
	}
	const line = "OVS-DPDK holds node 0's 2M pages: 0 of 1024 free, 256 needed (512 MiB); ovs-vswitchd (pid 2974) has 512; " +
		"fix: bind ram-node0 to node 1 (node 1 has 512 free); more: hugeguard explain instance-00000003"
	if got := f.stderr.String(); got != line {
		t.Errorf("stderr: %q", got)
	}
	if len(f.entries) != 1 {
		t.Fatalf("journal: %+v", f.entries)
	}
	e := f.entries[0]
	if first, _, _ := strings.Cut(e.Message, "\n"); first != line || e.Priority != failure {
		t.Errorf("journal: priority %d, %q", e.Priority, first)
	}
	for key, want := range map[string]string{
		"HUGEGUARD_DECISION": "refuse", "HUGEGUARD_CAUSE": "ovs-reservation",
		"HUGEGUARD_DOMAIN": "instance-00000003", "HUGEGUARD_UUID": "32963992-5056-4947-9f20-e664bb88b3d4",
		"HUGEGUARD_NODE": "0", "HUGEGUARD_PAGE_KIB": "2048", "HUGEGUARD_NEEDED": "256", "HUGEGUARD_FREE": "0",
		"HUGEGUARD_TOTAL": "1024", "HUGEGUARD_HOLDER": "ovs-vswitchd", "HUGEGUARD_HOLDER_PID": "2974", "HUGEGUARD_HOLDER_PAGES": "512",
		"HUGEGUARD_FIX": "bind ram-node0 to node 1",
	} {
		if e.Fields[key] != want {
			t.Errorf("%s=%q, want %q", key, e.Fields[key], want)
		}
	}
	if len(e.Fields["MESSAGE_ID"]) != 32 {
		t.Errorf("MESSAGE_ID=%q", e.Fields["MESSAGE_ID"])
	}
}

func TestPrepareAcceptsSilently(t *testing.T) {
	f := newFixture(t, strings.NewReader(hooktest.Domain(t, "prepare-on-node1.xml")))
	if status := f.prepare(); status != exitAccept || f.stderr.Len() > 0 || len(f.entries) > 0 {
		t.Errorf("status %d, stderr %q, journal %+v", status, &f.stderr, f.entries)
	}
}

// TestAcceptReadsFew: on the accepting path nobody looks at other processes,
// at pools of other sizes or at Open vSwitch.
func TestAcceptReadsFew(t *testing.T) {
	f := newFixture(t, strings.NewReader(hooktest.Domain(t, "prepare-on-node1.xml")))
	for _, gone := range []string{"proc/2974", "proc/3066", "proc/3085", "run/libvirt", "etc", "sys/fs",
		"sys/devices/system/node/node0/hugepages/hugepages-1048576kB", "sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages",
		"sys/devices/system/node/node0/distance"} {
		f.host.Remove(gone)
	}
	if status := f.prepare(); status != exitAccept || len(f.entries) > 0 {
		t.Errorf("status %d, journal %+v", status, f.entries)
	}
}

// TestNoHugePagesReadsNothing: a domain without huge pages is accepted before sysfs is touched.
func TestNoHugePagesReadsNothing(t *testing.T) {
	f := newFixture(t, strings.NewReader("<domain type='kvm'><name>x</name><memory>1</memory></domain>"))
	f.host.Remove("sys")
	f.host.Remove("proc")
	if status := f.prepare(); status != exitAccept || len(f.entries) > 0 {
		t.Errorf("status %d, journal %+v", status, f.entries)
	}
}

// TestUnprivileged: under a session daemon the refusal stands on the counters.
func TestUnprivileged(t *testing.T) {
	f := newFixture(t, strings.NewReader(hooktest.Domain(t, "prepare.xml")))
	f.privileged = false
	if status := f.prepare(); status != exitRefuse || f.entries[0].Fields["HUGEGUARD_CAUSE"] != "unaccounted" {
		t.Errorf("status %d, %+v", status, f.entries)
	}
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("boom\n\x1b") }

// TestFaultsNeverRefuse: if anything goes wrong in the hook, the launch is allowed
// with one warning, and refuses it only where the admin wants that.
func TestFaultsNeverRefuse(t *testing.T) {
	refused := func(t *testing.T) io.Reader { return strings.NewReader(hooktest.Domain(t, "prepare.xml")) }
	for _, test := range []struct {
		name  string
		stdin func(t *testing.T) io.Reader
		host  func(h sysfstest.Host)
		says  string
	}{
		{"empty", func(*testing.T) io.Reader { return strings.NewReader("") }, nil, "EOF"},
		{"rubbish", func(*testing.T) io.Reader { return strings.NewReader("\x00\x1b[2J<<<%n%s") }, nil, "XML"},
		{"cut short", func(t *testing.T) io.Reader { return strings.NewReader(hooktest.Domain(t, "prepare.xml")[:700]) }, nil, "XML"},
		{"another document", func(*testing.T) io.Reader { return strings.NewReader("<network/>") }, nil, "XML"},
		{"wrong number", func(t *testing.T) io.Reader {
			return strings.NewReader(strings.Replace(hooktest.Domain(t, "prepare.xml"), "size='2048'", "size='many'", 1))
		}, nil, "many"},
		{"wrong nodeset", func(t *testing.T) io.Reader {
			return strings.NewReader(strings.ReplaceAll(hooktest.Domain(t, "prepare.xml"), "nodeset='0'", "nodeset='0-'"))
		}, nil, "nodeset"},
		{"deep nesting", func(*testing.T) io.Reader { return strings.NewReader(strings.Repeat("<domain>", 100_000)) }, nil, "XML"},
		{"too large", func(*testing.T) io.Reader {
			return io.MultiReader(strings.NewReader("<domain>"), spaces{})
		}, nil, "larger than libvirt's can be"},
		{"failing", func(*testing.T) io.Reader { return iotest.ErrReader(errors.New("broken pipe\nforged")) }, nil, `broken pipe\nforged`},
		{"panic", func(*testing.T) io.Reader { return panicking{} }, nil, `a bug in hugeguard: boom\n\x1b`},
		{"never ending", func(*testing.T) io.Reader { return late{} }, nil, "timed out after 300ms"},
		{"no sysfs", refused, func(h sysfstest.Host) { h.Remove("sys") }, "there is no sysfs"},
		{"no node with memory", refused, func(h sysfstest.Host) { h.Write("sys/devices/system/node/has_memory", "\n") }, "no node has memory"},
		{"no list of nodes", refused, func(h sysfstest.Host) { h.Remove("sys/devices/system/node/has_memory") }, "has_memory"},
		{"no counter", refused, func(h sysfstest.Host) { h.Remove("sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages") }, "resv_hugepages"},
		{"binary counter", refused, func(h sysfstest.Host) {
			h.Write("sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages", "\x00\xff")
		}, "free_hugepages"},
		{"no proc", refused, func(h sysfstest.Host) { h.Remove("proc") }, "meminfo"},
	} {
		for _, fail := range []config.Fail{config.FailOpen, config.FailClosed} {
			t.Run(test.name+"/"+string(fail), func(t *testing.T) {
				f := newFixture(t, test.stdin(t))
				f.host.Write("etc/hugeguard.conf", "fail = "+string(fail)+"\ndeadline = 300ms\n")
				if test.host != nil {
					test.host(f.host)
				}
				status := f.prepare()
				wantStatus := exitAccept
				if fail == config.FailClosed {
					wantStatus = exitRefuse
				}
				if said := f.stderr.String(); status != wantStatus || (said != "") != (status == exitRefuse) || strings.Contains(said, "\n") {
					t.Errorf("status %d, stderr %q", status, &f.stderr)
				}
				if len(f.entries) != 1 {
					t.Fatalf("journal: %+v", f.entries)
				}
				e := f.entries[0]
				if !strings.Contains(e.Message, test.says) || strings.ContainsAny(e.Message, "\n\x1b\x00") {
					t.Errorf("journal: %q", e.Message)
				}
			})
		}
	}
}

// late is nothing, long after any deadline.
type late struct{}

func (late) Read([]byte) (int, error) {
	time.Sleep(time.Hour)
	return 0, io.EOF
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// TestUnreadableHolder: a refusal stands on the counters where a holder does not show its memory, and says so.
func TestUnreadableHolder(t *testing.T) {
	f := newFixture(t, strings.NewReader(hooktest.Domain(t, "prepare.xml")))
	f.host.Remove("proc/2974/numa_maps")
	f.host.Write("proc/2974/numa_maps/no file", "")
	if status := f.prepare(); status != exitRefuse {
		t.Errorf("status %d", status)
	}
	const says = "for 512 of the 1024 no holder was found (1 process could not be read: ovs-vswitchd, pid 2974, with 2 GiB)"
	if got := f.stderr.String(); !strings.Contains(got, says) || f.entries[0].Fields["HUGEGUARD_CAUSE"] != "unaccounted" {
		t.Errorf("stderr %q, journal %+v", got, f.entries)
	}
}

func TestModes(t *testing.T) {
	for mode, want := range map[config.Mode]struct {
		status, entries int
	}{config.Enforce: {exitRefuse, 1}, config.WarnOnly: {exitAccept, 1}, config.Off: {exitAccept, 0}} {
		f := newFixture(t, strings.NewReader(hooktest.Domain(t, "prepare.xml")))
		f.host.Write("etc/hugeguard.conf", "mode="+string(mode))
		if status := f.prepare(); status != want.status || len(f.entries) != want.entries {
			t.Errorf("%s: status %d, journal %+v", mode, status, f.entries)
		}
		if mode == config.WarnOnly && (!strings.HasPrefix(f.entries[0].Message, "would refuse: OVS-DPDK holds node 0") || f.entries[0].Priority != warning || f.stderr.Len() > 0) {
			t.Errorf("%s: stderr %q, journal %+v", mode, &f.stderr, f.entries)
		}
	}
}

// TestPanicOutsideOfJudging: a bug in telling costs no launch either.
func TestPanicOutsideOfJudging(t *testing.T) {
	f := newFixture(t, strings.NewReader(hooktest.Domain(t, "prepare.xml")))
	f.journal = func(entry) error { panic("boom") }
	if status := inOwnTime(t, f.guarded); status != exitAccept {
		t.Errorf("status %d", status)
	}
}

// TestWrongConfig: a wrong line is told and does not disable the guard.
func TestWrongConfig(t *testing.T) {
	f := newFixture(t, strings.NewReader(hooktest.Domain(t, "prepare.xml")))
	f.host.Write("etc/hugeguard.conf", "modulus = off\n")
	if status := f.prepare(); status != exitRefuse || len(f.entries) != 2 || !strings.Contains(f.entries[0].Message, "line 1") {
		t.Errorf("status %d, journal %+v", status, f.entries)
	}
}

// TestProgram: who is called by a link is where the link is.
func TestProgram(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), DropInName)
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	for called, want := range map[string]string{link: link, self: self, "qemu": self, "/bin/sh": self, link + ".gone": self, "": self} {
		if got := program([]string{called}); got != want {
			t.Errorf("called as %q: %q, want %q", called, got, want)
		}
	}
	if got := program(nil); got != self {
		t.Errorf("%q", got)
	}
}

// TestKeep: what is kept of the XML is all of it, or says what is not; the site's hook gets all in any case.
func TestKeep(t *testing.T) {
	const most = 4 << 10
	for _, test := range []struct {
		size int
		says string // of what is ours
	}{
		{0, ""}, {1000, ""}, {most - 1, ""}, {most, "larger than 4 KiB"}, {most + 1000, "larger than 4 KiB"},
	} {
		ours, whole := keep(strings.NewReader(strings.Repeat("x", test.size)), most)
		got, err := io.ReadAll(ours)
		if test.says == "" && (err != nil || len(got) != test.size) || test.says != "" && (err == nil || err.Error() != test.says) {
			t.Errorf("%d bytes: %d are ours, %v", test.size, len(got), err)
		}
		if all, err := io.ReadAll(whole); err != nil || len(all) != test.size {
			t.Errorf("%d bytes: %d are the site's, %v", test.size, len(all), err)
		}
	}
	broken := errors.New("broken")
	ours, _ := keep(io.MultiReader(strings.NewReader("<domain>"), iotest.ErrReader(broken)), most)
	if _, err := io.ReadAll(ours); !errors.Is(err, broken) {
		t.Errorf("a pipe that breaks: %v", err)
	}
}

// TestOrdinaryMemory: a start whose memory is in ordinary files reads no counter, and one whose files lie on hugetlbfs
// does.
func TestOrdinaryMemory(t *testing.T) {
	xml := regexp.MustCompile(`(?s)<hugepages>.*</hugepages>`).ReplaceAllString(hooktest.Domain(t, "prepare.xml"), "")
	for conf, want := range map[string]struct {
		status  int
		counted bool
	}{
		"":                                    {exitAccept, false},
		"memory_backing_dir = \"/var/tmp\"\n": {exitAccept, false},
		"memory_backing_dir = \"/dev/hugepages\"\n": {exitAccept, true}, // with a warning: not every release does so
	} {
		f := newCall(t, hooktest.Incident(t), strings.NewReader(xml))
		f.host.Write(libvirt.ConfPath, conf)
		counted := false
		f.fs = f.fs.Recorded(func(name string, _ sysfs.Entry) { counted = counted || strings.HasPrefix(name, "sys/") })
		if status := f.prepare(); status != want.status || counted != want.counted || len(f.entries) > 0 != want.counted {
			t.Errorf("%s: status %d, counters read: %v, entries %+v", conf, status, counted, f.entries)
		}
	}
}
