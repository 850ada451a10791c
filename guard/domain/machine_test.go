package domain_test

import (
	"fmt"
	"strings"
	"testing"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/fix"
	"hugeguard/guard/guardtest"
)

// TestMachineFoundOut: what libvirt found out about a machine goes before its name. RAM that it leaves to QEMU is one
// whole number of pages where each cell alone is none.
func TestMachineFoundOut(t *testing.T) {
	host := guardtest.Idle(4, 2048, 2048)
	no := false
	for _, test := range []struct {
		machine, tune string
		found         guard.Known
		want          string
		decision      guard.Decision
	}{
		{"pc-i440fx-4.2", "", 0, "mem0 pc.ram", guard.Allow},
		{"pc-i440fx-4.2", "", guard.Yes, "mem0 pc.ram", guard.Allow},
		{"pc-i440fx-4.2", "", guard.No, "ram-node0 ram-node1 mem0", guard.Refuse},
		{"pc-i440fx-vendor", "", 0, "ram-node0 ram-node1 mem0", guard.Refuse},
		{"pc-i440fx-vendor", "", guard.Yes, "mem0 pc.ram", guard.Allow},
		{"pc-i440fx-vendor", "", guard.No, "ram-node0 ram-node1 mem0", guard.Refuse},
		// A cell with a set of its own is a backend with any machine.
		{"pc-i440fx-vendor", "<memnode cellid='0' mode='strict' nodeset='0'/>", guard.Yes, "ram-node0 ram-node1 mem0", guard.Refuse},
	} {
		demand, err := domain.Parse(fmt.Appendf(nil, `<domain type='kvm'><name>g</name><memory unit='GiB'>2</memory><memoryBacking><hugepages/></memoryBacking>
			<numatune><memory mode='strict' nodeset='0'/>%s</numatune><os><type arch='x86_64' machine='%s'>hvm</type></os>
			<cpu><numa><cell id='0' memory='1025' unit='MiB'/><cell id='1' memory='1025' unit='MiB'/></numa></cpu>
			<devices><memory model='dimm'><source><nodemask>1</nodemask></source><target><size unit='MiB'>2</size><node>0</node></target><alias name='ua-0'/></memory></devices></domain>`,
			test.tune, test.machine))
		if err != nil {
			t.Fatal(err)
		}
		host.Releases = guard.Releases{Libvirt: guard.Release{Version: 9_000_000}, QEMU: guard.Release{Version: 7_002_000, DividesRAM: test.found}, Cpuset: &no}
		v := fix.Judge(demand, host)
		var ids []string
		for _, b := range v.Demand {
			ids = append(ids, strings.Replace(b.ID, "memua-", "mem", 1))
		}
		if strings.Join(ids, " ") != test.want || v.Decision != test.decision {
			t.Errorf("%s, found out %d: %s for %q, want %s for %q", test.machine, test.found, v.Decision, ids, test.decision, test.want)
		}
	}
}
