package guardtest

import (
	"slices"

	"hugeguard/guard/fix"
	"hugeguard/guard/words"
)

// A Fix is a fix in words: who acts, and the commands and lines together.
type Fix struct {
	For   string
	Lines []string
}

// Fixes returns the fixes of a verdict in words.
func Fixes(v fix.Verdict) (fixes []Fix) {
	for _, f := range words.Fixes(v) {
		fixes = append(fixes, Fix{f.For, slices.Concat(f.Commands, f.Lines)})
	}
	return fixes
}
