package fix

import (
	"slices"

	"hugeguard/guard"
)

// ofRefusal returns the fixes of a verdict that refuses. There is nothing to do about a canary.
func ofRefusal(demand guard.Demand, host guard.Host, v guard.Verdict) []Fix {
	if v.Canary {
		return nil
	}
	host, _ = guard.Serious(host)
	must := slices.DeleteFunc(slices.Clone(v.Findings), func(f guard.Finding) bool { return f.Severity != guard.SeverityRefuse })
	return onPlatform(host, v, refusal{launch{demand, host, must}, v}.fixes())
}

// withHooks adds to fixes that libvirt is to run hooks of the site's that may make the pages which are missing: nobody
// knows whether they do, so that comes first only where the pool lacks pages, else after what is sure to help. No hook
// raises a limit.
func (r refusal) withHooks(found []Fix) []Fix {
	hooks := slices.DeleteFunc(slices.Clone(r.host.IdleHooks), func(h guard.IdleHook) bool { return !h.Makes })
	if len(hooks) == 0 || !r.verdict.Shortage() || r.verdict.Inside != guard.InsideHost {
		return found
	}
	switch r.verdict.Blame.Cause {
	case guard.CauseMountLimit, guard.CauseCgroupLimit:
		return found
	case guard.CausePoolMissing, guard.CausePoolTooSmall:
		return slices.Insert(found, 0, Fix(EnableHooks{hooks}))
	}
	return append(found, EnableHooks{hooks})
}

// besideStarting finds room for the guest and for those that are starting: once these have started, they have the pages.
// Only if one fails does it help to start the guest again.
func (r refusal) besideStarting() []Fix {
	again := TryAgain{Domain: r.verdict.Domain}
	for _, s := range r.host.Starting {
		again.Starting = append(again.Starting, s.Domain.Name)
	}
	ways := r.larger()
	return slices.Concat(r.rebind(), ways.now, ways.compact, []Fix{again})
}

// fixes returns what an admin can do about failures of one cause.
func (r refusal) fixes() (found []Fix) {
	blame := r.verdict.Blame
	if blame.Over() {
		return r.holderFixes() // as they are over, nobody is to reckon with them
	}
	switch blame.Cause {
	case guard.CauseOVS, guard.CauseOtherHolder:
		found = r.telling(r.holderFixes())
	case guard.CauseKernelReserved:
		found = r.holderFixes()
	case guard.CausePoolMissing, guard.CausePoolTooSmall, guard.CauseGuests:
		found = r.enlarging()
	case guard.CauseMountLimit, guard.CauseCgroupLimit:
		found = r.raising()
	case guard.CauseSizeMismatch, guard.CausePageSizeUnsupported, guard.CauseBindingImpossible:
		found = []Fix{ChangeDomain{Changes: r.changes()}}
	case guard.CauseUnaccounted:
		found = r.search()
	case guard.CauseStartingGuests:
		found = r.besideStarting()
	}
	found = slices.Concat(r.widen(), found)
	files := slices.DeleteFunc(slices.Clone(blame.Holders), func(h guard.Holder) bool { return h.Kind != guard.HolderFile })
	if len(files) > 0 {
		found = append(found, DeleteFiles{files, sawAll(r.host)})
	}
	return r.withHooks(found)
}
