package survey

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hugeguard/guard"
	"hugeguard/hook/config"
	"hugeguard/hook/hooktest"
)

// TestBelieved: who is taken for a service by its name, and who is not.
func TestBelieved(t *testing.T) {
	const container = "docker-3f2a9c1b2d4e5f60718293a4b5c6d7e8f90123456789abcdef0123456789abcd.scope"
	for _, test := range []struct {
		what, uid, cgroup string
		want              bool
	}{
		{"root's", "0 0 0 0", "/system.slice/nova-compute.service", true},
		{"root's, without a unit", "0 0 0 0", "/", true},
		{"root's in another unit", "0 0 0 0", "/system.slice/rc-local.service", true},
		{"root's in a session", "0 0 0 0", "/user.slice/user-0.slice/session-1.scope", false},
		{"the service's user in its unit", "64060 64060 64060 64060", "/system.slice/openstack-nova-compute.service", true},
		{"the service's user in devstack's unit", "1000 1000 1000 1000", "/system.slice/system-devstack.slice/devstack@n-cpu.service", true},
		{"the service's user in a container", "42436 42436 42436 42436", "/system.slice/" + container, true},
		{"openstack-helm's user in a container", "42424 42424 42424 42424", "/kubepods.slice/kubepods-pod1.slice/" + strings.Replace(container, "docker", "cri-containerd", 1), true},
		{"another user in a container", "1000 1000 1000 1000", "/system.slice/" + container, false},
		{"root in a container", "0 0 0 0", "/system.slice/" + container, true},
		{"another user in a container of the service's unit", "1000 1000 1000 1000", "/system.slice/edpm_nova_compute.service/libpod-payload-" + container[7:len(container)-6], true},
		{"the service's user outside of any container", "42436 42436 42436 42436", "/system.slice/atd.service", false},
		{"a unit with the name in a word", "1000 1000 1000 1000", "/system.slice/renovate.service", false},
		{"a unit with the name at the start of a word", "1000 1000 1000 1000", "/system.slice/innovaphone.service", false},
		{"a unit with one of the words", "1000 1000 1000 1000", "/system.slice/cpu.service", false},
		{"a template's unit", "1000 1000 1000 1000", "/system.slice/system-nova.slice/nova@1.service", true},
		{"TripleO's unit", "42436 42436 42436 42436", "/system.slice/tripleo_nova_compute.service", true},
		{"a snap's unit", "584788 584788 584788 584788", "/system.slice/snap.openstack-hypervisor.nova-compute.service", true},
		{"a unit with an escaped name", "1000 1000 1000 1000", `/system.slice/container@nova\x2dcompute.service`, true},
		{"a user in a session", "1000 1000 1000 1000", "/user.slice/user-1000.slice/session-1.scope", false},
		{"a user in a unit of that name", "1000 1000 1000 1000", "/user.slice/user-1000.slice/user@1000.service/app.slice/nova-compute.service", false},
		{"a user in a container of its own", "1000 1000 1000 1000", "/user.slice/user-1000.slice/user@1000.service/user.slice/" + container, false},
		{"a user's job", "1000 1000 1000 1000", "/system.slice/atd.service", false},
		{"a user in a group below another's unit", "1000 1000 1000 1000", "/system.slice/atd.service/nova-compute.service", false},
		{"a user without a unit", "1000 1000 1000 1000", "/", false},
		{"a user's, with root's rights", "1000 0 0 0", "/", true}, // of a captured host it may not be known
	} {
		h := hooktest.Incident(t)
		hooktest.NovaRuns(h, 1000)
		h.Write("proc/812/status", "Name:\tnova-compute\nUid:\t"+strings.ReplaceAll(test.uid, " ", "\t")+"\nHugetlbPages:\t0 kB\n")
		h.Write("proc/812/cgroup", "0::"+test.cgroup+"\n")
		for _, unsure := range []bool{false, true} {
			want := test.want
			if unsure {
				h.Write("proc/812/exe.unsure", "") // the program is some user's
				want = false
			}
			found, _ := Nova(h.FS(), config.Config{}, nil, time.Now().Add(time.Hour))
			if got := found != nil && found.PID == 812; got != want {
				t.Errorf("%s, the program unsure %v: %v, want %v", test.what, unsure, got, want)
			}
		}
	}
}

// TestBelievedMost: whose place says most about it is nova-compute, whatever the pids.
func TestBelievedMost(t *testing.T) {
	const container = "/system.slice/docker-3f2a9c1b2d4e5f60718293a4b5c6d7e8f90123456789abcdef0123456789abcd.scope"
	const unit = "/system.slice/nova-compute.service"
	// Each is believed less than the one before it.
	all := []struct{ uid, cgroup string }{{"0", unit}, {"64060", unit}, {"0", container}, {"42436", container}, {"1000", container}}
	for first := range all {
		h := hooktest.Incident(t)
		for i, p := range all[first:] {
			dir := fmt.Sprintf("proc/%d/", 900-i)
			h.Write(dir+"status", "Name:\tpython3\nUid:"+strings.Repeat("\t"+p.uid, 4)+"\nHugetlbPages:\t0 kB\n")
			h.Write(dir+"cgroup", "0::"+p.cgroup+"\n")
			h.Write(dir+"cmdline", "python3\x00nova-compute\x00")
		}
		found, _ := Nova(h.FS(), config.Config{}, nil, time.Now().Add(time.Hour))
		if believed := first < len(all)-1; (found != nil) != believed || believed && found.PID != 900 {
			t.Errorf("of %+v it is %+v", all[first:], found)
		}
	}
}

// TestServiceUnits: units that the services have, and others.
func TestServiceUnits(t *testing.T) {
	for _, test := range []struct {
		service
		own, others string
	}{
		{novaService, "nova-compute openstack-nova-compute devstack@n-cpu tripleo_nova_compute kolla-nova_compute-container",
			"renovate innovaphone n cpu novation xn-cpu n-cpus"},
		{ovsService, "ovs-vswitchd ovsdb-server openvswitch openvswitch-switch devstack@ovs-vswitchd snap.openstack-hypervisor.ovs-vswitchd",
			"novs moovsic openvswitchx"},
	} {
		for want, names := range map[bool]string{true: test.own, false: test.others} {
			for _, name := range strings.Fields(names) {
				if test.runsIn(name+".service") != want || test.runsIn(name+".scope") {
					t.Errorf("%s: not %v", name, want)
				}
			}
		}
	}
}

// TestNameIsNoService: what calls itself Open vSwitch or a guest, and is not believed,
// is a process of that name.
func TestNameIsNoService(t *testing.T) {
	h := hooktest.Incident(t)
	status, err := os.ReadFile(h.Path("proc/2974/status"))
	if err != nil {
		t.Fatal(err)
	}
	h.Write("proc/2974/status", strings.Replace(string(status), "Uid:\t0\t0\t0\t0", "Uid:\t1000\t1000\t1000\t1000", 1))
	h.Write("proc/2974/cgroup", "0::/user.slice/user-1000.slice/user@1000.service/app.slice/ovs-vswitchd.service\n")
	host := holders(t, h.FS(), time.Now().Add(time.Hour))
	i := slices.IndexFunc(host.Holders.List, func(h guard.Holder) bool { return h.PID == 2974 })
	if i < 0 {
		t.Fatalf("%+v", host.Holders)
	}
	if got := host.Holders.List[i]; got.Kind != guard.HolderProcess || got.Name != "ovs-vswitchd" || got.Unit != "user@1000.service" {
		t.Errorf("%+v", got)
	}
	if sockets := containedDatabases(h.FS(), host); len(sockets) > 0 {
		t.Errorf("it would be asked at %q", sockets)
	}
}

// TestManyMappings: a process with many mappings costs no other its place.
func TestManyMappings(t *testing.T) {
	const most = 65_530
	h := hooktest.Incident(t)
	var maps, numa strings.Builder
	for i := range most {
		start := int64(0x7f0000000000 + i<<22)
		from := strconv.FormatInt(start, 16)
		maps.WriteString(from + "-" + strconv.FormatInt(start+2<<20, 16) + " rw-p 00000000 00:10 99 /anon_hugepage (deleted)\n")
		numa.WriteString(from + " default file=/anon_hugepage\\040(deleted) huge kernelpagesize_kB=2048\n")
	}
	const pids = 3
	for pid := 70; pid < 70+pids; pid++ {
		// One has touched some, so that it comes before all others.
		h.Write(fmt.Sprintf("proc/%d/status", pid), fmt.Sprintf("Name:\tmonster\nUid:\t1000\t1000\t1000\t1000\nHugetlbPages:\t%d kB\n", []int{1 << 30, 0, 0}[pid-70]))
		for name, text := range map[string]*strings.Builder{"maps": &maps, "numa_maps": &numa} {
			if pid == 70 {
				h.Write("proc/70/"+name, text.String())
			} else if err := os.Link(h.Path("proc/70/"+name), h.Path(fmt.Sprintf("proc/%d/%s", pid, name))); err != nil {
				t.Fatal(err)
			}
		}
	}
	h.Write("sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "7\n")
	host := holders(t, h.FS(), time.Now().Add(time.Hour))
	found := map[int]uint64{}
	for _, holder := range host.Holders.List {
		found[holder.PID] += holder.Pages[0]
	}
	if found[2974] != 512 || found[3066] != 256 || found[3085] != 256 {
		t.Errorf("found %v", found)
	}
	unreadable := host.Holders.Unreadable
	slices.SortFunc(unreadable, func(a, b guard.Process) int { return a.PID - b.PID })
	// One fits, after all others.
	if len(unreadable) != 2 || unreadable[0].PID != 71 || unreadable[0].Name != "monster" {
		t.Errorf("unreadable: %+v; want those who have too many", unreadable)
	}
}
