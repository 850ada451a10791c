package guard_test

import (
	. "hugeguard/guard"
	"hugeguard/guard/fix"
	"hugeguard/guard/words"
)

// summary and text say a verdict without looking for its fixes.
func summary(v Verdict) string { return words.Summary(fix.Verdict{Verdict: v}) }
func text(v Verdict) string    { return words.Text(fix.Verdict{Verdict: v}) }
