package guard_test

import (
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	. "hugeguard/guard"
	. "hugeguard/guard/guardtest"
	"hugeguard/guard/nova"
	"hugeguard/guard/words"
)

func TestReservations(t *testing.T) {
	node := func(id int) nova.Pool { return nova.Pool{Node: id, PageKiB: 2048} }
	giant := nova.Pool{Node: 1, PageKiB: 1 << 20}
	oneMount := Pages(9, 9)
	oneMount.Mounts = oneMount.Mounts[:1]
	for _, test := range []struct {
		name string
		host Setup
		want string
	}{
		{"nobody looked", Pages(9), ""},
		{"guests and files are not reserved for", Pages(9, 9).Holding(HolderGuest, "a", 1, 0, 7).Holding(HolderFile, "f", 0, 1, 7), ""},
		{"all others are", Pages(9, 9).Holding(HolderOVS, "ovs-vswitchd", 1, 0, 5).Holding(HolderProcess, "vpp", 2, 0, 6).Holding(HolderProcess, "spdk", 3, 1, 7),
			"node:0,size:2048,count:11 node:1,size:2048,count:7"},
		{"told more than it holds", Pages(9, 9).Holding(HolderOVS, "ovs-vswitchd", 1, 0, 5).ToldOVS("", 1024, 1023), "node:0,size:2048,count:512 node:1,size:2048,count:512"},
		{"holds more than it was told", Pages(9, 9).Holding(HolderOVS, "ovs-vswitchd", 1, 0, 600).Holding(HolderProcess, "vpp", 2, 0, 1).ToldOVS("", 1024), "node:0,size:2048,count:601"},
		{"told, and not there yet", oneMount.ToldOVS("", 1024), "node:0,size:2048,count:512"},
		{"told, not there yet, of unknown pages", Pages(9, 9).ToldOVS("", 1024), ""},
		{"told, with its mount", Pages(9, 9).ToldOVS("/dev/hugepages1G", 1024, 1025), "node:0,size:1048576,count:1 node:1,size:1048576,count:2"},
		{"what is reserved stays", Pages(9, 9).Holding(HolderOVS, "ovs-vswitchd", 1, 0, 5).Reserving(nova.Reserved{node(0): 3, node(1): 4, giant: 2, node(7): 1, node(2): -1, node(3): 0}),
			"node:0,size:2048,count:5 node:1,size:2048,count:4 node:7,size:2048,count:1 node:1,size:1048576,count:2"},
	} {
		var want []string
		for _, r := range strings.Fields(test.want) {
			want = append(want, "reserved_huge_pages="+r)
		}
		if want != nil {
			want = append([]string{"[DEFAULT]"}, want...)
		}
		if got := words.Reserve(test.host.Reservations()); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, want %q", test.name, got, want)
		}
	}
	notUsing := Pages(9).Holding(HolderOVS, "ovs-vswitchd", 1, 0, 5).ToldOVS("", 1024)
	notUsing.OVS.Init = false
	if got := words.Reserve(notUsing.Reservations()); len(got) != 2 || got[1] != "reserved_huge_pages=node:0,size:2048,count:5" {
		t.Errorf("%q for an Open vSwitch that is not to use DPDK", got)
	}
}

// TestReserveSettles: with the lines in its configuration Nova agrees with the host, reserves at least what others
// hold, and is asked for nothing more.
func TestReserveSettles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		host := Pages(99, 99)
		kinds := []HolderKind{HolderOVS, HolderProcess, HolderGuest, HolderFile}
		for range rapid.IntRange(0, 4).Draw(t, "holders") {
			host = host.Holding(rapid.SampledFrom(kinds).Draw(t, "kind"), "x", 1, rapid.IntRange(0, 1).Draw(t, "node"), rapid.Uint64Range(1, 9).Draw(t, "pages"))
		}
		if rapid.Bool().Draw(t, "told") {
			host = host.ToldOVS("/dev/hugepages", rapid.Uint64Range(0, 30).Draw(t, "MiB"))
		}
		reserved := nova.Reserved{}
		for range rapid.IntRange(0, 2).Draw(t, "reserved") {
			reserved[nova.Pool{Node: rapid.IntRange(0, 2).Draw(t, "on"), PageKiB: 2048}] = rapid.Int64Range(-2, 9).Draw(t, "count")
		}
		host = host.Reserving(reserved)
		lines := words.Reserve(host.Reservations())
		var config nova.Config
		if err := config.Add("nova.conf", strings.Join(lines, "\n")); err != nil {
			t.Fatal(err)
		}
		settled, err := config.Reserved()
		if err != nil {
			t.Fatal(err)
		}
		for pool, count := range reserved {
			if settled[pool] < count {
				t.Fatalf("%d pages of %v were reserved, now %d", count, pool, settled[pool])
			}
		}
		host = host.Reserving(settled)
		if again := words.Reserve(host.Reservations()); !host.Agrees() || !reflect.DeepEqual(again, lines) {
			t.Fatalf("%q, and then %q", lines, again)
		}
		for _, p := range host.NovaReport("").Pools {
			outside := host.HeldBy(HolderOVS)[nova.Pool{Node: p.Node, PageKiB: p.PageKiB}] + host.HeldBy(HolderProcess)[nova.Pool{Node: p.Node, PageKiB: p.PageKiB}]
			if uint64(p.Reserved) < outside || p.Unreserved > 0 {
				t.Fatalf("%d reserved of the %d that others hold: %+v", p.Reserved, outside, p)
			}
		}
	})
}

// TestReservesNothing: a pool of which Nova is told to keep back no page is as one of which it is told nothing.
func TestReservesNothing(t *testing.T) {
	at := func(node int) nova.Pool { return nova.Pool{Node: node, PageKiB: 2048} }
	host := Pages(9, 9).Holding(HolderOVS, "ovs-vswitchd", 1, 0, 5)
	for count, want := range map[int64]bool{0: true, 1: true, -1: false} {
		if host.Reserving(nova.Reserved{at(0): 5, at(1): count}).Agrees() != want {
			t.Errorf("with %d pages of node 1 reserved, agrees is not %v", count, want)
		}
	}
	if host.Reserving(nova.Reserved{at(1): 0}).Agrees() {
		t.Error("it agrees without what Open vSwitch holds")
	}
}

// TestBelief: an instance counts whether it runs or not, and only what Nova does not allow for is drift.
func TestBelief(t *testing.T) {
	at := nova.Pool{Node: 0, PageKiB: 2048}
	host := Pages(10).Holding(HolderGuest, "a", 1, 0, 20).Holding(HolderOVS, "ovs-vswitchd", 2, 0, 30).Reserving(nova.Reserved{at: 25})
	instance := func(name string, running bool, pages uint64) Instance {
		return Instance{Name: name, UUID: name, Running: running, Pages: map[nova.Pool]uint64{at: pages}}
	}
	host.Nova.Instances = []Instance{instance("a", true, 20), instance("off", false, 5), instance("starting", false, 7)}
	report := host.NovaReport("starting")
	if want := (NovaPool{Node: 0, PageKiB: 2048, Reserved: 25, Instances: 25, Free: new(int64(10)), Drift: new(int64(5)), Unreserved: 5}); len(report.Pools) != 1 || !reflect.DeepEqual(report.Pools[0], want) || report.Instances != 2 || len(report.Strangers) > 0 {
		t.Errorf("%+v, want %+v", report, want)
	}
	if p := host.ToldOVS("/dev/hugepages", 80).NovaReport("").Pools[0]; *p.Drift != 5 || p.Unreserved != 15 {
		t.Errorf("%+v where Open vSwitch was told to take 40 pages", p)
	}
	host.Nova.Instances = host.Nova.Instances[1:]
	if report := host.NovaReport(""); len(report.Strangers) != 1 || report.Strangers[0] != (Stranger{"a", 2048, 20}) || *report.Pools[0].Drift != 25 {
		t.Errorf("%+v", report)
	}
	if host.Nova.Unread = 1; len(host.NovaReport("").Strangers) > 0 {
		t.Error("a guest is called a stranger although not all domains could be read")
	}
	if host.Nova.Fault = "broken"; len(host.NovaReport("").Pools) > 0 {
		t.Error("a belief that is not known")
	}
}

// TestRefusedStillCount: Nova counts an instance whose start was refused as long as it has it.
func TestRefusedStillCount(t *testing.T) {
	at := nova.Pool{Node: 0, PageKiB: 2048}
	host := Pages(10).Holding(HolderOVS, "ovs-vswitchd", 2, 0, 30).Reserving(nova.Reserved{at: 30})
	host.Nova.Refused = []Instance{{Name: "a", UUID: "u", Pages: map[nova.Pool]uint64{at: 7}}}
	host.Nova.Uncounted, host.Nova.Unlisted = []string{"v", "u_resize"}, "why"
	report := host.NovaReport("")
	if report.Unlisted != "why" {
		t.Errorf("%+v lacks why not all instances are known", report)
	}
	if p := report.Pools[0]; p.Instances != 7 || *p.Free != 3 || *p.Drift != 0 || report.Instances != 0 {
		t.Errorf("%+v of %+v", p, report)
	}
	if want := []RefusedInstance{{"a", "u", 0, 2048, 7}}; !reflect.DeepEqual(report.Refused, want) || len(report.Uncounted) != 2 {
		t.Errorf("%+v, want %+v", report, want)
	}
	if report := host.NovaReport("u"); *report.Pools[0].Free != 10 || report.Refused != nil || len(report.Uncounted) != 1 {
		t.Errorf("%+v at its next start", report)
	}
}

// TestNotYetRead: what nova-compute did not read yet, it does not reserve.
func TestNotYetRead(t *testing.T) {
	at := nova.Pool{Node: 0, PageKiB: 2048}
	host := Pages(10).Holding(HolderOVS, "ovs-vswitchd", 2, 0, 30).Reserving(nova.Reserved{at: 30})
	host.Nova.Stale = "/etc/nova/nova.conf"
	if p := host.NovaReport("").Pools[0]; p.Reserved != 30 || p.Free != nil || p.Drift != nil {
		t.Errorf("%+v of a configuration that nobody has read", p)
	}
	if found := Drifts(host.Host, ""); len(found) != 1 || found[0].Code != "nova-stale" {
		t.Errorf("%+v", found)
	}
	if !host.Agrees() {
		t.Error("the new configuration does not agree")
	}
	host.Nova.Read = nova.Reserved{}
	if p := host.NovaReport("").Pools[0]; p.Reserved != 0 || *p.Free != 40 || *p.Drift != 30 || p.Unreserved != 30 {
		t.Errorf("%+v where nova-compute has read another", p)
	}
}
