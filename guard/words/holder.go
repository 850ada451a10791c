package words

import (
	"fmt"
	"strings"

	"hugeguard/guard"
)

// Holder says who a holder is, and how many pages of a size in KiB are its.
func Holder(h guard.HolderReport, kib uint64) string {
	pages := Count(h.Pages, kib)
	who := name(h.Name)
	switch h.Kind {
	case guard.HolderFile:
		return fmt.Sprintf("leftover %s %s", who, pages)
	case guard.HolderGuest:
		return fmt.Sprintf("guest %s (pid %d) %s", who, h.PID, pages)
	case guard.HolderOVS:
		return fmt.Sprintf("Open vSwitch %s (pid %d%s)%s %s", who, h.PID, container(h.Unit), ofDead(guard.Holder{Guest: h.Guest}), pages)
	}
	return fmt.Sprintf("%s (pid %d%s)%s %s", who, h.PID, unitOf(h.Unit, h.Guest), ofDead(guard.Holder{Guest: h.Guest}), pages)
}

// holders lists holders with their pages.
func holders(reports []guard.HolderReport, kib uint64, most int) string {
	var each []string
	for _, h := range reports {
		each = append(each, Holder(h, kib))
	}
	return enumerate(each, most)
}

// holder says who a holder is.
func holder(h guard.Holder) string {
	who := name(h.Name)
	switch h.Kind {
	case guard.HolderOVS:
		return fmt.Sprintf("%s (pid %d%s)", who, h.PID, container(h.Unit)) + ofDead(h)
	case guard.HolderGuest:
		if h.Former {
			return fmt.Sprintf("this guest's own earlier QEMU (pid %d%s)", h.PID, stuck(h))
		}
		return "guest " + who
	case guard.HolderFile:
		switch {
		case h.Segment != "":
			return fmt.Sprintf("System V segment %s, which nobody has attached,", name(h.Segment))
		case len(h.Files) > 1:
			return fmt.Sprintf("%d leftover files %s", len(h.Files), who)
		}
		return "leftover file " + who
	}
	return fmt.Sprintf("%s (pid %d%s)", who, h.PID, unitOf(h.Unit, h.Guest)) + ofDead(h)
}

// stuck says that no signal ends a process.
func stuck(h guard.Holder) string {
	if h.Stuck {
		return ", stuck in state D"
	}
	return ""
}

// unit is what comes after a process's id: its unit or container, if known, for people to read.
func unit(u string) string {
	if u == "" {
		return ""
	}
	return ", " + name(guard.UnescapeUnit(u))
}

// unitOf is the unit of a process that keeps a dead guest's memory: the guest's own scope says no more than the guest.
func unitOf(u, guest string) string {
	if guest != "" && guard.GuestOfScope(u) != "" {
		return ""
	}
	return unit(u)
}

// container is the unit of Open vSwitch's daemon where it is worth a word: on the host it is its own.
func container(u string) string {
	if !strings.HasPrefix(u, "container ") {
		return ""
	}
	return unit(u)
}

// ofDead says whose memory a process keeps, where that guest is gone.
func ofDead(h guard.Holder) string {
	if h.Guest == "" {
		return ""
	}
	return " for " + deadGuest(h)
}

// deadGuest names a guest that is gone by its directory at libvirt, which has the guest's id before its name.
func deadGuest(h guard.Holder) string {
	if h.Guest == guard.UnknownGuest {
		return "a dead guest"
	}
	id, of, ok := strings.Cut(h.Guest, "-")
	switch {
	case !ok || strings.Trim(id, "0123456789") != "":
		return "dead guest " + name(h.Guest)
	case h.Own:
		return fmt.Sprintf("this guest's own earlier run (id %s)", id)
	}
	return fmt.Sprintf("dead guest %s (id %s)", name(of), id)
}
