package guardtest

import (
	"slices"
	"strings"

	"hugeguard/guard"
	"hugeguard/guard/nova"
	"hugeguard/guard/ovs"
)

// A Setup is a host that its methods change. Each returns a changed one, and leaves the other as it is.
type Setup struct{ guard.Host }

// Pages is a host with one size of pages, 2 MiB, and so many free on each node; nothing is held, promised or
// overcommitted.
func Pages(free ...uint64) Setup {
	host := guard.Host{BasePageKiB: 4, DefaultPageKiB: 2048, Sizes: []uint64{2048, 1 << 20},
		Mounts: []guard.Mount{{Path: "/dev/hugepages", PageKiB: 2048}, {Path: "/dev/hugepages1G", PageKiB: 1 << 20}}}
	pool := guard.SizePool{PageKiB: 2048}
	for id, n := range free {
		host.Nodes = append(host.Nodes, guard.Node{ID: id, HasMemory: true, HasCPU: true})
		pool.Nodes = append(pool.Nodes, guard.NodePool{Node: id, Total: n, Free: n})
	}
	host.Pools = []guard.SizePool{pool}
	return Setup{host}
}

// TwoCPUs is [Pages] with two CPUs to each node.
func TwoCPUs(free ...uint64) Setup {
	s := Pages(free...)
	for i := range s.Nodes {
		s.Nodes[i].CPUs = guard.CPUSet{2 * i, 2*i + 1}
	}
	return s
}

// WithGiB adds a pool of 1 GiB pages on node 0.
func (s Setup) WithGiB(free uint64) Setup {
	s.Pools = append(slices.Clone(s.Pools), guard.SizePool{PageKiB: 1 << 20, Nodes: []guard.NodePool{{Node: 0, Total: free, Free: free}}})
	return s
}

// Change is [guard.Host.Change].
func (s Setup) Change(f func(*guard.SizePool)) Setup { return Setup{s.Host.Change(f)} }

// Looked changes what was found out about the holders.
func (s Setup) Looked(f func(*guard.Holders)) Setup {
	holders := guard.Holders{}
	if s.Holders != nil {
		holders = *s.Holders
		holders.List = slices.Clone(holders.List)
	}
	f(&holders)
	s.Holders = &holders
	return s
}

// Holding has somebody hold pages of a node, which had them on top of its free ones.
func (s Setup) Holding(kind guard.HolderKind, name string, pid, node int, n uint64) Setup {
	holder := guard.Holder{Kind: kind, Name: name, PID: pid, PageKiB: 2048, Pages: map[int]uint64{node: n}}
	return s.Gone(node, n).Looked(func(h *guard.Holders) { h.List = append(h.List, holder) })
}

// HoldingGiB adds a pool of 1 GiB pages on the same nodes, where somebody holds some.
func (s Setup) HoldingGiB(kind guard.HolderKind, name string, pid, node int, n uint64, free ...uint64) Setup {
	pool := guard.SizePool{PageKiB: 1 << 20}
	for id, n := range free {
		pool.Nodes = append(pool.Nodes, guard.NodePool{Node: id, Total: n, Free: n})
	}
	pool.Nodes[node].Total += n
	s.Pools = append(slices.Clone(s.Pools), pool)
	holder := guard.Holder{Kind: kind, Name: name, PID: pid, PageKiB: 1 << 20, Pages: map[int]uint64{node: n}}
	return s.Looked(func(h *guard.Holders) { h.List = append(h.List, holder) })
}

// LeftBehind has files hold pages of a node, of which nobody tells which node it is.
func (s Setup) LeftBehind(node int, n uint64, files ...string) Setup {
	left := guard.Holder{Kind: guard.HolderFile, Name: strings.Join(files, " "), PageKiB: 2048, Unplaced: n, Files: files}
	return s.Gone(node, n).Looked(func(h *guard.Holders) { h.List = append(h.List, left) })
}

// PromisedTo has the kernel promise pages to a process.
func (s Setup) PromisedTo(name string, pid int, n uint64) Setup {
	holder := guard.Holder{Kind: guard.HolderProcess, Name: name, PID: pid, PageKiB: 2048, Reserved: n}
	return s.Change(func(p *guard.SizePool) { p.Reserved += n }).Looked(func(h *guard.Holders) { h.List = append(h.List, holder) })
}

// Gone has pages of a node be taken by nobody that is seen.
func (s Setup) Gone(node int, n uint64) Setup {
	return s.Change(func(p *guard.SizePool) { p.Nodes[node].Total += n })
}

// WithSurplus makes so many of a node's pages surplus ones.
func (s Setup) WithSurplus(node int, n uint64) Setup {
	return s.Change(func(p *guard.SizePool) {
		p.Nodes[node].Surplus += n
		p.Surplus += n
	})
}

// Started adds a domain that is starting and has still to take pages of nodes, as "0-1"; "" is any. The first so many
// of them are mapped.
func (s Setup) Started(name, nodes string, pages, mapped uint64) Setup {
	c := guard.Claim{PageKiB: 2048, Pages: pages, Mapped: mapped}
	if nodes != "" {
		for _, node := range strings.Split(nodes, "-") { // of two at the most
			c.Nodes = append(c.Nodes, int(node[0]-'0'))
		}
		c.Hard = true
	}
	s.Starting = append(slices.Clone(s.Starting), guard.Starting{Domain: guard.Domain{Name: name, UUID: name}, Claims: []guard.Claim{c}})
	return s.Change(func(p *guard.SizePool) { p.Reserved += mapped })
}

// Serving gives the host releases; 0 is an unknown one.
func (s Setup) Serving(libvirt, qemu guard.Version) Setup {
	s.Releases.Libvirt, s.Releases.QEMU = guard.Release{Version: libvirt}, guard.Release{Version: qemu}
	return s
}

// Patched has both built by somebody who takes in later changes.
func (s Setup) Patched() Setup {
	s.Releases.Libvirt.Patched, s.Releases.QEMU.Patched = true, true
	return s
}

// UsingCpuset says whether libvirt may use the cpuset controller.
func (s Setup) UsingCpuset(may bool) Setup {
	s.Releases.Cpuset = &may
	return s
}

// ToldOVS has Open vSwitch told to take so many MiB of each node.
func (s Setup) ToldOVS(dir string, mib ...uint64) Setup {
	s.OVS = &guard.OVS{Config: ovs.Config{Init: true, HugeDir: dir, SocketMiB: map[int]uint64{}}}
	for node, n := range mib {
		s.OVS.SocketMiB[node] = n
	}
	return s
}

// ToldSockets has Open vSwitch told what to take on each node by its database, which has more keys as "KEY=VALUE".
func (s Setup) ToldSockets(mib string, more ...string) Setup {
	other := map[string]string{"dpdk-init": "true", "dpdk-socket-mem": mib}
	for _, one := range more {
		key, value, _ := strings.Cut(one, "=")
		other[key] = value
	}
	s.OVS = &guard.OVS{Config: ovs.New(other)}
	return s
}

// UsedByOVS has Open vSwitch use so much of its memory on node 0.
func (s Setup) UsedByOVS(mib uint64) Setup {
	s.OVS = s.OVS.Using(ovs.Use{0: mib * 1024})
	return s
}

// Reserving has Nova's configuration reserve something.
func (s Setup) Reserving(reserved nova.Reserved) Setup {
	s.Nova = &guard.Nova{Files: []string{"/etc/nova/nova.conf"}, Reserved: reserved}
	return s
}

// Below starts QEMU below control groups.
func (s Setup) Below(groups ...guard.Cgroup) Setup {
	s.Cgroups = groups
	return s
}

// MachineSlice is the control group that libvirt puts guests into.
const MachineSlice = "/sys/fs/cgroup/machine.slice"

// RunningOn is a control group whose threads may run on some CPUs.
func RunningOn(cpus ...int) guard.Cgroup {
	return guard.Cgroup{Path: MachineSlice, CPUs: cpus, CPUsFile: MachineSlice + "/cpuset.cpus.effective"}
}
