package main

import (
	"fmt"
	"strings"
)

// checks are what was to hold, one after the other; a run continues after one that does not.
type checks struct {
	done   int
	failed []string
}

// that notes whether something holds; detail says what was there instead.
func (c *checks) that(holds bool, what string, detail ...any) {
	c.done++
	if holds {
		say("  ok    %s", what)
	} else {
		c.wrong(what, detail)
	}
}

// quietly is as that, for what is one of many: it says something only if it does not hold.
func (c *checks) quietly(holds bool, what string, detail ...any) {
	c.done++
	if !holds {
		c.wrong(what, detail)
	}
}

func (c *checks) wrong(what string, detail []any) {
	text := what
	if len(detail) > 0 {
		text += ": " + strings.TrimSpace(fmt.Sprintln(detail...))
	}
	c.failed = append(c.failed, text)
	say("  WRONG %s", text)
}
