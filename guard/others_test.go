package guard_test

import (
	"encoding/json"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/words"
)

func init() {
	guard.ParseDomain = domain.Parse
	guard.Summary, guard.Text, guard.Fields, guard.Message, guard.Reserve = words.Summary, words.Text, words.Fields, words.Finding, words.Reserve
	guard.JSON = func(v guard.Verdict) ([]byte, error) { return json.Marshal(words.NewReport(v)) }
	guard.Remedies = func(v guard.Verdict) (remedies []guard.Remedy) {
		for _, r := range words.Remedies(v) {
			remedies = append(remedies, guard.Remedy(r))
		}
		return remedies
	}
}
