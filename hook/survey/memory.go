package survey

import (
	"cmp"
	"slices"
	"strings"

	"hugeguard/guard"
	"hugeguard/hook/ledger"
	"hugeguard/sysfs"
)

// Memory returns what a host has to make more huge pages of; nil where it does not say. What cannot be read is left
// out: it decides about a fix alone.
func Memory(root sysfs.FS, host guard.Host) *guard.Memory {
	m := guard.Memory{NoNUMA: !root.HasNodes()}
	blocks, _ := root.FreeBlocks() // without them it is not known how large the pieces are
	for _, node := range host.Nodes {
		memory, ok, err := root.NodeMemory(node.ID)
		if err != nil || !ok {
			continue
		}
		pools, err := root.PoolMemory(node.ID, host.Sizes)
		if err != nil {
			continue
		}
		m.Nodes = append(m.Nodes, guard.NodeMemory{Node: node.ID, TotalKiB: memory.Total, FreeKiB: memory.Free,
			CacheKiB: memory.Cache, PoolsKiB: pools, Blocks: blocks[node.ID]})
	}
	if m.Nodes == nil {
		return nil
	}
	m.AvailableKiB, _, _ = root.Available()
	m.Others = otherPools(root, host)
	m.Boot = boot(root, host)
	m.Told, _ = ledger.ReadTold(root)
	return &m
}

// otherPools returns the pools that the host is not yet known to have.
func otherPools(root sysfs.FS, host guard.Host) (others []guard.SizePool) {
	nodes, err := root.Nodes()
	if err != nil {
		return nil
	}
	for _, kib := range host.Sizes {
		if slices.ContainsFunc(host.Pools, func(p guard.SizePool) bool { return p.PageKiB == kib }) {
			continue
		}
		pool, ok, err := root.Pool(kib, nodes)
		if err == nil && ok {
			others = append(others, sizePool(pool))
		}
	}
	return others
}

// boot returns what is known of setting up pages at boot.
func boot(root sysfs.FS, host guard.Host) (b guard.Boot) {
	line, _, err := root.Boot()
	if err != nil {
		return b
	}
	for _, p := range line.Pools {
		size := cmp.Or(p.PageKiB, line.DefaultKiB, host.DefaultPageKiB)
		b.Pools = append(b.Pools, guard.BootPool{PageKiB: size, Pages: p.Pages, Nodes: p.Nodes})
	}
	b.CMA, b.Bare = line.CMA, line.Bare
	setting := root.PoolSetting()
	b.Set, b.Setting = setting.Pages, setting.File
	major, minor, _, ok := root.KernelRelease()
	b.PerNode = ok && (major > 5 || major == 5 && minor >= 16)
	for _, tool := range []string{"grubby", "update-grub"} {
		if b.Tool == "" && (root.Exists("usr/sbin/"+tool) || root.Exists("usr/bin/"+tool)) {
			b.Tool = tool
		}
	}
	profile, err := root.ReadFile(tunedProfile, 4<<10)
	if err == nil {
		b.Tuned = strings.TrimSpace(string(profile))
	}
	return b
}

// tunedProfile names the active profile of TuneD.
const tunedProfile = "etc/tuned/active_profile"
