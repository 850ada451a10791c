package fix

import (
	"strings"

	"hugeguard/guard"
)

// ReserveInNova has Nova keep back what others than its instances hold.
type ReserveInNova struct {
	Reservations []guard.Reservation
	Nova         *guard.Nova // nil where nobody looked
}

// RestartNova has nova-compute, which is this systemd unit, read its configuration again.
type RestartNova struct{ Unit string }

// tellNova has Nova keep back what others than its instances hold. What it does already it is not told again: what keeps
// it from knowing then is in the summary.
func tellNova(host guard.Host) []guard.Fix {
	switch {
	case !host.Agrees():
		if reservations := host.Reservations(); reservations != nil {
			return []guard.Fix{ReserveInNova{reservations, host.Nova}}
		}
	case host.Nova.Stale != "" && strings.HasSuffix(host.Nova.Unit, ".service"):
		return []guard.Fix{RestartNova{host.Nova.Unit}}
	}
	return nil
}
