package guard

import "slices"

// Judge says what will become of a launch: it plays it against the host's pools under every combination of libvirt's
// and QEMU's rules that its [Host.Releases] may have. It refuses only what must fail under each of them, and warns of
// what can fail. Knowing more of the releases never turns an allowed launch into a warning or a refusal.
//
// What libvirt itself refuses with a clear message (a node that does not exist, a page size without a mount) is left to
// libvirt, with a warning here.
//
// Host must have the pools of the page sizes that [Demand.PageSizes] returns for it. Without [Host.Holders] the cause
// of a shortage stays open.
func Judge(demand Demand, host Host) Verdict {
	v := Verdict{Domain: demand.Domain, Exempt: demand.Exempt, Canary: demand.Canary, Decision: Allow, Holders: host.Holders,
		Manager: host.manager(demand.Domain), Inside: host.inside(demand.Domain), NotKnown: host.NotKnown, IdleHooks: host.IdleHooks}
	if demand.TooMany.Count > 0 {
		v.Decision, v.Findings = Warn, []Finding{newFinding(codeTooMany, SeverityWarn, SizePool{}, nil, 0, demand.TooMany)}
		return v
	}
	backends, left := resolve(demand, host)
	backends, hidden := onHugePages(backends, host)
	unsized, open := unjudged(demand, host)
	unsized = append(unknown(demand), unsized...)
	v.Demand, v.Releases = backends, host.Releases
	v.Pools, v.Sizes, v.OVS = host.Report(), host.SizeReport(), host.OVSReport()
	if left != nil {
		v.Decision, v.Findings = Warn, []Finding{*left}
		return v
	}
	l := launch{backends, demand.Cpuset}
	v.confined = demand.Cpuset.within(host)
	v.Starting = host.StartingReport()
	host, doomed := Serious(host)
	v.doomed = len(doomed) > 0
	must, risks := l.play(host)
	if must != nil {
		if doubt := l.doubt(demand, host, must[0]); doubt != nil {
			must, risks = nil, []Finding{*doubt}
		}
	}
	if must == nil {
		v.Findings = slices.Concat(hidden, unsized, risks, plugging(host, backends), l.vswitch(demand, host), l.beside(host, doomed), open, l.mountAges(host))
		slices.SortStableFunc(v.Findings, warningsFirst)
		if len(v.Findings) > 0 && v.Findings[0].Severity == SeverityWarn {
			v.Decision = Warn
		}
		return v
	}
	l.refuse(&v, host, must)
	v.Findings = append(v.Findings, hidden...)
	if v.Manager == ManagerNova {
		v.Findings = append(v.Findings, drifts(host, demand.Domain.UUID)...)
	}
	return v
}

// warningsFirst compares two findings of a launch that can succeed: information, of which nobody is warned, comes last.
func warningsFirst(a, b Finding) int {
	rank := func(f Finding) int { return slices.Index([]Severity{SeverityWarn, SeverityInfo}, f.Severity) }
	return rank(a) - rank(b)
}

// MustFail returns why a launch must fail on a host, the first first, and nil if it can succeed: what [Judge] refuses it
// for, but for what may be doubted. It is for those who ask what would change that, and looks for no cause.
func MustFail(demand Demand, host Host) (why []Finding) {
	backends, _ := resolve(demand, host)
	backends, _ = onHugePages(backends, host)
	must, _ := launch{backends, demand.Cpuset}.play(host)
	for _, f := range must {
		why = append(why, f.finding(host, SeverityRefuse))
	}
	return why
}
