package guard

import (
	"fmt"

	"hugeguard/guard/nova"
)

// Fix is something that an admin can do about a refusal: one of the types below. Package words says it.
type Fix any

// ReserveInNova has Nova keep back what others than its instances hold.
type ReserveInNova struct {
	Reservations []Reservation
	Nova         *Nova // nil where nobody looked
}

// Reservation is what Nova is to keep back of one pool.
type Reservation struct {
	nova.Pool
	Count   uint64
	Lacking bool // Nova does not keep back as many now, or it is not known whether it does
}

// String returns the value of a setting of reserved_huge_pages, the size in KiB, which Nova takes without a unit.
func (r Reservation) String() string {
	return fmt.Sprintf("node:%d,size:%d,count:%d", r.Node, r.PageKiB, r.Count)
}

// RestartNova has nova-compute, which is this systemd unit, read its configuration again.
type RestartNova struct{ Unit string }

// ChangeDomain changes what the domain asks for.
type ChangeDomain struct{ Changes []Change }

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
