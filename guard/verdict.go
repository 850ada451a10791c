package guard

// Verdict is what will become of a launch. It marshals to the JSON object of
// "hugeguard check --json".
type Verdict struct {
	Domain   Domain   `json:"domain"`
	Decision Decision `json:"decision"`
	// Exempt is by what the domain is exempt from being refused, as in [Demand]:
	// whatever the decision, it is let go on.
	Exempt string `json:"exempt,omitempty"`
	Cause  Cause  `json:"cause"` // of a refusal, else ""
	// Summary is one line for libvirt's error and the terminal.
	Summary  string       `json:"summary"`
	Demand   []Backend    `json:"demand"`
	Findings []Finding    `json:"findings"`
	Pools    []PoolReport `json:"pools"`
	Remedy   []Remedy     `json:"remedy"`
	// Starting is what domains that were let start before have still to take.
	Starting []StartingReport `json:"starting,omitempty"`
	// Sizes is what is known of pools without saying on which node.
	Sizes []SizeReport `json:"sizes,omitempty"`
	// OVS is what Open vSwitch was told and what it holds; nil where it was
	// not asked.
	OVS *OVSReport `json:"ovs,omitempty"`
	// Releases is what was known of libvirt and QEMU; nil where nothing was.
	Releases *ReleaseReport `json:"releases,omitempty"`
	// Nova is what Nova believes, of a refusal; nil where there is no sign of it.
	Nova *NovaReport `json:"nova,omitempty"`

	canary   bool  // of the demand
	blame    blame // of a refusal
	waits    bool  // it would fit but for those who are starting
	doomed   bool  // some of these were left out, who are too many in any case
	holders  *Holders
	releases Releases
	confined Cpuset // the domain's, as far as it takes effect
}

// Decision is what the guard does about a launch.
type Decision string

// The decisions.
const (
	Allow  Decision = "allow"  // nothing can go wrong that the guard knows of
	Warn   Decision = "warn"   // it can succeed, and can fail
	Refuse Decision = "refuse" // it must fail
)

// Cause is why a launch is refused.
type Cause string

// The causes. Their texts are part of the JSON output and of the journal's
// HUGEGUARD_CAUSE.
const (
	CauseOVS                 Cause = "ovs-reservation"
	CauseOtherHolder         Cause = "other-holder"
	CauseGuests              Cause = "guests"
	CauseStartingGuests      Cause = "starting-guests"
	CauseLeftoverFiles       Cause = "leftover-files"
	CauseKernelReserved      Cause = "kernel-reserved"
	CausePoolTooSmall        Cause = "pool-too-small"
	CausePoolMissing         Cause = "pool-missing"
	CausePageSizeUnsupported Cause = "page-size-unsupported"
	CauseMountLimit          Cause = "mount-limit"
	CauseCgroupLimit         Cause = "cgroup-limit"
	CauseSizeMismatch        Cause = "size-mismatch"
	CauseBindingImpossible   Cause = "binding-impossible"
	CauseUnaccounted         Cause = "unaccounted"
)

// Causes are all causes, in the order in which they are documented.
func Causes() []Cause {
	return []Cause{CauseOVS, CauseOtherHolder, CauseGuests, CauseStartingGuests, CauseLeftoverFiles, CauseKernelReserved,
		CausePoolTooSmall, CausePoolMissing, CausePageSizeUnsupported, CauseMountLimit, CauseCgroupLimit, CauseSizeMismatch,
		CauseBindingImpossible, CauseUnaccounted}
}

// messageIDs identify the journal entries of each cause, for journalctl
// MESSAGE_ID=... and the message catalog. The last is for warnings.
var messageIDs = map[Cause]string{
	CauseOVS:                 "7e7506d7f99a4bb3b67ca26c8f4c1e38",
	CauseOtherHolder:         "441f07185f0c4ce1aef50aad2d116131",
	CauseGuests:              "f620cf7035c84a64bbc264e3559c4304",
	CauseStartingGuests:      "d637f91217644174a91491cf397f0d50",
	CauseLeftoverFiles:       "c83eea5ab6544716b9bb06331b82c1f7",
	CauseKernelReserved:      "0ccb719fd76a4359b57e31e50bfcf643",
	CausePoolTooSmall:        "4e97b9689aa348d7ba3e58e3824436f3",
	CausePoolMissing:         "17776481682e407da086d722d109c94d",
	CausePageSizeUnsupported: "4be12d93b4d84a8aa28ddab02a8572d1",
	CauseMountLimit:          "eeeee33658bc4098a86ed131db49c88f",
	CauseCgroupLimit:         "288115fd89a14f268565086f349d4368",
	CauseSizeMismatch:        "5d6d00332d9240d78f2b2574aa7b922a",
	CauseBindingImpossible:   "71a7bbb9d94a45beaf23c5828e1980a8",
	CauseUnaccounted:         "31bbc6c288af4b11b3f102893a977588",
	"":                       "8e17595b79f6456cae4ca5a0210e86da",
}

// MessageID returns the journal's MESSAGE_ID for the verdict's cause.
func (v Verdict) MessageID() string { return messageIDs[v.Cause] }

// Waits says that a refused launch would fit but for the domains that are
// starting: when these are done it may be another.
func (v Verdict) Waits() bool { return v.waits }

// Doomed says that some of the domains that are starting did not count, since
// their pages cannot be had.
func (v Verdict) Doomed() bool { return v.doomed }

// Severity is what a finding means for the launch.
type Severity string

// The severities.
const (
	SeverityRefuse Severity = "refuse"
	SeverityWarn   Severity = "warn"
	SeverityInfo   Severity = "info"
)

// Finding is one thing that Judge found out. Counts are pages of PageKiB.
type Finding struct {
	Code     string   `json:"code"`
	Severity Severity `json:"severity"`
	Node     *int     `json:"node"`  // the node it is about, nil when there are several or none
	Nodes    NodeSet  `json:"nodes"` // all nodes it is about
	PageKiB  uint64   `json:"page_kib"`
	Needed   uint64   `json:"needed"`
	Free     uint64   `json:"free"`
	Total    uint64   `json:"total"`
	Message  string   `json:"message"`
}

func newFinding(code string, severity Severity, pool SizePool, nodes NodeSet, needed uint64, message string) Finding {
	sum := pool.on(nodes)
	f := Finding{Code: code, Severity: severity, Nodes: nodes, PageKiB: pool.PageKiB,
		Needed: needed, Free: sum.Free, Total: sum.Total, Message: message}
	if len(nodes) == 1 {
		f.Node = &nodes[0]
	}
	return f
}

// finding makes a finding of a failure.
func (f failure) finding(host Host, severity Severity, message string) Finding {
	pool, ok := host.pool(f.pageKiB)
	if !ok {
		pool.PageKiB = f.pageKiB
	}
	finding := newFinding(f.code, severity, pool, f.nodes, f.needed, message)
	if f.cause == CauseMountLimit || f.cause == CauseCgroupLimit {
		finding.Free, finding.Total = f.free, f.total
	}
	return finding
}

// Remedy is what mends a cause: lines for a file or a shell, or words.
type Remedy struct {
	For   string   `json:"for"` // "nova": lines for nova.conf; "host": commands for root's shell; "domain": what to change in it, in words
	How   string   `json:"how"` // where they go and what to do then, in words
	Lines []string `json:"lines"`
}
