package main

import (
	"fmt"
	"strings"
)

// checks are what was to hold, one after the other; a run goes on after one that does not.
type checks struct {
	done   int
	failed []string
}

// that notes whether something holds; detail says what was there instead.
func (c *checks) that(holds bool, what string, detail ...any) {
	c.done++
	if holds {
		say("  ok    %s", what)
		return
	}
	text := what
	if len(detail) > 0 {
		text += ": " + strings.TrimSpace(fmt.Sprintln(detail...))
	}
	c.failed = append(c.failed, text)
	say("  WRONG %s", text)
}
