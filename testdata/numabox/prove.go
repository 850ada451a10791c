package main

import (
	"fmt"
	"strings"

	"hugeguard/testdata/vm"
)

// parts are what a run proves, in this order.
var parts = []struct {
	name  string
	prove func(*box, *vm.Checks, options) error
}{
	{"incident", (*box).incident},
	{allScenarios, (*box).truthTable},
	{"starting", (*box).starting},
	{"packages", (*box).packages},
}

const allScenarios = "scenarios"

// names are those of all parts and scenarios.
func names() (all []string) {
	for _, p := range parts {
		all = append(all, p.name)
	}
	for _, s := range scenarios {
		all = append(all, s.name)
	}
	return all
}

// prove runs all parts, or those that were asked for, and reports.
func (b *box) prove(o options) error {
	var c vm.Checks
	for _, p := range parts {
		if !o.wants(p.name) && (p.name != allScenarios || o.scenarios() == nil) {
			continue
		}
		if err := b.Again(func() error { return p.prove(b, &c, o) }); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	if err := c.Err(); err != nil {
		return err
	}
	vm.Say("all %d checks hold: Debian %s, %s", c.Done, o.suite.Name, b.Image.Versions())
	return nil
}

// prepare checks that the box is what it should be.
func (b *box) prepare(c *vm.Checks) error {
	files, err := b.Read("/sys/devices/system/node/has_memory", "/sys/kernel/mm/hugepages/*/nr_hugepages")
	if err != nil {
		return err
	}
	c.That(strings.TrimSpace(files["/sys/devices/system/node/has_memory"]) == "0-1", "the kernel has two nodes with memory", files)
	return b.Prepare(c)
}
