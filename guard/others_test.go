package guard_test

import (
	"encoding/json"
	"slices"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/fix"
	"hugeguard/guard/words"
)

func init() {
	guard.ParseDomain, guard.JudgeAndFix, guard.Helps = domain.Parse, fix.Judge, helps
	guard.Summary, guard.Line, guard.Text, guard.Fields, guard.Message, guard.Reserve = words.Summary, words.Line, words.Text, words.Fields, words.Finding, words.Reserve
	guard.JSON = func(v guard.Verdict) ([]byte, error) { return json.Marshal(words.NewReport(v)) }
	guard.Fixes = func(v guard.Verdict) (fixes []guard.FixInWords) {
		for _, f := range words.Fixes(v) {
			fixes = append(fixes, guard.FixInWords{For: f.For, Lines: slices.Concat(f.Commands, f.Lines)})
		}
		return fixes
	}
}
