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
		Manager: host.manager(demand.Domain), Inside: host.inside(demand.Domain), NotKnown: host.NotKnown}
	if demand.TooMany.Count > 0 {
		v.Decision, v.Findings = Warn, []Finding{newFinding(codeTooMany, SeverityWarn, SizePool{}, nil, 0, demand.TooMany)}
		return v
	}
	backends, left := resolve(demand, host)
	backends, hidden := onHugePages(backends, host)
	unsized, open := unjudged(demand, host)
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
		v.Findings = slices.Concat(hidden, unsized, risks, plugging(host, backends), l.vswitch(demand, host), l.beside(host, doomed))
		if len(v.Findings) > 0 {
			v.Decision = Warn
		}
		v.Findings = slices.Concat(v.Findings, open, l.mountAges(host))
		return v
	}
	l.refuse(&v, host, must)
	v.Findings = append(v.Findings, hidden...)
	if v.Manager == ManagerNova {
		v.Findings = append(v.Findings, drifts(host, demand.Domain.UUID)...)
	}
	return v
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

// doubt returns why a launch that must fail might not: memory may not be on huge pages, libvirt may take other pages than
// it is thought to, or the sizes that it has saved. It is nil if none of these helps.
func (l launch) doubt(demand Demand, host Host, f failure) *Finding {
	if finding := l.unsure(host, f); finding != nil {
		return finding
	}
	if l.fitsOtherDefault(demand, host) {
		finding := f.perhaps(host, codeDefault, IfDefaultSize{})
		return &finding
	}
	if asSaved, differs := l.asSaved(); differs && !asSaved.mustFail(host) {
		finding := f.perhaps(host, codeRestore, IfColdStart{})
		return &finding
	}
	return nil
}

// fitsOtherDefault reports whether a launch of pages without a size could succeed with another size than the one that
// libvirt is thought to take: what was mounted when the daemon started and hugetlbfs_mount in qemu.conf decide.
func (l launch) fitsOtherDefault(demand Demand, host Host) bool {
	if host.Configured || !slices.ContainsFunc(demand.Backends, Backend.byDefault) {
		return false
	}
	for _, mount := range host.Mounts {
		// As if that mount were the one, and no size the kernel's default.
		other := host
		other.Mounts, other.DefaultPageKiB = append([]Mount{mount}, host.Mounts...), 0
		backends, left := resolve(demand, other)
		backends, _ = onHugePages(backends, other)
		if left == nil && !(launch{backends, l.cpuset}).mustFail(other) {
			return true
		}
	}
	return false
}
