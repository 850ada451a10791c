package words

import (
	"strings"

	"hugeguard/guard"
)

// NotKnown says which evidence did not become known in time, on one line; "" if all did.
func NotKnown(parts []guard.Evidence) string {
	var each []string
	for _, e := range parts {
		switch e {
		case guard.EvidenceHolders:
			each = append(each, "who holds all pages")
		case guard.EvidenceOVS:
			each = append(each, "what Open vSwitch was told")
		case guard.EvidenceNova:
			each = append(each, "what Nova believes")
		}
	}
	if len(each) == 0 {
		return ""
	}
	return "not known in time: " + strings.Join(each, ", ")
}

// partNames are the names of the parts, for machines.
func partNames(parts []guard.Evidence) string {
	var names []string
	for _, e := range parts {
		names = append(names, string(e))
	}
	return strings.Join(names, ",")
}
