package guard

import (
	"slices"
	"strings"
)

// Fix is something that an admin can do about a refusal: one of the types below.
// Package words says it.
type Fix any

// ReserveInNova has Nova keep back what others than its instances hold.
type ReserveInNova struct {
	Reservations []Reservation
	Nova         *Nova // nil where nobody looked
}

// RestartNova has nova-compute, which is this systemd unit, read its configuration again.
type RestartNova struct{ Unit string }

// GrowPools sets up as many more pages as are missing now.
type GrowPools struct{ Pools []PoolSize }

// PoolSize is how many pages one node's pool is to have, without surplus ones.
type PoolSize struct {
	Node    int
	PageKiB uint64
	Pages   uint64
}

// RaiseLimits lets a mount, or a control group, have more pages.
type RaiseLimits struct{ Limits []Limit }

// Limit is how many pages a limit is to be.
type Limit struct {
	Path    string // of the mount, or of the control group's file
	PageKiB uint64
	Pages   uint64
	Mount   bool
}

// ChangeDomain changes what the domain asks for.
type ChangeDomain struct{ Changes []Change }

// Change is what to change of one of the domain's backends.
type Change struct {
	Do      Action
	Backend string
	Nodes   NodeSet  // to bind it to, or to whose CPUs to pin the emulator
	KiB     []uint64 // the size to make it, or of its blocks; the page sizes that it may have
}

// Action is how to change a domain.
type Action int

// The actions.
const (
	Bind         Action = iota // bind it to other nodes
	PinEmulator                // pin the emulator to CPUs of its nodes, too
	Resize                     // make it of another size
	ResizeBlocks               // plug it in blocks of another size
	TakePages                  // take pages of another size for it
)

// LookUnconfined has hugeguard look where libvirt's confinement does not hide who holds pages.
type LookUnconfined struct{}

// DeleteFiles gives the pages of leftover files back.
type DeleteFiles struct {
	Holders []Holder // each a HolderFile
	Certain bool     // all processes were asked whether they use them
}

// fixes returns what an admin can do about failures of one cause.
func fixes(host Host, must []failure, b Blame) (found []Fix) {
	switch b.Cause {
	case CauseOVS, CauseOtherHolder:
		if !host.Agrees() {
			if reservations := host.Reservations(); reservations != nil {
				found = append(found, ReserveInNova{reservations, host.Nova})
			}
		} else if host.Nova.Stale != "" && strings.HasSuffix(host.Nova.Unit, ".service") {
			found = append(found, RestartNova{host.Nova.Unit})
		} // else what keeps Nova from knowing is in the summary
	case CausePoolMissing, CausePoolTooSmall, CauseGuests, CauseKernelReserved:
		found = append(found, growth(host, must))
	case CauseMountLimit, CauseCgroupLimit:
		found = append(found, RaiseLimits{own[Limit](must)})
	case CauseSizeMismatch, CausePageSizeUnsupported, CauseBindingImpossible:
		found = append(found, ChangeDomain{own[Change](must)})
	case CauseUnaccounted:
		found = append(found, LookUnconfined{})
	}
	files := slices.DeleteFunc(slices.Clone(b.Holders), func(h Holder) bool { return h.Kind != HolderFile })
	if len(files) > 0 {
		found = append(found, DeleteFiles{files, len(host.Holders.Unreadable) == 0 && !host.Holders.Cut})
	}
	return found
}

// own returns the fixes that failures have each for itself.
func own[T any](must []failure) (fixes []T) {
	for _, f := range must {
		if fix, ok := f.fix.(T); ok {
			fixes = append(fixes, fix)
		}
	}
	return fixes
}

// growth returns the pools with as many more pages as are missing now. Where
// several nodes would do, the first gets them.
func growth(host Host, must []failure) GrowPools {
	type place struct {
		kib  uint64
		node int
	}
	var places []place
	missing := map[place]uint64{}
	for _, f := range must {
		pool, _ := host.pool(f.pageKiB)
		at := place{f.pageKiB, f.nodes[0]}
		if missing[at] == 0 {
			places = append(places, at)
		}
		have := f.free
		if f.code == codeReserved {
			have = minus(have, pool.Reserved)
		}
		missing[at] += minus(f.needed+f.claimed, have)
	}
	var grown GrowPools
	for _, at := range places {
		pool, _ := host.pool(at.kib)
		n := pool.node(at.node)
		grown.Pools = append(grown.Pools, PoolSize{at.node, at.kib, minus(n.Total, n.Surplus) + missing[at]})
	}
	return grown
}
