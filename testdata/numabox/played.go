package main

import (
	"bytes"
	"fmt"
	"strings"
)

// A played is what became of the scenarios of a suite, and the release of Open vSwitch there.
type played struct {
	ovs   string
	table []truth
}

// text returns it as a file: a line of releases, and a line for each scenario.
func (p *played) text() []byte {
	var b bytes.Buffer
	for i, t := range p.table {
		if i == 0 {
			fmt.Fprintf(&b, "%s\t%s\t%s\t%s\n", t.Kernel, t.Libvirt, t.QEMU, p.ovs)
		}
		became := string(t.Outcome)
		if t.Race {
			became = "race"
		}
		fmt.Fprintf(&b, "%s\t%s\t%s\n", t.Scenario, became, t.Decision)
	}
	return b.Bytes()
}

// parsePlayed reads what text returns.
func parsePlayed(text string) (*played, error) {
	releases, rest, _ := strings.Cut(text, "\n")
	r := strings.Split(releases, "\t")
	if len(r) != 4 {
		return nil, fmt.Errorf("%q is not four releases", releases)
	}
	p := &played{ovs: r[3]}
	for line := range strings.Lines(rest) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 3 {
			return nil, fmt.Errorf("%q is not a scenario, an outcome and a decision", line)
		}
		p.table = append(p.table, truth{Scenario: f[0], Kernel: r[0], Libvirt: r[1], QEMU: r[2],
			Outcome: outcome(f[1]), Race: f[1] == "race", Decision: f[2]})
	}
	return p, nil
}

// count returns how many of the scenarios of a class each decision was about.
func (p *played) count(is func(truth) bool) (n [3]int) {
	for _, t := range p.table {
		for i, decision := range decisions {
			if is(t) && t.Decision == decision {
				n[i]++
			}
		}
	}
	return n
}

// tables returns those of the documentation, of some suites in order.
func tables(suites []string, all map[string]*played) string {
	var releases, became, warned strings.Builder
	releases.WriteString("| suite | Linux | libvirt | QEMU | Open vSwitch | launches |\n|---|---|---|---|---|---|\n")
	became.WriteString("| suite |")
	for _, class := range classes {
		became.WriteString(" " + class.name + " |")
	}
	became.WriteString("\n|---|" + strings.Repeat("---|", len(classes)) + "\n")
	warned.WriteString("| suite | started | of these, a warning |\n|---|---|---|\n")
	for _, suite := range suites {
		p := all[suite]
		t := p.table[0]
		fmt.Fprintf(&releases, "| `%s` | %s | %s | %s | %s | %d |\n", suite, t.Kernel, t.Libvirt, t.QEMU, p.ovs, len(p.table))
		fmt.Fprintf(&became, "| `%s` |", suite)
		for _, class := range classes {
			n := p.count(class.is)
			fmt.Fprintf(&became, " %d, %d, %d |", n[0], n[1], n[2])
		}
		became.WriteString("\n")
		n := p.count(classes[0].is)
		started := n[0] + n[1] + n[2]
		fmt.Fprintf(&warned, "| `%s` | %d | %d (%.0f %%) |\n", suite, started, n[1], 100*float64(n[1])/float64(started))
	}
	return releases.String() + "\n" + became.String() + "\n" + warned.String()
}
