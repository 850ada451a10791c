package survey

import (
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"hugeguard/guard"
	"hugeguard/hook/config"
	"hugeguard/hook/hooktest"
	"hugeguard/hook/survey/vswitch"
	"hugeguard/sysfs"
)

// nobody is a host's processes, of which there are none.
var nobody = []sysfs.Process{}

// TestToldLate: a database that answers after Nova's configuration was read costs that nothing, and what each look
// finds is known from then on, whatever time the machine takes for it.
func TestToldLate(t *testing.T) {
	read := make(chan struct{})
	socket := hooktest.Listen(t, func(c net.Conn) { <-read; answers(c) })
	conf := config.Config{OVSDB: []string{socket}, NovaConf: []string{novaConf(t)}}
	var host guard.Host
	var notKnown [][]guard.Evidence
	Told(sysfs.New(""), conf, &host, nobody, time.Now().Add(time.Hour), func() {
		if notKnown = append(notKnown, host.NotKnown); len(notKnown) == 1 {
			close(read)
		}
	})
	if want := [][]guard.Evidence{{guard.EvidenceOVS}, {}}; !reflect.DeepEqual(notKnown, want) {
		t.Errorf("not known: %q, want %q", notKnown, want)
	}
	if host.OVS == nil || host.OVS.SocketMiB[0] != 64 || host.Nova == nil || len(host.Nova.Reserved) != 2 {
		t.Errorf("%+v, %+v", host.OVS, host.Nova)
	}
}

// TestToldTooLate: what is not known when the time is up is said to be so, and nothing else is.
func TestToldTooLate(t *testing.T) {
	past, hour := time.Now(), time.Now().Add(time.Hour)
	for _, test := range []struct {
		name     string
		deadline time.Time
		before   []guard.Evidence // not known
		want     []guard.Evidence
	}{
		{"in time", hour, nil, nil},
		{"no time at all", past, nil, []guard.Evidence{guard.EvidenceOVS, guard.EvidenceNova}},
		{"no time for all processes", hour, []guard.Evidence{guard.EvidenceHolders}, []guard.Evidence{guard.EvidenceHolders, guard.EvidenceNova}},
	} {
		conf := config.Config{OVSDB: []string{hooktest.Listen(t, answers)}, NovaConf: []string{novaConf(t)}}
		host := guard.Host{NotKnown: test.before}
		Told(sysfs.New(""), conf, &host, nobody, test.deadline, func() {})
		if len(host.NotKnown) != len(test.want) || len(test.want) > 0 && !reflect.DeepEqual(host.NotKnown, test.want) {
			t.Errorf("%s: not known: %q, want %q", test.name, host.NotKnown, test.want)
		}
	}
}

// TestHoldersTooLate: who was not looked at in time is not known.
func TestHoldersTooLate(t *testing.T) {
	host := hooktest.Incident(t).FS()
	if in := look(t, host, time.Now().Add(time.Hour)); len(in.NotKnown) > 0 {
		t.Errorf("in time, not known: %q", in.NotKnown)
	}
	if late := look(t, host, time.Now()); !slices.Contains(late.NotKnown, guard.EvidenceHolders) {
		t.Errorf("too late, not known: %q", late.NotKnown)
	}
}

// TestToldUse: what Open vSwitch uses stands beside what it was told, of a captured host too.
func TestToldUse(t *testing.T) {
	h := hooktest.Incident(t)
	h.Write(vswitch.Captured, hooktest.OVSAnswer(`,["dpdk-socket-mem","1024,1024"]`))
	h.Write(vswitch.CapturedUse, `{"id":0,"result":"Heap name:socket_0\n\tAlloc_size:3145729,\n"}`)
	var host guard.Host
	looks := 0
	Told(h.FS(), config.Config{}, &host, nobody, time.Now().Add(time.Hour), func() { looks++ })
	report := host.OVSReport()
	if report == nil || looks != 3 {
		t.Fatalf("%+v after %d looks", report, looks)
	}
	if used := report.Nodes[0].UsedMiB; used == nil || *used != 4 {
		t.Errorf("node 0 uses %v MiB, want 4", used)
	}
	if used := report.Nodes[1].UsedMiB; used != nil {
		t.Errorf("of node 1 it is known that it uses %d MiB", *used)
	}
	if err := os.Remove(h.Path(vswitch.CapturedUse)); err != nil {
		t.Fatal(err)
	}
	if use := vswitch.Use(h.FS(), host, time.Now().Add(time.Hour)); use != nil {
		t.Errorf("of a host that does not say it is %v", use)
	}
}

// novaConf is a configuration of Nova.
func novaConf(t *testing.T) string {
	name := filepath.Join(t.TempDir(), "nova.conf")
	if err := os.WriteFile(name, []byte(hooktest.ReservesAll), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}
