package guard

// PoolReport is one node's pool of one size and who holds it, in pages. Total is Free, what Holders have, and
// Unaccounted.
type PoolReport struct {
	Node    int            `json:"node"`
	PageKiB uint64         `json:"page_kib"`
	Total   uint64         `json:"total"`
	Free    uint64         `json:"free"`
	Surplus uint64         `json:"surplus"`
	Claimed uint64         `json:"claimed"` // of Free: for starting guests and can take no others
	Holders []HolderReport `json:"holders"`
	// Unaccounted is the number of unexplained pages on this node; nil if nobody looked.
	Unaccounted *uint64 `json:"unaccounted"`
}

// HolderReport is what one holder has of a pool.
type HolderReport struct {
	Kind HolderKind `json:"kind"`
	Name string     `json:"name"`
	PID  int        `json:"pid"`            // 0 for files
	Unit string     `json:"unit,omitempty"` // systemd unit or container
	// Guest is the guest that is gone whose memory the process keeps, as in [Holder].
	Guest string `json:"guest,omitempty"`
	Pages uint64 `json:"pages"`
}

// SizeReport is what is known of the pools of one size, and not on which node.
type SizeReport struct {
	PageKiB uint64 `json:"page_kib"`
	// Reserved pages are free and promised to those in ReservedBy, who have not touched them yet; some of these may not
	// be seen.
	Reserved   uint64         `json:"reserved"`
	ReservedBy []HolderReport `json:"reserved_by"`
	// Unplaced are pages that lie on some node, where they are unaccounted.
	Unplaced []HolderReport `json:"unplaced"`
}

// StartingReport is what a starting guest has still to take of one size.
type StartingReport struct {
	Name    string  `json:"name"`
	UUID    string  `json:"uuid"`
	PageKiB uint64  `json:"page_kib"`
	Pages   uint64  `json:"pages"`
	Nodes   NodeSet `json:"nodes"` // null is any
}

// OVSReport is what Open vSwitch was told about huge pages, beside what it holds.
type OVSReport struct {
	Told []string `json:"told"` // its keys, as "key=value"
	// PageKiB is the size of its pages; 0 where that is not certain.
	PageKiB uint64          `json:"page_kib"`
	Nodes   []OVSNodeReport `json:"nodes"`
	// AnyMiB is what it was told to take on no node in particular.
	AnyMiB uint64 `json:"any_mib"`
	// Pending says that it is known to hold less than it was told to take.
	Pending bool `json:"pending"`
}

// OVSNodeReport is one node of an [OVSReport], all page sizes together.
type OVSNodeReport struct {
	Node    int    `json:"node"`
	ToldMiB uint64 `json:"told_mib"`
	// HeldMiB is nil where nobody looked.
	HeldMiB *uint64 `json:"held_mib"`
	// UsedMiB is how much of it DPDK has handed out, rounded up; nil where that is not known.
	UsedMiB *uint64 `json:"used_mib"`
}

// NovaReport is what Nova believes against what is. It is part of the JSON output.
type NovaReport struct {
	Files []string `json:"files"`
	Fault string   `json:"fault,omitempty"`
	PID   int      `json:"pid,omitempty"`
	Stale string   `json:"changed_since_start,omitempty"`
	// Instances is how many domains of this host Nova made, but for the one that is about to start.
	Instances int `json:"instances"`
	Unread    int `json:"unread,omitempty"`
	// Refused are pages that Nova still counts for instances whose start was refused. They are part of the pools'
	// Instances.
	Refused []RefusedInstance `json:"refused,omitempty"`
	// Uncounted are instances that have no domain, by their directory or their UUID. Nova may count pages for them that
	// are part of no pool's Instances.
	Uncounted []string `json:"uncounted,omitempty"`
	// Unlisted says why Uncounted may lack some; it is absent if it lacks none.
	Unlisted string `json:"unlisted,omitempty"`
	// Strangers are guests that hold pages and that Nova did not make, so that it does not count them.
	Strangers []Stranger `json:"strangers,omitempty"`
	// Ignored are the pages that are reserved on nodes, or of sizes, that this host does not have.
	Ignored []string `json:"ignored,omitempty"`
	// Pools is empty where it is not known what Nova reserves.
	Pools []NovaPool `json:"pools"`
}

// NovaPool is what Nova believes of one node's pool of one size. Counts are pages.
type NovaPool struct {
	Node    int    `json:"node"`
	PageKiB uint64 `json:"page_kib"`
	// Reserved is what nova-compute keeps back; while that is not known, what its configuration says.
	Reserved  int64  `json:"reserved"`
	Instances uint64 `json:"instances"`
	// Free is what Nova takes to be free: the total without Reserved and Instances. It is nil while nova-compute uses an
	// older configuration that is not known.
	Free *int64 `json:"free"`
	// Drift is how many pages more than Nova allows for are taken by others than its instances. Below 0 fewer are taken
	// than it allows for. It is nil if Free is.
	Drift *int64 `json:"drift"`
	// Unreserved is what [Host.Reservations] has more than Reserved: what Open vSwitch and other processes hold, or
	// Open vSwitch was told to take, and Nova does not keep back.
	Unreserved uint64 `json:"unreserved"`
}

// RefusedInstance is what Nova counts on one node for an instance whose start was refused and that has no domain any
// more.
type RefusedInstance struct {
	Name    string `json:"name"`
	UUID    string `json:"uuid"`
	Node    int    `json:"node"`
	PageKiB uint64 `json:"page_kib"`
	Pages   uint64 `json:"pages"`
}

// Stranger is a guest's pages of one size that Nova does not know of.
type Stranger struct {
	Name    string `json:"name"`
	PageKiB uint64 `json:"page_kib"`
	Pages   uint64 `json:"pages"`
}
