package words_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/fix"
	"hugeguard/guard/guardtest"
	"hugeguard/guard/words"
	"hugeguard/testdata/golden"
)

// TestLimitTexts keeps what is said of limits that are met.
func TestLimitTexts(t *testing.T) {
	const xml = `<domain type='kvm'><name>g</name><uuid>6c1a2f04-8a51-4d5e-9f0b-0123456789ab</uuid><memory unit='MiB'>1024</memory>
		<memoryBacking><hugepages><page size='2' unit='MiB'/></hugepages></memoryBacking><os><type arch='x86_64'>hvm</type></os>%s</domain>`
	mount := guardtest.Idle(4, 2048, 2048)
	mount.Mounts[0].Limit = &guard.PageLimit{PageKiB: 2048, Reserved: true, Pages: 600, Used: 512}
	const slice = "/sys/fs/cgroup/machine.slice/"
	group := guardtest.Idle(4, 2048, 2048)
	group.Cgroups = []guard.Cgroup{{Path: slice, Limits: []guard.PageLimit{
		{PageKiB: 2048, File: slice + "hugetlb.2MB.max", Pages: 600, Used: 512},
		{PageKiB: 2048, File: slice + "hugetlb.2MB.rsvd.max", Reserved: true, Pages: 256},
	}}}
	nodes := guardtest.Idle(4, 2048, 2048)
	nodes.Cgroups = []guard.Cgroup{{Path: slice, Nodes: guard.NodeSet{2, 3}, NodesFile: slice + "cpuset.mems.effective"}}
	for i := range nodes.Pools[0].Nodes[2:] {
		nodes.Pools[0].Nodes[2+i] = guard.NodePool{Node: 2 + i, Total: 200, Free: 200}
	}
	for _, test := range []struct {
		name string
		tune string
		host guard.Host
	}{
		{"mount", "", mount}, {"cgroup", "", group}, {"nodes-short", "", nodes},
		{"nodes-elsewhere", "<numatune><memory mode='strict' nodeset='0'/></numatune>", nodes},
	} {
		demand, err := domain.Parse(fmt.Appendf(nil, xml, test.tune))
		if err != nil {
			t.Fatal(err)
		}
		v := fix.Judge(demand, test.host)
		fields, err := json.MarshalIndent(words.Fields(v), "", " ")
		if err != nil {
			t.Fatal(err)
		}
		golden.Compare(t, "../../testdata/golden/limits/"+test.name+".txt", words.Text(v)+"\n\n"+string(fields)+"\n")
	}
}
