package fix_test

import (
	"slices"
	"strings"
	"testing"

	"hugeguard/guard"
	"hugeguard/guard/fix"
	. "hugeguard/guard/guardtest"
	"hugeguard/guard/words"
)

// TestHolderFixes: what is said to those who hold too much, after what is said to Nova.
func TestHolderFixes(t *testing.T) {
	with := func(h Setup, f func(*guard.Holder)) Setup {
		return h.Looked(func(holders *guard.Holders) { f(&holders.List[0]) })
	}
	const grow = "host: echo "
	vswitch := func(free, other, holds uint64) Setup {
		return with(Pages(free, other).Holding(guard.HolderOVS, "ovs-vswitchd", 7, 0, holds), func(h *guard.Holder) { h.Unit, h.Service = "ovs-vswitchd.service", "ovs-vswitchd.service" })
	}
	process := func(name string, n uint64) Setup {
		return with(Pages(24, 0).Holding(guard.HolderProcess, name, 7, 0, n), func(h *guard.Holder) { h.Unit, h.Service = name+".service", name+".service" })
	}
	shrunk := "host: ovs-vsctl --no-wait set Open_vSwitch . other_config:dpdk-socket-mem=944,1024, systemctl restart ovs-vswitchd.service"
	for _, test := range []struct {
		name string
		host Setup
		want []string // without that of the larger pool; nil for none
	}{
		{"Open vSwitch", vswitch(24, 0, 512).ToldSockets("1024,1024"), []string{shrunk}},
		{"Open vSwitch, and there is another node", vswitch(24, 64, 512).ToldSockets("1024,1024"), []string{"domain: bind ram-node0 to node 1", shrunk}},
		{"Open vSwitch holds more than it was told, which it needs", vswitch(24, 0, 513).ToldSockets("1024,1024"), nil},
		{"Open vSwitch uses most of it", vswitch(24, 0, 512).ToldSockets("1024,1024").UsedByOVS(945),
			[]string{"host: ovs-vsctl --no-wait set Open_vSwitch . other_config:dpdk-socket-mem=944,1024 other_config:dpdk-socket-limit=944,0, systemctl restart ovs-vswitchd.service"}},
		{"Open vSwitch uses most of it for mempools of ports", vswitch(24, 0, 512).ToldSockets("1024,1024", "per-port-memory=true").UsedByOVS(945), nil},
		{"Open vSwitch uses more than a mempool can give back", vswitch(24, 0, 1024).ToldSockets("2048").UsedByOVS(1968 + 668), nil},
		{"Open vSwitch uses as much as a mempool can give back", vswitch(24, 0, 1024).ToldSockets("2048").UsedByOVS(1968 + 667),
			[]string{"host: ovs-vsctl --no-wait set Open_vSwitch . other_config:dpdk-socket-mem=1968 other_config:dpdk-socket-limit=1968, systemctl restart ovs-vswitchd.service"}},
		{"Open vSwitch uses less", vswitch(24, 0, 512).ToldSockets("1024,1024").UsedByOVS(944), []string{shrunk}},
		{"Open vSwitch holds more than it was told, and uses less", vswitch(24, 0, 513).ToldSockets("1024,1024").UsedByOVS(300), []string{strings.Replace(shrunk, "944", "946", 1)}},
		{"Open vSwitch holds more than it was told, and would hold it again", vswitch(24, 0, 600).ToldSockets("1024,1024").UsedByOVS(300), nil},
		{"Open vSwitch would have too little", vswitch(24, 0, 180).ToldSockets("360"), nil},
		{"Open vSwitch was told nothing", vswitch(24, 0, 512), nil},
		{"Open vSwitch was told by other means", vswitch(24, 0, 512).ToldSockets("1024,1024", "dpdk-extra=--socket-mem 1024,1024"), nil},
		{"Open vSwitch in a container", with(vswitch(24, 0, 512).ToldSockets("1024"), func(h *guard.Holder) { h.Unit, h.Service, h.Engine = "container 0123456789ab", "", "docker" }),
			[]string{"host: docker exec 0123456789ab ovs-vsctl --no-wait set Open_vSwitch . other_config:dpdk-socket-mem=944, docker restart 0123456789ab"}},
		{"a dead guest's memory at Open vSwitch", with(vswitch(24, 0, 512).ToldSockets("1024,1024"), func(h *guard.Holder) { h.Guest = "7-a" }),
			[]string{"host: ovs-vsctl --columns=name,type,options list Interface # names PORT: its PATH is that of no guest that runs, ovs-vsctl del-port PORT", "host: systemctl restart ovs-vswitchd.service"}},
		{"that of a guest that is still defined", with(vswitch(24, 0, 512).ToldSockets("1024,1024"), func(h *guard.Holder) { h.Guest, h.Defined = "7-a b", true }),
			[]string{"host: ovs-vsctl --columns=name,type,options list Interface # names PORT: its PATH is in virsh dumpxml 'a b', ovs-vsctl port-to-br PORT # names BRIDGE, ovs-vsctl del-port PORT, " +
				"ovs-vsctl add-port BRIDGE PORT -- set Interface PORT type=TYPE options:vhost-server-path=PATH", "host: systemctl restart ovs-vswitchd.service"}},
		{"this guest's own, whom Nova gives its ports", func() Setup {
			h := with(vswitch(24, 0, 512).ToldSockets("1024,1024"), func(h *guard.Holder) { h.Guest, h.Own, h.Defined = "7-g", true, true })
			h.Nova = &guard.Nova{}
			return h
		}(), []string{"host: ovs-vsctl --columns=name,type,options list Interface # names PORT: its PATH is in virsh dumpxml g, ovs-vsctl del-port PORT", "host: systemctl restart ovs-vswitchd.service"}},
		{"that of a helper of its own run", with(process("virtiofsd", 60), func(h *guard.Holder) { h.Unit, h.Service, h.Guest, h.Own = "", "", "7-g", true }), []string{"host: kill 7"}},
		{"a dead guest's memory at a process by hand", with(process("vhost", 60), func(h *guard.Holder) { h.Unit, h.Service, h.Guest = "session-1.scope", "", "7-a" }), []string{"host: with SPDK: rpc.py vhost_get_controllers, which shows what it is, with SPDK: rpc.py vhost_delete_controller NAME", "host: kill 7"}},
		{"its own QEMU", with(process("vhost", 60), func(h *guard.Holder) { h.Kind, h.Former = guard.HolderGuest, true }), []string{"host: kill -9 7"}},
		{"its own QEMU, stuck", with(process("vhost", 60), func(h *guard.Holder) { h.Kind, h.Former, h.Stuck = guard.HolderGuest, true, true }),
			[]string{"host: kill -9 7", "host: systemctl reboot"}},
		{"VPP", process("vpp_main", 200), []string{"host: buffers { buffers-per-numa 131072 }", "host: systemctl stop vpp_main.service"}},
		{"VPP with no more than it needs", process("vpp_main", 44), []string{"host: systemctl stop vpp_main.service"}},
		{"SPDK", process("spdk_tgt", 200), []string{"host: --mem-size 320", "host: systemctl stop spdk_tgt.service"}},
		{"SPDK on two nodes", with(process("spdk_tgt", 200), func(h *guard.Holder) { h.Pages = map[int]uint64{0: 200, 1: 200} }), []string{"host: systemctl stop spdk_tgt.service"}},
		{"SPDK with pages of which nobody knows the node", with(process("spdk_tgt", 200), func(h *guard.Holder) { h.Unplaced = 9 }), []string{"host: systemctl stop spdk_tgt.service"}},
		{"DPDK in a pod", with(process("dpdk-testpmd", 200), func(h *guard.Holder) { h.Unit, h.Service, h.Engine = "container 0123456789ab", "", "crictl" }),
			[]string{"kubernetes: --socket-mem=320", `kubernetes: crictl inspect --output go-template --template '{{index .status.labels "io.kubernetes.pod.namespace"}}/{{index .status.labels "io.kubernetes.pod.name"}}' 0123456789ab # names the pod`}},
		{"DPDK", process("dpdk-testpmd", 200), []string{"host: --socket-mem=320", "host: systemctl stop dpdk-testpmd.service"}},
		{"DPDK with too little left", process("dpdk-testpmd", 60), []string{"host: systemctl stop dpdk-testpmd.service"}},
		{"PostgreSQL", process("postgres", 200), []string{`host: runuser -u postgres -- psql -U postgres -c "ALTER SYSTEM SET huge_pages = off", systemctl restart postgres.service`,
			"host: systemctl stop postgres.service"}},
		{"PostgreSQL in a container", with(process("postgres", 200), func(h *guard.Holder) { h.Unit, h.Service, h.Engine = "container 0123456789ab", "", "podman" }),
			[]string{`host: podman exec 0123456789ab psql -U postgres -c "ALTER SYSTEM SET huge_pages = off", podman restart 0123456789ab`, "host: podman stop 0123456789ab"}},
		{"a program that is known by its file", with(process("main", 200), func(h *guard.Holder) { h.Program = "mariadbd" }),
			[]string{"host: [mysqld], large_pages=OFF", "host: systemctl stop main.service"}},
		{"Oracle", process("ora_pmon_x", 200), []string{"host: ALTER SYSTEM SET use_large_pages = FALSE SCOPE = SPFILE;, SHUTDOWN IMMEDIATE, STARTUP", "host: systemctl stop ora_pmon_x.service"}},
		{"Oracle by hand", with(process("ora_pmon_x", 44), func(h *guard.Holder) { h.Unit, h.Service = "session-4.scope", "" }), []string{
			"host: ALTER SYSTEM SET use_large_pages = FALSE SCOPE = SPFILE;, SHUTDOWN IMMEDIATE, STARTUP", "host: as SYSDBA in sqlplus: SHUTDOWN IMMEDIATE"}},
		{"Db2 beside another, only both of which would do",
			process("db2sysc", 30).Holding(guard.HolderProcess, "dpdk-testpmd", 8, 0, 30).Looked(func(h *guard.Holders) { h.List[0].Unit, h.List[0].Service = "session-4.scope", "" }),
			[]string{"host: kill 8, as the owner of the instance: db2stop"}},
		{"two processes of Oracle, only both of which would do",
			process("ora_a", 30).Holding(guard.HolderProcess, "ora_b", 8, 0, 30).Looked(func(h *guard.Holders) { h.List[0].Unit, h.List[0].Service = "session-4.scope", "" }),
			[]string{"host: as SYSDBA in sqlplus: SHUTDOWN IMMEDIATE"}},
		{"another hypervisor's guest", with(process("kvm", 200), func(h *guard.Holder) { h.Unit, h.Service = "100.scope", "" }), []string{"host: qm shutdown 100"}},
		{"a guest by hand", with(process("cloud-hyperviso", 200), func(h *guard.Holder) { h.Unit, h.Service = "session-4.scope", "" }), []string{"host: kill 7"}},
		{"one in a pod, which kubelet would start again", with(process("something", 200), func(h *guard.Holder) { h.Unit, h.Service, h.Engine = "container 0123456789ab", "", "crictl" }),
			[]string{`kubernetes: crictl inspect --output go-template --template '{{index .status.labels "io.kubernetes.pod.namespace"}}/{{index .status.labels "io.kubernetes.pod.name"}}' 0123456789ab # names the pod`}},
		{"any other", process("something", 200), []string{"host: systemctl stop something.service"}},
		{"one that a daemon has started", with(process("something", 200), func(h *guard.Holder) { h.Unit, h.Service = "cron.service", "" }), []string{"host: kill 7"}},
		{"one of a user's session", with(process("something", 200), func(h *guard.Holder) { h.Unit, h.Service = "session-4.scope", "" }), []string{"host: kill 7"}},
		{"several, only all of which would do", process("a", 30).Holding(guard.HolderProcess, "b", 8, 0, 30).Looked(func(h *guard.Holders) { h.List[0].Pages = map[int]uint64{0: 30} }),
			[]string{"host: systemctl stop a.service, kill 8"}},
		{"PostgreSQL with more than there is ordinary memory", func() Setup {
			h := process("postgres", 200)
			h.Memory = &guard.Memory{AvailableKiB: 300 << 10}
			return h
		}(), []string{`host: runuser -u postgres -- psql -U postgres -c "ALTER SYSTEM SET shared_buffers = '288MB'", systemctl restart postgres.service`,
			"host: systemctl stop postgres.service"}},
		{"Java with more than there is ordinary memory", func() Setup {
			h := process("java", 200)
			h.Memory = &guard.Memory{AvailableKiB: 300 << 10}
			return h
		}(), []string{"host: systemctl stop java.service"}},
		{"pages that nobody has", Pages(24, 0).Holding(guard.HolderGuest, "a", 1, 0, 3).Gone(0, 37).Gone(0, 3), []string{"host: systemctl reboot"}},
		{"pages that nobody has, and another node", Pages(24, 64).Holding(guard.HolderGuest, "a", 1, 0, 3).Gone(0, 40), []string{"domain: bind ram-node0 to node 1", "host: systemctl reboot"}},
		{"pages that somebody may have who could not be asked", Pages(24, 0).Holding(guard.HolderGuest, "a", 1, 0, 3).Gone(0, 40).Looked(func(h *guard.Holders) { h.Cut = true }),
			[]string{"host: hugeguard status"}},
		{"pages that somebody may have outside of the container", Pages(24, 0).Holding(guard.HolderGuest, "a", 1, 0, 3).Gone(0, 40).Looked(func(h *guard.Holders) { h.Alone = true }),
			[]string{"host: grep HugetlbPages /proc/[0-9]*/status | grep -v ' 0 kB'"}},
		{"guests", with(process("a", 60), func(h *guard.Holder) { h.Kind = guard.HolderGuest }), []string{"host: virsh shutdown a"}},
		{"a guest whose name virsh takes for another's id", with(process("3", 60), func(h *guard.Holder) { h.Kind = guard.HolderGuest }), nil},
		{"a guest whose name virsh takes for an option", with(process("-a b", 60), func(h *guard.Holder) { h.Kind = guard.HolderGuest }), nil},
		{"guests whose surplus pages go to the kernel", Pages(0).Holding(guard.HolderGuest, "a", 7, 0, 75).Holding(guard.HolderGuest, "b", 8, 0, 75).WithSurplus(0, 60), nil},
		{"guests, of which one is enough", with(process("a", 60), func(h *guard.Holder) { h.Kind = guard.HolderGuest }).Holding(guard.HolderGuest, "b", 8, 0, 41).Holding(guard.HolderGuest, "c", 9, 0, 39), []string{"host: virsh shutdown b"}},
	} {
		v := fix.Judge(Guest(t, "strict:0", Cell(64, "strict:0")), test.host.Host)
		var got []string
		for _, fix := range Fixes(v) {
			said := fix.For + ": " + strings.Join(fix.Lines, ", ")
			if fix.For != "nova" && !strings.HasPrefix(said, grow) {
				got = append(got, said)
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q\n%s", test.name, got, test.want, words.Text(v))
		}
	}
}

// TestPrices: what ends a program costs the same whichever fix ends it; to have it again after the next boot is not spoilt.
func TestPrices(t *testing.T) {
	for name, want := range map[string]string{
		"spdk_tgt":     "the guests that it serves lose their disks",
		"dpdk-testpmd": "its traffic stops",
		"postgres":     "its clients lose their connections",
		"something":    "its service is down",
	} {
		host := Pages(24, 0).Holding(guard.HolderProcess, name, 7, 0, 200)
		for _, f := range words.Fixes(fix.Judge(Guest(t, "strict:0", Cell(64, "strict:0")), host.Host)) {
			if ends := f.Kind == "tune-process" || f.Kind == "stop-processes"; ends && (!strings.Contains(f.Cost, want) || len(f.Lasting) > 0) {
				t.Errorf("%s, %s: %q, %q", name, f.Kind, f.Cost, f.Lasting)
			}
		}
	}
}

// TestDeadGuests: what is deleted of a guest that is gone is added again, unless it is known that nobody needs it again; only
// a guest's whole name is one that virsh knows.
func TestDeadGuests(t *testing.T) {
	const long, warning = "production-web-server-01", "If its guest is to start again, add the "
	of := func(guest string, own, defined bool) func(*guard.Holder) {
		return func(h *guard.Holder) { h.Guest, h.Own, h.Defined = guest, own, defined }
	}
	for _, test := range []struct {
		name    string
		kind    guard.HolderKind
		change  func(*guard.Holder)
		manager guard.Manager
		said    []string
		unsaid  []string
	}{
		{"nobody knows whose", guard.HolderOVS, of(guard.UnknownGuest, false, false), "", []string{warning + "port again first", "no guest that runs\n", "# names BRIDGE"}, []string{"add-port"}},
		{"nobody knows whose, not Open vSwitch", guard.HolderProcess, of(guard.UnknownGuest, false, false), "", []string{warning + "device again first"}, nil},
		{"nobody knows whose, by Nova", guard.HolderOVS, of(guard.UnknownGuest, false, false), guard.ManagerNova, []string{"Nova adds it again"}, []string{warning, "BRIDGE"}},
		{"it is not defined any more", guard.HolderOVS, of("7-a", false, false), "", []string{"no guest that runs\n"}, []string{warning, "BRIDGE"}},
		{"it is defined, by another manager", guard.HolderOVS, of("7-a", false, true), guard.ManagerOVirt, []string{warning, "virsh dumpxml a\n", "# names BRIDGE"}, []string{"add-port"}},
		{"a cut name", guard.HolderOVS, of("7-"+long[:20], false, true), "", []string{"no guest that runs\n", "add-port"}, []string{warning, "virsh dumpxml"}},
		{"its own, cut", guard.HolderOVS, of("7-"+long[:20], true, true), "", []string{"virsh dumpxml " + long + "\n", "add-port"}, []string{warning}},
		{"a number", guard.HolderOVS, of("7-3", false, true), "", []string{"no guest that runs\n", "add-port"}, []string{"virsh dumpxml"}},
	} {
		host := Pages(24, 0).Holding(test.kind, "keeper", 7, 0, 512).Looked(func(h *guard.Holders) { test.change(&h.List[0]) })
		demand := Guest(t, "strict:0", Cell(64, "strict:0"))
		demand.Domain.Name, demand.Domain.Manager = long, test.manager
		for _, f := range words.Fixes(fix.Judge(demand, host.Host)) {
			if f.Kind != "free-dead-guests" {
				continue
			}
			text := strings.Join(append(f.Lines, f.Cost), "\n")
			for _, said := range test.said {
				if !strings.Contains(text, said) {
					t.Errorf("%s: it does not say %q:\n%s", test.name, said, text)
				}
			}
			for _, unsaid := range test.unsaid {
				if strings.Contains(text, unsaid) {
					t.Errorf("%s: it says %q:\n%s", test.name, unsaid, text)
				}
			}
			test.said = nil
		}
		if test.said != nil {
			t.Errorf("%s: there is no such fix", test.name)
		}
	}
}

// TestRebind: a guest is sent to another node only if all of it fits there, and not if Nova chooses the node.
func TestRebind(t *testing.T) {
	held := func(free ...uint64) Setup { return Pages(free...).Holding(guard.HolderProcess, "a", 7, 0, 64) }
	byNova := held(0, 64)
	byNova.Nova = &guard.Nova{}
	for _, test := range []struct {
		name   string
		demand guard.Demand
		host   Setup
		want   string
	}{
		{"one cell", Guest(t, "strict:0", Cell(64, "strict:0")), held(0, 64), "bind ram-node0 to node 1"},
		{"the whole guest", Plain(t, 128, "strict:0", TwoMiB), held(0, 64), "bind pc.ram to node 1"},
		{"two cells", Guest(t, "strict:0", Cell(32, "strict:0"), Cell(32, "strict:0")), held(0, 64), "bind ram-node0 to node 1, bind ram-node1 to node 1"},
		{"too little there", Guest(t, "strict:0", Cell(64, "strict:0")), held(0, 63), ""},
		{"not bound", Plain(t, 128, "", TwoMiB), held(0, 63), ""},
		{"Nova", Guest(t, "strict:0", Cell(64, "strict:0")), byNova, ""},
	} {
		got := ""
		for _, fix := range Fixes(fix.Judge(test.demand, test.host.Host)) {
			if fix.For == "domain" {
				got = strings.Join(fix.Lines, ", ")
			}
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
