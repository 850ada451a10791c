// Package survey reads a host: it is the only place where a root becomes a [guard.Host].
package survey

import (
	"cmp"
	"path"
	"slices"
	"strings"
	"time"

	"hugeguard/guard"
	"hugeguard/sysfs"
)

// Counters reads what a host has to give for a demand: its nodes, its hugetlbfs
// mounts, the pools of the page sizes that the demand can mean, and the limits
// of the mounts and control groups on these. It reads no other pools and does
// not look for holders.
func Counters(fs sysfs.FS, demand guard.Demand) (guard.Host, error) {
	return LookAround(fs).Counters(fs, demand)
}

// All reads what a host has to give, with the pools of all page sizes.
func All(fs sysfs.FS) (guard.Host, error) { return Partition(fs, "") }

// Partition is [All] for the domains of a resource partition, "" being
// the default one.
func Partition(fs sysfs.FS, partition string) (guard.Host, error) {
	return LookAround(fs).counters(fs, partition, "", func(host guard.Host) []uint64 { return host.Sizes })
}

// Surroundings is what a survey needs beside the kernel's own files: all that it may
// have to wait for.
type Surroundings struct {
	mounts   sysfs.Mounts
	noMounts error             // mounts could not be read
	free     map[string]uint64 // what limited mounts have left, by their paths, of those that say it
	conf     qemuConf
	certain  bool  // conf is what libvirt goes by
	confErr  error // conf could not be read
	machined bool  // libvirt can have systemd-machined place domains
}

// LookAround reads what is around the kernel's counters.
func LookAround(fs sysfs.FS) (s Surroundings) {
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
	s.conf, s.certain, s.confErr = readQEMUConf(fs)
	s.machined = fs.Exists(machined)
	return s
}

// Counters is that of the package, by what was read before.
func (s Surroundings) Counters(fs sysfs.FS, demand guard.Demand) (guard.Host, error) {
	return s.counters(fs, demand.Partition, demand.Domain.Name, demand.PageSizes)
}

func (s Surroundings) counters(fs sysfs.FS, partition, domain string, wanted func(guard.Host) []uint64) (guard.Host, error) {
	var host guard.Host
	nodes, err := fs.Nodes()
	if err != nil {
		return host, err
	}
	for _, n := range nodes {
		cpus, _, err := fs.CPUs(n.ID)
		if err != nil {
			return host, err
		}
		host.Nodes = append(host.Nodes, guard.Node{ID: n.ID, HasMemory: n.HasMemory, HasCPU: n.HasCPU, CPUs: cpus})
	}
	if host.Sizes, err = fs.PageSizes(); err != nil {
		return host, err
	}
	base, ok, err := fs.BasePageKiB()
	if err != nil {
		return host, err
	}
	if !ok {
		// Captured without it. All that can be confused is a page size that
		// the kernel does not list as a huge one.
		base = smallestPageKiB
	}
	host.BasePageKiB = base
	if host.DefaultPageKiB, _, err = fs.DefaultPageKiB(); err != nil {
		return host, err
	}
	if s.noMounts != nil {
		return host, s.noMounts
	}
	for _, m := range s.mounts.Hugetlb {
		host.Mounts = append(host.Mounts, guard.Mount{Path: m.Path, PageKiB: cmp.Or(m.PageKiB, host.DefaultPageKiB), Minimum: m.Minimum})
	}
	var paths []string // where libvirt looks, if not at the mounts themselves
	ungoverned := false
	if s.confErr == nil && s.certain {
		if chosen, ok := configuredMounts(s.conf.mounts, host.Mounts); ok && s.conf.mounts != nil {
			host.Mounts, host.Configured, paths = chosen, true, s.conf.mounts
		}
		ungoverned = s.conf.controllers != nil && len(s.conf.controllers) == 0
	}
	sizes := wanted(host)
	for i, m := range host.Mounts {
		path := m.Path
		if paths != nil {
			path = paths[i]
		}
		host.Mounts[i].Over = hiding(m.Path, path, domain, s.mounts.Hugetlb)
		if slices.Contains(sizes, m.PageKiB) {
			host.Mounts[i].Limit = s.limit(m)
		}
	}
	if host.Cgroups, err = cgroups(fs, s, partition, ungoverned, sizes); err != nil {
		return host, err
	}
	for _, kib := range sizes {
		pool, ok, err := fs.Pool(kib, nodes)
		if err != nil {
			return host, err
		}
		if !ok {
			continue
		}
		host.Pools = append(host.Pools, sizePool(pool))
	}
	return host, nil
}

// hiding returns what lies over the directory that libvirt makes for the files of the domain's QEMU below the path on a
// mount: PATH/libvirt/qemu/ID-NAME (qemuGetDomainHugepagePath); nil where these lie on that mount. Without a domain it
// is of all of them.
func hiding(mount, at, domain string, all []sysfs.Mount) (over *guard.OverMount) {
	i := slices.IndexFunc(all, func(m sysfs.Mount) bool { return m.Path == mount })
	of := path.Join(at, "libvirt/qemu")
	for _, o := range all[i].Over {
		switch _, name, _ := strings.Cut(path.Base(o.Path), "-"); {
		case !within(of, o.Path) && (path.Dir(o.Path) != of || domain == "" || name != shortName(domain)):
		case o.Type == "hugetlbfs" && o.PageKiB == all[i].PageKiB:
			over = nil
		default:
			over = &guard.OverMount{Path: o.Path, Type: o.Type}
		}
	}
	return over
}

// shortName is a domain's name as libvirt has it in the names of directories (virDomainDefGetShortName).
func shortName(domain string) string {
	const most = 20 // VIR_DOMAIN_SHORT_NAME_MAX
	runes := []rune(domain)
	return string(runes[:min(len(runes), most)])
}

// limit returns the limit of one of the mounts, nil where it has none. Where it
// is not known how much of it is left, all is.
func (s Surroundings) limit(mount guard.Mount) *guard.PageLimit {
	i := slices.IndexFunc(s.mounts.Hugetlb, func(m sysfs.Mount) bool { return m.Path == mount.Path })
	if !s.mounts.Hugetlb[i].Limited {
		return nil
	}
	limit := guard.PageLimit{PageKiB: mount.PageKiB, Reserved: true, Pages: s.mounts.Hugetlb[i].Size / (mount.PageKiB * 1024)}
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

// AddHolders looks for those who hold huge pages and how far the nodes lie
// apart, until the deadline at the latest, and adds it to the host. It finds
// what it can: whatever cannot be read is named as unreadable. Looking takes a
// while, in which pages come and go, so the host's pools are read again.
func AddHolders(fs sysfs.FS, host *guard.Host, deadline time.Time) {
	FindHolders(fs, host, deadline, func() {})
}

// FindHolders is [AddHolders], which has done beside it with every look what is to
// be of the same moment; it returns the processes that it saw.
func FindHolders(fs sysfs.FS, host *guard.Host, deadline time.Time, beside func()) []sysfs.Process {
	nodes := make([]int, len(host.Nodes))
	for i, n := range host.Nodes {
		nodes[i] = n.ID
	}
	for i, n := range host.Nodes {
		distances, err := fs.Distances(n.ID)
		if err != nil || len(distances) != len(nodes) {
			continue // only the order of hints depends on it
		}
		host.Nodes[i].Distances = map[int]int{}
		for k, d := range distances {
			host.Nodes[i].Distances[nodes[k]] = d
		}
	}
	return search(fs, host, deadline, beside)
}
