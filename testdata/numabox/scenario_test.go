package main

import (
	"slices"
	"testing"
)

// TestCausesAreOfScenarios: the guard is asked for a cause by the name of a scenario that there is.
func TestCausesAreOfScenarios(t *testing.T) {
	for name := range causes {
		if !slices.ContainsFunc(scenarios, func(s scenario) bool { return s.name == name }) {
			t.Errorf("causes has %s, which is no scenario", name)
		}
	}
}
