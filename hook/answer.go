package hook

import (
	"fmt"
	"strconv"
	"strings"

	"hugeguard/guard"
	"hugeguard/guard/fix"
	"hugeguard/guard/words"
	"hugeguard/hook/config"
)

// Exit statuses that libvirt sees.
const (
	exitAccept = 0
	exitRefuse = 1
)

// outcome is a verdict, or why there is none.
type outcome struct {
	verdict fix.Verdict
	err     error
	sure    bool // nobody who knows more would say another
	idle    bool // the domain has no huge pages, so it is allowed under every configuration
}

// An answer is what libvirt and the journal are told of a launch.
type answer struct {
	Status int    // the exit status
	Line   string `json:",omitempty"` // on standard error; "" for none
	Entry  *entry `json:",omitempty"` // for the journal; nil for none
}

// answer is what is to be said of a launch.
func (c *call) answer(o outcome) answer {
	if o.err != nil {
		return c.fault(o.err)
	}
	v := o.verdict
	v.Verdict = c.unlessLater(v.Verdict)
	if v.Decision == guard.Allow {
		return answer{}
	}
	e := entry{Message: words.Entry(v), Priority: warning, Fields: words.Fields(v)}
	if v.Decision == guard.Warn {
		return answer{Entry: &e}
	}
	if c.allows(v.Verdict) {
		first, rest, more := strings.Cut("would refuse: "+e.Message, "\n")
		if v.Exempt != "" {
			first += "; allowed: exempt by " + guard.Printable(v.Exempt, 200)
		}
		e.Message = first
		if more {
			e.Message += "\n" + rest
		}
		return answer{Entry: &e}
	}
	e.Priority = failure
	return answer{Status: exitRefuse, Line: words.Line(v), Entry: &e}
}

// fault is what is to be said of a launch that could not be judged.
func (c *call) fault(err error) answer {
	message := fmt.Sprintf("hugeguard could not judge the start of %s: %s", guard.Printable(c.args[1], 200), oneLine(err))
	e := entry{Priority: warning, Fields: map[string]string{"HUGEGUARD_DOMAIN": guard.Printable(c.args[1], 240)}}
	switch exempt := c.exempt(); {
	case exempt != "":
		e.Message = message + "; allowed: exempt by " + guard.Printable(exempt, 200)
	case c.config.Fail == config.FailClosed && c.config.Mode == config.Enforce:
		e.Message, e.Priority = message, failure
		return answer{Status: exitRefuse, Line: message, Entry: &e}
	default:
		e.Message = message + "; allowed"
	}
	return answer{Entry: &e}
}

// say says it and returns the exit status.
func (c *call) say(a answer) int {
	if a.Line != "" {
		fmt.Fprint(c.stderr, a.Line) // libvirt ends its error with it, and virsh that line
	}
	if a.Entry != nil {
		c.note(*a.Entry)
	}
	return a.Status
}

func (a answer) valid() bool {
	if a.Status != exitAccept && a.Status != exitRefuse || (a.Status == exitRefuse) != (a.Line != "") || !printable(a.Line, "") {
		return false
	}
	if a.Entry == nil {
		return true
	}
	if a.Entry.Priority != warning && a.Entry.Priority != failure || !printable(a.Entry.Message, "\n") {
		return false
	}
	for key, value := range a.Entry.Fields {
		ours := strings.HasPrefix(key, "HUGEGUARD_") && strings.Trim(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == ""
		if !ours && key != "MESSAGE_ID" || !printable(value, "\n") {
			return false
		}
	}
	return true
}

// printable says whether a terminal shows all of a text, but for what else it may have.
func printable(text, also string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) && !strings.ContainsRune(also, r) })
}
