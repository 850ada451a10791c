// Package fix finds what an admin can do about a start that is refused: facts, which package words says.
//
// [Judge] returns a verdict with its fixes, the best first. Each is one of the types of kinds.go: larger pools (grow.go, and
// boot.go for those that the kernel makes at boot alone), higher limits (limit.go), less for those who hold the pages
// (holder.go), what Nova and other managers are to be told (platform.go), another domain (domain.go), and what libvirt
// misses (libvirt.go); refusal.go chooses among them. A fix is proven before it is offered: on the host as it would be
// after it, [guard.MustFail] or [guard.Judge] finds nothing that the launch must fail of.
package fix

import "hugeguard/guard"

// Verdict is a verdict with its fixes.
type Verdict struct {
	guard.Verdict
	Fixes []Fix // of a refusal, hugeguard's or libvirt's, the best first; nil of all others
}

// Judge is [guard.Judge] with the fixes.
func Judge(demand guard.Demand, host guard.Host) Verdict {
	return For(demand, host, guard.Judge(demand, host))
}

// For adds the fixes to a verdict of [guard.Judge] for the same demand and host.
func For(demand guard.Demand, host guard.Host, v guard.Verdict) Verdict {
	demand = demand.On(host.Releases)
	switch {
	case v.Decision == guard.Refuse:
		return Verdict{v, ofRefusal(demand, host, v)}
	case v.RefusedBy() == guard.ByLibvirt:
		return Verdict{v, onPlatform(host, v, forLibvirt(demand, host, v.Findings[0]))}
	}
	return Verdict{Verdict: v}
}
