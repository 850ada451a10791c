package guard_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hugeguard/guard"
)

var update = flag.Bool("update", false, "write the golden files anew")

// idle is a host with four idle nodes, all of whose page sizes are mounted:
// on it a verdict's demand shows how each domain was read.
func idle(base, dflt uint64, sizes ...uint64) guard.Host {
	host := guard.Host{BasePageKiB: base, DefaultPageKiB: dflt, Sizes: sizes}
	for id := range 4 {
		host.Nodes = append(host.Nodes, guard.Node{ID: id, HasMemory: true, HasCPU: true})
	}
	for _, kib := range sizes {
		host.Mounts = append(host.Mounts, guard.Mount{Path: "/dev/hugepages", PageKiB: kib})
		pool := guard.SizePool{PageKiB: kib}
		for _, n := range host.Nodes {
			pool.Nodes = append(pool.Nodes, guard.NodePool{Node: n.ID, Total: 1 << 20, Free: 1 << 20})
		}
		host.Pools = append(host.Pools, pool)
	}
	return host
}

// hostOf is an idle host of a domain's architecture.
func hostOf(name string) guard.Host {
	switch {
	case strings.HasPrefix(name, "arm64-64k"), strings.HasPrefix(name, "arm64-512m"):
		return idle(64, 512<<10, 2048, 512<<10, 16<<20)
	case strings.HasPrefix(name, "arm64"):
		return idle(4, 2048, 64, 2048, 32<<10, 1<<20)
	case strings.HasPrefix(name, "ppc64le"):
		return idle(64, 2048, 2048, 1<<20)
	}
	return idle(4, 2048, 2048, 1<<20)
}

// TestDemands keeps what is read out of every domain. The golden files agree
// with the QEMU command lines that libvirt 9.0 itself builds for the domains
// (virsh domxml-to-native), where it builds one.
func TestDemands(t *testing.T) {
	files, err := filepath.Glob("../testdata/domains/*.xml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no domains: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".xml")
		t.Run(name, func(t *testing.T) {
			xml, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			demand, err := guard.ParseDomain(xml)
			if err != nil {
				t.Fatal(err)
			}
			verdict := guard.Judge(demand, hostOf(name))
			got, err := json.MarshalIndent(struct {
				Decision guard.Decision  `json:"decision"`
				Summary  string          `json:"summary"`
				Demand   []guard.Backend `json:"demand"`
			}{verdict.Decision, verdict.Summary, verdict.Demand}, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "demand/"+name+".json", string(got)+"\n")
		})
	}
}

// TestLimitTexts keeps what is said of limits that are met.
func TestLimitTexts(t *testing.T) {
	const domain = `<domain type='kvm'><name>g</name><uuid>6c1a2f04-8a51-4d5e-9f0b-0123456789ab</uuid><memory unit='MiB'>1024</memory>
		<memoryBacking><hugepages><page size='2' unit='MiB'/></hugepages></memoryBacking><os><type arch='x86_64'>hvm</type></os>%s</domain>`
	mount := idle(4, 2048, 2048)
	mount.Mounts[0].Limit = &guard.PageLimit{PageKiB: 2048, Reserved: true, Pages: 600, Used: 512}
	const slice = "/sys/fs/cgroup/machine.slice/"
	group := idle(4, 2048, 2048)
	group.Cgroups = []guard.Cgroup{{Path: slice, Limits: []guard.PageLimit{
		{PageKiB: 2048, File: slice + "hugetlb.2MB.max", Pages: 600, Used: 512},
		{PageKiB: 2048, File: slice + "hugetlb.2MB.rsvd.max", Reserved: true, Pages: 256},
	}}}
	nodes := idle(4, 2048, 2048)
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
		demand, err := guard.ParseDomain([]byte(fmt.Sprintf(domain, test.tune)))
		if err != nil {
			t.Fatal(err)
		}
		v := guard.Judge(demand, test.host)
		fields, err := json.MarshalIndent(v.Fields(), "", " ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "limits/"+test.name+".txt", v.Text()+"\n\n"+string(fields)+"\n")
	}
}

// golden compares text with a file below testdata/golden.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("../testdata/golden", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}
