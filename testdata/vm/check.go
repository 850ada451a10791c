package vm

import (
	"fmt"
	"strings"
)

// Checks are what was to hold, one after the other; a run continues after one that does not.
type Checks struct {
	Done   int
	Failed []string
}

// That notes whether something holds; detail says what was there instead.
func (c *Checks) That(holds bool, what string, detail ...any) {
	c.Done++
	if holds {
		Say("  ok    %s", what)
	} else {
		c.wrong(what, detail)
	}
}

// Quietly is as That, for what is one of many: it says something only if it does not hold.
func (c *Checks) Quietly(holds bool, what string, detail ...any) {
	c.Done++
	if !holds {
		c.wrong(what, detail)
	}
}

func (c *Checks) wrong(what string, detail []any) {
	text := what
	if len(detail) > 0 {
		text += ": " + strings.TrimSpace(fmt.Sprintln(detail...))
	}
	c.Failed = append(c.Failed, text)
	Say("  WRONG %s", text)
}

// Err is nil if all held, and otherwise lists what did not.
func (c *Checks) Err() error {
	if len(c.Failed) == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d checks failed:\n  %s", len(c.Failed), c.Done, strings.Join(c.Failed, "\n  "))
}
