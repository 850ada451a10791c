package guard

import "slices"

// failure is why a launch must fail under some rules. A shortage has nodes and counts; any other failure has its cause
// and its reason.
type failure struct {
	code    string
	cause   Cause   // "" for a shortage: who holds the pages decides
	backend string  // the id of the first backend that is in trouble
	nodes   NodeSet // where the pages would have to lie
	pageKiB uint64
	needed  uint64
	free    uint64
	claimed uint64 // so many of the free pages are for starting guests
	total   uint64 // of a failure by a limit: the limit itself, in pages
	// keeper is the file that keeps QEMU to the nodes, where the domain's own tuning would let it go elsewhere.
	keeper string
	reason Reason // of other failures than a shortage
	// releases is what had to be known for the failure to be certain.
	releases Releases
}

// finding returns the failure as a finding.
func (f failure) finding(host Host, severity Severity) Finding {
	pool, ok := host.Pool(f.pageKiB)
	if !ok {
		pool.PageKiB = f.pageKiB
	}
	finding := newFinding(f.code, severity, pool, f.nodes, f.needed, f.facts(host))
	finding.Backend, finding.Releases = f.backend, f.releases
	if f.cause == CauseMountLimit || f.cause == CauseCgroupLimit {
		finding.Free, finding.Total = f.free, f.total
	}
	return finding
}

// perhaps returns the failure as a warning: it comes about on a condition.
func (f failure) perhaps(host Host, code string, when Condition) Finding {
	finding := f.finding(host, SeverityWarn)
	finding.Code = code
	finding.Reason = Perhaps{when, finding.Reason}
	return finding
}

// facts returns the reason of a failure, which for a shortage depends on the host.
func (f failure) facts(host Host) Reason {
	if f.reason != nil {
		return f.reason
	}
	all := host.MemoryNodes()
	everywhere := slices.Equal(all, f.nodes)
	short := Short{Anywhere: len(all) != 1 && everywhere, Promised: f.code == codeReserved, Claimed: f.claimed, Keeper: f.keeper}
	if short.Promised || everywhere {
		pool, _ := host.Pool(f.pageKiB)
		short.Reserved = pool.Reserved
	}
	if f.claimed > 0 {
		short.Starting = names(host.startingOn(f.pageKiB, f.nodes))
	}
	return short
}

// has reports whether a shortage is the same as another, or what is left of it.
func (f failure) has(g failure) bool {
	return f.cause == "" && g.cause == "" && f.pageKiB == g.pageKiB && len(g.nodes.Without(f.nodes)) == 0 &&
		(f.code == g.code || f.code == codeReserved)
}
