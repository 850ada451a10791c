package main

import (
	"slices"
	"strings"
	"testing"
)

// TestPick: what matches nothing is an error that says what there is.
func TestPick(t *testing.T) {
	for _, pattern := range []string{"fixes", "strict.*", "scenarios", "nova-one-cell-short", "incident|fixes", "differing"} {
		var o options
		if err := o.pick(pattern); err != nil {
			t.Errorf("%s: %v", pattern, err)
		}
	}
	for pattern, want := range map[string]string{"fix": "there are incident scenarios starting packages fixes any-exact", "(": "missing closing )"} {
		var o options
		if err := o.pick(pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", pattern, err, want)
		}
	}
	if got := (options{}).scenarios(); len(got) != len(scenarios) {
		t.Errorf("without a pattern %d of %d scenarios are run", len(got), len(scenarios))
	}
	all := names()
	slices.Sort(all)
	if len(slices.Compact(slices.Clone(all))) != len(all) {
		t.Errorf("some have the same name: %q", all)
	}
}

// TestCausesAreOfScenarios: the guard is asked for a cause by the name of a scenario that there is.
func TestCausesAreOfScenarios(t *testing.T) {
	for name := range causes {
		if !slices.ContainsFunc(scenarios, func(s scenario) bool { return s.name == name }) {
			t.Errorf("causes has %s, which is no scenario", name)
		}
	}
}
