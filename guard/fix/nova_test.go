package fix_test

import (
	"strings"
	"testing"

	"hugeguard/guard"
	"hugeguard/guard/fix"
	. "hugeguard/guard/guardtest"
	"hugeguard/guard/nova"
	"hugeguard/guard/words"
)

// TestWhatNovaIsAsked: the line asks for what is missing on the node that is short, and for nothing that Nova does
// already.
func TestWhatNovaIsAsked(t *testing.T) {
	node := func(id int) nova.Pool { return nova.Pool{Node: id, PageKiB: 2048} }
	host := Pages(0, 512).Holding(guard.HolderOVS, "ovs-vswitchd", 702, 0, 512).Holding(guard.HolderOVS, "ovs-vswitchd", 702, 1, 512)
	crowded := host.Holding(guard.HolderProcess, "vpp", 5, 0, 256)
	stale := host.Reserving(nova.Reserved{node(0): 512, node(1): 512})
	stale.Nova.Stale, stale.Nova.PID, stale.Nova.Unit = "/etc/nova/nova.conf", 812, "nova-compute.service"
	for _, test := range []struct {
		name string
		host Setup
		want string // at the end of the line
		fix  string // the first line of the fix
	}{
		{"no Nova", host, "; fix: bind ram-node0 to node 1 (node 1 has 512 free)", "bind ram-node0 to node 1"},
		{"as designed", host.Reserving(nova.Reserved{}),
			"; ovs-vswitchd (pid 702) has 512, nova.conf reserves none; fix: reserved_huge_pages=node:0,size:2048,count:512 (node 1 has 512 free)", "[DEFAULT]"},
		{"enough for one of two", crowded.Reserving(nova.Reserved{node(0): 512, node(1): 512}),
			"; vpp (pid 5) has 256, nova.conf reserves 512; fix: reserved_huge_pages=node:0,size:2048,count:768 (node 1 has 512 free)", "[DEFAULT]"},
		{"told more", host.ToldOVS("/dev/hugepages", 2048).Reserving(nova.Reserved{node(0): 512}),
			"; ovs-vswitchd (pid 702) has 512, nova.conf reserves 512; fix: reserved_huge_pages=node:0,size:2048,count:1024 (node 1 has 512 free)", "[DEFAULT]"},
		{"less than nothing", host.Reserving(nova.Reserved{node(0): -2}),
			"; ovs-vswitchd (pid 702) has 512, nova.conf reserves -2; fix: reserved_huge_pages=node:0,size:2048,count:512 (node 1 has 512 free)", "[DEFAULT]"},
		{"not read yet", stale,
			"; ovs-vswitchd (pid 702) has 512, nova.conf reserves 512; fix: restart nova-compute (pid 812), which was started before /etc/nova/nova.conf was changed (node 1 has 512 free)", "systemctl restart nova-compute.service"},
		{"enough here, too little there", host.Reserving(nova.Reserved{node(0): 512}),
			"; ovs-vswitchd (pid 702) has 512, nova.conf reserves 512; Nova believes only 0 free there: it placed this start earlier, or its scheduler did not place it; node 1 has 512 free", "[DEFAULT]"},
	} {
		v := fix.Judge(Guest(t, "strict:0", Cell(256, "strict:0")), test.host.Host)
		if got := words.Summary(v); !strings.HasSuffix(got, test.want) {
			t.Errorf("%s: %s\nwant %s at its end", test.name, got, test.want)
		}
		if len(Fixes(v)) == 0 || Fixes(v)[0].Lines[0] != test.fix {
			t.Errorf("%s: %+v, want %s", test.name, Fixes(v), test.fix)
		}
	}
}

// TestNovaWithoutRoom: where no node has room, Nova can only place the guest on another host, and the fix says so.
func TestNovaWithoutRoom(t *testing.T) {
	full := Pages(0, 0).Holding(guard.HolderOVS, "ovs-vswitchd", 702, 0, 512).Holding(guard.HolderOVS, "ovs-vswitchd", 702, 1, 512).Reserving(nova.Reserved{})
	fixes := words.Fixes(fix.Judge(Guest(t, "strict:0", Cell(256, "strict:0")), full.Host))
	var kinds []string
	for _, f := range fixes {
		kinds = append(kinds, f.Kind)
	}
	if want := "reserve-in-nova, grow-pools"; strings.Join(kinds, ", ") != want {
		t.Fatalf("%q, want %s", kinds, want)
	}
	if what := fixes[0].What; !strings.Contains(what, "Nova places it on another host, or finds none") || strings.Contains(what, "places it where it fits") {
		t.Error(what)
	}
}
