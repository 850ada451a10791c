package compute

import (
	"fmt"
	"strings"
	"testing"
	"time"

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
			found, _ := Look(h.FS(), config.Config{}, nil, time.Now().Add(time.Hour))
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
		found, _ := Look(h.FS(), config.Config{}, nil, time.Now().Add(time.Hour))
		if believed := first < len(all)-1; (found != nil) != believed || believed && found.PID != 900 {
			t.Errorf("of %+v it is %+v", all[first:], found)
		}
	}
}
