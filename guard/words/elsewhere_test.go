package words_test

import (
	"strings"
	"testing"

	"hugeguard/guard"
	"hugeguard/guard/fix"
	"hugeguard/guard/guardtest"
	"hugeguard/guard/words"
)

// TestElsewhere: memory that may not be on huge pages, and of which no path is known, is said to be so without one.
func TestElsewhere(t *testing.T) {
	demand := guardtest.Plain(t, 1024, "", guardtest.TwoMiB)
	demand.Backends[0].Unsure = true
	v := fix.Judge(demand, guardtest.Pages(100).Host)
	const want = "it fails if pc.ram lies on huge pages, which is not certain"
	if text := words.Text(v); v.Decision != guard.Warn || !strings.Contains(text, want) {
		t.Errorf("%s, no %q in\n%s", v.Decision, want, text)
	}
}
