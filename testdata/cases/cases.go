// Package cases says how many cases the properties that rapid checks are tried on.
package cases

import (
	"flag"
	"strconv"
	"testing"
)

// RaceDetector is whether the tests are built with the race detector.
var RaceDetector bool

// AtLeast has rapid try at least so many cases in this test, and reports whether it does. With the race detector it
// does not: these properties are of pure code in one goroutine, which the detector sees with rapid's hundred cases, and
// makes ten times slower. Without it all are tried.
func AtLeast(t *testing.T, cases int) bool {
	t.Helper()
	if RaceDetector {
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
