package process

import (
	"strings"
	"testing"
)

// TestServiceUnits: units that the services have, and others.
func TestServiceUnits(t *testing.T) {
	for _, test := range []struct {
		Service
		own, others string
	}{
		{Nova, "nova-compute openstack-nova-compute devstack@n-cpu tripleo_nova_compute kolla-nova_compute-container",
			"renovate innovaphone n cpu novation xn-cpu n-cpus"},
		{OpenVSwitch, "ovs-vswitchd ovsdb-server openvswitch openvswitch-switch devstack@ovs-vswitchd snap.openstack-hypervisor.ovs-vswitchd",
			"novs moovsic openvswitchx"},
	} {
		for want, names := range map[bool]string{true: test.own, false: test.others} {
			for _, name := range strings.Fields(names) {
				if test.RunsIn(name+".service") != want || test.RunsIn(name+".scope") {
					t.Errorf("%s: not %v", name, want)
				}
			}
		}
	}
}
