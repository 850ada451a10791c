package fix

import (
	"slices"

	"hugeguard/guard"
)

// ordinary has memory that is on huge pages only because memory_backing_dir in qemu.conf, or an argument of the domain's
// own for QEMU, names a directory there take ordinary memory, where the host has as much, or else lie on disk.
func (r refusal) ordinary() (found []Fix) {
	for _, own := range []bool{false, true} {
		named := func(b guard.Backend) bool { return b.Path != "" && b.Own == own }
		rest := r.demand
		rest.Backends = slices.DeleteFunc(slices.Clone(rest.Backends), named)
		take := TakeOrdinary{Own: own}
		for _, b := range r.verdict.Demand {
			if named(b) {
				take.Backends = append(take.Backends, b.ID)
				take.KiB += b.Bytes / 1024
			}
		}
		if take.Backends == nil || guard.MustFail(rest, r.host) != nil {
			continue
		}
		spares := memory{r.host.Memory}.spares(take.KiB)
		if spares && r.verdict.Maker() == "" {
			found = append(found, take)
		}
		if !own {
			found = append(found, MoveBackingDir{take.KiB, !spares || !memory{r.host.Memory}.tmpfs(take.KiB), r.host.Daemon})
		}
	}
	return found
}
