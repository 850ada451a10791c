package survey

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"hugeguard/guard"
	"hugeguard/hook/survey/libvirt"
	"hugeguard/sysfs"
)

// Surroundings is what a survey needs beside the kernel's own files: all that it may have to wait for.
type Surroundings struct {
	fs       sysfs.FS
	mounts   sysfs.Mounts
	noMounts error             // mounts could not be read
	free     map[string]uint64 // what limited mounts have left, by their paths, of those that say it
	libvirt  libvirt.Libvirt
	leads    map[string]string // where the paths of a demand lead; none for those that cannot be followed
	machined bool              // libvirt can have systemd-machined place domains
}

// LookAround reads what is around the kernel's counters.
func LookAround(fs sysfs.FS, of Scope) Surroundings {
	s := Surroundings{fs: fs, libvirt: libvirt.Read(fs), machined: fs.Exists(machined)}
	s.mounts, s.noMounts = fs.Mounts()
	for _, m := range s.mounts.Hugetlb {
		if !m.Limited {
			continue
		}
		if free, ok, err := fs.HugetlbFree(m.Path); err == nil && ok {
			if s.free == nil {
				s.free = map[string]uint64{}
			}
			s.free[m.Path] = free
		}
	}
	s.follow(of)
	return s
}

// Counters is [Counters] by what was read before, without the releases.
func (s Surroundings) Counters(of Scope) (guard.Host, error) {
	host, nodes, err := s.kernel()
	if err != nil {
		return host, err
	}
	if s.noMounts != nil {
		return host, s.noMounts
	}
	paths := s.place(&host)
	host.Places = s.places(of, host)
	sizes := of.sizes(host)
	seen := map[string]sysfs.Mount{}
	for _, m := range s.mounts.Hugetlb {
		seen[m.Path] = m
	}
	for i, m := range host.Mounts {
		host.Mounts[i].Over = hiding(seen[m.Path], paths[i], of.domain())
		if slices.Contains(sizes, m.PageKiB) {
			host.Mounts[i].Limit = s.limit(m, seen[m.Path])
		}
	}
	host.Cgroups, err = cgroups(s.fs, s.mounts.Cgroup, s.machined, s.libvirt.Ungoverned(), of.partition, sizes)
	if err != nil {
		return host, err
	}
	for _, kib := range sizes {
		pool, ok, err := s.fs.Pool(kib, nodes)
		if err != nil {
			return host, err
		}
		if ok {
			host.Pools = append(host.Pools, sizePool(pool))
		}
	}
	return host, nil
}

// Releases is [Releases] by what was read before.
func (s Surroundings) Releases(demand guard.Demand) guard.Releases {
	return s.libvirt.Releases(demand.Emulator, demand.Machine)
}

// kernel reads the nodes and the page sizes.
func (s Surroundings) kernel() (host guard.Host, nodes []sysfs.Node, err error) {
	nodes, err = s.fs.Nodes()
	if err != nil {
		return host, nil, err
	}
	for _, n := range nodes {
		cpus, _, err := s.fs.CPUs(n.ID)
		if err != nil {
			return host, nil, err
		}
		host.Nodes = append(host.Nodes, guard.Node{ID: n.ID, HasMemory: n.HasMemory, HasCPU: n.HasCPU, CPUs: cpus})
	}
	host.Sizes, err = s.fs.PageSizes()
	if err != nil {
		return host, nil, err
	}
	base, ok, err := s.fs.BasePageKiB()
	if err != nil {
		return host, nil, err
	}
	if !ok {
		// Captured without it. All that can be confused is a page size that the kernel does not list as a huge one.
		base = smallestPageKiB
	}
	host.BasePageKiB = base
	host.DefaultPageKiB, _, err = s.fs.DefaultPageKiB()
	return host, nodes, err
}

// place adds the mounts, and returns for each of them where libvirt looks, which may be below it.
func (s Surroundings) place(host *guard.Host) (paths []string) {
	for _, m := range s.mounts.Hugetlb {
		host.Mounts = append(host.Mounts, guard.Mount{Path: m.Path, PageKiB: cmp.Or(m.PageKiB, host.DefaultPageKiB), Minimum: m.Minimum})
		paths = append(paths, m.Path)
	}
	configured := s.libvirt.Mounts()
	if configured == nil {
		return paths
	}
	chosen, ok := configuredMounts(configured, host.Mounts)
	if !ok {
		return paths
	}
	host.Mounts, host.Configured = chosen, true
	return configured
}

// hiding returns what lies over the directory that libvirt makes for the files of the domain's QEMU below the path on a
// mount: PATH/libvirt/qemu/ID-NAME (qemuGetDomainHugepagePath); nil where these lie on that mount. Without a domain it
// is of all of them.
func hiding(mount sysfs.Mount, at string, domain guard.Domain) (over *guard.OverMount) {
	of := path.Join(at, "libvirt/qemu")
	for _, o := range mount.Over {
		switch _, name, _ := strings.Cut(path.Base(o.Path), "-"); {
		case !within(of, o.Path) && (path.Dir(o.Path) != of || domain.Name == "" || name != domain.ShortName()):
		case o.Type == "hugetlbfs" && o.PageKiB == mount.PageKiB:
			over = nil
		default:
			over = &guard.OverMount{Path: o.Path, Type: o.Type}
		}
	}
	return over
}

// limit returns the limit of one of the mounts, nil where it has none. Where it
// is not known how much of it is left, all is.
func (s Surroundings) limit(mount guard.Mount, seen sysfs.Mount) *guard.PageLimit {
	if !seen.Limited {
		return nil
	}
	limit := guard.PageLimit{PageKiB: mount.PageKiB, Reserved: true, Pages: seen.Size / (mount.PageKiB * 1024)}
	if free, ok := s.free[mount.Path]; ok {
		limit.Used = limit.Pages - min(limit.Pages, free)
	}
	return &limit
}

func sizePool(pool sysfs.Pool) guard.SizePool {
	size := guard.SizePool{PageKiB: pool.PageKiB, Reserved: pool.Reserved, Surplus: pool.Surplus, Overcommit: pool.Overcommit}
	for _, n := range pool.Nodes {
		size.Nodes = append(size.Nodes, guard.NodePool(n))
	}
	return size
}

// smallestPageKiB is the ordinary page size of most kernels.
const smallestPageKiB = 4

// configuredMounts returns the mounts that hugetlbfs_mount names, in its order;
// ok is false where one is not known to lie on hugetlbfs.
func configuredMounts(paths []string, mounts []guard.Mount) (chosen []guard.Mount, ok bool) {
	for _, p := range paths {
		best := -1
		for i, m := range mounts {
			// A later mount lies over an earlier.
			if within(path.Clean(p), m.Path) && (best < 0 || len(m.Path) >= len(mounts[best].Path)) {
				best = i
			}
		}
		if best < 0 {
			return nil, false
		}
		chosen = append(chosen, mounts[best])
	}
	return chosen, true
}

// within says whether a path is dir or below it.
func within(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}

// refreshPools reads a host's pools again and says whether pages came or went.
func refreshPools(root sysfs.FS, host *guard.Host) (changed bool) {
	nodes := nodesOf(*host)
	pools := slices.Clone(host.Pools)
	for i, old := range pools {
		now, ok, err := root.Pool(old.PageKiB, nodes)
		if err != nil || !ok {
			continue
		}
		pools[i] = sizePool(now)
		changed = changed || !slices.Equal(old.Nodes, pools[i].Nodes) || old.Reserved != pools[i].Reserved
	}
	host.Pools = pools
	return changed
}

// nodesOf are the host's nodes as pools are asked for.
func nodesOf(host guard.Host) []sysfs.Node {
	nodes := make([]sysfs.Node, len(host.Nodes))
	for i, n := range host.Nodes {
		nodes[i].ID = n.ID
	}
	return nodes
}
