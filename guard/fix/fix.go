// Package fix finds what an admin can do about a start that is refused: facts, which package words says.
//
// [For] returns the fixes of a verdict, the best first. Each is one of the types of kinds.go: larger pools (grow.go, and
// boot.go for those that the kernel makes at boot alone), higher limits (limit.go), less for those who hold the pages
// (holder.go), what Nova and other managers are to be told (platform.go), another domain (domain.go), and what libvirt
// misses (libvirt.go); refusal.go chooses among them. A fix is proven before it is offered: on the host as it would be
// after it, [guard.MustFail] or [guard.Judge] finds nothing that the launch must fail of.
package fix

import "hugeguard/guard"

// Judge is [guard.Judge] with the fixes.
func Judge(demand guard.Demand, host guard.Host) guard.Verdict {
	v := guard.Judge(demand, host)
	v.Fixes = For(demand, host, v)
	return v
}

// For returns what an admin can do about a refusal, hugeguard's or libvirt's, the best first; nil for all others. The
// verdict is that of [guard.Judge] for the same demand and host.
func For(demand guard.Demand, host guard.Host, v guard.Verdict) []guard.Fix {
	switch {
	case v.Decision == guard.Refuse:
		return ofRefusal(demand, host, v)
	case v.RefusedBy() == guard.ByLibvirt:
		return onPlatform(host, v, forLibvirt(demand, host, v.Findings[0]))
	}
	return nil
}
