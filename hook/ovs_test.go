package hook

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/ovs"
	"hugeguard/sysfs"
	"hugeguard/sysfs/sysfstest"
)

// answer is what the database answers to the request.
func answering(told string) string {
	return `{"error":null,"id":0,"result":[{"rows":[{"other_config":["map",[["dpdk-init","true"]` + told + `]]}]}]}`
}

// vhost gives a domain's XML an interface that Open vSwitch serves.
func vhost(xml, mtu string) string {
	return strings.Replace(xml, "<devices>", "<devices><interface type='vhostuser'><source type='unix' path='/run/vhu1' mode='server'/>"+mtu+"</interface>", 1)
}

// TestToldAgainstHeld: what Open vSwitch was told stands beside what it holds,
// in the journal, and the mend counts the larger of the two.
func TestToldAgainstHeld(t *testing.T) {
	for _, test := range []struct {
		told, says string
		mend       []string
	}{
		{`,["dpdk-socket-mem","1024,1024"]`, "Open vSwitch was told dpdk-init=true dpdk-socket-mem=1024,1024; node 0: 1024 MiB told (512 pages of 2 MiB), 1024 MiB held; node 1: 1024 MiB told (512 pages of 2 MiB), 1024 MiB held\n",
			[]string{"node:0,size:2048,count:512", "node:1,size:2048,count:512"}},
		{`,["dpdk-socket-mem","1024"]`, "node 1: 0 MiB told, 1024 MiB held, 1024 MiB more than told (memory for ports' packets comes on top)",
			[]string{"node:0,size:2048,count:512", "node:1,size:2048,count:512"}},
		{`,["dpdk-socket-mem","1024,1500"]`, "node 1: 1500 MiB told (750 pages of 2 MiB), 1024 MiB held",
			[]string{"node:0,size:2048,count:512", "node:1,size:2048,count:750"}},
		{`,["dpdk-alloc-mem","64"]`, "64 MiB told on any node", []string{"node:0,size:2048,count:512", "node:1,size:2048,count:512"}},
	} {
		f := newFixture(t, strings.NewReader(domainXML(t, "prepare.xml")))
		f.host.Write(CapturedOVS, answering(test.told))
		if status := f.prepare(); status != exitRefuse || len(f.entries) != 1 {
			t.Fatalf("%s: status %d, journal %+v", test.told, status, f.entries)
		}
		if got := f.entries[0].Message; !strings.Contains(got, test.says) {
			t.Errorf("%s: the journal lacks %q:\n%s", test.told, test.says, got)
		}
		want := "[DEFAULT]\nreserved_huge_pages=" + strings.Join(test.mend, "\nreserved_huge_pages=")
		if got := f.entries[0].Fields["HUGEGUARD_REMEDY"]; got != want {
			t.Errorf("%s: the mend is\n%s\nwant\n%s", test.told, got, want)
		}
	}
}

// TestPending: a start is warned that takes pages which Open vSwitch was told
// to take and has not taken yet, whatever its interfaces; none is where Open
// vSwitch has them, wherever it keeps its pid file.
func TestPending(t *testing.T) {
	const says = "was told to take 512 pages of 2 MiB on node 1 and has not taken them yet: this start leaves it 256"
	for _, test := range []struct {
		name  string
		xml   func(string) string
		pid   string // what its pid file has, "" for none
		runs  bool
		warns bool
	}{
		{"other interfaces", func(xml string) string { return xml }, "2974", false, true},
		{"vhost-user", func(xml string) string { return vhost(xml, "") }, "", false, true},
		{"the pid file is elsewhere", func(xml string) string { return vhost(xml, "") }, "", true, false},
		{"the pid is a container's", func(xml string) string { return vhost(xml, "") }, "99", true, false},
	} {
		f := newFixture(t, strings.NewReader(test.xml(domainXML(t, "prepare-on-node1.xml"))))
		f.host.Write(CapturedOVS, answering(`,["dpdk-socket-mem","1024,1024"]`))
		f.host.Write("sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages", "512\n")
		if test.pid != "" {
			f.host.Write("run/openvswitch/ovs-vswitchd.pid", test.pid+"\n")
		}
		if !test.runs {
			f.host.Write("run/openvswitch/ovsdb-server.pid", "2970\n")
			f.host.Remove("proc/2974")
		}
		if status := f.prepare(); status != exitAccept {
			t.Fatalf("%s: status %d, %s", test.name, status, &f.stderr)
		}
		if warned := len(f.entries) == 1 && strings.Contains(f.entries[0].Message, says); warned != test.warns || !warned && len(f.entries) > 0 {
			t.Errorf("%s: journal %+v", test.name, f.entries)
		}
	}
}

// TestVhostUser: a start that takes what Open vSwitch needs is warned about,
// and goes on.
func TestVhostUser(t *testing.T) {
	for _, test := range []struct {
		name, told string
		running    bool
		free       string // of node 1, 256 of which the guest takes
		mtu        string
		says       string // "": nothing
	}{
		{"no room for a mempool", `,["dpdk-socket-mem","1024"]`, true, "260", "", "leaves 4 free 2 MiB huge pages on node 1, fewer than the 23 "},
		{"jumbo frames", `,["dpdk-socket-mem","1024"]`, true, "300", "<mtu size='9000'/>", "leaves 44 free 2 MiB huge pages on node 1, fewer than the 79 "},
		{"just enough", `,["dpdk-socket-mem","1024"]`, true, "279", "", ""},
		{"it has room of its own", `,["dpdk-socket-mem","1024,1024"]`, true, "260", "", ""},
		{"a mempool for each port", `,["dpdk-socket-mem","1024,1024"],["per-port-memory","true"]`, true, "260", "", "fewer than the 23 "},
		{"not started yet", `,["dpdk-socket-mem","1024,1024"]`, false, "512", "", "was told to take 512 pages of 2 MiB on node 1 and has not taken them yet: this start leaves it 256"},
		{"not started yet, and enough for both", `,["dpdk-socket-mem","1024,512"]`, false, "512", "", ""},
		{"not to use DPDK", `,["dpdk-init","false"],["dpdk-socket-mem","1024"]`, true, "260", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t, strings.NewReader(vhost(domainXML(t, "prepare-on-node1.xml"), test.mtu)))
			f.host.Write(CapturedOVS, answering(test.told))
			f.host.Write("sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages", test.free+"\n")
			if f.host.Write("run/openvswitch/ovs-vswitchd.pid", "2974\n"); !test.running {
				f.host.Remove("proc/2974")
			}
			if status := f.prepare(); status != exitAccept {
				t.Fatalf("status %d, %s", status, &f.stderr)
			}
			if test.says == "" {
				if len(f.entries) > 0 {
					t.Errorf("the journal has %+v", f.entries)
				}
				return
			}
			if len(f.entries) != 1 || !strings.Contains(f.entries[0].Message, test.says) || f.entries[0].Fields["HUGEGUARD_DECISION"] != "warn" {
				t.Errorf("journal %+v, want %q", f.entries, test.says)
			}
		})
	}
}

// TestDatabaseIsNotAsked where nothing depends on it.
func TestDatabaseIsNotAsked(t *testing.T) {
	demand := func(xml string) guard.Demand {
		d, err := domain.Parse([]byte(xml))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	f := newFixture(t, nil)
	xml := domainXML(t, "prepare-on-node1.xml")
	f.host.Write("run/openvswitch/ovs-vswitchd.pid", "2974\n")
	for _, test := range []struct {
		name, xml, free string
		pid             string
		want            bool
	}{
		{"a mempool is left", vhost(xml, ""), "279", "2974", false},
		{"less is left", vhost(xml, ""), "278", "2974", true},
		{"Open vSwitch holds nothing yet", vhost(xml, ""), "1024", "4", true},
		{"nothing yet, other interfaces", xml, "1024", "4", true},
		{"its pid is somebody else's", vhost(xml, ""), "1024", "3066", false},
		{"no such interface", xml, "256", "2974", false},
	} {
		f.host.Write("sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages", test.free+"\n")
		f.host.Write("run/openvswitch/ovs-vswitchd.pid", test.pid+"\n")
		d := demand(test.xml)
		host, err := Survey(f.fs, d)
		if err != nil {
			t.Fatal(err)
		}
		if got := concernsOVS(f.fs, d, host); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// TestOnlyThePidFileBesideCounts: an accepted start has no child ask a database of which
// the pid file lies elsewhere or has the pid of a container, unless little is left.
func TestOnlyThePidFileBesideCounts(t *testing.T) {
	xml := vhost(domainXML(t, "prepare-on-node1.xml"), "")
	d, err := domain.Parse([]byte(xml))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, pid, free string
		server          bool // the database's own pid file is there
		want            bool
	}{
		{"no pid files", "", "1024", false, false},
		{"no pid files, and little left", "", "260", false, true},
		{"a container's pid", "3066", "1024", true, false},
		{"a container's pid, and little left", "3066", "260", true, true},
		{"it does not run", "", "1024", true, true},
		{"it has ended", "4", "1024", true, true},
		{"it has its pages", "2974", "1024", true, false},
		{"it runs by Debian's name and has none yet", "2980", "1024", true, true},
	} {
		f := newFixture(t, nil)
		f.host.Write(CapturedOVS, answering(""))
		f.host.Write("sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages", test.free+"\n")
		if test.pid != "" {
			f.host.Write("run/openvswitch/ovs-vswitchd.pid", test.pid+"\n")
		}
		if test.server {
			f.host.Write("run/openvswitch/ovsdb-server.pid", "2970\n")
		}
		f.host.Write("proc/3066/status", "Name:\tkworker/0:0\nUid:\t0\t0\t0\t0\n")
		f.host.Write("proc/2980/status", "Name:\tovs-vswitchd-dp\nUid:\t0\t0\t0\t0\nVmRSS:\t4 kB\nHugetlbPages:\t0 kB\n")
		host, err := Survey(f.fs, d)
		if err != nil {
			t.Fatal(err)
		}
		if got := mayConcernOVS(f.fs, Config{}, d, host); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// TestAskSocket: a database that does not answer costs no more than the time it is
// given, and one that answers too much not even that.
func TestAskSocket(t *testing.T) {
	usual := ovsPatience
	defer func() { ovsPatience = usual }()
	for _, test := range []struct {
		name     string
		serve    func(net.Conn)
		patience time.Duration
		ok       bool
	}{
		{"it answers", func(c net.Conn) {
			request := make([]byte, len(ovs.Request))
			if _, err := io.ReadFull(c, request); err == nil && string(request) == ovs.Request {
				io.WriteString(c, answering(`,["dpdk-socket-mem","64"]`))
			}
		}, time.Hour, true},
		{"it is silent", func(c net.Conn) { io.Copy(io.Discard, c) }, time.Millisecond, false},
		{"it hangs up", func(c net.Conn) {}, time.Hour, false},
		{"it never ends", func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, strings.Repeat("[", 4096)); err != nil {
					return
				}
			}
		}, time.Hour, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "db.sock")
			listener, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			go func() {
				if c, err := listener.Accept(); err == nil {
					test.serve(c)
					c.Close()
				}
			}()
			ovsPatience = test.patience
			told, ok := askOVS(sysfs.New(""), Config{OVSDB: []string{socket + ".absent", socket}}, &guard.Host{}, time.Now().Add(time.Hour))
			if ok != test.ok || ok && told.SocketMiB[0] != 64 {
				t.Errorf("%+v, %v", told, ok)
			}
		})
	}
	if _, ok := askOVS(sysfs.New(""), Config{OVSDB: []string{}}, &guard.Host{}, time.Now().Add(time.Second)); ok {
		t.Error("somebody answered, and nobody was to be asked")
	}
}

// TestContainedDatabases: a daemon in a container is asked at the socket that
// it was told to use, as its own mounts have it.
func TestContainedDatabases(t *testing.T) {
	h := sysfstest.Copy(t, incident+"/host")
	h.Write("proc/5/cmdline", "ovs-vswitchd\x00unix:/var/run/../ovs/db.sock\x00--pidfile\x00")
	h.Write("proc/6/cmdline", "ovs-vswitchd\x00tcp:127.0.0.1:6640\x00")
	host := guard.Host{Holders: &guard.Holders{List: []guard.Holder{
		{Kind: guard.HolderGuest, PID: 4}, {Kind: guard.HolderOVS, PID: 5}, {Kind: guard.HolderOVS, PID: 6}}}}
	got := containedDatabases(h.FS(), &host)
	want := []socket{{"proc/5/root", "/var/ovs/db.sock"}, {"proc/6/root", "/run/openvswitch/db.sock"}}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestContainedSocket: a link in a container leads to no socket of the host's.
func TestContainedSocket(t *testing.T) {
	dir := t.TempDir()
	listener, err := net.Listen("unix", filepath.Join(dir, "db.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			if _, err := io.ReadFull(c, make([]byte, len(ovs.Request))); err == nil {
				io.WriteString(c, answering(""))
			}
			c.Close()
		}
	}()
	if err := os.Mkdir(filepath.Join(dir, "root"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "db.sock"), filepath.Join(dir, "root/db.sock")); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Hour)
	if told, err := askSocket(sysfs.New(""), socket{dir[1:], "/db.sock"}, deadline); err != nil || !told.Init {
		t.Errorf("%+v, %v", told, err)
	}
	if told, err := askSocket(sysfs.New(""), socket{dir[1:] + "/root", "/db.sock"}, deadline); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%+v, %v", told, err)
	}
}
