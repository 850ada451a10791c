package guard

import "slices"

// Verdict is what will become of a launch.
type Verdict struct {
	Domain Domain
	Canary bool // of the demand
	// Exempt is by what the domain is exempt from being refused, as in [Demand]: whatever the decision, it is
	// allowed.
	Exempt   string
	Decision Decision
	Cause    Cause     // of a refusal, else ""
	Findings []Finding // what decided first
	Blame    Blame     // of a refusal
	Lack     Lack      // of a refusal
	Manager  Manager   // whose guest it is, or else who places guests on the host; "" for nobody
	Inside   Inside    // what hugeguard runs in

	Demand []Backend
	Pools  []PoolReport
	// Starting is what starting guests have still to take.
	Starting []StartingReport
	// Sizes is what is known of pools without saying on which node.
	Sizes []SizeReport
	// OVS is what Open vSwitch was told and what it holds; nil where it was not asked.
	OVS *OVSReport
	// Nova is what Nova believes, of a refusal; nil where there is no sign of it.
	Nova     *NovaReport
	Releases Releases // for which it was judged
	Holders  *Holders // nil where nobody looked
	// IdleHooks are hooks of the site's that libvirt does not run; nil where nobody looked.
	IdleHooks []IdleHook
	// NotKnown is the evidence that is left out, since it did not become known in time.
	NotKnown []Evidence

	waits    bool   // it would fit but for the starting guests
	doomed   bool   // some of these were left out, who are too many in any case
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

// The causes. Their texts are part of the JSON output and of the journal's HUGEGUARD_CAUSE.
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

// messageIDs identify the journal entries of each cause, for journalctl MESSAGE_ID=... and the message catalog. The
// last is for warnings.
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

// Blame is the cause of a refusal, and who holds the pages that are missing.
type Blame struct {
	Cause   Cause
	Holders []Holder // those the cause is about, the largest on the short nodes first
	Also    []Blame  // other things without which the launch would not have to fail
}

// Maker returns whose the domain is: of the managers Nova alone leaves no mark in some.
func (v Verdict) Maker() Manager {
	if v.Domain.Manager == "" && v.Manager == ManagerNova {
		return ManagerNova
	}
	return v.Domain.Manager
}

// outsiders reports whether the cause is about pages that Nova could reserve.
func (b Blame) outsiders() bool {
	return (b.Cause == CauseOVS || b.Cause == CauseOtherHolder) && !b.Over()
}

// Over reports whether all those to blame should be gone: an earlier QEMU of the guest, the memory of guests that are
// gone.
func (b Blame) Over() bool {
	return len(b.Holders) > 0 && !slices.ContainsFunc(b.Holders, func(h Holder) bool { return !h.Former && h.Guest == "" })
}

// Lack is what is known of what a refused launch is short of: the pages of one size on the nodes of its first finding.
type Lack struct {
	SetUp    uint64 // pages that the nodes have in all, without surplus ones
	Reserved uint64 // pages that are promised to others, on all nodes
	Surplus  uint64 // surplus pages on all nodes
	Asked    uint64 // pages that the kernel's command line asks for on these nodes, where that is more than SetUp; else 0
	// Set is how many pages on all nodes Setting asks for, a file of sysctl's, where that is more than these have, or as
	// many, and fewer than the command line asks for; else 0.
	Set         uint64
	Setting     string
	Overcommit  uint64 // how many of these there may be
	Unaccounted uint64 // unexplained pages of the nodes; 0 if nobody looked
	// NovaReserves is how many pages Nova keeps back there, if their holders are of a kind that it could reserve for; nil where
	// that is not so, or not known.
	NovaReserves *int64
	// Misplaced is why Nova came here although it keeps back what it is to; nil where it does not.
	Misplaced *Misplaced
	Others    []NodePool // nodes that have as many free pages as are needed, the nearest first
}

// Misplaced is why Nova placed a guest where its pages are taken. One thing of these is so, or none.
type Misplaced struct {
	Stale     *NovaStale // it has not read its configuration
	Strangers []Holder   // guests with pages there that are none of its instances
	Believed  *int64     // so few pages it believes free itself
}

// Claims is what a domain will take: what other starts are judged with until its own is over. Memory that numad places
// may come from any node. What is [Backend.Unsure] refuses nobody: a file may have its pages already.
func (v Verdict) Claims() []Claim {
	if v.Canary {
		return nil // it claims none
	}
	var claims []Claim
	for _, b := range v.Demand {
		if b.Pages == 0 || b.Unsure {
			continue
		}
		c := Claim{PageKiB: b.PageKiB, Pages: b.Pages, Nodes: b.Cpuset, Cpuset: v.confined}
		if b.Policy == PolicyBind && !b.Auto && !b.Lazy {
			c.Nodes, c.Hard = b.HostNodes, true
		}
		claims = append(claims, c)
	}
	return claims
}

// AsStarting is the domain as those who are judged after it have to reckon with it: allowed, without a QEMU yet, and
// all of its pages still to take.
func (v Verdict) AsStarting() Starting { return Starting{Domain: v.Domain, Claims: v.Claims()} }

// Waits says that a refused launch would fit but for the starting guests: when these are done it may be another.
func (v Verdict) Waits() bool { return v.waits }

// Doomed says that some of the starting guests did not count, since their pages cannot be had.
func (v Verdict) Doomed() bool { return v.doomed }

// Shortage reports whether a launch is refused for lack of pages alone: it would fit if somebody made enough of them,
// or gave them back, before QEMU takes its own. Nobody can make what a canary asks for.
func (v Verdict) Shortage() bool {
	return v.Decision == Refuse && !v.Canary && !slices.ContainsFunc(v.Findings, func(f Finding) bool {
		return f.Severity == SeverityRefuse && (f.Code == codePageSize || f.Code == codeSize || f.Code == codeBinding)
	})
}

// Unless returns a refusal as a warning, for a reason in words: what the verdict knows of the host is not yet what QEMU
// will find.
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

// RefusedBy returns who refuses the start: [ByHugeguard], [ByLibvirt] or "" for nobody. libvirt also refuses a domain
// that is exempt from hugeguard's refusals.
func (v Verdict) RefusedBy() string {
	switch {
	case v.Decision == Refuse && v.Exempt == "":
		return ByHugeguard
	case slices.ContainsFunc(v.Findings, func(f Finding) bool { return f.Code == codeLeftToOthers }):
		return ByLibvirt
	}
	return ""
}

// Refusers of a start.
const (
	ByHugeguard = "hugeguard"
	ByLibvirt   = "libvirt"
)
