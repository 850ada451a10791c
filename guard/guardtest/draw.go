package guardtest

import (
	"fmt"

	"pgregory.net/rapid"

	"hugeguard/guard"
)

// drawing draws what a launch is made of, on a host with so many nodes.
type drawing struct {
	*rapid.T
	nodes int
}

// oneIn reports whether something is so that is not in most of the cases.
func (t drawing) oneIn(n int, label string) bool { return rapid.IntRange(0, n-1).Draw(t.T, label) == 0 }

// set draws some of the nodes.
func (t drawing) set(label string) guard.NodeSet {
	s := guard.NodeSet{}
	for n := range t.nodes {
		if rapid.Bool().Draw(t.T, label) {
			s = append(s, n)
		}
	}
	if len(s) == 0 {
		return guard.NodeSet{0}
	}
	return s
}

// limit draws a limit on 2 MiB pages; mostly there is none.
func (t drawing) limit(label string) *guard.PageLimit {
	if !t.oneIn(10, label) {
		return nil
	}
	return &guard.PageLimit{PageKiB: 2048, Pages: rapid.Uint64Range(5, 40).Draw(t.T, label), Used: rapid.Uint64Range(0, 10).Draw(t.T, label)}
}

// DrawLaunch draws a guest of several cells with any tuning, and a host.
func DrawLaunch(t *rapid.T) (guard.Demand, Setup) {
	d := drawing{t, rapid.IntRange(1, 3).Draw(t, "nodes")}
	host := d.host()
	return d.demand(), host
}

// host draws pools of two sizes, and what confines and limits QEMU.
func (t drawing) host() Setup {
	free := make([]uint64, t.nodes)
	for i := range free {
		free[i] = rapid.Uint64Range(0, 12).Draw(t.T, "free")
	}
	host := Pages(free...)
	for i := range host.Nodes {
		host.Nodes[i].HasCPU = i == 0 || !t.oneIn(6, "no cpu")
		host.Nodes[i].CPUs = guard.CPUSet{i}
	}
	host = host.Change(func(p *guard.SizePool) {
		p.Reserved = rapid.SampledFrom([]uint64{0, 0, 3, 9}).Draw(t.T, "reserved")
		p.Overcommit = rapid.SampledFrom([]uint64{0, 0, 0, 2}).Draw(t.T, "overcommit")
	})
	host.Mounts[0].Limit = t.limit("mount")
	gigantic := guard.SizePool{PageKiB: 1 << 20, Reserved: rapid.SampledFrom([]uint64{0, 0, 1}).Draw(t.T, "reserved")}
	for id := range t.nodes {
		n := rapid.Uint64Range(0, 6).Draw(t.T, "free")
		gigantic.Nodes = append(gigantic.Nodes, guard.NodePool{Node: id, Total: n, Free: n})
	}
	host.Pools = append(host.Pools, gigantic)
	for range rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(t.T, "groups") {
		host.Cgroups = append(host.Cgroups, t.group())
	}
	return host
}

func (t drawing) group() guard.Cgroup {
	c := guard.Cgroup{Legacy: t.oneIn(4, "version")}
	if t.oneIn(4, "confined") {
		c.Nodes = t.set("inherited nodes")
	}
	if l := t.limit("group"); l != nil {
		c.Limits = []guard.PageLimit{*l}
	}
	if t.oneIn(4, "on some CPUs") {
		c.CPUs = guard.CPUSet(t.set("inherited CPUs"))
	}
	return c
}

func (t drawing) demand() (d guard.Demand) {
	var pin guard.CPUSet
	pinned := t.oneIn(4, "pinned")
	if pinned && rapid.Bool().Draw(t.T, "to known CPUs") {
		pin = guard.CPUSet(t.set("pinned to"))
	}
	if rapid.Bool().Draw(t.T, "cpuset") {
		d.Cpuset.Nodes = t.set("cpuset nodes")
		d.Cpuset.Union = d.Cpuset.Nodes.Or(t.set("union"))
	}
	d.Cpuset.Restrictive = d.Cpuset.Nodes != nil && rapid.Bool().Draw(t.T, "restrictive")
	for i := range rapid.IntRange(1, 3).Draw(t.T, "backends") {
		b := guard.Backend{ID: fmt.Sprintf("ram-node%d", i), PageKiB: 2048, Strength: guard.Soft, Pinned: pinned, PinnedTo: pin}
		t.size(&b)
		t.place(&b, d.Cpuset)
		b.Whole = i == 0 && b.Device == "" && t.oneIn(4, "without cells")
		b.Memfd = t.oneIn(4, "memfd")
		b.Global = t.oneIn(10, "by -mem-prealloc")
		d.Backends = append(d.Backends, b)
	}
	return d
}

// size draws how large a backend is.
func (t drawing) size(b *guard.Backend) {
	n := rapid.Uint64Range(1, 10).Draw(t.T, "pages")
	if t.oneIn(4, "gigantic") {
		b.PageKiB, n = 1<<20, n/3+1
	}
	b.Bytes = n * b.PageKiB * 1024
	b.ExactBytes = b.Bytes
	switch rapid.IntRange(0, 19).Draw(t.T, "size") {
	case 0: // no multiple of the page
		b.Bytes += 1 << 20
		b.ExactBytes = b.Bytes
	case 1: // not rounded at a restore
		if n > 1 {
			b.ExactBytes -= 2 << 20
		}
	}
}

// place draws where a backend is to lie.
func (t drawing) place(b *guard.Backend, cpuset guard.Cpuset) {
	b.Policy = rapid.SampledFrom([]guard.Policy{guard.PolicyDefault, guard.PolicyBind, guard.PolicyBind, guard.PolicyPreferred, guard.PolicyInterleave}).Draw(t.T, "policy")
	switch {
	case b.Policy == guard.PolicyDefault && cpuset.Restrictive:
		b.Cpuset, b.Threads, b.Strength = cpuset.Nodes, t.set("threads"), guard.Hard
	case b.Policy == guard.PolicyDefault:
	case cpuset.Nodes == nil && t.oneIn(6, "auto"):
		b.Auto = true
	default:
		b.HostNodes = t.set("host nodes")
	}
	if b.Policy == guard.PolicyBind {
		b.Strength = guard.Hard
	}
	b.Device = rapid.SampledFrom([]string{"", "", "", "", "dimm", guard.VirtioMem}).Draw(t.T, "device")
	if b.Device != "" && b.Policy != guard.PolicyBind && t.oneIn(3, "nodemask") {
		b.Nodemask = guard.Nodemask{Nodes: t.set("nodemask"), From: "devices/memory[1]/source/nodemask"}
	}
}
