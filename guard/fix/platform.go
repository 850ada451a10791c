package fix

import (
	"slices"
	"strings"

	"hugeguard/guard"
)

// telling returns fixes with what the manager of the host's guests has to be told, the best first. Nova places the guest
// on another node then, or on another host; with other managers that helps the guests that follow.
func (r refusal) telling(fixes []Fix) []Fix {
	told := r.tellManager()
	if r.verdict.Manager != guard.ManagerNova {
		return append(fixes, told...)
	}
	if len(told) > 0 {
		if reserve, ok := told[0].(ReserveInNova); ok {
			reserve.Full = len(r.verdict.Lack.Others) == 0
			told[0] = reserve
		}
	}
	return append(told, fixes...)
}

// tellManager has who places guests on the host reckon with what others than its guests hold.
func (r refusal) tellManager() []Fix {
	host, b := r.host, r.verdict.Blame
	switch r.verdict.Manager {
	case guard.ManagerNova:
		if host.Platform.Has(guard.ManagerStarlingX) && b.Cause == guard.CauseOVS {
			return tellStarlingX(host)
		}
		return tellNova(host)
	case guard.ManagerOVirt:
		return tellVDSM(host, b)
	case guard.ManagerKubeVirt:
		processes := slices.DeleteFunc(slices.Clone(b.Holders), func(h guard.Holder) bool {
			return h.Kind == guard.HolderFile || h.Kind == guard.HolderGuest || h.InPod()
		})
		if len(processes) > 0 {
			return []Fix{RunInPod{processes, processes[0].PageKiB}}
		}
	}
	return nil
}

// tellStarlingX has StarlingX set aside for its virtual switch what Open vSwitch holds, which it writes to Nova's
// configuration as well (_update_reserved_memory in its helm plugin for Nova).
func tellStarlingX(host guard.Host) []Fix {
	set := SetStarlingX{VSwitch: true}
	for pool, pages := range host.HeldBy(guard.HolderOVS) {
		set.Pools = append(set.Pools, PoolSize{Node: pool.Node, PageKiB: pool.PageKiB, Pages: pages})
	}
	if set.Pools == nil || host.Nova.Known() && agreesWithOVS(host) {
		return nil
	}
	slices.SortFunc(set.Pools, func(a, b PoolSize) int { return a.Node - b.Node })
	return []Fix{set}
}

// agreesWithOVS reports whether Nova keeps back what Open vSwitch holds.
func agreesWithOVS(host guard.Host) bool {
	for pool, pages := range host.HeldBy(guard.HolderOVS) {
		if host.Nova.Reserved[pool] < int64(pages) {
			return false
		}
	}
	return true
}

// tellVDSM has VDSM keep back what others hold, of the page size that is short.
func tellVDSM(host guard.Host, b guard.Blame) []Fix {
	if reserve := ReservedInVDSM(host, b.Holders[0].PageKiB); reserve.Count > 0 {
		return []Fix{reserve}
	}
	return nil
}

// ReservedInVDSM is what oVirt's agent is to keep back of one page size, or for 0 of that of which others hold most.
func ReservedInVDSM(h guard.Host, kib uint64) (most ReserveInVDSM) {
	counts := map[uint64]uint64{}
	for _, r := range h.Reservations() {
		counts[r.PageKiB] += r.Count
	}
	for size, count := range counts {
		if (kib == 0 || kib == size) && size*count > most.PageKiB*most.Count {
			most = ReserveInVDSM{size, count}
		}
	}
	return most
}

// onPlatform returns fixes as they are made where the host is managed, or where hugeguard runs in a container.
func onPlatform(host guard.Host, v guard.Verdict, fixes []Fix) []Fix {
	var found []Fix
	for _, fix := range fixes {
		switch f := fix.(type) {
		case GrowPools:
			fix = asSized(host, f.Pools, fix)
		case BootPools:
			fix = asSized(host, f.Pools, fix)
		case RaiseLimits:
			if v.Inside == guard.InsidePod {
				found = append(found, podLimits(f)...)
				continue
			}
		case ChangeDomain:
			f.Manager = v.Maker()
			fix = f
		case ChangePages:
			f.Manager = v.Maker()
			fix = f
		}
		if !setsApplication(fix) || !slices.ContainsFunc(found, setsApplication) { // now and at boot are the same there
			found = append(found, fix)
		}
	}
	return found
}

func setsApplication(f Fix) bool {
	set, ok := f.(SetStarlingX)
	return ok && !set.VSwitch
}

// asSized returns how pools get these sizes: on StarlingX by its own command, which sets them up at boot, elsewhere by a
// fix.
func asSized(host guard.Host, pools []PoolSize, fix Fix) Fix {
	if host.Platform.Has(guard.ManagerStarlingX) {
		return SetStarlingX{Pools: withoutOVS(host, pools)}
	}
	return fix
}

// withoutOVS returns pools without what Open vSwitch holds of them, which StarlingX counts apart.
func withoutOVS(host guard.Host, pools []PoolSize) []PoolSize {
	held := host.HeldBy(guard.HolderOVS)
	less := slices.Clone(pools)
	for i := range less {
		p := &less[i]
		for pool, pages := range held {
			if pool.Node == p.Node && pool.PageKiB == p.PageKiB {
				p.Pages = minus(p.Pages, pages)
			}
		}
	}
	return less
}

// podLimits returns the limits that a pod's own declaration sets, and those of mounts by themselves.
func podLimits(r RaiseLimits) (fixes []Fix) {
	var groups, mounts []Limit
	for _, l := range r.Limits {
		if l.Mount {
			mounts = append(mounts, l)
		} else {
			groups = append(groups, l)
		}
	}
	if groups != nil {
		fixes = append(fixes, RaisePodLimit{groups})
	}
	if mounts != nil {
		fixes = append(fixes, RaiseLimits{mounts})
	}
	return fixes
}

// tellNova has Nova keep back what others than its instances hold. What it does already it is not told again: what keeps
// it from knowing then is in the summary.
func tellNova(host guard.Host) []Fix {
	switch {
	case !host.Agrees():
		if reservations := host.Reservations(); reservations != nil {
			fix := ReserveInNova{Reservations: reservations, Nova: host.Nova}
			if report := host.NovaReport(""); report != nil {
				fix.Strangers = report.Strangers
			}
			return []Fix{fix}
		}
	case host.Nova.Stale != "" && strings.HasSuffix(host.Nova.Unit, ".service"):
		return []Fix{RestartNova{host.Nova.Unit}}
	}
	return nil
}
