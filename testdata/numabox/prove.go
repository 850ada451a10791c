package main

import (
	"fmt"
	"strings"

	"hugeguard/testdata/vm"
)

// A part is one of what a run proves.
type part struct {
	name  string
	cases []string // of it, each of which can be run alone
	apart bool     // it is only run if it is asked for, as it takes a box of its own
	prove func(*box, *vm.Checks, options) error
}

// parts are in the order in which they are run.
var parts = []part{
	{"incident", nil, false, (*box).incident},
	{allScenarios, append(namesOf(scenarios, func(s scenario) string { return s.name }), differing), false, (*box).truthTable},
	{"starting", nil, false, (*box).starting},
	{"packages", nil, false, (*box).packages},
	{allFixes, namesOf(lacks, lack.short), true, (*box).fixes},
}

const (
	allScenarios = "scenarios"
	differing    = "differing" // the scenarios that depend on releases, and those of guests that come in with their memory
	allFixes     = "fixes"
)

func namesOf[T any](all []T, name func(T) string) (names []string) {
	for _, one := range all {
		names = append(names, name(one))
	}
	return names
}

// names are those of all parts, and then of their cases.
func names() (all []string) {
	var cases []string
	for _, p := range parts {
		all = append(all, p.name)
		cases = append(cases, p.cases...)
	}
	return append(all, cases...)
}

// prove runs the parts that were asked for, or all that go together, and reports.
func (b *box) prove(o options) error {
	var c vm.Checks
	for _, p := range parts {
		if !o.plays(p) {
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

// prepare checks that the box is what it should be. It has libvirt ask QEMU for all features of a guest's CPU at once,
// not for each of 400 alone, which takes more than the half of a start here.
func (b *box) prepare(c *vm.Checks) error {
	const conf = "/etc/libvirt/qemu.conf"
	if _, err := b.Sh("grep -q ^capability_f " + conf + " || { echo 'capability_filters = [\"cpu-unavailable-features\"]' >>" + conf + "; systemctl restart libvirtd; }"); err != nil {
		return err
	}
	files, err := b.Read("/sys/devices/system/node/has_memory", "/sys/kernel/mm/hugepages/*/nr_hugepages")
	if err != nil {
		return err
	}
	c.That(strings.TrimSpace(files["/sys/devices/system/node/has_memory"]) == "0-1", "the kernel has two nodes with memory", files)
	return b.Prepare(c)
}
