package guard

// Evidence is a part of what is known of a host beside what the kernel counts. Its texts are part of the JSON output
// and of the journal's HUGEGUARD_NOT_KNOWN.
type Evidence string

// The parts.
const (
	EvidenceHolders Evidence = "holders" // who holds the pages, all of them
	EvidenceOVS     Evidence = "ovs"     // what Open vSwitch was told
	EvidenceNova    Evidence = "nova"    // what Nova is told, and which instances it counts
)

// AllEvidence is all parts, in the order in which they are looked for.
func AllEvidence() []Evidence { return []Evidence{EvidenceHolders, EvidenceOVS, EvidenceNova} }
