package config

import (
	"strings"
	"testing"
	"time"
)

func FuzzParseConfig(f *testing.F) {
	f.Add("# how\nmode = warn # only\nfail = closed\ndeadline = 1s\nnova_conf = /etc/nova/nova.conf /b\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, _, wrong := Parse(text)
		if c.Deadline < 10*time.Millisecond || c.Deadline > time.Minute ||
			c.Mode != Enforce && c.Mode != WarnOnly && c.Mode != Off || c.Fail != FailOpen && c.Fail != FailClosed {
			t.Errorf("%q is read as %+v", text, c)
		}
		for _, w := range wrong {
			if line := w.String(); strings.ContainsAny(line, "\n\x1b\x00") || w.Why == "" || w.Line < 1 || w.Line > strings.Count(text, "\n")+1 {
				t.Errorf("%q: %q", text, line)
			}
		}
	})
}
