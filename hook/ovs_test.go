package hook

import (
	"strings"
	"testing"

	"hugeguard/hook/hooktest"
	"hugeguard/hook/survey/vswitch"
)

// TestToldAgainstHeld: what Open vSwitch was told stands beside what it holds,
// in the journal, and the fix counts the larger of the two.
func TestToldAgainstHeld(t *testing.T) {
	for _, test := range []struct {
		told, says string
		fix        []string
	}{
		{`,["dpdk-socket-mem","1024,1024"]`, "Open vSwitch was told dpdk-init=true dpdk-socket-mem=1024,1024; node 0: 1024 MiB told (512 pages of 2 MiB), 1024 MiB held; node 1: 1024 MiB told (512 pages of 2 MiB), 1024 MiB held\n",
			[]string{"node:0,size:2048,count:512", "node:1,size:2048,count:512"}},
		{`,["dpdk-socket-mem","1024"]`, "node 1: 0 MiB told, 1024 MiB held, 1024 MiB more than told (memory for ports' packets comes on top)",
			[]string{"node:0,size:2048,count:512", "node:1,size:2048,count:512"}},
		{`,["dpdk-socket-mem","1024,1500"]`, "node 1: 1500 MiB told (750 pages of 2 MiB), 1024 MiB held",
			[]string{"node:0,size:2048,count:512", "node:1,size:2048,count:750"}},
		{`,["dpdk-alloc-mem","64"]`, "64 MiB told on any node", []string{"node:0,size:2048,count:512", "node:1,size:2048,count:512"}},
	} {
		f := newFixture(t, strings.NewReader(hooktest.Domain(t, "prepare.xml")))
		f.host.Write(vswitch.Captured, hooktest.OVSAnswer(test.told))
		f.host.Write(hooktest.NovaConf, "[DEFAULT]\n")
		if status := f.prepare(); status != exitRefuse || len(f.entries) != 1 {
			t.Fatalf("%s: status %d, journal %+v", test.told, status, f.entries)
		}
		if got := f.entries[0].Message; !strings.Contains(got, test.says) {
			t.Errorf("%s: the journal lacks %q:\n%s", test.told, test.says, got)
		}
		want := "[DEFAULT]\nreserved_huge_pages=" + strings.Join(test.fix, "\nreserved_huge_pages=")
		if got := f.entries[0].Fields["HUGEGUARD_FIX"]; got != want {
			t.Errorf("%s: the fix is\n%s\nwant\n%s", test.told, got, want)
		}
	}
}

// TestPending: a start is warned that takes pages which Open vSwitch was told to take and has not taken yet, whatever
// its interfaces; none is where Open vSwitch has them, wherever it keeps its pid file.
func TestPending(t *testing.T) {
	const says = "OVS-DPDK lacks node 1's 2M pages: it was told to take 512 pages (1 GiB) and has not taken them yet, this start leaves it 256"
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
		f := newFixture(t, strings.NewReader(test.xml(hooktest.Domain(t, "prepare-on-node1.xml"))))
		f.host.Write(vswitch.Captured, hooktest.OVSAnswer(`,["dpdk-socket-mem","1024,1024"]`))
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

// TestVhostUser: a start that takes what Open vSwitch needs is warned about, and the start is allowed.
func TestVhostUser(t *testing.T) {
	for _, test := range []struct {
		name, told string
		running    bool
		free       string // of node 1, 256 of which the guest takes
		mtu        string
		says       string // "": nothing
	}{
		{"no room for a mempool", `,["dpdk-socket-mem","1024"]`, true, "260", "", "OVS-DPDK may lack node 1's 2M pages: this start leaves 4 pages (8 MiB), and one more mempool for vhost-user ports of MTU 1500 takes at least 23"},
		{"jumbo frames", `,["dpdk-socket-mem","1024"]`, true, "300", "<mtu size='9000'/>", "leaves 44 pages (88 MiB), and one more mempool for vhost-user ports of MTU 9000 takes at least 79"},
		{"just enough", `,["dpdk-socket-mem","1024"]`, true, "279", "", ""},
		{"it has room of its own", `,["dpdk-socket-mem","1024,1024"]`, true, "260", "", ""},
		{"a mempool for each port", `,["dpdk-socket-mem","1024,1024"],["per-port-memory","true"]`, true, "260", "", "takes at least 23"},
		{"not started yet", `,["dpdk-socket-mem","1024,1024"]`, false, "512", "", "OVS-DPDK lacks node 1's 2M pages: it was told to take 512 pages (1 GiB) and has not taken them yet, this start leaves it 256"},
		{"not started yet, and enough for both", `,["dpdk-socket-mem","1024,512"]`, false, "512", "", ""},
		{"not to use DPDK", `,["dpdk-init","false"],["dpdk-socket-mem","1024"]`, true, "260", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t, strings.NewReader(vhost(hooktest.Domain(t, "prepare-on-node1.xml"), test.mtu)))
			f.host.Write(vswitch.Captured, hooktest.OVSAnswer(test.told))
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

// vhost gives a domain's XML an interface that Open vSwitch serves.
func vhost(xml, mtu string) string {
	return strings.Replace(xml, "<devices>", "<devices><interface type='vhostuser'><source type='unix' path='/run/vhu1' mode='server'/>"+mtu+"</interface>", 1)
}
