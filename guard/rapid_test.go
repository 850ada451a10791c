package guard

import (
	"flag"
	"strconv"
	"testing"
)

// raceDetector is whether these tests are built with the race detector.
var raceDetector bool

// AtLeast has rapid try at least so many cases in this test, and says whether it
// does. With the race detector it does not: these properties are of pure code in
// one goroutine, which the detector sees with rapid's hundred cases, and makes ten
// times slower. Without it all are tried.
func AtLeast(t *testing.T, cases int) bool {
	t.Helper()
	if raceDetector {
		return false
	}
	checks := flag.Lookup("rapid.checks").Value
	old := checks.String()
	if n, err := strconv.Atoi(old); err != nil || n >= cases {
		return true
	}
	if err := checks.Set(strconv.Itoa(cases)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { checks.Set(old) })
	return true
}
