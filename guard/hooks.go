package guard

import "slices"

// Shortage reports whether a launch is refused for want of pages alone: it would
// fit if somebody made enough of them, or gave them back, before QEMU takes its
// own. Nobody can make what a canary asks for.
func (v Verdict) Shortage() bool {
	return v.Decision == Refuse && !v.Canary && !slices.ContainsFunc(v.Findings, func(f Finding) bool {
		return f.Severity == SeverityRefuse && (f.Code == codePageSize || f.Code == codeSize || f.Code == codeBinding)
	})
}

// Unless returns a refusal as a warning, for a reason in words: what the verdict
// knows of the host is not yet what QEMU will find.
func (v Verdict) Unless(reason string) Verdict {
	v.Decision, v.Cause, v.waits = Warn, "", false
	v.Findings = slices.Clone(v.Findings)
	for i := range v.Findings {
		if v.Findings[i].Severity == SeverityRefuse {
			v.Findings[i].Severity = SeverityWarn
		}
	}
	v.Findings = append(v.Findings, newFinding(codeHooks, SeverityWarn, SizePool{}, nil, 0, OtherHooks{reason}))
	return v
}

// LibvirtBefore reports whether libvirt is known to be older than a release.
func (v Verdict) LibvirtBefore(release Version) bool {
	known := v.Releases.Libvirt.Version
	return known != 0 && known < release
}
