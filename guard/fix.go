package guard

// Fix is something that an admin can do about a refusal: one of the types below. Package words says it.
type Fix any

// ChangeDomain changes what the domain asks for.
type ChangeDomain struct {
	Changes []Change
	Manager Manager // whose the domain is, who makes it again at each start
}

// Change is what to change of one of the domain's backends.
type Change struct {
	Do      Action
	Backend string
	Nodes   NodeSet  // to bind it to, or to whose CPUs to pin the emulator
	KiB     []uint64 // the size to make it, or of its blocks; the page sizes that it may have
}

// Action is how to change a domain.
type Action int

// The actions.
const (
	Bind         Action = iota // bind it to other nodes
	PinEmulator                // pin the emulator to CPUs of its nodes, too
	Resize                     // make it of another size
	ResizeBlocks               // plug it in blocks of another size
	TakePages                  // take pages of another size for it
)

// LookUnconfined has hugeguard look where libvirt's confinement does not hide who holds pages.
type LookUnconfined struct{}

// DeleteFiles gives the pages of leftover files back.
type DeleteFiles struct {
	Holders []Holder // each a HolderFile
	Certain bool     // all processes were asked whether they use them
}
