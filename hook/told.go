package hook

import (
	"slices"

	"hugeguard/guard"
	"hugeguard/guard/fix"
	"hugeguard/hook/ledger"
)

// keepTold keeps which pools the fixes of a refusal are to make larger: what the kernel did not do is not printed again.
func (c *call) keepTold(v fix.Verdict, host guard.Host) {
	told := fix.Told(host, v.Fixes)
	if host.Memory == nil || slices.Equal(told, host.Memory.Told) {
		return
	}
	if err := ledger.KeepTold(c.fs, told); err != nil {
		c.noteLedger("the fixes of this refusal cannot be kept, so those that do not help are printed again: " + oneLine(err))
	}
}
