package words

import (
	"fmt"

	"hugeguard/guard"
	"hugeguard/guard/fix"
)

// changeDomain says what to change in a domain.
func changeDomain(c fix.ChangeDomain) Fix {
	f := Fix{For: "domain", What: "change " + maker(c.Manager), Lines: changes(c)}
	if len(f.Lines) > 0 {
		f.short = f.Lines[0]
	}
	return f
}

// changes says each of them.
func changes(g fix.ChangeDomain) (lines []string) {
	for _, c := range g.Changes {
		lines = append(lines, change(c, g.Manager))
	}
	return lines
}

func change(c fix.Change, m guard.Manager) string {
	switch c.Do {
	case fix.Bind:
		return fmt.Sprintf("bind %s to %s", c.Backend, nodes(c.Nodes))
	case fix.PinEmulator:
		return fmt.Sprintf("pin the emulator to CPUs of %s, too (cputune/emulatorpin)", nodes(c.Nodes))
	case fix.TakePages:
		return fmt.Sprintf("give %s %s pages (%s)", c.Backend, pageNames(c.KiB, " or "), pageSetting(m, c.KiB...))
	case fix.ResizeBlocks:
		return fmt.Sprintf("make the blocks of %s %s", c.Backend, guard.Size(c.KiB[0]))
	}
	return fmt.Sprintf("make %s %s", c.Backend, guard.Size(c.KiB[0]))
}
