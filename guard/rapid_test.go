package guard

import (
	"flag"
	"strconv"
	"testing"
)

// AtLeast has rapid try at least so many cases in this test.
func AtLeast(t *testing.T, cases int) {
	t.Helper()
	checks := flag.Lookup("rapid.checks").Value
	old := checks.String()
	if n, err := strconv.Atoi(old); err != nil || n >= cases {
		return
	}
	if err := checks.Set(strconv.Itoa(cases)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { checks.Set(old) })
}
