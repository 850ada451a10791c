package guard

import (
	"fmt"
	"strings"

	"hugeguard/guard/nova"
)

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

// tellNova has Nova keep back what others than its instances hold. What it does already it is not told again: what keeps
// it from knowing then is in the summary.
func tellNova(host Host) []Fix {
	switch {
	case !host.Agrees():
		if reservations := host.Reservations(); reservations != nil {
			return []Fix{ReserveInNova{reservations, host.Nova}}
		}
	case host.Nova.Stale != "" && strings.HasSuffix(host.Nova.Unit, ".service"):
		return []Fix{RestartNova{host.Nova.Unit}}
	}
	return nil
}
