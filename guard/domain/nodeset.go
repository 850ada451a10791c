package domain

import (
	"fmt"
	"strconv"
	"strings"

	"hugeguard/guard"
)

// nodeLimit is how many nodes libvirt's nodesets can name (VIR_DOMAIN_CPUMASK_LEN); no kernel has so many.
const nodeLimit = 16384

// parseNodeSet reads libvirt's nodeset syntax, as virBitmapParse does: numbers and ranges separated by commas, where ^N
// takes a number out again that came before ("0-3,^2"). An empty text or set is an error.
func parseNodeSet(text string) (guard.NodeSet, error) {
	set, ok := readSet(text)
	if !ok || len(set) == 0 {
		return nil, fmt.Errorf("nodeset %q is not a list such as 0-3,^2", guard.Printable(text, 60))
	}
	return set, nil
}

func readSet(text string) (set []int, ok bool) {
	var member []bool // up to the largest
	// libvirt takes a comma at the end.
	text = strings.TrimSuffix(strings.Trim(text, spaces), ",")
	for _, part := range strings.Split(text, ",") {
		part = strings.Trim(part, spaces)
		number, without := strings.CutPrefix(part, "^")
		first, last, isRange := strings.Cut(number, "-")
		if !isRange {
			last = first
		}
		low, errLow := strconv.ParseUint(strings.TrimRight(first, spaces), 10, 31)
		high, errHigh := strconv.ParseUint(strings.TrimLeft(last, spaces), 10, 31)
		if errLow != nil || errHigh != nil || high < low || high >= nodeLimit || without && isRange {
			return nil, false
		}
		if more := int(high) + 1 - len(member); more > 0 {
			member = append(member, make([]bool, more)...)
		}
		for n := low; n <= high; n++ {
			member[n] = !without
		}
	}
	for n, is := range member {
		if is {
			set = append(set, n)
		}
	}
	return set, true
}

// spaces are C's.
const spaces = " \t\n\v\f\r"

// parseCPUSet reads libvirt's CPU sets, whose syntax is that of its nodesets; nil for what is none.
func parseCPUSet(text string) guard.CPUSet {
	set, _ := readSet(text)
	return set
}
