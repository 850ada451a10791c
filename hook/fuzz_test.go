package hook

import (
	"os"
	"strings"
	"testing"
	"time"
)

func FuzzParseConfig(f *testing.F) {
	f.Add("# how\nmode = warn # only\nfail = closed\ndeadline = 1s\nnova_conf = /etc/nova/nova.conf /b\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, _, wrong := ParseConfig(text)
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

func FuzzParseInstance(f *testing.F) {
	for _, name := range []string{"nova-two-cells", "nova-mixed-sizes", "page-2m"} {
		xml, err := os.ReadFile("../testdata/domains/" + name + ".xml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(xml)
		f.Add(append(append([]byte("<domstatus state='running' pid='1'>"), xml...), "</domstatus>"...))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		instance, err := parseInstance(text)
		if instance == nil {
			return
		}
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		for pool := range instance.Pages {
			if pool.PageKiB == 0 || pool.Node < 0 {
				t.Errorf("%q: %+v", text, instance)
			}
		}
	})
}
