package survey

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hugeguard/guard"
	"hugeguard/hook/hooktest"
	"hugeguard/sysfs/sysfstest"
)

// TestPartitions has the names that libvirt 9.0 and 11.3 give the groups of resource partitions.
func TestPartitions(t *testing.T) {
	for partition, want := range map[string][2]string{
		"/machine":          {"machine.slice", "machine"},
		"/machine/prod":     {"machine.slice/machine-prod.slice", "machine/prod.partition"},
		"/machine/a/b":      {"machine.slice/machine-a.slice/machine-a-b.slice", "machine/a.partition/b.partition"},
		"/machine/eu-1":     {`machine.slice/machine-eu\x2d1.slice`, "machine/eu-1.partition"},
		"/prod":             {"prod.slice", "prod.partition"},
		"/machine/prod.set": {"machine.slice/machine-prod.set.slice", "machine/prod.set"},
		"/user/machine":     {"user.slice/user-machine.slice", "user/machine.partition"},
		"/machine/cpu":      {"machine.slice/machine-cpu.slice", "machine/_cpu.partition"},
		"/machine/_x":       {"machine.slice/machine-_x.slice", "machine/__x.partition"},
		"/.dot/ü":           {`\x2edot.slice/\x2edot-\xc3\xbc.slice`, "_.dot/ü.partition"},
	} {
		if got := [2]string{sliceOf(partition), dirOf(partition)}; got != want {
			t.Errorf("%s: %q, want %q", partition, got, want)
		}
	}
}

const (
	unified  = "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n"
	separate = "cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\ncgroup /sys/fs/cgroup/hugetlb cgroup rw,hugetlb 0 0\n"
	hugetlb  = "hugetlbfs /dev/hugepages hugetlbfs rw,pagesize=2M 0 0\n"
	group2   = "/sys/fs/cgroup"
	sets1    = "/sys/fs/cgroup/cpuset"
)

// TestCgroups reads the groups of hosts of every kind.
func TestCgroups(t *testing.T) {
	page := uint64(2048)
	for _, test := range []struct {
		name      string
		mounts    string
		partition string
		files     map[string]string
		want      []guard.Cgroup
	}{
		{"nothing mounted", "", "", nil, nil},
		{"no guest ran yet", unified, "", map[string]string{machined: "", "sys/fs/cgroup/cpuset.mems.effective": "0-1\n"},
			[]guard.Cgroup{{Path: group2 + "/machine.slice", Nodes: guard.NodeSet{0, 1}, NodesFile: group2 + "/cpuset.mems.effective"}}},
		{"a slice with nodes", unified, "/machine", map[string]string{machined: "", "sys/fs/cgroup/cpuset.mems.effective": "0-1\n",
			"sys/fs/cgroup/machine.slice/cpuset.mems.effective": "1\n"},
			[]guard.Cgroup{{Path: group2 + "/machine.slice", Nodes: guard.NodeSet{1}, NodesFile: group2 + "/machine.slice/cpuset.mems.effective"}}},
		{"a slice with CPUs", unified, "", map[string]string{machined: "", "sys/fs/cgroup/cpuset.mems.effective": "0-1\n",
			"sys/fs/cgroup/cpuset.cpus.effective": "0-3\n", "sys/fs/cgroup/machine.slice/cpuset.cpus.effective": "2-3\n"},
			[]guard.Cgroup{{Path: group2 + "/machine.slice", Nodes: guard.NodeSet{0, 1}, NodesFile: group2 + "/cpuset.mems.effective",
				CPUs: guard.CPUSet{2, 3}, CPUsFile: group2 + "/machine.slice/cpuset.cpus.effective"}}},
		{"CPUs, and perhaps no machined", unified, "", map[string]string{"sys/fs/cgroup/machine.slice/cpuset.cpus.effective": "1\n"},
			[]guard.Cgroup{{Path: group2 + "/machine.slice", CPUs: guard.CPUSet{1}, CPUsFile: group2 + "/machine.slice/cpuset.cpus.effective"},
				{Path: group2 + "/machine"}}},
		{"CPUs of version 1", separate, "", map[string]string{machined: "", "sys/fs/cgroup/cpuset/machine.slice/cpuset.cpus": "0\n"},
			[]guard.Cgroup{{Path: sets1 + "/machine.slice", Legacy: true, CPUs: guard.CPUSet{0}, CPUsFile: sets1 + "/machine.slice/cpuset.cpus"}}},
		{"a nested slice that is not there yet", unified, "/machine/prod", map[string]string{machined: "",
			"sys/fs/cgroup/machine.slice/cpuset.mems.effective": "1\n", "sys/fs/cgroup/machine.slice/machine-prod.slice/cgroup.procs": "",
			"sys/fs/cgroup/machine.slice/machine-other.slice/cpuset.mems.effective": "0\n"},
			[]guard.Cgroup{{Path: group2 + "/machine.slice/machine-prod.slice", Nodes: guard.NodeSet{1}, NodesFile: group2 + "/machine.slice/cpuset.mems.effective"}}},
		{"without machined", unified, "/machine/prod", map[string]string{"sys/fs/cgroup/machine/prod.partition/cpuset.mems.effective": "1\n", "sys/fs/cgroup/machine/hugetlb.2MB.max": "4194304\n", "sys/fs/cgroup/machine/hugetlb.2MB.current": "0\n"},
			[]guard.Cgroup{{Path: group2 + "/machine.slice/machine-prod.slice"},
				{Path: group2 + "/machine/prod.partition", Nodes: guard.NodeSet{1}, NodesFile: group2 + "/machine/prod.partition/cpuset.mems.effective",
					Limits: []guard.PageLimit{{PageKiB: page, File: group2 + "/machine/hugetlb.2MB.max", Pages: 2}}}}},
		{"a slice, and perhaps no machined", unified, "", map[string]string{"sys/fs/cgroup/machine.slice/cpuset.mems.effective": "1\n"},
			[]guard.Cgroup{{Path: group2 + "/machine.slice", Nodes: guard.NodeSet{1}, NodesFile: group2 + "/machine.slice/cpuset.mems.effective"},
				{Path: group2 + "/machine"}}},
		{"a libvirt without controllers", unified, "", map[string]string{machined: "", "etc/libvirt/qemu.conf": "cgroup_controllers = []\n",
			"proc/self/cgroup": "0::/system.slice/libvirtd.service\n", "sys/fs/cgroup/machine.slice/cpuset.mems.effective": "1\n",
			"sys/fs/cgroup/system.slice/libvirtd.service/cpuset.mems.effective": "0\n"},
			[]guard.Cgroup{{Path: group2 + "/machine.slice", Nodes: guard.NodeSet{1}, NodesFile: group2 + "/machine.slice/cpuset.mems.effective"},
				{Path: group2 + "/system.slice/libvirtd.service", Nodes: guard.NodeSet{0}, NodesFile: group2 + "/system.slice/libvirtd.service/cpuset.mems.effective"}}},
		{"limits at every level", unified, "/machine/prod", map[string]string{machined: "",
			"sys/fs/cgroup/machine.slice/machine-prod.slice/hugetlb.2MB.max":          "max\n",
			"sys/fs/cgroup/machine.slice/machine-prod.slice/hugetlb.2MB.rsvd.max":     "20971520\n",
			"sys/fs/cgroup/machine.slice/machine-prod.slice/hugetlb.2MB.rsvd.current": "4194304\n",
			"sys/fs/cgroup/machine.slice/hugetlb.2MB.max":                             "41943040\n",
			"sys/fs/cgroup/machine.slice/hugetlb.2MB.current":                         "2097152\n",
			"sys/fs/cgroup/machine.slice/hugetlb.1GB.max":                             "0\n",
		}, []guard.Cgroup{{Path: group2 + "/machine.slice/machine-prod.slice", Limits: []guard.PageLimit{
			{PageKiB: page, File: group2 + "/machine.slice/machine-prod.slice/hugetlb.2MB.rsvd.max", Reserved: true, Pages: 10, Used: 2},
			{PageKiB: page, File: group2 + "/machine.slice/hugetlb.2MB.max", Pages: 20, Used: 1}}}}},
		{"version 1", separate, "", map[string]string{machined: "", "sys/fs/cgroup/cpuset/cpuset.mems": "0-1\n", "sys/fs/cgroup/cpuset/machine.slice/cpuset.mems": "0\n",
			// QEMU stays in the daemon's group of that hierarchy.
			"proc/self/cgroup": "7:hugetlb:/system.slice\n3:cpuset:/\n", "sys/fs/cgroup/hugetlb/machine.slice/hugetlb.2MB.limit_in_bytes": "0\n",
			"sys/fs/cgroup/hugetlb/system.slice/hugetlb.2MB.limit_in_bytes": "4194304\n", "sys/fs/cgroup/hugetlb/system.slice/hugetlb.2MB.usage_in_bytes": "2097152\n",
			"sys/fs/cgroup/hugetlb/system.slice/hugetlb.2MB.rsvd.limit_in_bytes": "9223372036852678656\n"},
			[]guard.Cgroup{{Path: sets1 + "/machine.slice", Nodes: guard.NodeSet{0}, NodesFile: sets1 + "/machine.slice/cpuset.mems", Legacy: true, Limits: []guard.PageLimit{
				{PageKiB: page, File: "/sys/fs/cgroup/hugetlb/system.slice/hugetlb.2MB.limit_in_bytes", Pages: 2, Used: 1}}}}},
		{"both versions", "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\ncgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n", "",
			map[string]string{machined: "", "sys/fs/cgroup/cpuset/machine.slice/cpuset.mems": "\n", "sys/fs/cgroup/cpuset/cpuset.mems": "0-1\n",
				"sys/fs/cgroup/unified/machine.slice/cpuset.mems.effective": "7\n",
				"sys/fs/cgroup/unified/machine.slice/hugetlb.2MB.max":       "0\n", "sys/fs/cgroup/unified/machine.slice/hugetlb.2MB.current": "0\n"},
			[]guard.Cgroup{{Path: sets1 + "/machine.slice", Nodes: guard.NodeSet{0, 1}, NodesFile: sets1 + "/cpuset.mems", Legacy: true,
				Limits: []guard.PageLimit{{PageKiB: page, File: "/sys/fs/cgroup/unified/machine.slice/hugetlb.2MB.max"}}}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			host := hooktest.Incident(t)
			host.Remove("sys/fs")
			host.Write("proc/mounts", hugetlb+test.mounts)
			for name, text := range test.files {
				host.Write(name, text)
			}
			got, err := Counters(host.FS(), For(guard.Demand{Partition: test.partition, Backends: []guard.Backend{{PageKiB: page}}}))
			if err != nil || !reflect.DeepEqual(got.Cgroups, test.want) {
				t.Errorf("%v (-want +got):\n%s", err, cmp.Diff(test.want, got.Cgroups))
			}
		})
	}
}

// TestSurveyCPUs reads which CPUs belong to the nodes.
func TestSurveyCPUs(t *testing.T) {
	host := hooktest.Incident(t)
	for _, want := range []guard.CPUSet{{2, 3}, nil} {
		got, err := Counters(host.FS(), For(guard.Demand{}))
		if err != nil || len(got.Nodes) != 2 || !reflect.DeepEqual(got.Nodes[1].CPUs, want) {
			t.Errorf("%+v, %v, want %v", got.Nodes, err, want)
		}
		host.Remove("sys/devices/system/node/node1/cpulist")
	}
}

// TestMountLimit reads size= of a captured mount.
func TestMountLimit(t *testing.T) {
	host := hooktest.Incident(t)
	host.Write("proc/mounts", hugetlb+"over /dev/hugepages hugetlbfs rw,pagesize=2M,size=41943040 0 0\nnone /big hugetlbfs rw,pagesize=1024M,size=2147483648 0 0\n")
	limit := func() *guard.PageLimit {
		t.Helper()
		got, err := Counters(host.FS(), For(guard.Demand{Backends: []guard.Backend{{PageKiB: 2048}}}))
		if err != nil || len(got.Mounts) != 2 || got.Mounts[1].Limit != nil {
			t.Fatalf("%+v, %v", got.Mounts, err)
		}
		return got.Mounts[0].Limit
	}
	// Without the numbers of statfs(2) it is thought to be all free.
	if got := limit(); *got != (guard.PageLimit{PageKiB: 2048, Reserved: true, Pages: 20}) {
		t.Errorf("%+v", got)
	}
	host.Write("dev/hugepages.statfs", "20 5\n")
	if got := limit(); *got != (guard.PageLimit{PageKiB: 2048, Reserved: true, Pages: 20, Used: 15}) {
		t.Errorf("%+v", got)
	}
}

// TestAddConfining: the groups that leave out nodes are known with what each of them leaves; those that leave all, or say
// nothing, are none of these.
func TestAddConfining(t *testing.T) {
	const top, parent = "/sys/fs/cgroup/machine.slice", "/sys/fs/cgroup/machine.slice/machine-a.slice"
	tree := sysfstest.New(t)
	for dir, nodes := range map[string]string{"/sys/fs/cgroup": "0-3", top: "0-2", parent: "", parent + "/b": "0", parent + "/b/c": "0-3"} {
		tree.Write(dir[1:]+"/cpuset.mems", nodes+"\n")
	}
	host := guard.Host{Cgroups: []guard.Cgroup{{Path: parent + "/b/c", Nodes: guard.NodeSet{0}}}}
	for id := range 4 {
		host.Nodes = append(host.Nodes, guard.Node{ID: id, HasMemory: true})
	}
	addConfining(tree.FS(), &host)
	want := []guard.GroupNodes{{Dir: top, Nodes: guard.NodeSet{0, 1, 2}}, {Dir: parent + "/b", Nodes: guard.NodeSet{0}}}
	if diff := cmp.Diff(want, host.Cgroups[0].Confining); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
