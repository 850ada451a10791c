package words

import (
	"hugeguard/guard"
	"hugeguard/guard/fix"
)

// Report is a verdict as "hugeguard check --json" prints it.
type Report struct {
	Domain   guard.Domain   `json:"domain"`
	Decision guard.Decision `json:"decision"`
	// Exempt is by what the domain is exempt from being refused: whatever the decision, it is allowed.
	Exempt   string             `json:"exempt,omitempty"`
	Cause    guard.Cause        `json:"cause"`   // of a refusal, else ""
	Summary  string             `json:"summary"` // the line
	Demand   []guard.Backend    `json:"demand"`
	Findings []FindingReport    `json:"findings"`
	Pools    []guard.PoolReport `json:"pools"`
	Fixes    []Fix              `json:"fixes"` // of a refusal, also of libvirt's, the best first
	// RefusedBy is who refuses the start, "hugeguard" or "libvirt"; "" for nobody.
	RefusedBy string `json:"refused_by"`
	// Starting is what starting guests have still to take.
	Starting []guard.StartingReport `json:"starting,omitempty"`
	// Sizes is what is known of pools without saying on which node.
	Sizes []guard.SizeReport `json:"sizes,omitempty"`
	// OVS is what Open vSwitch was told and what it holds; nil where it was not asked.
	OVS *guard.OVSReport `json:"ovs,omitempty"`
	// Releases is what was known of libvirt and QEMU; nil where nothing was.
	Releases *guard.ReleaseReport `json:"releases,omitempty"`
	// Nova is what Nova believes, of a refusal; nil where there is no sign of it.
	Nova *guard.NovaReport `json:"nova,omitempty"`
	// NotKnown is the evidence that did not become known in time: holders, ovs, nova.
	NotKnown []guard.Evidence `json:"not_known,omitempty"`
}

// FindingReport is a finding in a [Report]. Counts are pages of PageKiB.
type FindingReport struct {
	Code     string         `json:"code"`
	Severity guard.Severity `json:"severity"`
	Node     *int           `json:"node"`  // the node it is about, nil when there are several or none
	Nodes    guard.NodeSet  `json:"nodes"` // all nodes it is about
	PageKiB  uint64         `json:"page_kib"`
	Needed   uint64         `json:"needed"`
	Free     uint64         `json:"free"`
	Total    uint64         `json:"total"`
	Message  string         `json:"message"`
}

// NewReport returns a verdict as JSON has it.
func NewReport(v fix.Verdict) Report {
	r := Report{
		Domain: v.Domain, Decision: v.Decision, Exempt: v.Exempt, Cause: v.Cause, Summary: Line(v),
		Demand:   append([]guard.Backend{}, v.Demand...),
		Findings: []FindingReport{},
		Pools:    v.Pools, Fixes: Fixes(v), RefusedBy: v.RefusedBy(), Starting: v.Starting, Sizes: v.Sizes, OVS: v.OVS, Releases: v.Releases.Report(), Nova: v.Nova, NotKnown: v.NotKnown,
	}
	for _, f := range v.Findings {
		report := FindingReport{Code: f.Code, Severity: f.Severity, Nodes: f.Nodes, PageKiB: f.PageKiB,
			Needed: f.Needed, Free: f.Free, Total: f.Total, Message: Finding(f)}
		if len(f.Nodes) == 1 {
			report.Node = &f.Nodes[0]
		}
		r.Findings = append(r.Findings, report)
	}
	return r
}
