package main

import (
	"strings"

	"hugeguard/guard"
	"hugeguard/install/status"
)

// mostWrong is how many wrong lines a screen shows.
const mostWrong = 10

// settingsLines say which settings are not at their defaults, and which lines are not followed.
func (p *page) settingsLines(s status.Settings) {
	var each []string
	for _, c := range s.Changed {
		each = append(each, guard.Printable(c.Name+" = "+c.Value, 200))
	}
	switch {
	case len(each) > 0:
		p.line(plainStyle, 0, "settings: %s (%s)", strings.Join(each, ", "), oneLine(s.Path))
	case len(s.Wrong) > 0:
		p.line(plainStyle, 0, "settings: all by default (%s)", oneLine(s.Path))
	}
	for i, wrong := range s.Wrong {
		if i == mostWrong {
			p.line(bad, 2, "not followed: %d more lines", len(s.Wrong)-i)
			break
		}
		p.line(bad, 2, "not followed: %s", wrong)
	}
}
