package guardtest

import (
	"fmt"

	"pgregory.net/rapid"

	"hugeguard/guard"
)

// DrawLaunch draws a guest of several cells with any tuning, and a host.
func DrawLaunch(t *rapid.T) (guard.Demand, Setup) {
	nodes := rapid.IntRange(1, 3).Draw(t, "nodes")
	count := rapid.Uint64Range(0, 12)
	free := make([]uint64, nodes)
	for i := range free {
		free[i] = count.Draw(t, "free")
	}
	host := Pages(free...)
	for i := range host.Nodes {
		host.Nodes[i].HasCPU = i == 0 || rapid.IntRange(0, 5).Draw(t, "cpu") > 0
		host.Nodes[i].CPUs = guard.CPUSet{i}
	}
	host = host.Change(func(p *guard.SizePool) {
		p.Reserved = rapid.SampledFrom([]uint64{0, 0, 3, 9}).Draw(t, "reserved")
		p.Overcommit = rapid.SampledFrom([]uint64{0, 0, 0, 2}).Draw(t, "overcommit")
	})
	limit := func(label string) *guard.PageLimit {
		if rapid.IntRange(0, 9).Draw(t, label) > 0 {
			return nil
		}
		return &guard.PageLimit{PageKiB: 2048, Pages: rapid.Uint64Range(5, 40).Draw(t, label), Used: rapid.Uint64Range(0, 10).Draw(t, label)}
	}
	host.Mounts[0].Limit = limit("mount")
	gigantic := guard.SizePool{PageKiB: 1 << 20, Reserved: rapid.SampledFrom([]uint64{0, 0, 1}).Draw(t, "reserved")}
	for id := range nodes {
		n := rapid.Uint64Range(0, 6).Draw(t, "free")
		gigantic.Nodes = append(gigantic.Nodes, guard.NodePool{Node: id, Total: n, Free: n})
	}
	host.Pools = append(host.Pools, gigantic)
	set := func(label string) guard.NodeSet {
		s := guard.NodeSet{}
		for n := range nodes {
			if rapid.Bool().Draw(t, label) {
				s = append(s, n)
			}
		}
		if len(s) == 0 {
			return guard.NodeSet{0}
		}
		return s
	}
	for range rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(t, "groups") {
		c := guard.Cgroup{Legacy: rapid.IntRange(0, 3).Draw(t, "version") == 0}
		if rapid.IntRange(0, 3).Draw(t, "confined") == 0 {
			c.Nodes = set("inherited nodes")
		}
		if l := limit("group"); l != nil {
			c.Limits = []guard.PageLimit{*l}
		}
		if rapid.IntRange(0, 3).Draw(t, "on some CPUs") == 0 {
			c.CPUs = guard.CPUSet(set("inherited CPUs"))
		}
		host.Cgroups = append(host.Cgroups, c)
	}
	var pin guard.CPUSet
	pinned := rapid.IntRange(0, 3).Draw(t, "pinned") == 0
	if pinned && rapid.Bool().Draw(t, "to known CPUs") {
		pin = guard.CPUSet(set("pinned to"))
	}
	d := guard.Demand{}
	if rapid.Bool().Draw(t, "cpuset") {
		d.Cpuset.Nodes = set("cpuset nodes")
		d.Cpuset.Union = d.Cpuset.Nodes.Or(set("union"))
	}
	d.Cpuset.Restrictive = d.Cpuset.Nodes != nil && rapid.Bool().Draw(t, "restrictive")
	for i := range rapid.IntRange(1, 3).Draw(t, "backends") {
		n := rapid.Uint64Range(1, 10).Draw(t, "pages")
		b := guard.Backend{ID: fmt.Sprintf("ram-node%d", i), PageKiB: 2048, Strength: guard.Soft, Pinned: pinned, PinnedTo: pin,
			Policy: rapid.SampledFrom([]guard.Policy{guard.PolicyDefault, guard.PolicyBind, guard.PolicyBind, guard.PolicyPreferred, guard.PolicyInterleave}).Draw(t, "policy")}
		if rapid.IntRange(0, 3).Draw(t, "gigantic") == 0 {
			b.PageKiB, n = 1<<20, n/3+1
		}
		b.Bytes = n * b.PageKiB * 1024
		b.ExactBytes = b.Bytes
		switch rapid.IntRange(0, 19).Draw(t, "size") {
		case 0: // no multiple of the page
			b.Bytes += 1 << 20
			b.ExactBytes = b.Bytes
		case 1: // not rounded at a restore
			if n > 1 {
				b.ExactBytes -= 2 << 20
			}
		}
		switch {
		case b.Policy == guard.PolicyDefault && d.Cpuset.Restrictive:
			b.Cpuset, b.Threads, b.Strength = d.Cpuset.Nodes, set("threads"), guard.Hard
		case b.Policy == guard.PolicyDefault:
		case d.Cpuset.Nodes == nil && rapid.IntRange(0, 5).Draw(t, "auto") == 0:
			b.Auto = true
		default:
			b.HostNodes = set("host nodes")
		}
		if b.Policy == guard.PolicyBind {
			b.Strength = guard.Hard
		}
		b.Device = rapid.SampledFrom([]string{"", "", "", "", "dimm", guard.VirtioMem}).Draw(t, "device")
		if b.Device != "" && b.Policy != guard.PolicyBind && rapid.IntRange(0, 2).Draw(t, "nodemask") == 0 {
			b.Nodemask = guard.Nodemask{Nodes: set("nodemask"), From: "devices/memory[1]/source/nodemask"}
		}
		b.Whole = i == 0 && b.Device == "" && rapid.IntRange(0, 3).Draw(t, "without cells") == 0
		b.Memfd = rapid.IntRange(0, 3).Draw(t, "memfd") == 0
		b.Global = rapid.IntRange(0, 9).Draw(t, "by -mem-prealloc") == 0
		d.Backends = append(d.Backends, b)
	}
	return d, host
}
