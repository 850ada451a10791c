package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/fix"
	"hugeguard/guard/words"
	"hugeguard/testdata/vm"
)

// suites are the releases that the box is played with.
var suites = []struct {
	name, packages string
	releases       guard.Releases
}{
	{"bullseye", "linux-image-cloud-amd64 5.10.223-1\nlibvirt-daemon 7.0.0-3\nqemu-system-x86 1:5.2+dfsg-11\n", serving(7_000_000, 5_002_000, 5_010_000)},
	{"bookworm", "linux-image-cloud-amd64 6.1.176-1\nlibvirt-daemon 9.0.0-4\nqemu-system-x86 1:7.2+dfsg-7\n", serving(9_000_000, 7_002_022, 6_001_000)},
	{"trixie", "linux-image-cloud-amd64 6.12.107-1\nlibvirt-daemon 11.3.0-3\nqemu-system-x86 1:10.0.13+ds-0\n", serving(11_003_000, 10_000_013, 6_012_000)},
	{"sid", "linux-image-cloud-amd64 7.2.13-1\nlibvirt-daemon 12.8.0-1\nqemu-system-x86 1:11.1.3+ds-1\n", serving(12_008_000, 11_001_003, 7_002_000)},
}

func serving(libvirt, qemu, kernel guard.Version) guard.Releases {
	yes := true
	return guard.Releases{Libvirt: guard.Release{Version: libvirt}, QEMU: guard.Release{Version: qemu}, Kernel: guard.Release{Version: kernel}, Cpuset: &yes}
}

// TestVerdicts judges the scenarios on hosts made up for them, with the releases of each suite, against what may become
// of them there: what can start is not refused, and what can fail in QEMU is not allowed without a word. Scenarios that
// change the host in other ways than by pages and holders are left to the machine.
func TestVerdicts(t *testing.T) {
	for _, suite := range suites {
		t.Run(suite.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "packages"), []byte(suite.packages), 0o644); err != nil {
				t.Fatal(err)
			}
			image, err := vm.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range playable(image, scenarios) {
				if s.setup != "" || s.beside != nil {
					continue
				}
				demand, err := domain.Parse([]byte(s.guest.xml(s.name)))
				if err != nil {
					t.Fatalf("%s: %v", s.name, err)
				}
				host := s.host()
				host.Releases = suite.releases
				v := fix.Judge(demand, host)
				want := s.expected(image)
				fails := slices.ContainsFunc(want, func(o outcome) bool { return o != starts && o != libvirt })
				if v.Decision == guard.Refuse && slices.Contains(want, starts) || v.Decision == guard.Allow && fails {
					t.Errorf("%s: ends as %q, and the guard says %s: %s", s.name, want, v.Decision, words.Summary(v))
				}
			}
		})
	}
}

// host is the box in the state of a scenario that changes no more than pages.
func (s scenario) host() guard.Host {
	host := guard.Host{BasePageKiB: 4, DefaultPageKiB: 2048, Sizes: []uint64{2048, 1 << 20},
		Mounts:  []guard.Mount{{Path: "/dev/hugepages", PageKiB: 2048}, {Path: "/dev/hugepages1G", PageKiB: 1 << 20}},
		Cgroups: []guard.Cgroup{{Path: "/sys/fs/cgroup/machine.slice"}}}
	small, giant := guard.SizePool{PageKiB: 2048, Overcommit: uint64(s.overcommit)}, guard.SizePool{PageKiB: 1 << 20}
	for id, pages := range s.pools {
		host.Nodes = append(host.Nodes, guard.Node{ID: id, HasMemory: true, HasCPU: true, CPUs: guard.CPUSet{id}})
		small.Nodes = append(small.Nodes, guard.NodePool{Node: id, Total: uint64(pages), Free: uint64(pages)})
		giant.Nodes = append(giant.Nodes, guard.NodePool{Node: id, Total: 1, Free: 1})
	}
	for _, h := range s.holders {
		pool := &small
		if h.giant {
			pool = &giant
		}
		n := &pool.Nodes[h.node]
		touched := uint64(h.touch)
		if touched > n.Free { // the rest is surplus
			pool.Surplus += touched - n.Free
			n.Surplus, n.Total, n.Free = touched-n.Free, n.Total+touched-n.Free, touched
		}
		n.Free -= touched
		pool.Reserved += uint64(h.pages - h.touch)
	}
	host.Pools = []guard.SizePool{small, giant}
	return host
}
