package guard

import (
	"strconv"
	"strings"
)

// UnescapeUnit undoes systemd's escapes in a unit's name (unit_name_unescape in its unit-name.c), so that people can read
// it: \x2d is a dash. To systemd the result is another name.
func UnescapeUnit(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if strings.HasPrefix(name[i:], `\x`) && i+4 <= len(name) {
			c, err := strconv.ParseUint(name[i+2:i+4], 16, 8)
			if err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(name[i])
	}
	return b.String()
}

// GuestOfScope returns the guest in whose scope a process is, by systemd-machined's name of it: "3-rhel1" of
// machine-qemu\x2d3\x2drhel1.scope (virSystemdMakeScopeName, virDomainGenerateMachineName). It is "" for any other unit.
func GuestOfScope(unit string) string {
	scope, ok := strings.CutSuffix(unit, ".scope")
	guest, qemus := strings.CutPrefix(UnescapeUnit(scope), "machine-qemu-")
	if !ok || !qemus {
		return ""
	}
	return guest
}
