// Package fix finds what an admin can do about a start that is refused: facts, which package words says.
//
// [For] returns the fixes of a verdict, the best first. Each is one of the types that the files of this package begin
// with: larger pools (pool.go), higher limits (limit.go), less for those who hold the pages (holder.go), what Nova and
// other managers have to be told (nova.go, platform.go), another domain (domain.go), and what libvirt misses
// (libvirt.go). A fix is proven before it is offered: on the host as it would be after it, [guard.MustFail] or
// [guard.Judge] finds nothing that the launch must fail of.
package fix

import (
	"slices"

	"hugeguard/guard"
)

// Judge is [guard.Judge] with the fixes.
func Judge(demand guard.Demand, host guard.Host) guard.Verdict {
	v := guard.Judge(demand, host)
	v.Fixes = For(demand, host, v)
	return v
}

// For returns what an admin can do about a refusal, hugeguard's or libvirt's, the best first. The verdict is that of
// [guard.Judge] for the same demand and host. There is nothing to do about a canary.
func For(demand guard.Demand, host guard.Host, v guard.Verdict) []guard.Fix {
	switch {
	case v.Canary:
		return nil
	case v.Decision == guard.Refuse:
		host, _ = guard.Serious(host)
		return onPlatform(host, v, refusal{launch: launch{demand, host, shortages(v)}, verdict: v}.fixes())
	case v.RefusedBy() == guard.ByLibvirt:
		return onPlatform(host, v, forLibvirt(demand, host, v.Findings[0]))
	}
	return nil
}

// launch is a launch on a host, with why it must fail there.
type launch struct {
	demand guard.Demand
	host   guard.Host
	must   []guard.Finding
}

// on returns the launch on another host.
func (l launch) on(host guard.Host) launch {
	return launch{l.demand, host, guard.MustFail(l.demand, host)}
}

// fits reports whether the launch would fit on another host.
func (l launch) fits(host guard.Host) bool { return l.on(host).must == nil }

// shortages returns why a launch is refused.
func shortages(v guard.Verdict) []guard.Finding {
	return slices.DeleteFunc(slices.Clone(v.Findings), func(f guard.Finding) bool { return f.Severity != guard.SeverityRefuse })
}

// refusal is a launch that is refused, on a host without the starting guests that will fail in any case.
type refusal struct {
	launch
	verdict guard.Verdict
}

// fixes returns what an admin can do about failures of one cause.
func (r refusal) fixes() (found []guard.Fix) {
	blame := r.verdict.Blame
	if over(blame) {
		return r.holderFixes() // as they are over, nobody is to reckon with them
	}
	switch blame.Cause {
	case guard.CauseOVS, guard.CauseOtherHolder:
		found = append(r.tellManager(), r.holderFixes()...)
	case guard.CauseKernelReserved:
		found = r.holderFixes()
	case guard.CausePoolMissing, guard.CausePoolTooSmall, guard.CauseGuests:
		found = r.enlarging()
	case guard.CauseMountLimit, guard.CauseCgroupLimit:
		found = r.raising()
	case guard.CauseSizeMismatch, guard.CausePageSizeUnsupported, guard.CauseBindingImpossible:
		found = []guard.Fix{ChangeDomain{Changes: r.changes()}}
	case guard.CauseUnaccounted:
		found = r.search()
	}
	files := slices.DeleteFunc(slices.Clone(blame.Holders), func(h guard.Holder) bool { return h.Kind != guard.HolderFile })
	if len(files) > 0 {
		found = append(found, DeleteFiles{files, sawAll(r.host)})
	}
	return found
}

// sawAll reports whether all holders of pages are known.
func sawAll(host guard.Host) bool {
	return host.Holders != nil && !host.Holders.Cut && len(host.Holders.Unreadable) == 0
}
