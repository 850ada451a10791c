package survey

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/ovs"
	"hugeguard/hook/config"
	"hugeguard/hook/hooktest"
	"hugeguard/hook/survey/vswitch"
	"hugeguard/sysfs"
)

// TestDatabaseIsNotAsked where nothing depends on it.
func TestDatabaseIsNotAsked(t *testing.T) {
	demand := func(xml string) guard.Demand {
		d, err := domain.Parse([]byte(xml))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	host := hooktest.Incident(t)
	xml := hooktest.Domain(t, "prepare-on-node1.xml")
	host.Write("run/openvswitch/ovs-vswitchd.pid", "2974\n")
	for _, test := range []struct {
		name, xml, free string
		pid             string
		want            bool
	}{
		{"a mempool is left", vhost(xml), "279", "2974", false},
		{"less is left", vhost(xml), "278", "2974", true},
		{"Open vSwitch holds nothing yet", vhost(xml), "1024", "4", true},
		{"nothing yet, other interfaces", xml, "1024", "4", true},
		{"its pid is somebody else's", vhost(xml), "1024", "3066", false},
		{"no such interface", xml, "256", "2974", false},
	} {
		host.Write("sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages", test.free+"\n")
		host.Write("run/openvswitch/ovs-vswitchd.pid", test.pid+"\n")
		d := demand(test.xml)
		seen, err := Counters(host.FS(), For(d))
		if err != nil {
			t.Fatal(err)
		}
		if got := vswitch.Concerns(host.FS(), d, seen); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// TestOnlyThePidFileBesideCounts: an accepted start has no child ask a database of which
// the pid file lies elsewhere or has the pid of a container, unless little is left.
func TestOnlyThePidFileBesideCounts(t *testing.T) {
	xml := vhost(hooktest.Domain(t, "prepare-on-node1.xml"))
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
		host := hooktest.Incident(t)
		host.Write(vswitch.Captured, hooktest.OVSAnswer(""))
		host.Write("sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages", test.free+"\n")
		if test.pid != "" {
			host.Write("run/openvswitch/ovs-vswitchd.pid", test.pid+"\n")
		}
		if test.server {
			host.Write("run/openvswitch/ovsdb-server.pid", "2970\n")
		}
		host.Write("proc/3066/status", "Name:\tkworker/0:0\nUid:\t0\t0\t0\t0\n")
		host.Write("proc/2980/status", "Name:\tovs-vswitchd-dp\nUid:\t0\t0\t0\t0\nVmRSS:\t4 kB\nHugetlbPages:\t0 kB\n")
		seen, err := Counters(host.FS(), For(d))
		if err != nil {
			t.Fatal(err)
		}
		if got := vswitch.MayConcern(host.FS(), config.Config{}, d, seen); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// TestAskSocket: a database that does not answer costs no more than the time it is given, and one that answers too much
// not even that. Only of the first it is not known what it would say.
func TestAskSocket(t *testing.T) {
	hour := time.Now().Add(time.Hour)
	for _, test := range []struct {
		name     string
		serve    func(net.Conn)
		deadline time.Time
		known    bool
		answers  bool
	}{
		{"it answers", answers, hour, true, true},
		{"it is silent", func(c net.Conn) { io.Copy(io.Discard, c) }, time.Now(), false, false},
		{"it hangs up", func(c net.Conn) {}, hour, true, false},
		{"it never ends", func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, strings.Repeat("[", 4096)); err != nil {
					return
				}
			}
		}, hour, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			socket := hooktest.Listen(t, test.serve)
			o, known := vswitch.Ask(sysfs.New(""), config.Config{OVSDB: []string{socket + ".absent", socket}}, guard.Host{}, test.deadline)
			if (o != nil) != test.answers || known != test.known || o != nil && o.SocketMiB[0] != 64 {
				t.Errorf("%+v, %v", o, known)
			}
		})
	}
	if o, known := vswitch.Ask(sysfs.New(""), config.Config{OVSDB: []string{}}, guard.Host{}, hour); o != nil || !known {
		t.Error("somebody answered, and nobody was to be asked")
	}
}

// answers is a database that says what Open vSwitch was told.
func answers(c net.Conn) {
	request := make([]byte, len(ovs.Request))
	if _, err := io.ReadFull(c, request); err == nil && string(request) == ovs.Request {
		io.WriteString(c, hooktest.OVSAnswer(`,["dpdk-socket-mem","64"]`))
	}
}

// vhost gives a domain's XML an interface that Open vSwitch serves.
func vhost(xml string) string {
	return strings.Replace(xml, "<devices>", "<devices><interface type='vhostuser'><source type='unix' path='/run/vhu1' mode='server'/></interface>", 1)
}
